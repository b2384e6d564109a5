"""TF-Serving's messages, its configuration files, and gRPC's health check.

Source: tensorflow_serving/apis/{model,predict,input,classification,regression,inference,
get_model_metadata,get_model_status,status,model_management}.proto and
tensorflow_serving/config/{model_server_config,file_system_storage_path_source,logging_config,
log_collector_config,ssl_config,monitoring_config}.proto of TF-Serving 2.20;
grpc/health/v1/health.proto.

Left out, and kept unread in what is received: of a PredictRequest the options of streamed
prediction, which TF-Serving's own server does not answer; of a
FileSystemStoragePathSourceConfig all but the version policies, which a ModelConfig holds.
"""

from __future__ import annotations

from typing import Final

from serving.wire.schema import enum, field, file, map_field, message, oneof, optional, repeated

_MODEL_SPEC: Final = message(
    "ModelSpec",
    field("name", 1, "string"),
    oneof(
        "version_choice",
        field("version", 2, "google.protobuf.Int64Value"),
        field("version_label", 4, "string"),
    ),
    field("signature_name", 3, "string"),
)

_PREDICT: Final = (
    message(
        "PredictRequest",
        field("model_spec", 1, "ModelSpec"),
        map_field("inputs", 2, "string", "TensorProto"),
        repeated("output_filter", 3, "string"),
    ),
    message(
        "PredictResponse",
        map_field("outputs", 1, "string", "TensorProto"),
        field("model_spec", 2, "ModelSpec"),
    ),
)

_EXAMPLES: Final = (
    message("ExampleList", repeated("examples", 1, "Example")),
    message(
        "ExampleListWithContext", repeated("examples", 1, "Example"), field("context", 2, "Example")
    ),
    message(
        "Input",
        oneof(
            "kind",
            field("example_list", 1, "ExampleList"),
            field("example_list_with_context", 2, "ExampleListWithContext"),
        ),
    ),
)

_CLASSIFICATION: Final = (
    message("Class", field("label", 1, "string"), field("score", 2, "float")),
    message("Classifications", repeated("classes", 1, "Class")),
    message("ClassificationResult", repeated("classifications", 1, "Classifications")),
    message(
        "ClassificationRequest", field("model_spec", 1, "ModelSpec"), field("input", 2, "Input")
    ),
    message(
        "ClassificationResponse",
        field("result", 1, "ClassificationResult"),
        field("model_spec", 2, "ModelSpec"),
    ),
)

_REGRESSION: Final = (
    message("Regression", field("value", 1, "float")),
    message("RegressionResult", repeated("regressions", 1, "Regression")),
    message("RegressionRequest", field("model_spec", 1, "ModelSpec"), field("input", 2, "Input")),
    message(
        "RegressionResponse",
        field("result", 1, "RegressionResult"),
        field("model_spec", 2, "ModelSpec"),
    ),
)

_MULTI_INFERENCE: Final = (
    message(
        "InferenceTask", field("model_spec", 1, "ModelSpec"), field("method_name", 2, "string")
    ),
    message(
        "InferenceResult",
        field("model_spec", 1, "ModelSpec"),
        oneof(
            "result",
            field("classification_result", 2, "ClassificationResult"),
            field("regression_result", 3, "RegressionResult"),
        ),
    ),
    message(
        "MultiInferenceRequest", repeated("tasks", 1, "InferenceTask"), field("input", 2, "Input")
    ),
    message("MultiInferenceResponse", repeated("results", 1, "InferenceResult")),
)

_METADATA: Final = (
    message("SignatureDefMap", map_field("signature_def", 1, "string", "SignatureDef")),
    message(
        "GetModelMetadataRequest",
        field("model_spec", 1, "ModelSpec"),
        repeated("metadata_field", 2, "string"),
    ),
    message(
        "GetModelMetadataResponse",
        field("model_spec", 1, "ModelSpec"),
        map_field("metadata", 2, "string", "google.protobuf.Any"),
    ),
)

_STATUS: Final = (
    message(
        "StatusProto",
        field("error_code", 1, "tensorflow.error.Code"),
        field("error_message", 2, "string"),
    ),
    message(
        "ModelVersionStatus",
        enum("State", UNKNOWN=0, START=10, LOADING=20, AVAILABLE=30, UNLOADING=40, END=50),
        field("version", 1, "int64"),
        field("state", 2, "State"),
        field("status", 3, "StatusProto"),
    ),
    message("GetModelStatusRequest", field("model_spec", 1, "ModelSpec")),
    message("GetModelStatusResponse", repeated("model_version_status", 1, "ModelVersionStatus")),
)

