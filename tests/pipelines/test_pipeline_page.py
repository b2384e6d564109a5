"""What the page and the commands make of a record, by parts."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipelines.artifacts import PUSHED_MODEL, Artifact
from pipelines.evaluation_table import METRICS, lines_of
from pipelines.layout import lay_out
from pipelines.outcome import counted, pushing
from pipelines.record import Record
from pipelines.report import write_report
from pipelines.root import work_folder
from pipelines.status import main_figures

BOX, LINE, GAP = 100.0, 8.0, 10.0


def test_lines_of_a_graph_pass_between_boxes() -> None:
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("a", "d"), ("c", "d"), ("x", "d")]
    layout = lay_out("axbcd", edges, box=BOX, line=LINE, gap=GAP)
    assert layout.rows == {"a": 0, "x": 0, "b": 1, "c": 2, "d": 3}
    for row in range(4):
        places = sorted((x, place) for place, x in layout.centres.items() if place[1] == row)
        widths = [BOX if layout.rows[node] == row else LINE for _, (node, _) in places]
        for (left, right), (one, other) in zip(pairwise(places), pairwise(widths), strict=True):
            assert right[0] - left[0] >= (one + other) / 2 + GAP - 1e-9
    assert layout.way(("a", "d")) == [("a", 0), ("a", 1), ("a", 2), ("d", 3)]
    assert lay_out([], [], box=BOX, line=LINE, gap=GAP).width == 0


def metrics(shared: str) -> dict[str, Any]:
    def compared(other: str, users: int) -> dict[str, Any]:
        one = {"model": 0.5, other: 0.625, "mean": -0.125, "ci95": [-0.25, 0.0]}
        return {"users": users, "metrics": dict.fromkeys(METRICS, one)}

    own = {"users": 1608, "metrics": dict.fromkeys(METRICS, 0.5)}
    return {
        "model": {"items": "all", "overall": {"full": own}},
        "differences": {
            "control": {"items": "all", "overall": {"full": compared("control", 1608)}},
            "baseline": {"items": shared, "overall": {"full": compared("baseline", 1500)}},
        },
    }


def test_a_baseline_that_does_not_know_all_stands_beside_the_model_on_what_both_know() -> None:
    lines = lines_of(metrics("shared"))["full"]
    assert [(line.name, line.users) for line in lines] == [
        ("model", "1,608"),
        ("control", "1,608"),
        ("model − control", "1,608"),
        ("model, on what both know", "1,500"),
        ("baseline, on what both know", "1,500"),
        ("model − baseline, on what both know", "1,500"),
    ]
    assert (lines[-1].values[0], lines[-1].intervals[0]) == ("−0.1250", "−0.2500 to +0.0000")
    assert [line.name for line in lines_of(metrics("all"))["full"]][3:] == [
        "baseline",
        "model − baseline",
    ]


def test_a_first_run_and_one_user_have_nothing_to_compare() -> None:
    content = metrics("all")
    content["differences"]["baseline"] = None
    for one in content["differences"]["control"]["overall"]["full"]["metrics"].values():
        one["ci95"] = None
    lines = lines_of(content)["full"]
    assert [line.name for line in lines] == ["model", "control", "model − control"]
    assert lines[-1].intervals == [""] * len(METRICS)


def test_whether_a_run_pushed_its_model() -> None:
    def pushed(reused: bool = False, **properties: object) -> str:
        made = Artifact(PUSHED_MODEL, Path("x"), "", properties)
        return pushing(made, reused=reused)

    assert pushed(pushed=True, outcome="pushed") == "pushed"
    assert pushed(pushed=True, outcome="pushed", reused=True) == "already"
    assert pushed(pushed=True, outcome="kept") == "already"
    assert pushed(pushed=False, outcome="refused") == "no"
    assert pushing(None, reused=False) == ""


def test_dropped_rows_are_told_as_one_sum() -> None:
    rows = {"rows read: items": 9, "rows dropped: k-core": 2, "rows dropped: bad": 3, "users": 4}
    assert main_figures(rows) == {"users": 4, "rows dropped": 5}
    assert counted([], 3) == "3 not begun"


def test_anomalies_that_stopped_a_run_are_kept_and_shown(tmp_path: Path) -> None:
    node, key = "ExampleValidator.a", "k" * 64
    with Record(tmp_path) as record:
        run = record.begin_run()
        made = record.begin_execution(
            run, node, "ExampleValidator", cache_key=key, key={}, reason="x", inputs={}
        )
        left = work_folder(tmp_path, node, key) / "anomalies" / "anomalies.txt"
        left.parent.mkdir(parents=True)
        left.write_text("ERROR <title>: gone")
        record.fail(made, "1 anomalies stop the pipeline")
        record.end_run(run, "FAILED", error="1 anomalies stop the pipeline")
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "ERROR &lt;title&gt;: gone" in page and "1 failed" in page
    assert "did not come to the Pusher" in page and "Evaluation" not in page
    assert (tmp_path / f"logs/run-{run}-{node}-anomalies.txt").is_file()
    left.unlink()
    assert "ERROR &lt;title&gt;" in write_report(tmp_path).read_text(encoding="utf-8")


def test_anomalies_of_an_earlier_run_are_not_taken_for_this_ones(tmp_path: Path) -> None:
    left = work_folder(tmp_path, "V", "k") / "anomalies" / "anomalies.txt"
    left.parent.mkdir(parents=True)
    left.write_text("ERROR")
    os.utime(left, (1, 1))
    with Record(tmp_path) as record:
        run = record.begin_run()
        made = record.begin_execution(run, "V", "V", cache_key="k", key={}, reason="", inputs={})
        record.fail(made, "the disk is full")
        record.end_run(run, "FAILED", error="the disk is full")
    assert "Anomalies" not in write_report(tmp_path).read_text(encoding="utf-8")
