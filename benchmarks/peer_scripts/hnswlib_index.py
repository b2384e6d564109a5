"""hnswlib over the same vectors and queries, ef raised until it reaches the recall."""

import json
import sys
import time
from pathlib import Path

import hnswlib
import numpy as np


def measure(folder: str, vectors: int, sample: int, recall: float, k: int, threads: int) -> dict:
    """Builds once, searches with the smallest ef that reaches the recall on the sample."""
    table = np.ascontiguousarray(np.load(Path(folder) / "vectors.npy", mmap_mode="r")[:vectors])
    queries = np.load(Path(folder) / "queries.npy")
    exact = np.load(Path(folder) / f"exact-{vectors}.npy")
    index = hnswlib.Index(space="ip", dim=table.shape[1])
    index.set_num_threads(threads)
    begun = time.perf_counter()
    index.init_index(max_elements=vectors, ef_construction=100, M=16)
    index.add_items(table)
    built = time.perf_counter() - begun
    for ef in (16, 32, 64, 128, 256, 512, 1024):
        index.set_ef(ef)
        found, _ = index.knn_query(queries[:sample], k=k)
        reached = float((exact[:, :, None] == found[:, None, :]).any(axis=2).mean())
        if reached >= recall:
            break
    begun = time.perf_counter()
    index.knn_query(queries, k=k)
    seconds = time.perf_counter() - begun
    return {
        "index": "hnswlib",
        "build": built,
        "seconds for all": seconds,
        "recall": reached,
        "settings": f"M=16, ef_construction=100, ef={ef}",
    }


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
