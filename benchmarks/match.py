"""match: top 10 of a large catalogue of title vectors, against exact search and two peers.

730,000 vectors, 384 wide, and 300,000 queries: real title vectors, and copies of them with
noise where the titles do not suffice, in a random order. ScaNN's layout is the one that
``choose_scann_settings`` gives every catalogue of that size. hnswlib and faiss (IVF) are set
to reach the same recall, each by its own knob, to within an eighth of it, on the queries of
which the exact answer is known. Exact search is timed on those alone; every other index is
asked all queries, or as many as a limit of seconds allows (``asked``), and the time scaled up.
Needs ``make bench-peers``; ``growth`` rows are ScaNN alone, over 10 thousand … 1 million
vectors. Rows are said on standard error as they come.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.base import BenchResult, Curve, Goal, run_worker
from benchmarks.peer_scripts import shared
from benchmarks.peers import require_peers, run_peer
from benchmarks.titles import read_titles

VECTORS, QUERIES, SAMPLE, K = 730_000, 300_000, 2_000, 10
GROWTH: Final = (10_000, 100_000, 1_000_000)
THREADS: Final = 2
RECALL: Final = 0.95
LIMIT, GROWTH_LIMIT = 180.0, 20.0
GROWN: Final = "scann, growth"
_JITTER: Final = 0.35
_BLOCK: Final = 50_000


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Times build and queries of exact search, ScaNN, hnswlib and faiss."""
    vectors, queries, sample = (2_000, 500, 100) if smoke else (VECTORS, QUERIES, SAMPLE)
    growth = (500, 1_000) if smoke else GROWTH
    if not smoke:
        require_peers("hnswlib", "faiss")
    with tempfile.TemporaryDirectory() as name:
        _write(name, data, max(vectors, *growth), queries, smoke)
        sizes = {"vectors": vectors, "sample": sample, "folder": name, "limit": LIMIT}
        rows = [_ours(step, sizes, queries, here=smoke) for step in ("exact", "scann")]
        if not smoke:
            wanted = max(RECALL, rows[1]["recall"])
            rows += [
                _peer(peer, sizes | {"recall": wanted}, queries) for peer in ("hnswlib", "faiss")
            ]
        limited = sizes | {"limit": GROWTH_LIMIT}
        grown = [
            _ours("scann", limited | {"vectors": size}, queries, here=smoke) | {"index": GROWN}
            for size in growth
        ]
    curve = Curve("vectors", ("CPU seconds of build", "CPU microseconds a query"), {"index": GROWN})
    return BenchResult([*rows, *grown], () if smoke else _judge(*rows), curve=curve)


def _judge(exact: Any, scann: Any, *peers: Any) -> list[Goal]:
    recall = scann["recall"]
    speedup = exact["seconds for all"] / scann["seconds for all"]
    goals = [
        Goal("recall@10", f"at least {RECALL}", recall, recall >= RECALL),
        Goal("speed of queries by exact search's", "at least 10", speedup, speedup >= 10),
    ]
    for peer in peers:
        ratio = _in_all(peer) / _in_all(scann)
        name = f"build + queries of {peer['index']} by ours"
        goals.append(Goal(name, "at least 1", ratio, ratio >= 1))
    return goals


def _in_all(row: Any) -> float:
    return float(row["build"] + row["seconds for all"])


def _write(folder: str, data: Path | None, count: int, queries: int, smoke: bool) -> None:
    named = {"folder": folder, "data": None if data is None else str(data), "smoke": smoke}
    step = {"step": "vectors", "count": count, "queries": queries}
    print(f"match: {count:,} vectors and {queries:,} queries", file=sys.stderr)
    run_worker("benchmarks.match", step | named, threads=THREADS, here=smoke)


def _ours(step: str, sizes: dict[str, Any], queries: int, *, here: bool) -> dict[str, Any]:
    arguments = {"step": step, **sizes}
    row = run_worker("benchmarks.match", arguments, threads=THREADS, here=here)
    return _with_size({"index": step, **row}, sizes["vectors"], queries)


def _peer(peer: str, sizes: dict[str, Any], queries: int) -> dict[str, Any]:
    row = run_peer(f"{peer}_index", sizes | {"threads": THREADS}, threads=THREADS)
    return _with_size({"index": peer, **row}, sizes["vectors"], queries)


def _with_size(row: dict[str, Any], vectors: int, queries: int) -> dict[str, Any]:
    """A measurement with its size, and what a query takes; says it as well."""
    row = {
        **row,
        "vectors": vectors,
        "CPU microseconds a query": 1e6 * row["CPU seconds for all"] / queries,
    }
    print("match:", json.dumps(row), file=sys.stderr, flush=True)
    return row


def write_vectors(folder: Path, data: Path | None, count: int, queries: int, smoke: bool) -> None:
    """Writes ``vectors.npy`` and ``queries.npy``: real title vectors, then noisy copies.

    The titles' order is random, and so is that of the queries: the first of either are
    a fair sample.
    """
    from idp_tf.text import build_text_encoder

    sources = read_titles(data, ("grocery", "home", "movies", "books", "electronics"))
    asked = read_titles(data, ("office", "toys"))
    encoder = build_text_encoder("minilm", "mean", 24, 3)
    rng = np.random.default_rng(0)
    for name, titles, wanted in (("vectors", sources, count), ("queries", asked, queries)):
        real = encoder.encode(titles[: 300 if smoke else None])
        table = _with_copies(rng.permutation(real), wanted, rng)
        np.save(folder / f"{name}.npy", rng.permutation(table) if name == "queries" else table)


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


def measure(folder: str, step: str, vectors: int, sample: int, limit: float) -> dict[str, Any]:
    """Builds an index and asks it; the exact one is asked a sample, and leaves its answer."""
    from idp_tf.retrieval import build_index

    place = Path(folder)
    table = shared.read_table(folder, vectors)
    queries = np.load(place / "queries.npy")
    file = place / f"exact-{vectors}.npy"
    if not file.is_file():
        np.save(file, build_index(table, "exact", K).query(queries[:sample]).rows)
    index, times = shared.time_build(
        lambda: build_index(table, "scann" if step == "scann" else "exact", K)
    )
    asked = queries if step == "scann" else queries[:sample]
    asking = shared.time_queries(lambda block: index.query(block).rows, asked, limit)
    scale = len(queries) / len(asked)
    found = index.query(queries[:sample]).rows
    return {
        **times,
        **{name: asking[name] * scale for name in ("seconds for all", "CPU seconds for all")},
        "asked": asking["asked"],
        "recall": shared.recall_of(found, np.load(file)),
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