_LOGGING: Final = (
    message(
        "LogCollectorConfig", field("type", 1, "string"), field("filename_prefix", 2, "string")
    ),
    message(
        "PerTaskSamplingConfig",
        field("dc", 1, "string"),
        optional("task_index", 2, "int32"),
        field("sampling_rate", 3, "double"),
    ),
    message(
        "SamplingConfig",
        enum("Attributes", ATTR_DEFAULT=0, ATTR_REQUEST_ORIGIN=1, ATTR_REQUEST_CRITICALITY=2),
        field("sampling_rate", 1, "double"),
        repeated("per_task_sampling_configs", 3, "PerTaskSamplingConfig"),
        field("attributes", 2, "int32"),
    ),
    message(
        "LoggingConfig",
        field("log_collector_config", 1, "LogCollectorConfig"),
        field("sampling_config", 2, "SamplingConfig"),
        field("custom_logging_config", 3, "google.protobuf.Any"),
    ),
)

_MODELS: Final = (
    message(
        "FileSystemStoragePathSourceConfig",
        message(
            "ServableVersionPolicy",
            message("Latest", field("num_versions", 1, "uint32")),
            message("All"),
            message("Specific", repeated("versions", 1, "int64")),
            oneof(
                "policy_choice",
                field("latest", 100, "Latest"),
                field("all", 101, "All"),
                field("specific", 102, "Specific"),
            ),
        ),
    ),
    enum("ModelType", MODEL_TYPE_UNSPECIFIED=0, TENSORFLOW=1, OTHER=2),
    message(
        "ModelConfig",
        field("name", 1, "string"),
        field("base_path", 2, "string"),
        field("model_type", 3, "ModelType"),
        field("model_platform", 4, "string"),
        field("model_version_policy", 7, "FileSystemStoragePathSourceConfig.ServableVersionPolicy"),
        map_field("version_labels", 8, "string", "int64"),
        field("logging_config", 6, "LoggingConfig"),
    ),
    message("ModelConfigList", repeated("config", 1, "ModelConfig")),
    message(
        "ModelServerConfig",
        oneof(
            "config",
            field("model_config_list", 1, "ModelConfigList"),
            field("custom_model_config", 2, "google.protobuf.Any"),
        ),
    ),
    message(
        "ReloadConfigRequest",
        field("config", 1, "ModelServerConfig"),
        repeated("metric_names", 2, "string"),
    ),
    message(
        "Metric",
        field("name", 1, "string"),
        oneof("value_increase", field("int64_value_increase", 2, "int64")),
    ),
    message(
        "ReloadConfigResponse", field("status", 1, "StatusProto"), repeated("metric", 2, "Metric")
    ),
)

_FILES_OF_THE_SERVER: Final = (
    message(
        "SSLConfig",
        field("server_key", 1, "string"),
        field("server_cert", 2, "string"),
        field("custom_ca", 3, "string"),
        field("client_verify", 4, "bool"),
    ),
    message("PrometheusConfig", field("enable", 1, "bool"), field("path", 2, "string")),
    message("MonitoringConfig", field("prometheus_config", 1, "PrometheusConfig")),
)

SERVING: Final = file(
    "tensorflow.serving",
    _MODEL_SPEC,
    *_PREDICT,
    *_EXAMPLES,
    *_CLASSIFICATION,
    *_REGRESSION,
    *_MULTI_INFERENCE,
    *_METADATA,
    *_STATUS,
    *_LOGGING,
    *_MODELS,
    *_FILES_OF_THE_SERVER,
    needs=("google.protobuf", "tensorflow", "tensorflow.error"),
)

HEALTH: Final = file(
    "grpc.health.v1",
    message("HealthCheckRequest", field("service", 1, "string")),
    message(
        "HealthCheckResponse",
        enum("ServingStatus", UNKNOWN=0, SERVING=1, NOT_SERVING=2, SERVICE_UNKNOWN=3),
        field("status", 1, "ServingStatus"),
    ),
)
