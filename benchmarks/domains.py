"""Domains to measure with, prepared as the workflow does, in a folder for workers and peers."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from idp_tf.data.domain import MergedDomains
from idp_tf.data.prepare import prepare_domain
from idp_tf.data.readers import read_domain
from idp_tf.data.sample import SOURCE_NAMES, TARGET_NAME, write_sample_catalogue
from idp_tf.data.sequences import Sequences
from idp_tf.errors import MissingDataError

SOURCES = ("grocery", "home", "movies", "books", "electronics")
TARGET = "office"
SMOKE_SETTINGS = (
    "model.embedding_dim=8",
    "model.num_layers=1",
    "model.max_length=10",
    "pretrain.epochs=1",
    "matcher.min_interactions=40",
    "matcher.kept_layers=1",
    "matcher.title_length=8",
    "matcher.batch_size=16",
)
"""What makes the workflow's stages short on the built-in catalogue."""


@dataclass(frozen=True)
class Prepared:
    """One domain, or several merged.

    Args:
        sequences: What each user did.
        item_ranges: (num_users, 2), first and last item of each user's own domain.
    """

    sequences: Sequences
    item_ranges: npt.NDArray[np.int64]

    @property
    def num_items(self) -> int:
        """The number of items of all domains."""
        return int(self.item_ranges.max())

    @classmethod
    def load(cls, folder: str | Path) -> Prepared:
        """Reads what ``write_domains`` left."""
        return cls(Sequences.load(Path(folder)), np.load(Path(folder) / "item_ranges.npy"))


def require_data(data: Path | None, smoke: bool) -> None:
    """Refuses to measure on made-up data what is to be measured on real data.

    Raises:
        MissingDataError: without a data folder, but for a smoke run.
    """
    if data is None and not smoke:
        raise MissingDataError(
            "this benchmark measures on real domains",
            remedy="give their folder by --data; --smoke tries it on the built-in sample",
        )


def find_domains(data: Path | None, folder: Path) -> tuple[Path, tuple[str, ...], str]:
    """Data folder, sources and target of a whole run; without data the built-in catalogue's.

    Args:
        data: The data folder, if there is one.
        folder: Where the built-in catalogue is written if not.
    """
    if data is not None:
        return data, SOURCES, TARGET
    write_sample_catalogue(folder, seed=0)
    return folder, SOURCE_NAMES, TARGET_NAME


def write_domains(data: Path | None, names: tuple[str, ...], folder: Path) -> Prepared:
    """Prepares domains (5-core, seeded ties) and writes them merged.

    Args:
        data: The data folder; without it the built-in catalogue stands in: its target for one
            domain, its sources for several.
        names: Domains of the data folder.
        folder: Made; gets sequences.npy, offsets.npy and item_ranges.npy.
    """
    with tempfile.TemporaryDirectory() as sample:
        if data is None:
            data = Path(sample)
            write_sample_catalogue(data, seed=0)
            names = (TARGET_NAME,) if len(names) == 1 else SOURCE_NAMES
        domains = [prepare_domain(read_domain(data, name)) for name in names]
    merged = MergedDomains.of(domains)
    folder.mkdir(parents=True, exist_ok=True)
    merged.sequences.save(folder)
    np.save(folder / "item_ranges.npy", merged.item_ranges)
    return Prepared(merged.sequences, merged.item_ranges)
