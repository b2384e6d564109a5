"""What a system is: a model for the target domain, and what it starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Kind = Literal["floor", "sequence", "recformer", "inner"]
Items = Literal["ids", "titles", "sum", "joined"]
Adaptor = Literal["dense", "pca", "centred", "moe"]
Embeddings = Literal["fresh", "generated", "zero_shot", "untuned", "twin"]

PAPER: Final = "ID-centric Pre-training"


@dataclass(frozen=True, kw_only=True)
class Base:
    """A model that is pre-trained on the merged sources (section 2.3).

    Args:
        slug: Its name in folders and reports.
        model: What is pre-trained, one of ``idp_tf.models.MODELS``, or ``recformer``.
        items: How items are represented: by ids, titles, the sum of both, or both side by side.
        adaptor: What makes vectors of titles, where they are read.
        first_source_only: Whether it learns from the first source domain alone.
        min_sources: The fewest source domains that it can be pre-trained on.
    """

    slug: str
    model: str
    items: Items = "ids"
    adaptor: Adaptor = "dense"
    first_source_only: bool = False
    min_sources: Literal[1, 2] = 1

    @property
    def reads_titles(self) -> bool:
        """Whether it can be pre-trained only where there are titles."""
        return self.items != "ids"


SASREC_BASE: Final = Base(slug="sasrec", model="sasrec")
"""Whose item embeddings the matcher learns behaviour from (section 2.4)."""


@dataclass(frozen=True, kw_only=True)
class System:
    """What makes a system that system.

    Args:
        slug: Its name in settings, files and reports.
        label: What a reader sees.
        reference: Its paper, with the section where it is a variant.
        kind: How it is made: a ``floor`` ranks without a model; most are ``sequence`` models.
        model: The model for the target, one of ``idp_tf.models.MODELS``.
        options: What else the model's class is given.
        items: How its items are represented; see ``Base``.
        adaptor: What makes vectors of titles, where they are read.
        embeddings: Where its table of ids comes from. ``fresh`` is random; ``generated`` is
            blended from the base's by the tuned matcher (section 2.5); ``zero_shot`` is the same,
            by ``transfer.zero_shot_norm``: what helps a model that is used at once differs from
            what helps one that is trained; ``untuned`` is by the text encoder as it was, without
            the contrastive tuning of section 2.4; ``twin`` is what the twin has learned.
        base: What it transfers from, if it does.
        takes_over: Whether it starts from the base's encoder (``SequenceModel.take_over``).
        trained: Whether it is trained on the target's interactions.
        twin: The same without the transfer, by which it is judged.
    """

    slug: str
    label: str
    reference: str
    kind: Kind = "sequence"
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    items: Items = "ids"
    adaptor: Adaptor = "dense"
    embeddings: Embeddings = "fresh"
    base: Base | None = None
    takes_over: bool = False
    trained: bool = True
    twin: str | None = None

    @property
    def is_trained_on_ids(self) -> bool:
        """Whether it is a sequence model trained on item ids, from SASRec or from scratch."""
        return (
            self.kind == "sequence"
            and self.trained
            and self.items == "ids"
            and self.embeddings in ("fresh", "generated")
            and (self.base is None or self.base.model == "sasrec")
        )

    @property
    def is_matched(self) -> bool:
        """Whether its embeddings are generated, by whichever encoder."""
        return self.embeddings in ("generated", "zero_shot", "untuned")

    @property
    def reads_titles(self) -> bool:
        """Whether titles are part of its items' representation."""
        return self.items != "ids"

    @property
    def reads_source_titles(self) -> bool:
        """Whether the sources' items are to have titles, too."""
        by_base = self.base is not None and self.base.reads_titles
        return self.is_matched or by_base or (self.kind == "recformer" and self.takes_over)

    @property
    def needs(self) -> tuple[str, ...]:
        """What it needs beside the target's interactions."""
        titles = self.reads_titles or self.is_matched or self.kind in ("recformer", "inner")
        sources: tuple[str, ...] = ()
        if self.base is not None:
            sources = ("two source domains" if self.base.min_sources > 1 else "source domains",)
        return ("titles",) * titles + sources
