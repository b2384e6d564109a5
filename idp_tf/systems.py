"""Every system that a run can train and evaluate, by the slug that names it everywhere.

A system is a model for the target domain and what it starts from: "generated" embeddings are
blended from those of a pre-trained base by the tuned matcher (section 2.5), "zero-shot" ones
may be stretched (``transfer.zero_shot_norm``: what helps a model that is used at once differs
from what helps one that is trained), and "untuned" ones are those that the text encoder gives
as it was, without the contrastive tuning of section 2.4. All that are trained share settings
and budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Embeddings = Literal["fresh", "generated", "zero_shot", "untuned"]

POPULARITY: Final = "popularity"
NEAREST_TITLE: Final = "nearest-title"
BASE: Final = "sasrec"
"""The pre-trained model that the matcher learns behaviour from."""

_IDP: Final = "ID-centric Pre-training for Recommendation"


@dataclass(frozen=True)
class System:
    """What makes a system that system.

    Args:
        slug: Its name in settings, files and reports.
        label: What a reader sees.
        reference: Its paper, with the section where it is a variant.
        model: The model for the target (``idp_tf.models.MODELS``); None for a ranker without.
        embeddings: Where the model's item embeddings come from.
        base: The pre-trained model that embeddings and encoder come from, if any.
        takes_encoder: Whether the encoder starts from the base's.
        trained: Whether it is trained on the target's interactions.
        twin: The system that is the same model from scratch: what transfer is judged by.
    """

    slug: str
    label: str
    reference: str
    model: str | None = None
    embeddings: Embeddings = "fresh"
    base: str | None = None
    takes_encoder: bool = False
    trained: bool = True
    twin: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """What it needs beside the target's interactions."""
        titles = self.slug == NEAREST_TITLE or self.embeddings != "fresh"
        return ("titles",) * titles + ("source domains",) * (self.base is not None)


def _idp(
    slug: str, label: str, section: str, embeddings: Embeddings = "generated", **rest: bool
) -> System:
    return System(
        slug,
        label,
        f"{_IDP}, {section}",
        model=BASE,
        embeddings=embeddings,
        base=BASE,
        takes_encoder=rest.pop("takes_encoder", True),
        twin=BASE,
        **rest,
    )


SYSTEMS: Final[dict[str, System]] = {
    system.slug: system
    for system in (
        System(POPULARITY, "Most popular first", "a floor", trained=False),
        System(NEAREST_TITLE, "Nearest title", "a floor", trained=False),
        System(
            "sasrec", "SASRec, from scratch", "Kang and McAuley 2018, arXiv:1808.09781", "sasrec"
        ),
        System(
            "gru4rec", "GRU4Rec, from scratch", "Hidasi et al. 2016, arXiv:1511.06939", "gru4rec"
        ),
        System(
            "bert4rec", "BERT4Rec, from scratch", "Sun et al. 2019, arXiv:1904.06690", "bert4rec"
        ),
        _idp("idp-zero-shot", "IDP, zero-shot", "section 3.6", "zero_shot", trained=False),
        _idp("idp-wo-matcher", "IDP without the matcher", "section 3.7", "fresh"),
        _idp("idp-wo-bcl", "IDP, text encoder untuned", "section 3.7", "untuned"),
        _idp("idp-wo-encoder", "IDP, new sequence encoder", "section 3.9", takes_encoder=False),
        _idp("idp", "IDP, fine-tuned", "section 2.6"),
    )
}
"""Every system by its slug, in the order of tables, floors first."""
