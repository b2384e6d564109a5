"""InfraValidator: real servers, right and wrong answers, and servers that do not come up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judged_world import execute, histories, item_ids, write_examples, write_model
from served_world import ServedWorld, running_server, served_world

from idp_tf.errors import MissingDataError, ServingError
from pipelines.artifacts import MODEL, Artifact
from pipelines.components.infra_questions import (
    Library,
    Question,
    build_questions,
    draw_histories,
    in_process_answers,
    judge_answer,
    served_signatures,
)
from pipelines.components.infra_validator import InfraValidator
from pipelines.model_files import ModelFiles
from pipelines.model_servers import serve_locally
from pipelines.versions import list_pushed

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> ServedWorld:
    return served_world(tmp_path_factory)


def validate(
    model: Artifact, served: ServedWorld, folder: Path, **parameters: Any
) -> tuple[bool, dict[str, Any]]:
    inputs = {"model": model, "examples": served.examples}
    execute(
        InfraValidator(),
        inputs,
        folder,
        **{"num_tries": 1, "max_loading_time_seconds": 90, **parameters},
    )
    place = folder / "infra_blessing"
    marks = {file.name for file in place.iterdir()} - {"reasons.json"}
    reasons = json.loads((place / "reasons.json").read_text())
    assert marks == {"INFRA_BLESSED" if reasons["blessed"] else "INFRA_NOT_BLESSED"}
    return reasons["blessed"], {check["name"]: check for check in reasons["checks"]}


def children() -> set[str]:
    """Server processes of this one that live."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if int(parent) == os.getpid() and b"serve_until_eof" in command:
                found.add(folder.name)
    return found


def test_a_good_model_answers_as_the_library_does(served: ServedWorld, tmp_path: Path) -> None:
    blessed, checks = validate(served.artifacts[0], served, tmp_path / "e")
    assert blessed, checks
    kinds = {name.rpartition(", against ")[0] for name in checks} - {""}
    assert len(kinds) == 7 and len(checks) == 1 + 2 * 7
    assert all(c["value"] <= 1e-5 for n, c in checks.items() if "against" in n)
    assert not children()


def test_answers_by_other_weights_are_told(served: ServedWorld) -> None:
    """What is served is one model, what the library loads another."""
    files = [ModelFiles("model", str(artifact.uri)) for artifact in served.artifacts]
    library, ask = Library(files[0]), in_process_answers(files[1].serving)
    rows = draw_histories(served.examples, 6, seed=0)
    for question in build_questions(library, rows, (3,), served_signatures(files[1].serving)):
        answer = ask(question)
        by_graph, by_library = judge_answer(question, answer, answer, library, 1e-4)
        assert by_graph.passed
        # With no known item both answer nothing, and rightly.
        assert by_library.passed is question.name.startswith("empty histories"), question.name


def test_a_broken_model_is_not_blessed(served: ServedWorld, tmp_path: Path) -> None:
    shutil.copytree(served.artifacts[0].uri, tmp_path / "m")
    variables = tmp_path / "m" / "Format-Serving" / "variables"
    shutil.rmtree(variables)
    blessed, checks = validate(Artifact(MODEL, tmp_path / "m", "f"), served, tmp_path / "e")
    (check,) = checks.values()
    assert not blessed and "has ended while it loaded the model" in check["words"]
    assert "variables" in check["words"]  # the end of the server's log


def test_a_model_without_a_graph_is_not_blessed(served: ServedWorld, tmp_path: Path) -> None:
    model = write_model(tmp_path / "m", served.models[0], item_ids())
    blessed, checks = validate(model, served, tmp_path / "e")
    assert not blessed and list(checks) == ["the SavedModel is whole"]


def write_script(file: Path, text: str) -> list[str]:
    file.write_text(text)
    return [sys.executable, str(file)]


@pytest.mark.parametrize("deaf", [False, True])
def test_a_server_that_hangs_is_ended(tmp_path: Path, deaf: bool) -> None:
    deafness = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if deaf else ""
    command = write_script(
        tmp_path / "server.py",
        f"{deafness}import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(600)\n",
    )
    began = time.monotonic()
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(ServingError, match="within 3 seconds"),
    ):
        patch.setattr("pipelines.model_servers._GRACE_SECONDS", 0.5)
        with serve_locally(tmp_path, "m", tmp_path / "s", seconds=3, command=command):
            pass
    assert time.monotonic() - began < 60
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_no_server_is_left_when_its_owner_is_killed(tmp_path: Path) -> None:
    """Then its standard input ends."""
    owner = write_script(
        tmp_path / "owner.py",
        f"""
import os, signal
from pathlib import Path
from pipelines import model_servers
model_servers._announced = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with model_servers.serve_locally(Path("."), "m", Path({str(tmp_path / "s")!r}), seconds=120):
    pass
""",
    )
    done = subprocess.run(owner, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL
    end = time.monotonic() + 60
    while any(str(tmp_path / "s").encode() in line for line in command_lines()):
        assert time.monotonic() < end, "the server is still there"
        time.sleep(0.1)


def command_lines() -> list[bytes]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                found.append((folder / "cmdline").read_bytes())
            except OSError:
                continue
    return found


def test_a_server_that_runs_already_is_asked_by_its_address(
    served: ServedWorld, tmp_path: Path
) -> None:
    """As a TF-Serving for trials would be: it watches a folder, which has a model already."""
    base = tmp_path / "trials"
    shutil.copytree(served.artifacts[1].uri / "Format-Serving", base / "1")
    flags = {"model_base_path": base, "model_name": "m", "file_system_poll_wait_seconds": 0.2}
    with running_server(tmp_path / "log", **flags) as address:
        told = {"address": address, "base_path": base}
        here = {"model_name": "m", "tf_serving": told, "max_loading_time_seconds": 60}
        assert validate(served.artifacts[0], served, tmp_path / "e", **here)[0]
        assert len(list_pushed(base)) == 2
        shutil.copytree(served.artifacts[1].uri, tmp_path / "broken")
        shutil.rmtree(tmp_path / "broken" / "Format-Serving" / "variables")
        broken = Artifact(MODEL, tmp_path / "broken", "b")
        here["max_loading_time_seconds"] = 3
        blessed, checks = validate(broken, served, tmp_path / "f", **here)
    assert not blessed and "is not available after at most 3 seconds" in str(checks)


def test_whom_it_asks_does_not_hang_on_the_order_of_records(tmp_path: Path) -> None:
    users = histories()
    one = write_examples(tmp_path / "one", users, shards=1)
    other = write_examples(tmp_path / "other", users, shards=5)
    drawn = draw_histories(one, 7, seed=1)
    assert drawn == draw_histories(other, 7, seed=1)
    assert drawn != draw_histories(one, 7, seed=2)
    assert all(any(row == items[:-1] for items in users.values()) for row in drawn)
    with pytest.raises(MissingDataError, match="no examples"):
        draw_histories(replace(one, uri=tmp_path), 7, seed=1)


def test_scores_that_are_off_are_seen() -> None:
    question = Question("q", [["a"]], [2], {})
    right = {
        "item_ids": np.array([[b"b", b"c"]], object),
        "scores": np.array([[2.0, 1.0]], np.float32),
    }
    wrong = {**right, "scores": np.array([[2.0, 1.01]], np.float32)}
    swapped = {**right, "item_ids": np.array([[b"b", b"d"]], object)}
    verdicts = [
        judge_answer(question, answer, right, None, 1e-4)[0].passed
        for answer in (right, wrong, swapped)
    ]
    assert verdicts == [True, False, False]
