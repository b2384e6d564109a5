"""Other papers' transfer, each beside its model from scratch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from idp_tf.systems.base import PAPER, SASREC_BASE, Base, System

_UNISREC_BASE: Final = Base(
    slug="unisrec", model="unisrec-pretraining", items="titles", adaptor="moe"
)
_DACDR_BASE: Final = Base(slug="dacdr", model="dacdr-pretraining", items="joined", min_sources=2)

_UNISREC_T: Final = System(
    slug="unisrec-t",
    label="UniSRec, text",
    reference="Hou et al. 2022, arXiv:2206.05941, inductive",
    model="unisrec",
    options={"fix_encoder": True},
    items="titles",
    adaptor="moe",
    base=_UNISREC_BASE,
    takes_over=True,
    twin="unisrec-t-scratch",
)
_UNISREC_ID_T: Final = replace(
    _UNISREC_T,
    slug="unisrec-id-t",
    label="UniSRec, ID + text",
    reference="Hou et al. 2022, arXiv:2206.05941, transductive",
    items="sum",
    twin="unisrec-id-t-scratch",
)
_DACDR: Final = System(
    slug="dacdr",
    label="DACDR",
    reference="Zhang et al. 2021, TKDE, doi 10.1109/TKDE.2021.3132953",
    model="dacdr",
    items="joined",
    base=_DACDR_BASE,
    takes_over=True,
    twin="dacdr-scratch",
)


def from_scratch(system: System, **changes: Any) -> System:
    """The same model with nothing taken from anywhere; ``changes`` are what else differs."""
    plain: dict[str, Any] = {
        "slug": f"{system.slug}-scratch",
        "label": f"{system.label}, from scratch",
        "base": None,
        "takes_over": False,
        "embeddings": "fresh",
        "twin": None,
    }
    return replace(system, **(plain | changes))


_RECFORMER: Final = System(
    slug="recformer",
    label="Recformer",
    reference="Li et al. 2023, arXiv:2305.13731",
    kind="recformer",
    base=Base(slug="recformer", model="recformer"),
    takes_over=True,
    twin="recformer-scratch",
)

TRANSFER: Final = (
    _DACDR,
    from_scratch(_DACDR),
    System(
        slug="peterrec",
        label="PeterRec",
        reference="Yuan et al. 2020, arXiv:2001.04253",
        model="peterrec",
        base=SASREC_BASE,
        takes_over=True,
        twin="sasrec",
    ),
    _RECFORMER,
    replace(from_scratch(_RECFORMER), label="Recformer, not pre-trained on histories"),
    replace(
        _UNISREC_T,
        slug="unisrec-t-zero-shot",
        label="UniSRec, text, zero-shot",
        reference=f"{_UNISREC_T.reference}, as in section 3.6",
        trained=False,
    ),
    _UNISREC_T,
    from_scratch(_UNISREC_T, options={}),
    _UNISREC_ID_T,
    from_scratch(_UNISREC_ID_T, options={}),
    System(
        slug="sasrec-ex",
        label="SASRec, encoder of another domain",
        reference=f"{PAPER}, section 3.9",
        model="sasrec",
        embeddings="twin",
        base=Base(slug="sasrec-first-source", model="sasrec", first_source_only=True),
        takes_over=True,
        trained=False,
        twin="sasrec",
    ),
)
