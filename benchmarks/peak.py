"""peak: how near a training step comes to what the machine can do.

On paper, a step of SASRec takes so many operations (matrix products, forward once and
backward twice) and must move so many bytes. Beside them stands what the machine does: its
float32 matrix-product rate and its copying rate, measured in the same process on the same
thread. The profile of the step, by kind of operation, says where the rest of the time goes.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.base import BenchResult, Goal, run_worker
from benchmarks.train_growth import build_training

LEAST_SHARE: Final = 0.3
NUM_ITEMS: Final = 10_000
LAYERS, HEADS, DIM = 2, 2, 64
_FLOAT: Final = 4
_PROFILED_STEPS: Final = 10
_KINDS: Final = {
    "matrix products": r":.*MatMul",
    "layer norms": r"norm.*:",
    "dropout": r"dropout.*:",
    "Adam, rows included": r"Adam.*:",
    "softmax": r":.*Softmax",
    "transposing, packing, adding biases": r":.*(Transpose|Pack|Concat|Slice|Tile|BiasAdd)",
    "look-ups": r":.*(Gather|Unique)",
}
"""What a kernel is called in the profile, "name in the graph:Type"; the first that fits counts."""
_REST: Final = "other element-wise work"


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Measures one full batch of 256 histories, 50 long, on one thread."""
    del data
    shape = {"batch_size": 8, "length": 10} if smoke else {"batch_size": 256, "length": 50}
    seen = run_worker("benchmarks.peak", {**shape, "smoke": smoke}, threads=1, here=smoke)
    operations, moved = count_operations(**shape), count_bytes(**shape)
    seconds = seen["step"]
    compute, move = operations / seen["products"], moved / seen["copies"]
    profiled = sum(seen["kinds"].values())
    rows = [
        _row("the step, measured", seconds, seconds),
        _row(f"floor: {operations / 1e9:.2f} G operations", compute, seconds),
        _row(f"floor: {moved / 1e9:.2f} GB moved", move, seconds),
        *(_row(kind, value, profiled) for kind, value in seen["kinds"].items()),
    ]
    share = compute / seconds
    return BenchResult(
        rows,
        [
            Goal(
                "share of the machine's matrix-product rate",
                f"at least {LEAST_SHARE}, or the profile that says why",
                share,
                share >= LEAST_SHARE,
            )
        ],
        [
            "Below the floors: kernels of the step under the profiler, as shares of their sum.",
            f"This machine, one thread: {seen['products'] / 1e9:.0f} G float32 operations a second "
            f"in a matrix product of 1,024, {seen['copies'] / 1e9:.1f} GB a second copied.",
        ],
    )


def count_operations(batch_size: int, length: int) -> int:
    """Multiplications and additions of a step's matrix products.

    For each position and layer: 12 dim^2 in the projections (queries, keys, values, output,
    two of the network) and 4 length dim in the attention; 4 dim for the two scores. The
    backward pass takes twice the forward's.
    """
    forward = LAYERS * (12 * DIM**2 + 4 * length * DIM) + 4 * DIM
    return 3 * batch_size * length * forward


def count_bytes(batch_size: int, length: int) -> int:
    """Bytes that a step moves if each result of a matrix product, norm or softmax is kept.

    For each position and layer 9 dim numbers (three projections, context, output, two of the
    network, two norms) and 2 heads length (scores and weights), each written, read by the
    next, read backward, and its gradient written and read. Rows of the table: three look-ups,
    and six for the update of each (value and two moments, read and written).
    """
    kept = LAYERS * (9 * DIM + 2 * HEADS * length)
    return _FLOAT * batch_size * length * (5 * kept + 3 * (1 + 6) * DIM)


def measure(batch_size: int, length: int, smoke: bool) -> dict[str, Any]:
    """The machine's two rates, the step's CPU seconds, and where they go."""
    train = build_training(NUM_ITEMS, batch_size, length, steps=1)
    rounds = 2 if smoke else 30
    train()
    products, copies, step = [], [], []
    multiply, copy = _matrix_product(64 if smoke else 1_024), _copy(1 if smoke else 64)
    for _ in range(rounds):
        products.append(_rate(multiply))
        copies.append(_rate(copy))
        step.append(_seconds(train))
    return {
        "products": max(products),
        "copies": max(copies),
        "step": float(np.median(step)),
        "kinds": _profile(train),
    }


def _row(what: str, seconds: float, whole: float) -> dict[str, Any]:
    return {"what": what, "milliseconds": 1e3 * seconds, "share": seconds / whole}


def _seconds(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def _rate(call: Callable[[], float]) -> float:
    begun = time.process_time()
    return call() / (time.process_time() - begun)


def _matrix_product(size: int) -> Callable[[], float]:
    import tensorflow as tf

    matrix = tf.random.stateless_uniform([size, size], seed=[0, 0])

    def call() -> float:
        for _ in range(4):
            product = tf.matmul(matrix, matrix)
        product.numpy()
        return 4 * 2 * float(size) ** 3

    return call


def _copy(mebibytes: int) -> Callable[[], float]:
    source = np.ones(mebibytes * 2**18, np.float32)
    target = np.empty_like(source)

    def call() -> float:
        np.copyto(target, source)
        return 2.0 * source.nbytes

    return call


def _profile(train: Callable[[], None]) -> dict[str, float]:
    """Seconds of one step by kind of operation, from TensorFlow's own profiler."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(_PROFILED_STEPS):
                train()
        file = next(Path(folder).rglob("*.xplane.pb"))
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    spent: Counter[str] = Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if ":" in name and "::" not in name and " " not in name:
                    spent[_kind(name)] += event.duration_ps
    return {kind: value / 1e12 / _PROFILED_STEPS for kind, value in spent.most_common()}


def _kind(kernel: str) -> str:
    return next((kind for kind, name in _KINDS.items() if re.search(name, kernel)), _REST)


def main(arguments: dict[str, Any]) -> Any:
    """The measurement, as ``run_worker`` calls it."""
    return measure(**arguments)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
