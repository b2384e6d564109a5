"""The command that takes a pushed model back: where the last run has pushed to."""

from __future__ import annotations

from pathlib import Path

import kill_pushes
import pytest

from pipelines.artifacts import MODEL, PUSHED_MODEL, Artifact
from pipelines.record import Record
from pipelines.rollback import served_items
from pipelines.versions import list_pushed, push_version
from tests.tiny_world import invoke


def push(root: Path, name: str, destination: Path) -> int | None:
    """A run that trains and pushes, as the record has it."""
    model = kill_pushes.write_model(root / "models", name)
    version = push_version(model, destination, fingerprint=name, keep=3).version
    with Record(root) as record:
        run = record.begin_run()
        for node, type_, key, told in (
            ("Trainer", MODEL, "model", {}),
            ("Pusher", PUSHED_MODEL, "pushed_model", {"destination": str(destination)}),
        ):
            execution = record.begin_execution(
                run, node, node, cache_key=name, key={}, reason="new", inputs={}
            )
            made = Artifact(type_, model, name, told, producer=node)
            record.complete(run, execution, {key: made}, {})
        record.end_run(run, "COMPLETE")
    return version


@pytest.mark.parametrize("destination", ["serving/recommender", "elsewhere"])
def test_the_version_before_is_served_and_built_on(tmp_path: Path, destination: str) -> None:
    place = tmp_path / destination
    first, second = (push(tmp_path, name, place) for name in ("good", "bad"))
    done = invoke("pipeline", "rollback", "--root", tmp_path, "--why", "complaints")
    assert done.code == 0
    assert f"Version {first} is the latest now; taken back: {second}." in done.out
    assert list_pushed(place) == [first]
    titles = place / str(first) / "assets.extra" / "idp_tf" / "items.parquet"
    assert served_items(tmp_path) == titles
    with Record(tmp_path) as record:
        latest = record.latest("Trainer", "model")
        assert latest is not None and latest.fingerprint == "good"


def test_a_query_takes_titles_of_what_is_served(tmp_path: Path) -> None:
    Record(tmp_path).begin_run()
    asked = invoke("query", "--items", "a", "--titles", tmp_path)
    assert asked.code == 2 and "no run has come to its Pusher" in asked.err


def test_nothing_to_take_back(tmp_path: Path) -> None:
    nothing = invoke("pipeline", "rollback", "--root", tmp_path)
    assert nothing.code == 2 and "nothing has been run here yet" in nothing.err
    Record(tmp_path).begin_run()
    unpushed = invoke("pipeline", "rollback", "--root", tmp_path)
    assert unpushed.code == 2 and "no run has come to its Pusher" in unpushed.err
    push(tmp_path, "only", tmp_path / "serving")
    alone = invoke("pipeline", "rollback", "--root", tmp_path)
    assert alone.code == 2 and list_pushed(tmp_path / "serving")
