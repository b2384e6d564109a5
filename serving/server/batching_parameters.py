"""``--batching_parameters_file``: how requests are batched, in TF-Serving's text format."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from idp_tf.errors import ServingError
from serving.server import private_protos


@dataclass(frozen=True)
class BatchingParameters:
    """TF-Serving's ``BatchingParameters``, each with TF-Serving's default.

    Args:
        max_batch_size: Most rows of a request, and of a batch unless large ones are split.
        batch_timeout_micros: How long a batch that is not full waits for more rows.
        max_enqueued_batches: Most batches that wait, of each queue.
        num_batch_threads: Batches that run at the same time.
        thread_pool_name: The name of their threads.
        enable_large_batch_splitting: Whether a request may be spread over batches.
        max_execution_batch_size: Most rows of a batch where large ones are split;
            ``max_batch_size`` if absent.
        allowed_batch_sizes: Sizes up to one of which a batch is padded, ascending, the
            last being ``max_batch_size``; none: any size runs as it is.
        pad_variable_length_inputs: Whether inputs of unequal inner shapes are padded to
            the widest of their batch; a batch that holds such inputs fails otherwise.

    Raises:
        ServingError: for values with which TF-Serving would load no model.

    Example:
        >>> BatchingParameters(max_batch_size=8, allowed_batch_sizes=(2, 8)).batch_limit
        8
    """

    max_batch_size: int = 1_000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    thread_pool_name: str = "batch_threads"
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False

    def __post_init__(self) -> None:
        # Without splitting TF-Serving takes 0 for 1, since the open batch always counts.
        positive = ["max_batch_size", "num_batch_threads"]
        positive += ["max_enqueued_batches"] if self.enable_large_batch_splitting else []
        for name in positive:
            if getattr(self, name) < 1:
                raise ServingError(f"{name} must be positive; was {getattr(self, name)}")
        for name in ("batch_timeout_micros", "max_enqueued_batches"):
            if getattr(self, name) < 0:
                raise ServingError(f"{name} must be non-negative; was {getattr(self, name)}")
        if not 1 <= self.batch_limit <= self.max_batch_size:
            raise ServingError(
                f"max_execution_batch_size must be within 1 and max_batch_size; "
                f"was {self.batch_limit}"
            )
        self._check_allowed()

    @property
    def batch_limit(self) -> int:
        """Most rows of a batch."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size

    def padded_size(self, rows: int) -> int:
        """The smallest allowed size that holds that many rows."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)

    def _check_allowed(self) -> None:
        allowed = self.allowed_batch_sizes
        if allowed and allowed[-1] != self.max_batch_size:
            raise ServingError(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{allowed[-1]}; expected {self.max_batch_size}"
            )
        if list(allowed) != sorted({size for size in allowed if size > 0}):
            raise ServingError(f"allowed_batch_sizes must be positive and ascend: {allowed}")


def read_batching_parameters(file: str | Path) -> BatchingParameters:
    """Reads a ``BatchingParameters`` text proto.

    Args:
        file: What ``--batching_parameters_file`` names.

    Raises:
        ServingError: if the file is missing, is none, or holds what TF-Serving refuses.
    """
    given = {field.name: _value(value) for field, value in _parse(Path(file)).ListFields()}
    try:
        return BatchingParameters(**given)
    except ServingError as error:
        raise ServingError(error.problem, where=file, remedy="correct the file") from error


def _value(value: Any) -> Any:
    """What a field holds: a flag, a repeated field, or a number or text in its wrapper."""
    if isinstance(value, bool):
        return value
    return value.value if hasattr(value, "value") else tuple(value)


def _parse(file: Path) -> Any:
    try:
        return text_format.Parse(
            file.read_text(encoding="utf-8"), private_protos.BatchingParameters()
        )
    except OSError as error:
        raise ServingError(
            "the batching parameters cannot be read", where=file, remedy="check the path"
        ) from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ServingError(
            f"no BatchingParameters in text format: {error}",
            where=file,
            remedy="write it as `max_batch_size { value: 32 }`",
        ) from error
