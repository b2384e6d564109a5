"""The client's messages, held against those that the wheel of TF-Serving generated."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import any_pb2, text_format, wrappers_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from message_contents import contents, fill, is_map
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import error_codes_pb2, meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
    status_pb2,
)
from tensorflow_serving.config import (
    file_system_storage_path_source_pb2,
    log_collector_config_pb2,
    logging_config_pb2,
    model_server_config_pb2,
)

from serving import wire
from serving.wire.schema import build_classes, field, file, message

PUBLIC = (
    any_pb2, wrappers_pb2, example_pb2, feature_pb2, tensor_pb2, tensor_shape_pb2, types_pb2,
    error_codes_pb2, meta_graph_pb2, classification_pb2, get_model_metadata_pb2,
    get_model_status_pb2, inference_pb2, input_pb2, model_management_pb2, model_pb2, predict_pb2,
    regression_pb2, status_pb2, file_system_storage_path_source_pb2, log_collector_config_pb2,
    logging_config_pb2, model_server_config_pb2,
)  # fmt: skip

NOT_IN_THE_WHEEL = {
    "HealthCheckRequest",
    "HealthCheckResponse",
    "SSLConfig",
    "PrometheusConfig",
    "MonitoringConfig",
}
LEFT_OUT = {
    "TensorProto": {"resource_handle_val", "variant_val"},
    "FileSystemStoragePathSourceConfig": {
        "servables",
        "file_system_poll_wait_seconds",
        "fail_if_zero_versions_at_startup",
        "servable_versions_always_present",
    },
    "TensorInfo": {"composite_tensor"},
    "PredictRequest": {"predict_streamed_options", "client_id", "request_options"},
}
NAMES = sorted(
    {message.name for file in wire.FILES for message in file.message_type} - NOT_IN_THE_WHEEL
)


def public(name: str) -> Any:
    return next(getattr(module, name) for module in PUBLIC if hasattr(module, name))


def declared_here(field: Any) -> bool:
    return field.name not in LEFT_OUT.get(field.containing_type.name, ())


def shape_of(field: Any) -> tuple[Any, ...]:
    kind = field.message_type or field.enum_type
    return (
        field.number,
        field.type,
        field.is_repeated,
        field.is_packed,
        field.has_presence,
        is_map(field),
        kind and kind.full_name,
        field.containing_oneof and field.containing_oneof.name,
    )


def assert_same_fields(here: Any, there: Any) -> None:
    """Down to the messages and enums that are nested in it."""
    assert here.full_name == there.full_name
    missing = LEFT_OUT.get(here.name, set())
    assert {f.name for f in there.fields} - {f.name for f in here.fields} == missing
    for mine in here.fields:
        assert shape_of(mine) == shape_of(there.fields_by_name[mine.name]), mine.full_name
    for nested in here.nested_types:
        assert_same_fields(nested, there.nested_types_by_name[nested.name])
    for enum in here.enum_types:
        assert (
            enum.values_by_name.keys() == there.enum_types_by_name[enum.name].values_by_name.keys()
        )


@pytest.mark.parametrize("name", NAMES)
def test_the_fields_are_the_public_ones(name: str) -> None:
    assert_same_fields(getattr(wire, name).DESCRIPTOR, public(name).DESCRIPTOR)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_the_same_content_is_the_same_bytes(name: str, data: st.DataObject) -> None:
    ours, theirs = getattr(wire, name), public(name)
    content = data.draw(contents(theirs.DESCRIPTOR, declared_here))
    here, there = fill(ours(), content), fill(theirs(), content)
    written = here.SerializeToString(deterministic=True)
    assert written == there.SerializeToString(deterministic=True)
    assert ours.FromString(written) == here
    assert theirs.FromString(written) == there


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_what_is_not_declared_comes_through(name: str, data: st.DataObject) -> None:
    theirs = public(name)
    there = fill(theirs(), data.draw(contents(theirs.DESCRIPTOR)))
    passed_on = getattr(wire, name).FromString(there.SerializeToString()).SerializeToString()
    assert theirs.FromString(passed_on) == there


def test_the_enums_are_the_public_ones() -> None:
    assert wire.DataType.items() == types_pb2.DataType.items()
    # Beside a name that is there so that nobody writes a switch without a default.
    assert set(error_codes_pb2.Code.items()) - set(wire.Code.items()) == {
        item for item in error_codes_pb2.Code.items() if item[0].startswith("DO_NOT_USE")
    }
    states = get_model_status_pb2.ModelVersionStatus.State
    assert wire.ModelVersionStatus.State.items() == states.items()


@pytest.mark.parametrize(
    ("message", "written"),
    [
        (wire.HealthCheckRequest(service="abc"), b"\x0a\x03abc"),
        (wire.HealthCheckResponse(status="SERVING"), b"\x08\x01"),
        (wire.HealthCheckResponse(status="SERVICE_UNKNOWN"), b"\x08\x03"),
        (
            wire.SSLConfig(server_key="k", server_cert="c", custom_ca="a", client_verify=True),
            b"\x0a\x01k\x12\x01c\x1a\x01a\x20\x01",
        ),
        (
            wire.MonitoringConfig(prometheus_config=wire.PrometheusConfig(enable=True, path="/m")),
            b"\x0a\x06\x08\x01\x12\x02/m",
        ),
    ],
)  # fmt: skip
def test_what_the_wheel_lacks(message: Any, written: bytes) -> None:
    """Bytes by hand, from health.proto, ssl_config.proto and monitoring_config.proto."""
    assert message.SerializeToString() == written
    assert type(message).FromString(written) == message


def test_an_any_of_the_wheel_s_is_read() -> None:
    there = get_model_metadata_pb2.GetModelMetadataResponse()
    signatures = get_model_metadata_pb2.SignatureDefMap()
    signatures.signature_def["a"].inputs["x"].name = "x:0"
    there.metadata["signature_def"].Pack(signatures)
    here = wire.GetModelMetadataResponse.FromString(there.SerializeToString())
    read = wire.SignatureDefMap()
    assert here.metadata["signature_def"].Unpack(read)
    assert read.signature_def["a"].inputs["x"].name == "x:0"


def test_a_config_file_is_read() -> None:
    text = """model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow"
        model_version_policy { specific { versions: 2 versions: 3 } }
        version_labels { key: "stable" value: 2 } } }"""
    here = text_format.Parse(text, wire.ModelServerConfig())
    there = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    assert here.SerializeToString() == there.SerializeToString()


def test_a_name_that_is_not_defined() -> None:
    part = message("Part", field("whole", 1, "Whole"))
    assert build_classes([file("p", part, message("Whole"))]).keys() == {"Part", "Whole"}
    with pytest.raises(TypeError):
        build_classes([file("p", part)])


def test_a_message_that_is_none() -> None:
    with pytest.raises(AttributeError, match="no message 'Nothing'"):
        _ = wire.Nothing
