"""The built-in catalogue holds what its description promises."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from idp_tf.data.domain import Domain
from idp_tf.data.prepare import prepare_domain
from idp_tf.data.readers import read_domain
from idp_tf.data.sample import SOURCE_NAMES, TARGET_NAME, write_sample_catalogue
from idp_tf.data.sample_words import BRANDS, FINISHES, INTERESTS, PRODUCTS

NAMES = (*SOURCE_NAMES, TARGET_NAME)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalogue")
    write_sample_catalogue(folder, seed=0)
    return folder


@pytest.fixture(scope="module")
def domains(catalogue: Path) -> dict[str, Domain]:
    return {name: prepare_domain(read_domain(catalogue, name), k_core=1) for name in NAMES}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.*")}


def test_counts(catalogue: Path, domains: dict[str, Domain]) -> None:
    raws = {name: read_domain(catalogue, name) for name in NAMES}
    assert sum(raw.items.height for raw in raws.values()) == 3000
    assert sum(domain.sequences.num_users for domain in domains.values()) == 5000
    target = domains[TARGET_NAME].sequences
    assert target.num_users == 1000
    assert raws[TARGET_NAME].items.height == 350
    assert target.lengths.min() >= 5
    assert target.lengths.mean() < 9
    assert domains[SOURCE_NAMES[0]].sequences.lengths.mean() > 13
    # Hardly anything goes to a 5-core, so the demonstration is of the size that it says.
    cored = prepare_domain(raws[TARGET_NAME], k_core=5)
    assert cored.sequences.num_users > 950
    assert cored.num_items > 320


def test_same_seed_same_bytes(catalogue: Path, tmp_path: Path) -> None:
    write_sample_catalogue(tmp_path / "again", seed=0)
    assert contents(tmp_path / "again") == contents(catalogue)
    write_sample_catalogue(tmp_path / "other", seed=1)
    other = contents(tmp_path / "other")
    assert other.keys() == contents(catalogue).keys()
    assert all(other[file] != text for file, text in contents(catalogue).items())


def test_titles_are_readable_and_unique(domains: dict[str, Domain]) -> None:
    for domain in domains.values():
        assert len(set(domain.titles)) == domain.num_items
        assert all(re.fullmatch(r"[\w&:,.'()\- ]{10,100}", title) for title in domain.titles)
        assert not any("&amp;" in title for title in domain.titles)


def test_words_fit_together() -> None:
    assert all(len(aspects) == 4 for aspects in INTERESTS.values())
    cells = len(INTERESTS) * 4
    for words, items in {"home": 900, "books": 900, "toys": 850, "stationery": 350}.items():
        assert len(PRODUCTS[words]) * len(FINISHES[words]) >= -(-items // cells)
        assert BRANDS[words]
    phrases = [phrase for aspects in INTERESTS.values() for a in aspects for phrase in a]
    assert not any("\t" in phrase for phrase in phrases)


def interest_of(domain: Domain, column: int) -> list[tuple[int, int]]:
    """Interest and aspect of each item, read off its title (longest phrase first)."""
    cells = [
        (phrases[column], (number, aspect))
        for number, aspects in enumerate(INTERESTS.values())
        for aspect, phrases in enumerate(aspects)
    ]
    cells.sort(key=lambda entry: -len(entry[0]))
    return [next(cell for phrase, cell in cells if f"{phrase}" in t) for t in domain.titles]


@pytest.mark.parametrize("name", [SOURCE_NAMES[0], TARGET_NAME])
def test_sequences_are_planted(domains: dict[str, Domain], name: str) -> None:
    domain = domains[name]
    cells = np.array(interest_of(domain, NAMES.index(name)))[domain.sequences.values - 1]
    inside = np.ones(len(cells) - 1, np.bool_)
    inside[domain.sequences.offsets[1:-1] - 1] = False
    same_interest = (cells[1:, 0] == cells[:-1, 0])[inside]
    onward = (cells[1:, 1] == (cells[:-1, 1] + 1) % 4)[inside]
    # By chance: 1 interest in 16, 1 aspect in 4.
    assert same_interest.mean() > 0.5
    assert onward[same_interest].mean() > 0.5
    # And popularity alone says little: the most popular item is a small share.
    assert Counter(domain.sequences.values.tolist()).most_common(1)[0][1] < 0.02 * len(cells)
