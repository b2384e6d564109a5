"""Artifacts: reused by equal inputs, refused by others, never half of one and half of another."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from idp_tf.errors import WorkdirError
from idp_tf.workflow.artifacts import Artifact, read_json, write_json


def artifact(folder: Path, **inputs: object) -> Artifact:
    return Artifact(folder / "a", "the thing", inputs)


def make(folder: Path, **inputs: object) -> Artifact:
    made = artifact(folder, **inputs)
    assert made.open() is False
    (made.folder / "work").write_text("w")
    made.finish(items=3)
    return made


def test_reused_by_equal_inputs(tmp_path: Path) -> None:
    first = make(tmp_path, a=1, b={"c": [1, 2]})
    again = artifact(tmp_path, b={"c": (1, 2)}, a=1)
    assert again.open() is True
    assert (first.made_here, again.made_here) == (True, False)
    assert again.key == first.key and again.summary["items"] == 3


def test_goes_on_where_it_was(tmp_path: Path) -> None:
    begun = artifact(tmp_path, a=1)
    begun.open()
    (begun.folder / "work").write_text("half")
    again = artifact(tmp_path, a=1)
    assert again.open() is False
    assert (again.folder / "work").read_text() == "half"


def test_refused_by_other_inputs(tmp_path: Path) -> None:
    make(tmp_path, a=1, b={"c": 2, "d": "x"})
    with pytest.raises(WorkdirError) as caught:
        artifact(tmp_path, a=1, b={"c": 3, "e": None, "d": "y"}).open()
    text = str(caught.value)
    assert "'the thing'" in text and "--rebuild" in text
    assert "b.c is 3, there it was 2" in text and 'b.d is "y", there it was "x"' in text
    assert (tmp_path / "a" / "work").exists()


def test_many_differences_are_counted(tmp_path: Path) -> None:
    make(tmp_path, **{f"k{i}": i for i in range(9)})
    with pytest.raises(WorkdirError, match="and 4 more"):
        artifact(tmp_path, **{f"k{i}": -i - 1 for i in range(9)}).open()


def test_rebuilt_from_nothing(tmp_path: Path) -> None:
    make(tmp_path, a=1)
    again = artifact(tmp_path, a=2)
    assert again.open(rebuild=True) is False
    assert [path.name for path in again.folder.iterdir()] == ["inputs.json"]
    assert read_json(again.folder / "inputs.json") == {"a": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_rebuild_keeps_what_fits(tmp_path: Path) -> None:
    make(tmp_path, a=1)
    assert artifact(tmp_path, a=1).open(rebuild=True) is True


@pytest.mark.parametrize("removal", [1, 2])
def test_a_kill_while_the_old_one_is_removed(
    removal: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the old one may be taken for the new one's."""
    make(tmp_path, a=1)
    calls = 0

    def killed(folder: Path, **_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == removal:
            # As far as a removal may have come: the inputs are gone, the work is not.
            (folder / "inputs.json").unlink(missing_ok=True)
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "rmtree", killed)
        artifact(tmp_path, a=2).open(rebuild=True)
    again = artifact(tmp_path, a=2)
    assert again.open(rebuild=True) is False
    assert not (again.folder / "work").exists() and not again.is_done


def test_what_nothing_came_of_does_not_stand_in_the_way(tmp_path: Path) -> None:
    artifact(tmp_path, a=1).open()
    again = artifact(tmp_path, a=2)
    assert again.open() is False
    assert read_json(again.folder / "inputs.json") == {"a": 2}


def test_current_is_whole_and_of_these_inputs(tmp_path: Path) -> None:
    assert not artifact(tmp_path, a=1).is_current
    artifact(tmp_path, a=1).open()
    assert not artifact(tmp_path, a=1).is_current, "begun is not done"
    make(tmp_path, a=1)
    assert artifact(tmp_path, a=1).is_current
    other = artifact(tmp_path, a=2)
    assert other.is_done and not other.is_current


def test_requires_what_is_whole(tmp_path: Path) -> None:
    with pytest.raises(WorkdirError, match="has not been made yet"):
        artifact(tmp_path, a=1).require()
    make(tmp_path, a=1)
    artifact(tmp_path, a=1).require()
    with pytest.raises(WorkdirError, match="a is 2, there it was 1"):
        artifact(tmp_path, a=2).require()


def test_keys_follow_from_inputs(tmp_path: Path) -> None:
    keys = {artifact(tmp_path, a=value).key for value in (1, 2, "1", None, [1])}
    assert len(keys) == 5


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"garbage"])
def test_a_damaged_array_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    made = make(tmp_path, a=1)
    file = made.folder / "x.npy"
    file.write_bytes(content)
    with pytest.raises(WorkdirError, match=r"x\.npy: cannot be read") as caught, made.reading(file):
        np.load(file)
    assert f"delete {made.folder}" in str(caught.value)


def test_json_is_written_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"é": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"x": object()})
    assert read_json(tmp_path / "x.json") == {"é": 1}
    with pytest.raises(WorkdirError, match="cannot be read"):
        read_json(tmp_path / "y.json")
