"""Messages that the wheel of TF-Serving's API lacks, in a descriptor pool of their own.

In the pool that all share, another package that brings them would clash.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_POOL: Final = descriptor_pool.DescriptorPool()
_POOL.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
_FILES: Final = [wrappers_pb2.DESCRIPTOR.name]


def _message(package: str, name: str, **fields: int | dict[str, Any]) -> Any:
    """The class of a message; its fields are numbered in the order in which they stand.

    A field is given by its type, or by more of its description.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"private/{name}.proto", package=package, syntax="proto3"
    )
    file.dependency.extend(_FILES)
    message = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), start=1):
        given = kind if isinstance(kind, dict) else {"type": kind}
        message.field.add(name=field, number=number, **{"label": _FIELD.LABEL_OPTIONAL, **given})
    _POOL.Add(file)
    _FILES.append(file.name)
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{package}.{name}"))


def _wrapper(name: str) -> dict[str, Any]:
    """A field whose absence differs from 0."""
    return {"type": _FIELD.TYPE_MESSAGE, "type_name": f".google.protobuf.{name}"}


SSLConfig: Final = _message(
    "tensorflow.serving",
    "SSLConfig",
    server_key=_FIELD.TYPE_STRING,
    server_cert=_FIELD.TYPE_STRING,
    custom_ca=_FIELD.TYPE_STRING,
    client_verify=_FIELD.TYPE_BOOL,
)
"""TF-Serving's ``config/ssl_config.proto``."""

PrometheusConfig: Final = _message(
    "tensorflow.serving",
    "PrometheusConfig",
    enable=_FIELD.TYPE_BOOL,
    path=_FIELD.TYPE_STRING,
)
"""TF-Serving's ``config/monitoring_config.proto``."""

MonitoringConfig: Final = _message(
    "tensorflow.serving",
    "MonitoringConfig",
    prometheus_config={
        "type": _FIELD.TYPE_MESSAGE,
        "type_name": ".tensorflow.serving.PrometheusConfig",
    },
)
"""TF-Serving's ``config/monitoring_config.proto``."""

_INT64: Final = _wrapper("Int64Value")

BatchingParameters: Final = _message(
    "tensorflow.serving",
    "BatchingParameters",
    max_batch_size=_INT64,
    batch_timeout_micros=_INT64,
    max_enqueued_batches=_INT64,
    num_batch_threads=_INT64,
    thread_pool_name=_wrapper("StringValue"),
    allowed_batch_sizes={"type": _FIELD.TYPE_INT64, "label": _FIELD.LABEL_REPEATED},
    pad_variable_length_inputs=_FIELD.TYPE_BOOL,
    enable_large_batch_splitting=_wrapper("BoolValue"),
    max_execution_batch_size=_INT64,
)
"""TF-Serving's ``servables/tensorflow/session_bundle_config.proto``."""

HealthCheckRequest: Final = _message(
    "grpc.health.v1", "HealthCheckRequest", service=_FIELD.TYPE_STRING
)
"""gRPC's ``health/v1/health.proto``."""

# An enum is an int32 on the wire.
HealthCheckResponse: Final = _message(
    "grpc.health.v1", "HealthCheckResponse", status=_FIELD.TYPE_INT32
)
"""gRPC's ``health/v1/health.proto``, the status as its number."""
