"""What a server counts and times, as a page for Prometheus, under TF-Serving's own names.

Follows TF-Serving's ``util/prometheus_exporter.cc`` (the page) and the files that each metric
names. Only what this server measures itself is there: TensorFlow's own metrics, such as
``:tensorflow:core:graph_runs``, cannot be read from Python.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

from serving.server.request_checks import RequestError

MAX_CELLS: Final = 1_000
"""Most label sets of a metric: a client could name any number of models that are not there."""

OTHERS: Final = "(others)"
"""Every label of what comes beyond them."""

_MICROS: Final = 1e6
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def exponential(scale: float, growth: float, count: int) -> tuple[float, ...]:
    """Bounds of buckets (TensorFlow's ``monitoring::Buckets::Exponential``).

    Example:
        >>> exponential(1, 2, 4)
        (1, 2, 4, 8)
    """
    return tuple(scale * growth**power for power in range(count))


class Metric:
    """A counter, or with bounds a histogram: numbers for each set of labels; threads may share it.

    As in TensorFlow, a value that equals a bound falls into the bucket above it.

    Args:
        name: Its name on the page.
        labels: The names of its labels.
        bounds: Upper bounds of the buckets, ascending; none for a counter.

    Example:
        >>> runs = Metric(":runs", ("model",))
        >>> runs.add(2, "a")
        >>> list(runs.lines())
        ['# TYPE :runs counter', ':runs{model="a"} 2']
    """

    def __init__(self, name: str, labels: Sequence[str] = (), bounds: Sequence[float] = ()):
        self.name = name
        self._labels = tuple(labels)
        self._bounds = tuple(bounds)
        self._lock = threading.Lock()
        # A cell: how many fell into each bucket, and their sum; a counter's has only the sum.
        self._cells: dict[tuple[str, ...], list[float]] = {}

    def add(self, value: float, *labels: str) -> None:
        """Counts so much, or sorts a value into its bucket."""
        with self._lock:
            cell = self._cells.get(labels)
            if cell is None:
                if len(self._cells) >= MAX_CELLS:
                    labels = (OTHERS,) * len(labels)
                empty = [0.0] * (len(self._bounds) + 2 if self._bounds else 1)
                cell = self._cells.setdefault(labels, empty)
            if self._bounds:
                cell[bisect_right(self._bounds, value)] += 1
            cell[-1] += value

    def first_count(self) -> int:
        """What it has counted for the first of its label sets; 0 for a histogram."""
        with self._lock:
            cells = {} if self._bounds else self._cells
            return int(cells[min(cells)][-1]) if cells else 0

    def lines(self) -> Iterator[str]:
        """Its lines on the page."""
        yield f"# TYPE {self.name} {'histogram' if self._bounds else 'counter'}"
        with self._lock:
            cells = {labels: list(cell) for labels, cell in self._cells.items()}
        for values, cell in cells.items():
            labels = ",".join(
                f'{label}="{value.translate(_ESCAPES)}"'
                for label, value in zip(self._labels, values, strict=True)
            )
            if self._bounds:
                yield from self._histogram_lines(labels, cell)
            else:
                yield f"{self.name}{{{labels}}} {cell[-1]:.0f}"

    def _histogram_lines(self, labels: str, cell: Sequence[float]) -> Iterator[str]:
        bounds = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        count = 0.0
        for bound, number in zip(bounds, cell, strict=False):
            count += number
            yield f'{self.name}_bucket{{{labels}{"," * bool(labels)}le="{bound}"}} {count:.0f}'
        yield f"{self.name}_sum{{{labels}}} {cell[-1]:.17g}"
        yield f"{self.name}_count{{{labels}}} {count:.0f}"


class Metrics:
    """The metrics of one server; latencies are in microseconds on the page.

    Example:
        >>> metrics = Metrics()
        >>> metrics.count_request("recommender", "OK")
        >>> ':tensorflow:serving:request_count{model_name="recommender",status="OK"} 1' in (
        ...     metrics.page().splitlines()
        ... )
        True
    """

    def __init__(self) -> None:
        # 10 microseconds to 25 minutes.
        latency = exponential(10, 1.8, 33)
        sizes = exponential(1, 2, 14)
        root, batching = ":tensorflow:serving:", ":tensorflow:serving:batching_session:"
        # servables/tensorflow/util.cc
        self._requests = Metric(root + "request_count", ("model_name", "status"))
        self._request_latency = Metric(
            root + "request_latency", ("model_name", "API", "entrypoint"), latency
        )
        self._runtime_latency = Metric(
            root + "runtime_latency", ("model_name", "API", "runtime"), latency
        )
        self._examples = Metric(root + "request_example_counts", ("model",), exponential(1, 2, 15))
        self._examples_total = Metric(root + "request_example_count_total", ("model",))
        # servables/tensorflow/saved_model_warmup_util.cc
        warmup = ("model_path", "status")
        self._warmup_latency = Metric(root + "model_warmup_latency", warmup, latency)
        self._warmup_records = Metric(root + "model_warmup_records_read", warmup)
        # batching/batching_session.cc and batching/batching_util.h
        self._queuing = Metric(
            batching + "queuing_latency", ("thread_pool_name",), exponential(100, 1.2, 52)
        )
        self._runs = Metric(batching + "wrapped_run_count")
        self._input_sizes = Metric(batching + "input_batch_size", (), sizes)
        self._processed_sizes = Metric(batching + "processed_batch_size", (), sizes)
        self._padding = Metric(batching + "padding_size", ("execution_batch_size",), sizes)

    def count_request(self, model: str, status: str) -> None:
        """A request that was answered, by any status: ``"OK"`` or a code's name."""
        self._requests.add(1, model, status)

    def time_request(self, model: str, api: str, entrypoint: str, seconds: float) -> None:
        """How long a request took that was answered well; the entrypoint is GRPC or REST."""
        self._request_latency.add(int(seconds * _MICROS), model, api, entrypoint)

    def time_run(self, model: str, api: str, seconds: float) -> None:
        """How long its session took, with its wait in a queue of batches."""
        self._runtime_latency.add(int(seconds * _MICROS), model, api, "TF1")

    def count_examples(self, model: str, number: int) -> None:
        """How many tf.Examples a request held."""
        self._examples.add(number, model)
        self._examples_total.add(number, model)

    def warmed_up(self, path: str, records: int, seconds: float) -> None:
        """A version whose warm-up requests all went well."""
        self._warmup_latency.add(int(seconds * _MICROS), path, "OK")
        self._warmup_records.add(records, path, "OK")

    def batched(self, pool: str, waits: Sequence[float], sizes: Sequence[int], padded: int) -> None:
        """A batch that is about to run.

        Args:
            pool: The name of the batches' threads.
            waits: Seconds that each request of it waited.
            sizes: Rows of each.
            padded: Rows of the batch, with those that pad it.
        """
        for wait, size in zip(waits, sizes, strict=True):
            self._queuing.add(int(wait * _MICROS), pool)
            self._input_sizes.add(size)
        self._runs.add(1)
        self._processed_sizes.add(padded)
        self._padding.add(padded - sum(sizes), str(padded))

    def first_count(self, name: str) -> int:
        """A metric as a reload reads it (``model_service_impl.cc``), by TensorFlow's name.

        Args:
            name: Such as ``/tensorflow/serving/request_count``.

        Returns:
            The count of its first label set; 0 for a histogram, and for what is not there.
        """
        wanted = name.replace("/", ":")
        return next((m.first_count() for m in self._all() if m.name == wanted), 0)

    def _all(self) -> list[Metric]:
        return [value for value in vars(self).values() if isinstance(value, Metric)]

    def page(self) -> str:
        """All of them in Prometheus' text format, by name."""
        ordered = sorted(self._all(), key=lambda metric: metric.name)
        return "\n".join(line for metric in ordered for line in metric.lines()) + "\n"


def status_name(error: BaseException | None) -> str:
    """The name of the code that a request was answered by."""
    if error is None:
        return "OK"
    return error.code.name if isinstance(error, RequestError) else "INTERNAL"
