"""encode: titles a second, against sentence-transformers with the same weights and titles.

Both get two threads, the same list of titles and the same longest title (64 word pieces),
in float32 and in bfloat16. Beside it stand fewer kept layers, with what they find of the
whole encoder's ten nearest titles. Needs ``make bench-peers``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.base import BenchResult, Goal, run_worker
from benchmarks.peer_scripts.shared import timed
from benchmarks.peers import require_peers, run_peer
from benchmarks.titles import read_titles

THREADS: Final = 2
LENGTH: Final = 64
ROUNDS: Final = 3
TITLES: Final = 4_000
COSINES: Final = {"float32": 0.999, "bfloat16": 0.99}
"""Least cosine of ours to the peer's vector of the same title, both of this dtype."""

_RATES: Final = ("titles a second", "titles a CPU second")


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Encodes the titles by both in both dtypes, taking turns; the best of three rounds counts."""
    if not smoke:
        require_peers("sentence_transformers")
    names = ("office", "toys", "grocery", "home", "movies", "books", "electronics")
    titles = read_titles(data, names)
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(titles))[: 40 if smoke else TITLES]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "titles.json").write_text(json.dumps([titles[i] for i in chosen]))
        # The whole encoder in float32 comes first: the others are compared with its vectors.
        if smoke:
            tried = (("float32", None), ("float32", 1), ("bfloat16", None))
            return BenchResult([_ours(folder, *kind, here=True) for kind in tried])
        rounds = [
            [side(folder, dtype) for dtype in COSINES for side in (_ours, _peer)]
            for _ in range(ROUNDS)
        ]
        rows = [_best(turns) for turns in zip(*rounds, strict=True)]
        goals = _judge(rows, folder)
        rows += [_ours(folder, "float32", layers) for layers in (4, 3, 2)]
    return BenchResult(rows, goals)


def _best(turns: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    return turns[0] | {rate: max(turn[rate] for turn in turns) for rate in _RATES}


def _judge(rows: list[dict[str, Any]], folder: Path) -> list[Goal]:
    """Rows are ours and the peer's of one dtype, then of the other."""
    ratios = [
        ours[_RATES[0]] / peer[_RATES[0]] for ours, peer in zip(rows[::2], rows[1::2], strict=True)
    ]
    best, least = max(ratios), min(ratios)
    goals = [
        Goal(f"{dtype}: titles a second by sentence-transformers'", "at least 1", ratio, ratio >= 1)
        for dtype, ratio in zip(COSINES, ratios, strict=True)
    ]
    both = best >= 1.5 and least >= 1
    goals.append(Goal("the better of both ratios", "at least 1.5, the other 1", best, both))
    for dtype, goal in COSINES.items():
        ours, theirs = (np.load(folder / f"{who}-{dtype}.npy") for who in ("None", "peer"))
        cosine = float(np.min(np.sum(ours * theirs, axis=1)))
        name = f"{dtype}: least cosine to its vectors"
        goals.append(Goal(name, f"at least {goal}", cosine, cosine >= goal))
    return goals


def measure(folder: str, dtype: Any, layers: int | None) -> dict[str, Any]:
    """Encodes the titles in this dtype with so many layers kept."""
    from idp_tf.text import build_text_encoder

    titles = json.loads((Path(folder) / "titles.json").read_text())
    encoder = build_text_encoder("minilm", "mean", LENGTH, layers, dtype)
    encoder.encode(titles[:200])
    vectors, wall, cpu = timed(lambda: encoder.encode(titles))
    np.save(Path(folder) / f"{layers}-{dtype}.npy", vectors)
    whole = np.load(Path(folder) / "None-float32.npy")
    return {
        "encoder": "idp_tf" if layers is None else f"idp_tf, kept_layers={layers}",
        "dtype": dtype,
        "titles": len(titles),
        "titles a second": len(titles) / wall,
        "titles a CPU second": len(titles) / cpu,
        "nearest titles shared with all layers in float32": _shared(vectors, whole),
    }


def _shared(vectors: Any, whole: Any) -> float:
    """How many of a title's ten nearest others two tables of vectors agree on, 0 … 1."""
    from idp_tf.retrieval import build_index

    found, wanted = (build_index(v, "exact", 11).query(v[:1_000]).rows for v in (vectors, whole))
    shared = np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, wanted, strict=True)])
    return float((shared - 1) / 10)


def _ours(
    folder: Path, dtype: str, layers: int | None = None, *, here: bool = False
) -> dict[str, Any]:
    arguments = {"folder": str(folder), "dtype": dtype, "layers": layers}
    return _said(run_worker("benchmarks.encode", arguments, threads=THREADS, here=here))


def _peer(folder: Path, dtype: str) -> dict[str, Any]:
    from idp_tf.text.sources import find_minilm

    arguments = {
        "folder": str(folder),
        "model": str(find_minilm()),
        "length": LENGTH,
        "dtype": dtype,
    }
    return _said(run_peer("sentence_encoder", arguments, threads=THREADS))


def _said(row: dict[str, Any]) -> dict[str, Any]:
    print("encode:", json.dumps(row), file=sys.stderr, flush=True)
    return row


def main(arguments: dict[str, Any]) -> Any:
    """The measurement, as ``run_worker`` calls it."""
    return measure(**arguments)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
