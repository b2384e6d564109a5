"""ModelService: wrong questions and wrong configs, labels, and models that come and go."""

from __future__ import annotations

from typing import Any

from requests_of import BAD, PLAIN, Case, each, follows, predict, status
from target import Model, Target
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    prediction_log_pb2,
)
from tensorflow_serving.config import file_system_storage_path_source_pb2, model_server_config_pb2

CORE = "model_servers/server_core.cc"
STATUS = "model_servers/get_model_status_impl.cc"
SERVICE = "model_servers/model_service_impl.cc"
NO_RETRY = {"max_num_load_retries": "0"}
EARLY_LABELS = {"allow_version_labels_for_unavailable_models": "true"}
ALL = file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy()
ALL.all.SetInParent()
NO_MODEL = f"no-such-model-{PLAIN}"

NO_LIST = (
    BAD,
    "ServerModelConfig type not supported by HandleReloadConfigRequest. "
    "Only ModelConfigList is currently supported",
)
CUSTOM = model_management_pb2.ReloadConfigRequest()
CUSTOM.config.custom_model_config.SetInParent()
CASES = [
    Case(
        STATUS,
        "no model_spec",
        "GetModelStatus",
        get_model_status_pb2.GetModelStatusRequest(),
        BAD,
        "Missing ModelSpec",
    ),
    Case(
        STATUS,
        "an unknown model",
        "GetModelStatus",
        status(name=NO_MODEL),
        "NOT_FOUND",
        f"Could not find any versions of model {NO_MODEL}",
    ),
    Case(
        STATUS,
        "no name",
        "GetModelStatus",
        status(name=""),
        "NOT_FOUND",
        "Could not find any versions of model ",
    ),
    Case(
        STATUS,
        "an unknown version",
        "GetModelStatus",
        status(version=7),
        "NOT_FOUND",
        f"Could not find version 7 of model {PLAIN}",
    ),
    Case(
        SERVICE,
        "no config",
        "HandleReloadConfigRequest",
        model_management_pb2.ReloadConfigRequest(),
        *NO_LIST,
    ),
    Case(SERVICE, "a custom config", "HandleReloadConfigRequest", CUSTOM, *NO_LIST),
]


@each(CASES)
def test_a_wrong_request(target: Target, case: Case) -> None:
    assert target.failure(case.method, case.request) == (case.code, case.message)


def refused(model: Model, *wrong: Any) -> tuple[str, str]:
    """How a config fails that lists these models, too; what is served stays."""
    answer = model.target.failure("HandleReloadConfigRequest", model.target.reload_request(*wrong))
    assert model.target.call("Predict", predict()).model_spec.version.value == 3
    return answer


@follows(CORE)
def test_a_model_twice(model: Model) -> None:
    assert refused(model, model.config(), model.config()) == (
        BAD,
        f"Illegal to list model {model.name} multiple times in config list",
    )


@follows(CORE)
def test_a_relative_path(model: Model) -> None:
    assert refused(model, model.target.config(model.name, base_path="models/m")) == (
        BAD,
        f"Expected model {model.name} to have an absolute path or URI; got base_path()=models/m",
    )


@follows(CORE)
def test_twice_before_the_path(model: Model) -> None:
    relative = model.target.config(model.name, base_path="m")
    code, message = refused(model, relative, relative)
    assert (code, message.split(model.name)[0]) == (BAD, "Illegal to list model ")


@follows(CORE)
def test_no_platform(model: Model) -> None:
    assert refused(model, model.target.config(model.name, model_platform="")) == (
        BAD,
        "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
        f"ModelServerConfig::model_platform, model name is {model.name}",
    )


@follows(CORE)
def test_a_platform_twice(model: Model) -> None:
    kind = model_server_config_pb2.ModelType.Value("TENSORFLOW")
    assert refused(model, model.target.config(model.name, model_type=kind)) == (
        BAD,
        "Illegal setting both ModelServerConfig::model_type (deprecated) and "
        f"ModelServerConfig::model_platform, model name is {model.name}",
    )


@follows(CORE)
def test_an_unknown_platform(model: Model) -> None:
    assert refused(model, model.target.config(model.name, model_platform="torch")) == (
        BAD,
        f"Model {model.name} requests unsupported platform torch",
    )


@follows(CORE)
def test_another_platform(model: Model) -> None:
    model.add(1)
    model.serve()
    assert refused(model, model.target.config(model.name, model_platform="torch")) == (
        BAD,
        f"Illegal to change a model's platform. For model {model.name} platform was tensorflow "
        "and new platform requested is torch",
    )
    assert model.answering() == 1


