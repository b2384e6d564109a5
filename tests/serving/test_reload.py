"""Configs that change while a server runs, and labels (``model_servers/server_core.cc``)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from small_models import PATIENCE, Caller, add_version, config_text, failure, wait_for
from tensorflow_serving.apis import model_management_pb2

from idp_tf.errors import ServingError

Launch = Callable[..., Caller]

BAD = "INVALID_ARGUMENT"
LABEL = 'version_labels { key: "stable" value: %d }'
ALL = "model_version_policy { all {} }"


def reload(caller: Caller, config: str) -> Any:
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(config, request.config)
    return caller.models.HandleReloadConfigRequest(request, timeout=PATIENCE)


def test_models_are_added_and_removed(
    launch: Launch, base: Path, doubler: Path, tmp_path: Path
) -> None:
    caller = launch()
    other = tmp_path / "other"
    add_version(other, 4, doubler)
    response = reload(caller, config_text(("m", base), ("other", other)))
    assert response.HasField("status")
    assert (response.status.error_code, response.status.error_message) == (0, "")
    # It answers when what is new does.
    assert caller.answering("other") == 4
    assert caller.answering() == 1
    reload(caller, config_text(("other", other)))
    caller.wait_for_states({1: "END"})
    assert failure(caller.answering) == ("NOT_FOUND", "Servable not found for request: Latest(m)")
    assert caller.answering("other") == 4
    reload(caller, config_text(("m", base)))
    assert caller.answering() == 1
    caller.wait_for_states({4: "END"}, "other")


def test_another_policy(launch: Launch, base: Path, doubler: Path) -> None:
    add_version(base, 2, doubler)
    caller = launch()
    caller.wait_for_states({2: "AVAILABLE"})
    reload(caller, config_text(("m", base), extra=ALL))
    caller.wait_for_states({2: "AVAILABLE", 1: "AVAILABLE"})
    specific = "model_version_policy { specific { versions: 1 } }"
    reload(caller, config_text(("m", base), extra=specific))
    caller.wait_for_states({2: "END", 1: "AVAILABLE"})
    assert caller.answering() == 1


def test_an_empty_list_serves_nothing(launch: Launch) -> None:
    caller = launch()
    reload(caller, "model_config_list {}")
    caller.wait_for_states({1: "END"})


def test_a_server_may_start_with_nothing(launch: Launch, base: Path) -> None:
    """An empty config is no error, and a later one is the first."""
    caller = launch("# nothing yet", allowed_base_path=str(base.parent))
    spec = failure(lambda: caller.answering(label="stable"))
    assert spec == ("UNAVAILABLE", "Model labels does not init yet.stable")
    reload(caller, config_text(("m", base)))
    assert caller.answering() == 1


def test_a_new_model_that_cannot_be_loaded(launch: Launch, base: Path, tmp_path: Path) -> None:
    caller = launch()
    broken = tmp_path / "broken" / "3"
    broken.mkdir(parents=True)
    code, message = failure(
        lambda: reload(caller, config_text(("m", base), ("broken", broken.parent)))
    )
    assert code == "UNKNOWN"
    assert message == (
        "1 model(s) did not become available: {{{name: broken version: 3} due to error: NOT_FOUND: "
        f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {broken}. "
        "Check that the directory exists and that you have the right permissions for accessing it."
        "}, }"
    )
    assert caller.answering() == 1


def test_a_client_need_not_wait_for_ever(launch: Launch, base: Path, tmp_path: Path) -> None:
    """A new model without a version is waited for; the next config is taken all the same."""
    caller = launch()
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(config_text(("m", base), ("n", tmp_path / "none")), request.config)
    call = caller.models.HandleReloadConfigRequest
    assert failure(lambda: call(request, timeout=0.5))[0] == "DEADLINE_EXCEEDED"
    assert caller.answering() == 1
    reload(caller, config_text(("m", base), extra=LABEL % 1))
    assert caller.answering(label="stable") == 1


@pytest.mark.parametrize(
    ("config", "code", "message"),
    [
        (
            "",
            BAD,
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        ),
        (
            "custom_model_config {}",
            BAD,
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        ),
        (
            config_text(("m", Path("/x")), ("m", Path("/x"))),
            BAD,
            "Illegal to list model m multiple times in config list",
        ),
        (
            config_text(("m", Path("x/y"))),
            BAD,
            "Expected model m to have an absolute path or URI; got base_path()=x/y",
        ),
        (
            config_text(("m", Path("/x"))).replace('"tensorflow"', '"caffe"'),
            BAD,
            "Illegal to change a model's platform. For model m platform was tensorflow and new "
            "platform requested is caffe",
        ),
        (
            config_text(("n", Path("/x"))).replace('"tensorflow"', '"caffe"'),
            BAD,
            "Model n requests unsupported platform caffe",
        ),
        (
            config_text(("n", Path("/x"))).replace('"tensorflow"', '""'),
            BAD,
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform, model name is n",
        ),
        (
            config_text(("n", Path("/x")), extra="model_type: TENSORFLOW"),
            BAD,
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            "ModelServerConfig::model_platform, model name is n",
        ),
        (
            config_text(("n", Path("/x")), extra="model_type: OTHER").replace('"tensorflow"', '""'),
            BAD,
            "ModelServerConfig::model_type choice 2 not supported.",
        ),
    ],
)
def test_configs_that_are_refused(launch: Launch, config: str, code: str, message: str) -> None:
    caller = launch()
    assert failure(lambda: reload(caller, config)) == (code, message)
    assert caller.states() == {1: "AVAILABLE"}


def test_the_old_way_to_name_the_platform(launch: Launch, base: Path) -> None:
    old = config_text(("m", base)).replace('model_platform: "tensorflow"', "model_type: TENSORFLOW")
    assert launch(old).answering() == 1


class TestLabels:
    """``ServerCore::UpdateModelVersionLabelMap``."""

    def test_a_label_moves(self, launch: Launch, base: Path, doubler: Path) -> None:
        add_version(base, 2, doubler)
        caller = launch(config_text(("m", base), extra=ALL))
        caller.wait_for_states({2: "AVAILABLE", 1: "AVAILABLE"})
        unknown = (BAD, "Unrecognized servable version label: stable")
        assert failure(lambda: caller.answering(label="stable")) == unknown
        for version in (1, 2, 1):
            reload(caller, config_text(("m", base), extra=ALL + LABEL % version))
            assert caller.answering(label="stable") == version
        reload(caller, config_text(("m", base), extra=ALL))
        assert failure(lambda: caller.answering(label="stable")) == unknown

    def test_a_version_that_is_not_there(self, launch: Launch, base: Path) -> None:
        caller = launch()
        reload(caller, config_text(("m", base), extra=LABEL % 1))
        refused = (
            "FAILED_PRECONDITION",
            "Request to assign label to version 7 of model m, which is not currently available "
            "for inference",
        )
        config = config_text(("m", base), extra=LABEL % 7)
        assert failure(lambda: reload(caller, config)) == refused
        assert caller.answering(label="stable") == 1

    def test_not_even_at_the_start(self, launch: Launch, base: Path) -> None:
        """Labels are looked at before models are loaded."""
        with pytest.raises(ServingError, match="Request to assign label to version 1 of model m"):
            launch(config_text(("m", base), extra=LABEL % 1))

    def test_allowed_for_new_labels_only(self, launch: Launch, base: Path) -> None:
        allow = {"allow_version_labels_for_unavailable_models": True}
        caller = launch(config_text(("m", base), extra=LABEL % 1), **allow)
        assert caller.answering(label="stable") == 1
        config = config_text(("m", base), extra=LABEL % 7)
        assert failure(lambda: reload(caller, config))[0] == "FAILED_PRECONDITION"
        fresh = 'version_labels { key: "canary" value: 7 }'
        reload(caller, config_text(("m", base), extra=LABEL % 1 + fresh))
        assert failure(lambda: caller.answering(label="canary")) == (
            "NOT_FOUND",
            "Servable not found for request: Specific(m, 7)",
        )

    def test_status_ignores_labels(self, launch: Launch) -> None:
        """``model_servers/get_model_status_impl.cc`` looks at the version alone."""
        from tensorflow_serving.apis import get_model_status_pb2

        caller = launch()
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "m"
        request.model_spec.version_label = "nobody's"
        response = caller.models.GetModelStatus(request)
        assert [status.version for status in response.model_version_status] == [1]


def replace_text(file: Path, text: str) -> None:
    fresh = file.with_suffix(".fresh")
    fresh.write_text(text)
    os.rename(fresh, file)


def test_the_config_file_is_read_again(
    launch: Launch, base: Path, doubler: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """``Server::PollFilesystemAndReloadConfig``: a bad file is logged, and changes nothing."""
    caller = launch(model_config_file_poll_wait_seconds=0.05)
    file, other = tmp_path / "models.config", tmp_path / "other"
    add_version(other, 2, doubler)
    replace_text(file, "model_config_list { nonsense }")
    wait_for(lambda: "not a ModelServerConfig" in caplog.text, "the bad file")
    replace_text(file, config_text(("m", Path("x"))))
    wait_for(lambda: "to have an absolute path" in caplog.text, "the relative path")
    assert caller.answering() == 1
    replace_text(file, config_text(("other", other)))
    caller.wait_for_states({2: "AVAILABLE"}, "other")
    caller.wait_for_states({1: "END"})


def test_one_model_by_flags(base: Path) -> None:
    from serving.server import ModelServer

    with ModelServer(port=0, model_name="one", model_base_path=str(base)) as server:
        import grpc

        with grpc.insecure_channel(server.address) as channel:
            assert Caller(channel, server).answering("one") == 1


class TestAllowedBasePath:
    """Ours: whoever may send a config may not have any folder of the machine served."""

    def test_models_inside_are_served(self, launch: Launch, tmp_path: Path) -> None:
        assert launch(allowed_base_path=str(tmp_path)).answering() == 1

    @pytest.mark.parametrize("how", ["elsewhere", "dots", "link"])
    def test_models_outside_are_refused(
        self, launch: Launch, base: Path, doubler: Path, tmp_path: Path, how: str
    ) -> None:
        caller = launch(allowed_base_path=str(base))
        outside = tmp_path / "outside"
        add_version(outside, 1, doubler)
        (base / "link").symlink_to(outside)
        path = {"elsewhere": outside, "dots": base / ".." / "outside", "link": base / "link"}[how]
        code, message = failure(lambda: reload(caller, config_text(("other", path))))
        assert code == "PERMISSION_DENIED"
        assert message.startswith(f"base_path {path} of model other is outside of --allowed_base_")
        assert caller.answering() == 1

    def test_unless_it_is_given_a_reload_stays_beside_the_own_config(
        self, launch: Launch, doubler: Path, tmp_path: Path
    ) -> None:
        """Models of the server's own config may lie anywhere; others beside them."""
        base, beside, outside = (tmp_path / name for name in ("a/m", "a/other", "b/other"))
        for folder in (base, beside, outside):
            add_version(folder, 1, doubler)
        caller = launch(config_text(("m", base)))
        reload(caller, config_text(("m", base), ("other", beside)))
        assert caller.answering("other") == 1
        code, message = failure(lambda: reload(caller, config_text(("new", outside))))
        assert (code, message.split(" is ")[0]) == (
            "PERMISSION_DENIED",
            f"base_path {outside} of model new",
        )
        assert caller.answering("other") == 1

    def test_a_reload_may_go_anywhere_where_the_root_is_allowed(
        self, launch: Launch, doubler: Path, tmp_path: Path
    ) -> None:
        outside = tmp_path / "b" / "other"
        add_version(outside, 1, doubler)
        caller = launch("model_config_list {}", allowed_base_path="/")
        reload(caller, config_text(("new", outside)))
        assert caller.answering("new") == 1

    def test_a_version_that_is_a_link_outside(
        self, launch: Launch, base: Path, doubler: Path, tmp_path: Path
    ) -> None:
        outside = add_version(tmp_path / "outside", 1, doubler)
        (base / "2").symlink_to(outside)
        assert launch(allowed_base_path=str(base)).answering() == 1
        # TF-Serving follows links, and so does a server without a bound.
        assert launch().answering() == 2
