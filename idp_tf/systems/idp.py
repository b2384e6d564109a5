"""ID-centric pre-training: what the paper proposes, its variants and its ablations.

The paper's zero-shot form with titles adds them, shortened by PCA, to generated ids
(``idp-id-t-pca-zero-shot``). On real domains that stays below a nearest-title ranker, and so does
whatever lets generated ids speak loudly. In ``idp-id-t-zero-shot`` titles rank by themselves and
ids are added to them; how loud they may be was found on two source domains that were held out as
targets (docs/results.md): hardly at all, their scores a fortieth of the titles' in spread. Its
twin, ``title-profile``, has random ids in their place, which weigh as little: titles alone, but for
items and users without any.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from idp_tf.systems.base import PAPER, SASREC_BASE, Base, System
from idp_tf.systems.transfer import from_scratch

IDP_INNER: Final = "idp-inner"
TITLE_PROFILE: Final = "title-profile"

_IDP: Final = System(
    slug="idp",
    label="IDP, fine-tuned",
    reference=f"{PAPER}, section 2.6",
    model="sasrec",
    embeddings="generated",
    base=SASREC_BASE,
    takes_over=True,
    twin="sasrec",
)


def _variant(slug: str, label: str, section: str, **changes: Any) -> System:
    return replace(
        _IDP, slug=slug, label=f"IDP, {label}", reference=f"{PAPER}, section {section}", **changes
    )


def _pretrained_on(model: str, name: str) -> System:
    base = Base(slug=model, model=model)
    return _variant(
        f"idp-{model}", f"pre-trained {name}", "3.5.1", model=model, base=base, twin=model
    )


_ID_T: Final = _variant(
    "idp-id-t",
    "ID + text",
    "3.3",
    items="sum",
    twin="idp-id-t-scratch",
)

_ID_T_ZERO_SHOT: Final = replace(
    _ID_T,
    slug="idp-id-t-zero-shot",
    label="IDP, ID + text, zero-shot",
    reference=f"our own, in the place of {PAPER}, section 3.6",
    model="profiled-sasrec",
    options={"title_weight": 500.0},
    items="joined",
    adaptor="centred",
    embeddings="zero_shot",
    trained=False,
    twin=TITLE_PROFILE,
)

IDP: Final = (
    _variant("idp-zero-shot", "zero-shot", "3.6", embeddings="zero_shot", trained=False),
    _variant("idp-wo-matcher", "without the matcher", "3.7", embeddings="fresh"),
    _variant("idp-wo-bcl", "text encoder untuned", "3.7", embeddings="untuned"),
    _variant("idp-wo-encoder", "new sequence encoder", "3.9", takes_over=False),
    _IDP,
    _pretrained_on("bert4rec", "BERT4Rec"),
    _pretrained_on("gru4rec", "GRU4Rec"),
    _variant(
        "idp-b-s",
        "BERT4Rec from SASRec's",
        "3.5.2",
        model="bert4rec",
        takes_over=False,
        twin="bert4rec",
    ),
    replace(
        _ID_T,
        slug="idp-id-t-pca-zero-shot",
        label="IDP, ID + text by PCA, zero-shot",
        reference=f"{PAPER}, section 3.6",
        adaptor="pca",
        embeddings="zero_shot",
        trained=False,
    ),
    _ID_T_ZERO_SHOT,
    from_scratch(_ID_T_ZERO_SHOT, slug=TITLE_PROFILE, label="Titles' profile alone", trained=False),
    _ID_T,
    from_scratch(_ID_T),
    System(
        slug=IDP_INNER,
        label="IDP, cold items of the domain itself",
        reference=f"{PAPER}, section 3.8",
        kind="inner",
    ),
)
