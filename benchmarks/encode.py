"""encode: titles a second, against sentence-transformers with the same weights and titles.

Both get two threads, the same list of titles and the same longest title (64 word pieces).
Beside it stand fewer kept layers, with what they find of the whole encoder's ten nearest
titles. Needs ``make bench-peers``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.base import BenchResult, Goal, run_worker
from benchmarks.peers import run_peer
from benchmarks.titles import read_titles

THREADS: Final = 2
LENGTH: Final = 64
ROUNDS: Final = 3


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Encodes 8,000 titles by both, taking turns; the best of three rounds counts."""
    names = ("office", "toys", "grocery", "home", "movies", "books", "electronics")
    titles = read_titles(data, names)
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(titles))[: 40 if smoke else 8_000]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "titles.json").write_text(json.dumps([titles[i] for i in chosen]))
        kept = (None, 1) if smoke else (None, 4, 3, 2)
        rows = [_ours(folder, layers, here=smoke) for layers in kept]
        if smoke:
            return BenchResult(rows)
        speeds: dict[str, list[float]] = {"ours": [], "peer": []}
        for _ in range(ROUNDS):
            speeds["ours"].append(_ours(folder, None)["titles a second"])
            peer = _peer(folder)
            speeds["peer"].append(peer["titles a second"])
        rows[0]["titles a second"] = max(speeds["ours"])
        rows.append({**peer, "titles a second": max(speeds["peer"])})
        ratio = max(speeds["ours"]) / max(speeds["peer"])
        ours, theirs = (np.load(folder / f"{who}.npy") for who in ("None", "peer"))
        cosine = float(np.min(np.sum(ours * theirs, axis=1)))
    return BenchResult(
        rows,
        [
            Goal("titles a second by sentence-transformers'", "at least 1.5", ratio, ratio >= 1.5),
            Goal("least cosine to its vectors", "at least 0.999", cosine, cosine >= 0.999),
        ],
    )


def measure(folder: str, layers: int | None) -> dict[str, Any]:
    """Encodes the titles with so many layers kept."""
    from idp_tf.retrieval import build_index
    from idp_tf.text import build_text_encoder

    titles = json.loads((Path(folder) / "titles.json").read_text())
    encoder = build_text_encoder("minilm", "mean", LENGTH, layers)
    encoder.encode(titles[:200])
    begun = time.perf_counter()
    vectors = encoder.encode(titles)
    seconds = time.perf_counter() - begun
    np.save(Path(folder) / f"{layers}.npy", vectors)
    whole = np.load(Path(folder) / "None.npy")
    found, wanted = (build_index(v, "exact", 11).query(v[:1_000]).rows for v in (vectors, whole))
    shared = np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, wanted, strict=True)])
    return {
        "encoder": "idp_tf" if layers is None else f"idp_tf, kept_layers={layers}",
        "titles": len(titles),
        "titles a second": len(titles) / seconds,
        "nearest titles shared with all layers": float((shared - 1) / 10),
    }


def _ours(folder: Path, layers: int | None, *, here: bool = False) -> dict[str, Any]:
    arguments = {"folder": str(folder), "layers": layers}
    row: dict[str, Any] = run_worker("benchmarks.encode", arguments, threads=THREADS, here=here)
    return row


def _peer(folder: Path) -> dict[str, Any]:
    from idp_tf.text.sources import find_minilm

    arguments = {"folder": str(folder), "model": str(find_minilm()), "length": LENGTH}
    row: dict[str, Any] = run_peer("sentence_encoder", arguments, threads=THREADS)
    return row


def main(arguments: dict[str, Any]) -> Any:
    """The measurement, as ``run_worker`` calls it."""
    return measure(**arguments)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
