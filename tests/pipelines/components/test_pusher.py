"""The Pusher: what it refuses, what it leaves behind, and what a server makes of it."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from judged_world import execute, histories
from pydantic import ValidationError
from served_world import ServedWorld, running_server, served_world, verdict
from tensorflow_serving.config import model_server_config_pb2

from idp_tf.errors import WorkdirError
from pipelines import versions
from pipelines.artifacts import PUSHED_MODEL, Artifact, digest_of
from pipelines.components.pusher import Pusher, rollback
from pipelines.versions import list_pushed
from serving.client import ServingClient

MARKS = ("BLESSED", "INFRA_BLESSED")
PATIENCE = 60.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> ServedWorld:
    return served_world(tmp_path_factory)


def push(
    model: Artifact, destination: Path, folder: Path, marks: tuple[str, str] = MARKS
) -> dict[str, Any]:
    inputs = {
        "model": model,
        "blessing": verdict(folder / "blessing", marks[0]),
        "infra_blessing": verdict(folder / "infra", marks[1]),
    }
    execute(Pusher(), inputs, folder, destination=destination)
    return json.loads((folder / "pushed_model" / "pushed.json").read_text())


def test_a_blessed_model_is_pushed_once(served: ServedWorld, tmp_path: Path) -> None:
    place, before = tmp_path / "serving" / "recommender", int(time.time())
    told = push(served.artifacts[0], place, tmp_path / "1")
    assert (told["pushed"], told["outcome"]) == (True, "pushed")
    assert before <= told["version"] <= time.time() and told["versions"] == [told["version"]]
    version = place / str(told["version"])
    source = served.artifacts[0].uri / "Format-Serving"
    for file in (found for found in source.rglob("*") if found.is_file()):
        assert (version / file.relative_to(source)).read_bytes() == file.read_bytes()
    (place.parent / "models.config").unlink()  # as if it had been killed before it wrote that
    again = push(served.artifacts[0], place, tmp_path / "2")
    assert (again["outcome"], again["version"]) == ("kept", told["version"])
    assert "already" in again["why"][0]
    config = text_format.Parse(
        (place.parent / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    (entry,) = config.model_config_list.config
    assert (entry.name, entry.base_path) == ("recommender", str(place))


@pytest.mark.parametrize(
    ("marks", "why"),
    [
        (("NOT_BLESSED", "INFRA_BLESSED"), ["Bad."]),
        (("BLESSED", "INFRA_NOT_BLESSED"), ["Bad."]),
        (("NOT_BLESSED", "INFRA_NOT_BLESSED"), ["Bad.", "Bad."]),
        (("BLESSED", "nothing"), ["There is no file INFRA_BLESSED"]),
    ],
)
def test_what_is_not_blessed_is_refused_and_the_old_stays(
    served: ServedWorld, tmp_path: Path, marks: tuple[str, str], why: list[str]
) -> None:
    place = tmp_path / "serving" / "recommender"
    old = push(served.artifacts[0], place, tmp_path / "1")["version"]
    before = digest_of(place)
    told = push(served.artifacts[1], place, tmp_path / "2", marks)
    assert (told["pushed"], told["outcome"], told["version"]) == (False, "refused", None)
    assert [text.partition(" in ")[0] for text in told["why"]] == why
    assert told["versions"] == [old] and digest_of(place) == before


def test_nothing_is_there_where_the_first_one_is_refused(
    served: ServedWorld, tmp_path: Path
) -> None:
    told = push(
        served.artifacts[0], tmp_path / "p" / "m", tmp_path / "1", ("NOT_BLESSED", "INFRA_BLESSED")
    )
    assert told["versions"] == [] and told["models_config"] is None
    assert not (tmp_path / "p").exists()


def test_what_was_rolled_back_is_refused(served: ServedWorld, tmp_path: Path) -> None:
    place = tmp_path / "serving" / "recommender"
    first, second = served.artifacts
    old = push(first, place, tmp_path / "1")["version"]
    push(second, place, tmp_path / "2")
    rollback(place, why="complaints")
    told = push(second, place, tmp_path / "3")
    assert told["outcome"] == "refused" and "complaints" in told["why"][0]
    assert list_pushed(place) == [old]


def test_a_model_that_is_not_whole_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m" / "Format-Serving").mkdir(parents=True)
    with pytest.raises(WorkdirError, match=r"no saved_model\.pb"):
        push(Artifact("Model", tmp_path / "m", "f"), tmp_path / "p", tmp_path / "1")
    assert list_pushed(tmp_path / "p") == []


def test_fewer_than_two_versions_are_not_kept() -> None:
    with pytest.raises(ValidationError, match="keep"):
        Pusher.parameters(destination="p", keep=1)


class Watcher:
    """Asks a server again and again, and keeps who answered and what."""

    def __init__(self, client: ServingClient, history: list[str]):
        self.answers: dict[int, set[tuple[float, ...]]] = {}
        self.errors: list[str] = []
        self._client, self._history = client, history
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        inputs = {"item_ids": np.array([self._history], object), "k": np.array([3], np.int32)}
        while not self._stop.wait(0.01):
            try:
                found = self._client.predict("recommender", inputs)
                for status in self._client.status("recommender"):
                    if status.error:
                        self.errors.append(str(status))
            except Exception as error:
                self.errors.append(str(error))
            else:
                scores = tuple(np.round(found["scores"][0], 5).tolist())
                self.answers.setdefault(found.version, set()).add(scores)
                self.latest = found.version

    def wait_for(self, version: int) -> None:
        end = time.monotonic() + PATIENCE
        while getattr(self, "latest", None) != version:
            assert time.monotonic() < end, (version, self.answers, self.errors)
            time.sleep(0.02)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()


def test_a_server_takes_up_a_push_and_a_rollback_and_never_half_a_version(
    served: ServedWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, history = tmp_path / "serving" / "recommender", histories()["user 3"]
    old = push(served.artifacts[0], place, tmp_path / "1")["version"]
    config = place.parent / "models.config"
    flags = {"model_config_file": config, "file_system_poll_wait_seconds": 0.05}
    copy = versions.shutil.copyfile

    def slow_copy(source: Path, target: Path) -> None:
        copy(source, target)
        time.sleep(0.1)  # the server looks twice between any two files

    with (
        running_server(tmp_path / "log", **flags) as address,
        ServingClient(address) as client,
        Watcher(client, history) as watcher,
    ):
        watcher.wait_for(old)
        monkeypatch.setattr(versions.shutil, "copyfile", slow_copy)
        new = push(served.artifacts[1], place, tmp_path / "2")["version"]
        watcher.wait_for(new)
        assert rollback(place).version == old
        watcher.wait_for(old)
        assert rollback(place, to=new).version == new
        watcher.wait_for(new)
    assert watcher.errors == [] and set(watcher.answers) == {old, new}
    for version, model in zip((old, new), served.models, strict=True):
        (scores,) = watcher.answers[version]
        assert scores == pytest.approx(best_scores(model, history), abs=1e-4)


def best_scores(model: Any, history: list[str]) -> list[float]:
    seen = [int(item[-2:]) + 1 for item in history]
    window = ([0] * model.max_length + seen)[-model.max_length :]
    user = model.encode_users(np.array([window], np.int32)).numpy()[0]
    scores = np.delete(model.item_vectors().numpy() @ user, [0, *seen])
    return np.sort(scores)[::-1][:3].tolist()


def test_a_push_that_was_undone_is_no_more_reused(served: ServedWorld, tmp_path: Path) -> None:
    """What servers find decides, not only what was pushed once."""
    place = tmp_path / "serving" / "recommender"
    parameters = Pusher.parameters(destination=place)

    def pushed(model: Artifact, name: str) -> Artifact:
        push(model, place, tmp_path / name)
        return Artifact(PUSHED_MODEL, tmp_path / name / "pushed_model", "", {})

    def undone(artifact: Artifact) -> str:
        return Pusher().undone(parameters, {"pushed_model": artifact})

    first = pushed(served.artifacts[0], "1")
    assert undone(first) == ""
    second = pushed(served.artifacts[1], "2")
    assert undone(second) == ""
    old, new = list_pushed(place)
    assert undone(first) == f"version {old} is not the latest in {place} any more"
    rollback(place)
    assert undone(first) == ""
    assert undone(second) == f"version {new} is not the latest in {place} any more"
    refused = pushed(served.artifacts[1], "3")
    assert undone(refused) == ""
    rollback(place, to=new)
    assert undone(refused) == f"the model that was rolled back is the latest in {place} again"
    shutil.rmtree(place)
    assert "is not the latest" in undone(second)
