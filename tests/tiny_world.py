"""A world small enough to run every stage in well under a minute.

Two source domains and two targets, as RecBole files. Items belong to one of four tastes,
which their titles name; a user keeps to one taste, mostly, in every domain.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from idp_tf import cli
from idp_tf.workflow.artifacts import read_json

SOURCES = ("kitchen", "music")
TARGET, OTHER_TARGET = "office", "garden"
NUM_ITEMS, NUM_USERS = 40, 80
NEGATIVES = 10
TOP_M = 3

_TASTES = (
    ("green", "tea", "kettle", "pot", "cup"),
    ("guitar", "string", "violin", "bow", "steel"),
    ("night", "star", "space", "robot", "lamp"),
    ("desk", "chair", "pen", "ink", "paper"),
)
_FROM_OWN_TASTE = 0.85
_MAY_DIFFER = ("/seconds", "/reused")


def write_world(folder: Path) -> Path:
    """Writes the four domains."""
    for number, name in enumerate((*SOURCES, TARGET, OTHER_TARGET)):
        write_domain_files(folder, name, seed=number)
    return folder


def write_domain_files(folder: Path, name: str, seed: int) -> None:
    """Writes one domain as ``<name>/<name>.item`` and ``<name>/<name>.inter``."""
    rng = np.random.default_rng(seed)
    tastes = np.arange(NUM_ITEMS) % len(_TASTES)
    titles = [" ".join(rng.choice(_TASTES[taste], 3, replace=False)) for taste in tastes]
    (folder / name).mkdir(parents=True)
    items = [f"{name}-{item}\t{title}" for item, title in enumerate(titles)]
    _write(folder / name / f"{name}.item", ["item_id:token\ttitle:token_seq", *items])
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(NUM_USERS):
        own = tastes == user % len(_TASTES)
        likely = np.where(own, _FROM_OWN_TASTE / own.sum(), (1 - _FROM_OWN_TASTE) / (~own).sum())
        chosen = rng.choice(NUM_ITEMS, size=int(rng.integers(7, 11)), replace=False, p=likely)
        rows += [f"u{user}\t{name}-{item}\t{1000 + time}" for time, item in enumerate(chosen)]
    _write(folder / name / f"{name}.inter", rows)


def overrides(encoder: Path, *extra: str) -> list[str]:
    """Settings that make a run of this world short, as ``--set`` takes them."""
    return [
        "model.embedding_dim=8",
        "model.num_layers=1",
        "model.max_length=8",
        "pretrain.epochs=3",
        "pretrain.learning_rate=0.01",
        "pretrain.batch_size=32",
        "fine_tune.epochs=2",
        "fine_tune.learning_rate=0.01",
        "fine_tune.batch_size=32",
        f"matcher.encoder={encoder}",
        "matcher.kept_layers=1",
        "matcher.title_length=8",
        "matcher.steps=4",
        "matcher.batch_size=8",
        "matcher.learning_rate=0.01",
        "matcher.neighbours=3",
        "matcher.min_interactions=5",
        "recformer.kept_layers=1",
        "recformer.max_items=3",
        "recformer.max_tokens=24",
        "recformer.window=8",
        "recformer.pretrain_steps=2",
        "recformer.batch_size=8",
        "recformer.stage_1_epochs=1",
        "recformer.stage_2_epochs=1",
        f"transfer.top_m={TOP_M}",
        # ScaNN's clusters start at random: scores differ in a last bit from index to index.
        "transfer.retrieval=exact",
        f"evaluation.negatives={NEGATIVES}",
        *extra,
    ]


def command(
    data: Path, workdir: Path, encoder: Path, *extra: str, target: str = TARGET
) -> list[str]:
    """Arguments of ``idp-tf run`` over this world; ``extra`` are ``key=value`` settings."""
    pairs = overrides(encoder, *extra)
    return [
        "run",
        *("--data", str(data), "--sources", ",".join(SOURCES), "--target", target),
        *("--workdir", str(workdir), "--preset", "quick"),
        *(word for pair in pairs for word in ("--set", pair)),
    ]


@dataclass(frozen=True)
class Invocation:
    """How a command ended, and what it printed."""

    code: int | str | None
    out: str
    err: str


def invoke(*arguments: object) -> Invocation:
    """Runs the command ``idp-tf`` in this process; what it doesn't catch goes up."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["idp-tf", *map(str, arguments)]
    code: int | str | None = 0
    with mock.patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
    return Invocation(code, out.getvalue(), err.getvalue())


def comparable(workdir: Path) -> dict[str, Any]:
    """Every value of a report by its path, without what may differ from run to run."""
    values = dict(_leaves(read_json(workdir / "report.json"), ""))
    return {path: value for path, value in values.items() if not path.endswith(_MAY_DIFFER)}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict | list):
        yield path, value
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(inner, f"{path}/{key}")


def _write(file: Path, lines: Iterable[str]) -> None:
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
