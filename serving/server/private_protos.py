"""Messages that the wheel of TF-Serving's API lacks, in a descriptor pool of their own.

In the pool that all share, another package that brings them would clash.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_POOL: Final = descriptor_pool.DescriptorPool()


def _message(package: str, name: str, **fields: int) -> Any:
    """The class of a message; its fields are numbered in the order in which they stand."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"private/{name}.proto", package=package, syntax="proto3"
    )
    message = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), start=1):
        message.field.add(name=field, number=number, type=kind, label=_FIELD.LABEL_OPTIONAL)
    _POOL.Add(file)
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{package}.{name}"))


SSLConfig: Final = _message(
    "tensorflow.serving",
    "SSLConfig",
    server_key=_FIELD.TYPE_STRING,
    server_cert=_FIELD.TYPE_STRING,
    custom_ca=_FIELD.TYPE_STRING,
    client_verify=_FIELD.TYPE_BOOL,
)
"""TF-Serving's ``config/ssl_config.proto``."""

HealthCheckRequest: Final = _message(
    "grpc.health.v1", "HealthCheckRequest", service=_FIELD.TYPE_STRING
)
"""gRPC's ``health/v1/health.proto``."""

# An enum is an int32 on the wire.
HealthCheckResponse: Final = _message(
    "grpc.health.v1", "HealthCheckResponse", status=_FIELD.TYPE_INT32
)
"""gRPC's ``health/v1/health.proto``, the status as its number."""
