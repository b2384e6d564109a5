"""Versions of a pushed model: whole, in order, kept, taken back, and safe from kills."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kill_pushes
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from idp_tf.errors import WorkdirError
from pipelines import versions
from pipelines.versions import Pushed, list_pushed, push_version, rollback, rollbacks


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("1", "2", "3"):
        kill_pushes.write_model(tmp_path / "models", name)
    return tmp_path / "models"


def push(models: Path, name: str, place: Path, now: float = 1000.0, keep: int = 3) -> Pushed:
    return push_version(models / name, place, fingerprint=f"f{name}", keep=keep, now=lambda: now)


def test_a_version_is_copied_whole_and_its_saved_model_last(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, copied = tmp_path / "p", []

    def copyfile(source: Path, target: Path) -> None:
        copied.append(source.name)
        assert list_pushed(place) == []  # nobody sees it meanwhile
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(versions.shutil, "copyfile", copyfile)
    assert push(models, "1", place, now=1234.9) == Pushed(1234, is_new=True)
    assert sorted(copied[:-1]) == ["c.txt", "variables.data", "variables.index"]
    assert copied[-1] == "saved_model.pb"
    kill_pushes.check_whole_of(place / "1234", models / "1")


def test_a_later_push_has_a_greater_number_whatever_the_clock_says(
    models: Path, tmp_path: Path
) -> None:
    place = tmp_path / "p"
    numbers = [push(models, name, place, now=1000).version for name in ("1", "2", "3")]
    assert numbers == [1000, 1001, 1002]
    rollback(place)
    assert push(models, "1", place, now=5).version == 1003  # 1002 is taken, though out of sight


def test_what_is_the_latest_is_not_copied_again(models: Path, tmp_path: Path) -> None:
    place = tmp_path / "p"
    push(models, "1", place, now=1)
    assert push(models, "1", place, now=2) == Pushed(1)
    push(models, "2", place, now=3)
    assert push(models, "1", place, now=4) == Pushed(4, is_new=True)  # it was not the latest
    assert list_pushed(place) == [1, 3, 4]


def test_old_versions_go_but_the_newest_two_never(models: Path, tmp_path: Path) -> None:
    place = tmp_path / "p"
    removed = [
        push(models, name, place, now=now, keep=2).removed
        for now, name in enumerate(("1", "2", "3", "1"), start=1)
    ]
    assert removed == [(), (), (1,), (2,)]
    assert list_pushed(place) == [3, 4]
    with pytest.raises(WorkdirError, match="at least 2"):
        push(models, "2", place, keep=1)


def test_a_rollback_over_two_versions_that_was_killed_takes_the_worst_back_first(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "p"
    for now, name in enumerate(("1", "2", "3"), start=1):
        push(models, name, place, now=now)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        written = versions._write_record

        def write_one(*arguments: Any) -> None:
            written(*arguments)
            raise KeyboardInterrupt

        patched.setattr(versions, "_write_record", write_one)
        rollback(place, to=1)
    assert rollback(place).taken_back == (3,)
    assert list_pushed(place) == [1, 2]


def test_what_was_rolled_back_and_deleted_since_is_not_promised(
    models: Path, tmp_path: Path
) -> None:
    place = tmp_path / "p"
    for now, name in enumerate(("1", "2"), start=1):
        push(models, name, place, now=now)
    rollback(place)
    assert "roll back to 2 to have it again" in push(models, "2", place).refused
    shutil.rmtree(place / ".rolled_back" / "2")
    assert "its files are deleted" in push(models, "2", place).refused


def test_a_rollback_keeps_the_bad_version_and_why(models: Path, tmp_path: Path) -> None:
    place = tmp_path / "p"
    push(models, "1", place, now=1)
    push(models, "2", place, now=2)
    back = rollback(place, why="wrong prices")
    assert (back.version, back.taken_back, back.restored) == (1, (2,), False)
    assert list_pushed(place) == [1]
    kill_pushes.check_whole_of(place / ".rolled_back" / "2", models / "2")
    (record,) = rollbacks(place)
    assert record["why"] == "wrong prices" and record["to"] == 1 and record["fingerprint"] == "f2"
    refused = push(models, "2", place, now=3)
    assert refused.version is None and "wrong prices" in refused.refused
    again = rollback(place, to=2)
    assert (again.version, again.restored) == (2, True)
    assert list_pushed(place) == [1, 2] and rollbacks(place) == []
    assert push(models, "2", place, now=3) == Pushed(2)


def test_there_must_be_something_to_go_back_to(models: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkdirError, match="nothing was pushed"):
        rollback(tmp_path / "p")
    push(models, "1", tmp_path / "p", now=7)
    with pytest.raises(WorkdirError, match=r"no version to go back to, only \[7\]"):
        rollback(tmp_path / "p")
    with pytest.raises(WorkdirError, match="no version 6"):
        rollback(tmp_path / "p", to=6)


def test_one_at_a_time(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, begun, go_on = tmp_path / "p", threading.Event(), threading.Event()
    push(models, "1", place, now=1)
    sync = versions._sync

    def slow(path: Path) -> None:
        begun.set()
        assert go_on.wait(60)
        sync(path)

    monkeypatch.setattr(versions, "_sync", slow)
    pushing = threading.Thread(target=push, args=(models, "2", place, 2))
    going_back = threading.Thread(target=rollback, args=(place,))
    pushing.start()
    assert begun.wait(60)
    going_back.start()  # waits for version 2 to be there, and takes that back
    go_on.set()
    pushing.join(60)
    going_back.join(60)
    assert list_pushed(place) == [1] and [r["version"] for r in rollbacks(place)] == [2]


def test_a_kill_at_any_step_loses_nothing(tmp_path: Path) -> None:
    script = Path(kill_pushes.__file__)
    root = script.parents[2]
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    steps = eval(done.stdout)
    assert min(steps.values()) > 5 and steps["push"] > 40


@pytest.fixture(params=["tmpfs", "pretended"])
def full_disk(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A folder with room for about one and a half models."""
    place = tmp_path / "disk"
    place.mkdir()
    if request.param == "pretended":
        left = 3 * sum(len(f"{f} of 1\n") * 200 for f in kill_pushes.FILES) // 2
        copy = versions.shutil.copyfile

        def copyfile(source: Path, target: Path) -> None:
            nonlocal left
            left -= source.stat().st_size
            if left < 0:
                target.write_bytes(source.read_bytes()[:5])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
            copy(source, target)

        monkeypatch.setattr(versions.shutil, "copyfile", copyfile)
        yield place
        return
    command = ["mount", "-t", "tmpfs", "-o", "size=44k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount, and not everywhere")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_loses_nothing(models: Path, full_disk: Path) -> None:
    place = full_disk / "p"
    push(models, "1", place, now=1)
    with pytest.raises(WorkdirError, match="No space left"):
        push(models, "2", place, now=2)
    assert list_pushed(place) == [1]
    kill_pushes.check_whole_of(place / "1", models / "1")
    assert sorted(p.name for p in place.iterdir()) == [".lock", "1"]


