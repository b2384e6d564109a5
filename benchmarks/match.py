"""match: top 10 of a large catalogue of title vectors, against exact search and two peers.

730,000 vectors, 384 wide, and 300,000 queries: real title vectors, and copies of them with
noise where the titles do not suffice. ScaNN's layout is the one that ``choose_scann_settings``
gives every catalogue of that size. Exact search is timed on a sample of the queries. hnswlib
and faiss (IVF) are set to reach the same recall, each by its own knob. Needs
``make bench-peers``; ``growth`` rows are ScaNN alone, over 10 thousand … 1 million vectors.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.base import BenchResult, Goal, run_worker
from benchmarks.peers import run_peer
from benchmarks.titles import read_titles

VECTORS, QUERIES, SAMPLE, K = 730_000, 300_000, 2_000, 10
GROWTH: Final = (10_000, 100_000, 1_000_000)
THREADS: Final = 2
RECALL: Final = 0.95
_JITTER: Final = 0.35
_BLOCK: Final = 50_000


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Times build and queries of exact search, ScaNN, hnswlib and faiss."""
    vectors, queries, sample = (2_000, 500, 100) if smoke else (VECTORS, QUERIES, SAMPLE)
    growth = (500, 1_000) if smoke else GROWTH
    with tempfile.TemporaryDirectory() as name:
        arguments = {"folder": name, "smoke": smoke, "data": None if data is None else str(data)}
        run_worker(
            "benchmarks.match",
            {"step": "vectors", "count": max(vectors, *growth), "queries": queries, **arguments},
            threads=THREADS,
            here=smoke,
        )
        sizes = {"vectors": vectors, "sample": sample, "folder": name}
        rows = [
            run_worker("benchmarks.match", {"step": step, **sizes}, threads=THREADS, here=smoke)
            for step in ("exact", "scann")
        ]
        if not smoke:
            wanted = max(RECALL, rows[1]["recall"])
            rows += [
                run_peer(
                    f"{peer}_index",
                    {**sizes, "recall": wanted, "k": K, "threads": THREADS},
                    threads=THREADS,
                )
                for peer in ("hnswlib", "faiss")
            ]
        grown = [
            run_worker(
                "benchmarks.match",
                {"step": "scann", **sizes, "vectors": size},
                threads=THREADS,
                here=smoke,
            )
            for size in growth
        ]
    rows = [_with_sums(row, vectors, queries) for row in rows]
    grown = [
        _with_sums(row, size, queries) | {"index": "scann, growth"}
        for row, size in zip(grown, growth, strict=True)
    ]
    exact, scann, *peers = rows
    if smoke:
        return BenchResult([*rows, *grown])
    speedup = exact["seconds for all"] / scann["seconds for all"]
    against = min(peer["build + queries"] for peer in peers) / scann["build + queries"]
    return BenchResult(
        [*rows, *grown],
        [
            Goal("recall@10", f"at least {RECALL}", scann["recall"], scann["recall"] >= RECALL),
            Goal("speed of queries by exact search's", "at least 10", speedup, speedup >= 10),
            Goal("build + queries of the faster peer by ours", "at least 1", against, against >= 1),
        ],
    )


def _with_sums(row: dict[str, Any], vectors: int, queries: int) -> dict[str, Any]:
    """A measurement with its sizes, and what follows from its two times."""
    return {
        **row,
        "vectors": vectors,
        "queries": queries,
        "build + queries": row["build"] + row["seconds for all"],
        "microseconds a query": 1e6 * row["seconds for all"] / queries,
    }


def write_vectors(folder: Path, data: Path | None, count: int, queries: int, smoke: bool) -> None:
    """Writes ``vectors.npy`` and ``queries.npy``: real title vectors, then noisy copies."""
    from idp_tf.text import build_text_encoder

    sources = read_titles(data, ("grocery", "home", "movies", "books", "electronics"))
    asked = read_titles(data, ("office", "toys"))
    encoder = build_text_encoder("minilm", "mean", 24, 3)
    rng = np.random.default_rng(0)
    for name, titles, wanted in (("vectors", sources, count), ("queries", asked, queries)):
        real = encoder.encode(titles[: 300 if smoke else None])
        np.save(folder / f"{name}.npy", _with_copies(real, wanted, rng))


def _with_copies(
    real: npt.NDArray[np.float32], wanted: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    vectors = np.empty((wanted, real.shape[1]), np.float32)
    for start in range(0, wanted, _BLOCK):
        rows = np.arange(start, min(wanted, start + _BLOCK))
        part = real[rows % len(real)]
        noise = rng.standard_normal(part.shape, np.float32) * (_JITTER / part.shape[1] ** 0.5)
        part = part + noise * (rows >= len(real))[:, None]
        vectors[rows] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def measure(folder: str, step: str, vectors: int, sample: int) -> dict[str, Any]:
    """Builds an index and asks it; the exact one is asked a sample, and leaves its answer."""
    from idp_tf.retrieval import build_index

    place = Path(folder)
    table = np.ascontiguousarray(np.load(place / "vectors.npy", mmap_mode="r")[:vectors])
    queries = np.load(place / "queries.npy")
    asked = queries if step == "scann" else queries[:sample]
    begun = time.perf_counter()
    index = build_index(table, "scann" if step == "scann" else "exact", K)
    built = time.perf_counter() - begun
    index.query(queries[:sample])
    begun = time.perf_counter()
    found = index.query(asked).rows
    seconds = (time.perf_counter() - begun) * len(queries) / len(asked)
    file = place / f"exact-{vectors}.npy"
    if step == "exact":
        np.save(file, found)
    elif not file.is_file():
        np.save(file, build_index(table, "exact", K).query(queries[:sample]).rows)
    hits = np.load(file)[:, :, None] == found[:sample, None, :]
    return {
        "index": step,
        "build": built,
        "seconds for all": seconds,
        "recall": float(hits.any(axis=2).mean()),
        "settings": str(index.scann or "–"),
    }


def main(arguments: dict[str, Any]) -> Any:
    """One step in a process of its own."""
    if arguments["step"] != "vectors":
        return measure(**arguments)
    data = None if arguments["data"] is None else Path(arguments["data"])
    counts = {name: arguments[name] for name in ("count", "queries", "smoke")}
    write_vectors(Path(arguments["folder"]), data, **counts)
    return None


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
