"""TF-Serving 2.20.0's names, read in its sources; what deploy/ says must be among them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

# model_servers/main.cc
_FLAGS: Final = """
    port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms
    rest_api_enable_cors_support enable_batching allow_version_labels_for_unavailable_models
    batching_parameters_file enable_per_model_batching_parameters model_config_file
    model_config_file_poll_wait_seconds model_name model_base_path num_load_threads
    num_unload_threads max_num_load_retries load_retry_interval_micros
    file_system_poll_wait_seconds flush_filesystem_caches tensorflow_session_parallelism
    tensorflow_session_config_file tensorflow_intra_op_parallelism
    tensorflow_inter_op_parallelism use_alts_credentials ssl_config_file platform_config_file
    per_process_gpu_memory_fraction saved_model_tags grpc_channel_arguments grpc_max_threads
    enable_model_warmup num_request_iterations_for_warmup version monitoring_config_file
    remove_unused_fields_from_bundle_metagraph prefer_tflite_model num_tflite_pools
    num_tflite_interpreters_per_pool enable_signature_method_name_check
    xla_cpu_compilation_enabled xla_gpu_compilation_enabled enable_profiler
    thread_pool_factory_config_file mixed_precision skip_initialize_tpu
    enable_grpc_healthcheck_service enable_serialization_as_tensor_content
"""
FLAGS: Final = frozenset(_FLAGS.split())


class Metric(NamedTuple):
    is_histogram: bool
    labels: tuple[str, ...]

    def series(self, name: str) -> list[str]:
        """Its names in Prometheus' format; util/prometheus_exporter.cc writes ":" for "/"."""
        ends = ("_bucket", "_sum", "_count") if self.is_histogram else ("",)
        return [name.replace("/", ":") + end for end in ends]


METRICS: Final = {
    # servables/tensorflow/util.cc
    "/tensorflow/serving/request_count": Metric(False, ("model_name", "status")),
    "/tensorflow/serving/request_latency": Metric(True, ("model_name", "API", "entrypoint")),
    "/tensorflow/serving/runtime_latency": Metric(True, ("model_name", "API", "runtime")),
    "/tensorflow/serving/request_example_counts": Metric(True, ("model",)),
    "/tensorflow/serving/request_example_count_total": Metric(False, ("model",)),
    # batching/batching_session.cc, batching/batching_util.h
    "/tensorflow/serving/batching_session/queuing_latency": Metric(True, ("thread_pool_name",)),
    "/tensorflow/serving/batching_session/wrapped_run_count": Metric(False, ()),
    "/tensorflow/serving/batching_session/padding_size": Metric(True, ("execution_batch_size",)),
    "/tensorflow/serving/batching_session/input_batch_size": Metric(True, ()),
    "/tensorflow/serving/batching_session/processed_batch_size": Metric(True, ()),
    # servables/tensorflow/saved_model_warmup_util.cc
    "/tensorflow/serving/model_warmup_latency": Metric(True, ("model_path", "status")),
    "/tensorflow/serving/model_warmup_records_read": Metric(False, ("model_path", "status")),
    # core/request_logger.cc
    "/tensorflow/serving/request_log_count": Metric(False, ("model_name", "status_code")),
    # TensorFlow's cc/saved_model/loader.cc
    "/tensorflow/cc/saved_model/load_attempt_count": Metric(False, ("model_path", "status")),
    "/tensorflow/cc/saved_model/load_latency": Metric(False, ("model_path",)),
    "/tensorflow/cc/saved_model/load_latency_by_stage": Metric(True, ("model_path", "stage")),
}

SERIES: Final = {
    series: metric for name, metric in METRICS.items() for series in metric.series(name)
}

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_INT64: Final = ".google.protobuf.Int64Value"
_BOOL: Final = ".google.protobuf.BoolValue"
_STRING: Final = ".google.protobuf.StringValue"

# Message -> field -> (number, type), the type a message's name or a scalar's number. Sources:
# servables/tensorflow/session_bundle_config.proto, config/{monitoring,ssl}_config.proto
_MESSAGES: Final[dict[str, dict[str, tuple[int, int | str]]]] = {
    "BatchingParameters": {
        "max_batch_size": (1, _INT64),
        "batch_timeout_micros": (2, _INT64),
        "max_enqueued_batches": (3, _INT64),
        "num_batch_threads": (4, _INT64),
        "thread_pool_name": (5, _STRING),
        "allowed_batch_sizes": (6, _FIELD.TYPE_INT64),
        "pad_variable_length_inputs": (7, _FIELD.TYPE_BOOL),
        "enable_large_batch_splitting": (8, _BOOL),
        "max_execution_batch_size": (9, _INT64),
    },
    "PrometheusConfig": {"enable": (1, _FIELD.TYPE_BOOL), "path": (2, _FIELD.TYPE_STRING)},
    "MonitoringConfig": {"prometheus_config": (1, ".tensorflow.serving.PrometheusConfig")},
    "SSLConfig": {
        "server_key": (1, _FIELD.TYPE_STRING),
        "server_cert": (2, _FIELD.TYPE_STRING),
        "custom_ca": (3, _FIELD.TYPE_STRING),
        "client_verify": (4, _FIELD.TYPE_BOOL),
    },
}
_REPEATED: Final = ("allowed_batch_sizes",)


def message(name: str) -> Any:
    """An empty one of the messages that the wheel of TF-Serving's API lacks."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="facts.proto", package="tensorflow.serving", syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for of, fields in _MESSAGES.items():
        described = file.message_type.add(name=of)
        for field, (number, kind) in fields.items():
            label = _FIELD.LABEL_REPEATED if field in _REPEATED else _FIELD.LABEL_OPTIONAL
            added = described.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = _FIELD.TYPE_MESSAGE, kind
            else:
                added.type = kind
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"tensorflow.serving.{name}")
    )()
