"""``--batching_parameters_file``: how requests are batched, in TF-Serving's text format.

TF-Serving's wheel has no ``session_bundle_config`` proto: the message is described here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

from idp_tf.errors import ServingError

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_PACKAGE: Final = "tensorflow.serving"
_NAME: Final = "BatchingParameters"
# Field -> number, and the wrapper that holds it, so that "absent" differs from 0.
_WRAPPED: Final = {
    "max_batch_size": (1, "Int64Value"),
    "batch_timeout_micros": (2, "Int64Value"),
    "max_enqueued_batches": (3, "Int64Value"),
    "num_batch_threads": (4, "Int64Value"),
    "thread_pool_name": (5, "StringValue"),
    "enable_large_batch_splitting": (8, "BoolValue"),
    "max_execution_batch_size": (9, "Int64Value"),
}


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
    message = _parse(Path(file))
    given: dict[str, Any] = {
        name: getattr(message, name).value for name in _WRAPPED if message.HasField(name)
    }
    try:
        return BatchingParameters(
            **given,
            allowed_batch_sizes=tuple(message.allowed_batch_sizes),
            pad_variable_length_inputs=message.pad_variable_length_inputs,
        )
    except ServingError as error:
        raise ServingError(error.problem, where=file, remedy="correct the file") from error


def _parse(file: Path) -> Any:
    try:
        return text_format.Parse(file.read_text(encoding="utf-8"), _message_class()())
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


@cache
def _message_class() -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="batching_parameters.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    message = file.message_type.add(name=_NAME)
    for name, (number, wrapper) in _WRAPPED.items():
        message.field.add(
            name=name,
            number=number,
            label=_FIELD.LABEL_OPTIONAL,
            type=_FIELD.TYPE_MESSAGE,
            type_name=f".google.protobuf.{wrapper}",
        )
    message.field.add(
        name="allowed_batch_sizes", number=6, label=_FIELD.LABEL_REPEATED, type=_FIELD.TYPE_INT64
    )
    message.field.add(
        name="pad_variable_length_inputs",
        number=7,
        label=_FIELD.LABEL_OPTIONAL,
        type=_FIELD.TYPE_BOOL,
    )
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{_NAME}"))
