"""Titles to measure with: those of real domains, or of the built-in catalogue."""

from __future__ import annotations

import tempfile
from pathlib import Path

from idp_tf.data.readers import read_domain
from idp_tf.data.sample import SOURCE_NAMES, TARGET_NAME, write_sample_catalogue


def read_titles(data: Path | None, names: tuple[str, ...], limit: int | None = None) -> list[str]:
    """Distinct titles in the order of the files.

    Args:
        data: The data folder; the built-in catalogue if ``None``.
        names: Which of its domains; all of the built-in catalogue's without ``data``.
        limit: At most so many.
    """
    if data is None:
        with tempfile.TemporaryDirectory() as folder:
            write_sample_catalogue(Path(folder), seed=0)
            return _read(Path(folder), (*SOURCE_NAMES, TARGET_NAME))[:limit]
    return _read(data, names)[:limit]


def _read(data: Path, names: tuple[str, ...]) -> list[str]:
    titles = [t for name in names for t in read_domain(data, name).items["title"].to_list() if t]
    return list(dict.fromkeys(titles))