@follows(SERVICE)
def test_a_reload_answers_with_a_status(model: Model) -> None:
    model.add(1)
    response = model.target.reload(model.config())
    assert response.HasField("status")
    assert response.status.error_code == 0
    assert model.answering() == 1


@follows(SERVICE)
def test_metrics_that_a_reload_is_asked_for(model: Model) -> None:
    """By how much each has grown meanwhile; one that nobody counts has not."""
    request = model.target.reload_request()
    request.metric_names.extend(["/no/such/metric", "/tensorflow/serving/request_latency"])
    found = model.target.call("HandleReloadConfigRequest", request).metric
    # By TF-Serving in any order.
    assert {metric.name: metric.int64_value_increase for metric in found} == dict.fromkeys(
        request.metric_names, 0
    )


@follows(CORE)
def test_a_model_that_is_dropped(model: Model) -> None:
    """Its versions end, and are remembered."""
    model.add(1)
    model.serve()
    model.target.drop(model.name)
    model.wait_for_states({1: "END"})
    assert model.error(1) == (0, "")
    assert model.refusal() == (
        "NOT_FOUND",
        f"Servable not found for request: Latest({model.name})",
    )
    model.serve()
    assert model.answering() == 1


@follows(CORE, **NO_RETRY)
def test_a_new_model_that_cannot_be_loaded(model: Model) -> None:
    """The call fails, what is served stays; so does the new config."""
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(predict(name=model.name, signature="s"))
    model.add(1, warmup=log)
    code, message = refused(model, model.config())
    assert code == "UNKNOWN"
    assert message.startswith(
        "1 model(s) did not become available: "
        f"{{{{{{name: {model.name} version: 1}} due to error: FAILED_PRECONDITION: "
        'Serving signature key "s" not found.'
    )
    model.wait_for_states({1: "END"})
    model.add(2)
    model.wait_for_states({2: "AVAILABLE", 1: "END"})
    assert model.answering() == 2


@follows(CORE)
def test_another_folder(model: Model, target: Target) -> None:
    """A config may move a model: the versions there replace those that were served."""
    model.add(1)
    model.serve()
    other = Model(target, model._templates)
    other.add(5)
    target.reload(model.config(folder=other.name))
    model.wait_for_states({5: "AVAILABLE", 1: "END"})
    assert model.answering() == 5


class TestLabels:
    """Which a config assigns, and a request may name in the place of a version."""

    @follows(CORE)
    def test_assigned_and_moved(self, model: Model) -> None:
        model.add(1)
        model.add(2)
        model.serve(ALL)
        model.wait_for_states({2: "AVAILABLE", 1: "AVAILABLE"})
        model.serve(ALL, {"stable": 1, "canary": 2})
        assert [model.answering(label=name) for name in ("stable", "canary", "")] == [1, 2, 2]
        model.serve(ALL, {"stable": 2})
        assert model.answering(label="stable") == 2
        unknown = (BAD, "Unrecognized servable version label: canary")
        assert model.refusal(label="canary") == unknown

    @follows(CORE)
    def test_of_a_version_that_is_not_available(self, model: Model) -> None:
        """The config is refused, and the labels stay."""
        model.add(1)
        model.serve()
        model.serve(labels={"stable": 1})
        assert refused(model, model.config(labels={"stable": 2})) == (
            "FAILED_PRECONDITION",
            f"Request to assign label to version 2 of model {model.name}, which is not currently "
            "available for inference",
        )
        assert model.answering(label="stable") == 1

    @follows(CORE)
    def test_of_a_new_model(self, model: Model) -> None:
        """Its versions are not available before the config is taken."""
        model.add(1)
        code, _ = refused(model, model.config(labels={"stable": 1}))
        assert code == "FAILED_PRECONDITION"

    @follows(CORE, **EARLY_LABELS)
    def test_of_a_new_model_where_allowed(self, model: Model) -> None:
        model.add(1)
        model.serve(labels={"stable": 1, "next": 2})
        assert model.answering(label="stable") == 1
        assert model.refusal(label="next") == (
            "NOT_FOUND",
            f"Servable not found for request: Specific({model.name}, 2)",
        )
        code, _ = refused(model, model.config(labels={"stable": 2}))
        assert code == "FAILED_PRECONDITION"
        assert model.answering(label="stable") == 1
