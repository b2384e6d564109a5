"""Versions that come and go, over a real channel; each test names the source that it follows."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from small_models import PATIENCE, Caller, Gate, add_version, config_text, failure, wait_for
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from idp_tf.errors import ServingError
from serving.server.loaded_model import LoadedModel
from serving.server.version_source import find_versions
from serving.server.versions import STATES, Version, next_to_load, next_to_unload

Launch = Callable[..., Caller]


def test_the_new_version_answers_before_the_old_one_goes(
    launch: Launch, base: Path, doubler: Path, gate: Gate
) -> None:
    """``core/availability_preserving_policy.cc``, and handles in ``core/basic_manager.cc``."""
    caller = launch()
    running = gate.hold(caller)
    add_version(base, 2, doubler)
    caller.wait_for_states({2: "AVAILABLE", 1: "UNLOADING"})
    assert caller.answering() == 2
    code, message = failure(lambda: caller.answering(version=1))
    assert (code, message) == (
        "NOT_FOUND",
        "Servable not found for request: Specific(m, 1)",
    )
    assert caller.states() == {2: "AVAILABLE", 1: "UNLOADING"}
    gate.open()
    assert running.result().model_spec.version.value == 1
    caller.wait_for_states({2: "AVAILABLE", 1: "END"})
    assert caller.error(1) == (0, "")


@pytest.mark.parametrize("threads", [0, 2])
def test_a_broken_version_leaves_the_old_one(
    launch: Launch, base: Path, doubler: Path, threads: int
) -> None:
    """``core/aspired_versions_manager.cc``: what is not ready replaces nothing."""
    caller = launch(num_load_threads=threads, num_unload_threads=threads)
    broken = add_version(base, 2, doubler.parent)
    caller.wait_for_states({2: "END", 1: "AVAILABLE"})
    assert caller.error(2) == (
        5,
        f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {broken}. "
        "Check that the directory exists and that you have the right permissions for accessing it.",
    )
    assert caller.answering() == 1
    add_version(base, 3, doubler)
    caller.wait_for_states({3: "AVAILABLE", 2: "END", 1: "END"})
    assert caller.answering() == 3


@pytest.mark.parametrize("threads", [2, 0])
def test_a_broken_version_holds_up_others_only_without_threads(
    launch: Launch, base: Path, doubler: Path, tmp_path: Path, threads: int
) -> None:
    """``core/basic_manager.cc``: without a pool of threads loads, and their waits, come in turn."""
    other = tmp_path / "other"
    add_version(other, 1, doubler)
    config = config_text(("m", base), ("other", other))
    # The second try is TF-Serving's minute away.
    caller = launch(config, num_load_threads=threads, max_num_load_retries=1)
    add_version(base, 2, doubler.parent)
    caller.wait_for_states({2: "LOADING", 1: "AVAILABLE"})
    add_version(other, 2, doubler)
    if threads:
        caller.wait_for_states({2: "AVAILABLE", 1: "END"}, "other")
    else:
        time.sleep(1)
        assert caller.states("other") == {1: "AVAILABLE"}
    assert caller.states() == {2: "LOADING", 1: "AVAILABLE"}


def test_a_half_copied_version_is_tried_again(launch: Launch, base: Path, doubler: Path) -> None:
    """``util/retrier.cc``: a load that fails is tried again before the version ends."""
    caller = launch(max_num_load_retries=100_000, load_retry_interval_micros=20_000)
    shutil.copytree(doubler, base / "2", ignore=shutil.ignore_patterns("saved_model.pb"))
    caller.wait_for_states({2: "LOADING", 1: "AVAILABLE"})
    assert caller.answering() == 1
    shutil.copy(doubler / "saved_model.pb", base / "2" / "half")
    os.rename(base / "2" / "half", base / "2" / "saved_model.pb")
    caller.wait_for_states({2: "AVAILABLE", 1: "END"})
    assert caller.answering() == 2


def test_tags_that_no_graph_has(launch: Launch, base: Path) -> None:
    """``cc/saved_model/reader.cc`` of TensorFlow."""
    with pytest.raises(ServingError, match=r"supplied tags: \{ serve tpu \}"):
        launch(saved_model_tags="tpu,serve")


def write_warmup(version: Path, *logs: prediction_log_pb2.PredictionLog) -> None:
    (version / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(version / "assets.extra/tf_serving_warmup_requests")) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def test_a_warm_up_that_fails_the_load(
    launch: Launch, base: Path, doubler: Path, tmp_path: Path
) -> None:
    """``servables/tensorflow/saved_model_warmup_util.cc``."""
    caller = launch()
    bad = prediction_log_pb2.PredictionLog()
    bad.predict_log.request.CopyFrom(caller.request())
    bad.predict_log.request.model_spec.signature_name = "s"
    template = shutil.copytree(doubler, tmp_path / "bad")
    write_warmup(Path(template), bad)
    add_version(base, 2, Path(template))
    caller.wait_for_states({2: "END", 1: "AVAILABLE"})
    assert caller.error(2) == (9, 'Serving signature key "s" not found.')
    assert caller.answering() == 1


def test_a_warm_up_is_run_as_often_as_told(
    launch: Launch, base: Path, doubler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []
    run = LoadedModel.run

    def counted(self: LoadedModel, name: str, *arguments: object) -> object:
        runs.append(name)
        return run(self, name, *arguments)

    monkeypatch.setattr(LoadedModel, "run", counted)
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(Caller.request(None))
    write_warmup(base / "1", log, log, prediction_log_pb2.PredictionLog())
    launch(num_request_iterations_for_warmup=3)
    assert runs == ["serving_default"] * 6


def test_a_base_path_that_vanishes(
    launch: Launch, base: Path, doubler: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """``sources/storage_path/file_system_storage_path_source.cc``: nothing is torn down."""
    caller = launch()
    away = base.with_name("away")
    os.rename(base, away)
    wait_for(lambda: "a base path cannot be read" in caplog.text, "a look at the base path")
    assert caller.answering() == 1
    add_version(away, 2, doubler)
    os.rename(away, base)
    caller.wait_for_states({2: "AVAILABLE", 1: "END"})


def test_versions_that_vanish(launch: Launch, base: Path, doubler: Path) -> None:
    """``core/availability_preserving_policy.cc``: nothing wanted, nothing kept."""
    caller = launch()
    shutil.rmtree(base / "1")
    caller.wait_for_states({1: "END"})
    assert failure(caller.answering) == ("NOT_FOUND", "Servable not found for request: Latest(m)")
    add_version(base, 1, doubler)
    caller.wait_for_states({1: "AVAILABLE"})
    assert caller.answering() == 1


def test_policies(launch: Launch, base: Path, doubler: Path, tmp_path: Path) -> None:
    for number in (2, 3, 4):
        add_version(base, number, doubler)
    models = ("latest { num_versions: 2 }", "all {}", "specific { versions: 1 versions: 3 }")
    config = "".join(
        f'config {{ name: "m{i}" base_path: "{base}" model_platform: "tensorflow" '
        f"model_version_policy {{ {policy} }} }}"
        for i, policy in enumerate(models)
    )
    caller = launch(f"model_config_list {{ {config} }}")
    caller.wait_for_states(dict.fromkeys((3, 4), "AVAILABLE"), "m0")
    caller.wait_for_states(dict.fromkeys((1, 2, 3, 4), "AVAILABLE"), "m1")
    caller.wait_for_states(dict.fromkeys((1, 3), "AVAILABLE"), "m2")
    assert [caller.answering(f"m{i}") for i in range(3)] == [4, 4, 3]
    assert list(caller.states("m1")) == [4, 3, 2, 1]
    assert caller.answering("m1", version=2) == 2


def test_without_polling_nothing_new_is_seen(launch: Launch, base: Path, doubler: Path) -> None:
    once, witness = launch(file_system_poll_wait_seconds=0), launch()
    add_version(base, 2, doubler)
    witness.wait_for_states({2: "AVAILABLE", 1: "END"})
    assert once.states() == {1: "AVAILABLE"}
    assert once.answering() == 1


def test_names_of_version_folders(tmp_path: Path) -> None:
    """``absl::SimpleAtoi``: signs and blanks are taken, zeros in front do not count."""
    names = ["1", "007", " 8 ", "+9", "9223372036854775807"]
    for name in [*names, "9223372036854775808", "1.5", "x1", "٣", ".2.tmp", "1e3"]:
        (tmp_path / name).mkdir()
    source = model_server_config_pb2.ModelConfig(base_path=str(tmp_path))
    source.model_version_policy.all.SetInParent()
    found = find_versions({"m": source})["m"]
    assert {number: folder.name for number, folder in found.items()} == {
        1: "1",
        7: "007",
        8: " 8 ",
        9: "+9",
        9223372036854775807: "9223372036854775807",
    }


def version(number: int, state: int, *, aspired: bool = True) -> Version:
    return Version("m", number, Path("/"), aspired, state)


@pytest.mark.parametrize(
    ("versions", "unload", "load"),
    [
        ([], None, None),
        ([version(1, STATES.START), version(2, STATES.START)], None, 2),
        ([version(1, STATES.AVAILABLE, aspired=False), version(2, STATES.START)], None, 2),
        ([version(1, STATES.AVAILABLE, aspired=False), version(2, STATES.LOADING)], None, None),
        ([version(1, STATES.AVAILABLE, aspired=False), version(2, STATES.END)], None, None),
        ([version(1, STATES.AVAILABLE, aspired=False), version(2, STATES.AVAILABLE)], 1, None),
        ([version(1, STATES.AVAILABLE, aspired=False)], 1, None),
        (
            [version(n, STATES.AVAILABLE, aspired=False) for n in (5, 4)]
            + [version(6, STATES.LOADING)],
            4,
            None,
        ),
        ([version(1, STATES.LOADING, aspired=False), version(2, STATES.START)], None, 2),
    ],
)
def test_what_comes_next(versions: list[Version], unload: int | None, load: int | None) -> None:
    """``core/availability_preserving_policy.cc``."""
    found = next_to_unload(versions), next_to_load(versions)
    assert tuple(v.number if v else None for v in found) == (unload, load)


def test_a_server_waits_for_the_first_version(
    launch: Launch,
    base: Path,
    doubler: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """``core/load_servables_fast.cc``: a model without a version keeps the server waiting."""
    empty = tmp_path / "late"
    empty.mkdir()
    started: list[Caller] = []
    config = config_text(("m", base), ("late", empty))
    thread = threading.Thread(target=lambda: started.append(launch(config)))
    thread.start()
    wait_for(lambda: f"no versions are there to serve of late ({empty})" in caplog.text, "a look")
    assert not started
    add_version(empty, 5, doubler)
    thread.join(PATIENCE)
    (caller,) = started
    assert caller.answering("late") == 5
