"""faiss IVF over the same vectors and queries, nprobe raised until it reaches the recall."""

import json
import sys
import time
from pathlib import Path

import faiss
import numpy as np


def measure(folder: str, vectors: int, sample: int, recall: float, k: int, threads: int) -> dict:
    """Builds once, searches with the smallest nprobe that reaches the recall on the sample."""
    faiss.omp_set_num_threads(threads)
    table = np.ascontiguousarray(np.load(Path(folder) / "vectors.npy", mmap_mode="r")[:vectors])
    queries = np.load(Path(folder) / "queries.npy")
    exact = np.load(Path(folder) / f"exact-{vectors}.npy")
    lists = round(4 * vectors**0.5)
    begun = time.perf_counter()
    quantizer = faiss.IndexFlatIP(table.shape[1])
    index = faiss.IndexIVFFlat(quantizer, table.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.train(table[:: max(1, vectors // (lists * 64))])
    index.add(table)
    built = time.perf_counter() - begun
    for probes in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512):
        index.nprobe = probes
        _, found = index.search(queries[:sample], k)
        reached = float((exact[:, :, None] == found[:, None, :]).any(axis=2).mean())
        if reached >= recall:
            break
    begun = time.perf_counter()
    index.search(queries, k)
    seconds = time.perf_counter() - begun
    return {
        "index": "faiss IVF",
        "build": built,
        "seconds for all": seconds,
        "recall": reached,
        "settings": f"IVF{lists},Flat, nprobe={probes}",
    }


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
