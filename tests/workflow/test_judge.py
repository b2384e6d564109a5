"""Judging the matcher: by what, what is told of it, and what happens with nothing to judge by."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_world import SOURCES, command, invoke

from idp_tf.data.domain import MergedDomains
from idp_tf.data.store import load_domain
from idp_tf.workflow.judge import judge_matcher, share_across_domains
from idp_tf.workflow.known_items import KnownItems

MIN_INTERACTIONS = 5

# Items 1, 2 and 4 of 6 are known; 4 is alone in its domain and has no neighbour.
KNOWN = KnownItems(np.array([1, 2, 4]), np.array([0, 2, 3]))
NEIGHBOURS = np.array([[1], [0], [-1]], np.int32)
TITLES = list("abcdef")
VECTORS = np.eye(6, dtype=np.float32)


def judged(*held_out: int) -> dict[str, Any]:
    held = np.array(held_out, np.int64)
    return judge_matcher(KNOWN, NEIGHBOURS, held, TITLES, VECTORS, VECTORS, seed=0)


def test_only_held_out_items_with_neighbours_are_judged() -> None:
    figures = judged(0, 2, 4)
    assert figures["held_out_items"] == 1 and figures["known_items"] == 3
    # The one other item of its domain is found, however unlike its title is.
    assert figures["recall_untuned"] == figures["recall_tuned"] == 1.0
    assert [example["title"] for example in figures["examples"]] == ["c"]


@pytest.mark.parametrize("held_out", [(), (0, 3), (4,)])
def test_nothing_to_judge_by(held_out: tuple[int, ...], caplog: pytest.LogCaptureFixture) -> None:
    figures = judged(*held_out)
    assert figures["recall_untuned"] is None and figures["recall_tuned"] is None
    assert figures["held_out_items"] == 0 and figures["examples"] == []
    assert "nothing to judge the matcher by" in caplog.text
    assert "matcher.min_interactions" in caplog.text


@pytest.fixture(scope="module")
def unjudged(
    finished: Path, world: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The workdir of a run that holds no item out and looks for neighbours everywhere."""
    workdir = shutil.copytree(finished, tmp_path_factory.mktemp("unjudged") / "w")
    pairs = (
        "matcher.held_out=0.001",
        "matcher.steps=0",
        "matcher.neighbour_scope=all",
        f"matcher.min_interactions={MIN_INTERACTIONS}",
        "systems=[idp]",
    )
    done = invoke(*command(world, workdir, tiny_bert, *pairs), "--rebuild")
    assert done.code == 0, done.err
    return workdir


def test_a_run_with_nothing_to_judge_by_comes_to_its_end(unjudged: Path) -> None:
    matcher = json.loads((unjudged / "report.json").read_text())["matcher"]
    assert matcher["recall_untuned"] is None and matcher["recall_tuned"] is None
    assert matcher["held_out_items"] == 0 and matcher["known_items"] > 0
    assert matcher["min_interactions"] == MIN_INTERACTIONS
    page = (unjudged / "report.html").read_text(encoding="utf-8")
    assert "there is nothing to judge tuning by" in page
    assert "are of another domain than their item" in page


def test_the_share_of_neighbours_of_other_domains(unjudged: Path, finished: Path) -> None:
    """By hand, from the stored neighbours and the counts in the prepared sequences."""
    owners = []
    for number, name in enumerate(SOURCES):
        folder = unjudged / "data" / name
        values, offsets = np.load(folder / "sequences.npy"), np.load(folder / "offsets.npy")
        train = np.concatenate([values[a : b - 2] for a, b in itertools.pairwise(offsets)])
        counts = np.bincount(train, minlength=load_domain(folder).num_items + 1)[1:]
        owners += [number] * int((counts >= MIN_INTERACTIONS).sum())
    neighbours = np.load(unjudged / "matcher" / "neighbours.npy")
    pairs = [(owners[i], owners[j]) for i, row in enumerate(neighbours) for j in row if j >= 0]
    share = sum(a != b for a, b in pairs) / len(pairs)
    assert 0 < share < 1
    matcher = json.loads((unjudged / "report.json").read_text())["matcher"]
    assert matcher["neighbours_across_domains"] == pytest.approx(share)
    within = json.loads((finished / "report.json").read_text())["matcher"]
    assert "neighbours_across_domains" not in within


def test_missing_neighbours_are_of_no_domain(finished: Path) -> None:
    sources = MergedDomains.of([load_domain(finished / "data" / name) for name in SOURCES])
    first_of_music = sources.domains[0].num_items
    known = KnownItems(np.array([0, 1, first_of_music]), np.array([0, 3]))
    neighbours = np.array([[1, -1], [2, 0], [-1, -1]], np.int32)
    assert share_across_domains(known, neighbours, sources) == pytest.approx(1 / 3)
