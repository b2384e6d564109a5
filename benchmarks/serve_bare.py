"""What the benchmark ``serve`` serves, and the same model asked by bare Session calls.

As a program, each line of standard input asks for some calls, as JSON; what they took is printed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from serving.saved_models import SERVE_TAG, SERVING_DEFAULT

_HISTORIES: Final = 512
_SHORTEST: Final = 5
_LONGEST_SURPLUS: Final = 1.2

Arrays = dict[str, npt.NDArray[Any]]


def write_models(folder: str, items: int, length: int) -> None:
    """Exports a recommender with random weights, its config, and ``histories.json``."""
    from idp_tf.data.schema import IdMap
    from idp_tf.models import SASRec
    from serving.export import export_recommender, write_models_config

    Path(folder).mkdir()
    model = SASRec(items, 64, num_layers=2, num_heads=2, max_length=length, seed=0)
    names = [f"item-{number}" for number in range(items)]
    export_recommender(model, IdMap(names), Path(folder) / "export")
    write_models_config(Path(folder) / "export")
    rng = np.random.default_rng(0)
    # Some are longer than the encoder reads.
    lengths = rng.integers(_SHORTEST, int(_LONGEST_SURPLUS * length) + 1, _HISTORIES)
    histories = [rng.choice(items, size, replace=False).tolist() for size in lengths]
    # One width for all: a server joins no others in a batch.
    rows = [[names[item] for item in history] for history in histories]
    text = json.dumps([row + [""] * (lengths.max() - len(row)) for row in rows])
    (Path(folder) / "histories.json").write_text(text, encoding="utf-8")


def answer_lines(folder: str, threads: list[int]) -> None:
    """Answers line by line until the input ends.

    Args:
        folder: What ``write_models`` left.
        threads: Within an op, and between ops.
    """
    run = _open_session(str(Path(folder) / "export" / "recommender" / "1"), *threads)
    histories = json.loads((Path(folder) / "histories.json").read_text(encoding="utf-8"))
    sent = cycle(histories)
    for line in sys.stdin:
        print(json.dumps(_time_calls(run, sent, **json.loads(line))), flush=True)


def _open_session(version: str, within: int, between: int) -> Callable[[Arrays], Any]:
    """What runs ``serving_default`` by one ``Session.run``, and nothing besides."""
    import tensorflow as tf

    settings = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=within, inter_op_parallelism_threads=between
    )
    session = tf.compat.v1.Session(graph=tf.Graph(), config=settings)
    with session.graph.as_default():
        loaded = tf.compat.v1.saved_model.load(session, [SERVE_TAG], version)
    signature = loaded.signature_def[SERVING_DEFAULT]
    fetches = {name: info.name for name, info in signature.outputs.items()}
    feeds = {name: info.name for name, info in signature.inputs.items()}
    return lambda arrays: session.run(fetches, {feeds[name]: arrays[name] for name in arrays})


def _time_calls(
    run: Callable[[Arrays], Any], histories: Iterator[list[str]], rows: int, calls: int, k: int
) -> dict[str, float]:
    """CPU seconds of this process in so many calls of so many rows, inputs made before."""
    batches = [_batch(list(islice(histories, rows)), k) for _ in range(calls)]
    begun = time.process_time()
    for batch in batches:
        run(batch)
    return {"cpu": time.process_time() - begun}


def _batch(histories: list[list[str]], k: int) -> Arrays:
    return {
        "item_ids": np.array(histories, dtype=object),
        "k": np.full(len(histories), k, np.int32),
    }


def main(arguments: dict[str, Any]) -> Any:
    """Writes the models, or answers, in a process of its own."""
    if "threads" in arguments:
        answer_lines(**arguments)
    else:
        write_models(**arguments)
    return None


if __name__ == "__main__":
    # What ``run_worker`` waits for is a last line of JSON.
    print(json.dumps(main(json.loads(sys.argv[1]))))
