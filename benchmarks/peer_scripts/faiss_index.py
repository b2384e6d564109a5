"""faiss IVF over the same vectors and queries, nprobe raised until it reaches the recall."""

import faiss
from shared import run

K = 10
LISTS_PER_ROOT = 4
"""Lists by the root of the vectors: the least that faiss' guide advises below a million."""

TRAINING_VECTORS = 64
"""Training vectors for each list."""


def build(table, threads):
    """Inverted lists of whole vectors."""
    faiss.omp_set_num_threads(threads)
    count, width = table.shape
    lists = round(LISTS_PER_ROOT * count**0.5)
    quantizer = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFFlat(quantizer, width, lists, faiss.METRIC_INNER_PRODUCT)
    index.train(table[:: max(1, count // (lists * TRAINING_VECTORS))])
    index.add(table)
    return index, f"IVF{lists},Flat"


def search(index, probes):
    """How it is asked with this nprobe."""

    def ask(queries):
        index.nprobe = min(probes, index.nlist)
        return index.search(queries, K)[1]

    return ask


if __name__ == "__main__":
    run(build, search, ("nprobe", 1, 1024))
