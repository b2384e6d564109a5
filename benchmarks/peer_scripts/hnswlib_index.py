"""hnswlib over the same vectors and queries, ef raised until it reaches the recall."""

import hnswlib
from shared import run

K, M, CONSTRUCTION = 10, 16, 100


def build(table, threads):
    """A graph of hnswlib's default degree."""
    index = hnswlib.Index(space="ip", dim=table.shape[1])
    index.set_num_threads(threads)
    index.init_index(max_elements=len(table), ef_construction=CONSTRUCTION, M=M)
    index.add_items(table)
    return index, f"M={M}, ef_construction={CONSTRUCTION}"


def search(index, ef):
    """How it is asked with this ef."""

    def ask(queries):
        index.set_ef(ef)
        return index.knn_query(queries, k=K)[0]

    return ask


if __name__ == "__main__":
    run(build, search, ("ef", 16, 2048))