class PushesAndRollbacks(RuleBasedStateMachine):
    """Against a list of versions, and a set of those that were taken back."""

    keep = 3

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.place = Path(self.folder.name) / "p"
        self.sources = [kill_pushes.write_model(Path(self.folder.name), f"m{n}") for n in range(4)]
        self.present: dict[int, int] = {}
        self.back: dict[int, int] = {}
        self.records: dict[int, int] = {}

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(model=st.integers(0, 3), now=st.integers(1, 6))
    def push(self, model: int, now: int) -> None:
        found = push_version(
            self.sources[model],
            self.place,
            fingerprint=str(model),
            keep=self.keep,
            now=lambda: now,
        )
        latest = max(self.present, default=0)
        if self.present.get(latest) == model:
            assert (found.version, found.is_new) == (latest, False)
        elif model in self.records.values():
            assert found.version is None and found.refused
            return
        else:
            number = max([now, *(v + 1 for v in (*self.present, *self.records))])
            assert (found.version, found.is_new) == (number, True)
            self.present[number] = model
        for versions_there in (self.present, self.back):
            for number in sorted(versions_there)[: -self.keep]:
                del versions_there[number]
        self.check()

    @rule(data=st.data())
    def go_back(self, data: Any) -> None:
        to = data.draw(st.sampled_from([None, *self.present, *self.back, 99]))
        if to == 99 or (to is None and len(self.present) < 2):
            with pytest.raises(WorkdirError):
                rollback(self.place, to=to)
            return
        target = sorted(self.present)[-2] if to is None else to
        found = rollback(self.place, to=to)
        if target in self.back:
            self.present[target] = self.back.pop(target)
            del self.records[target]
        later = [number for number in self.present if number > target]
        assert (found.version, list(found.taken_back)) == (target, sorted(later))
        for number in later:
            self.back[number] = self.records[number] = self.present.pop(number)
        self.check()

    def check(self) -> None:
        assert list_pushed(self.place) == sorted(self.present)
        assert [record["version"] for record in rollbacks(self.place)] == sorted(self.records)
        for number, model in self.present.items():
            kill_pushes.check_whole_of(self.place / str(number), self.sources[model])


TestPushesAndRollbacks = PushesAndRollbacks.TestCase
TestPushesAndRollbacks.settings = settings(max_examples=15, stateful_step_count=8, deadline=None)
