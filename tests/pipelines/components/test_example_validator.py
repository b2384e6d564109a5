"""ExampleValidator: each kind of bad input is found, and good input is let pass."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from domain_artifacts import finished, run, titled, write_examples, write_items
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import distance
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx_bsl.sketches import KmvSketch

from idp_tf.errors import DataError
from pipelines.artifacts import SCHEMA, Artifact
from pipelines.components.example_validator import ExampleValidator
from pipelines.components.example_validator.distances import jensen_shannon, l_infinity, rebinned
from pipelines.components.schema_gen import SchemaGen
from pipelines.components.schema_gen.files import read_schema
from pipelines.components.statistics_gen import StatisticsGen

RNG = np.random.default_rng(5)
ITEMS = [f"i{n:03d}" for n in range(200)]
NOUNS = ["desk", "lamp", "pen", "ink", "paper", "folder", "stapler", "tape", "marker", "clip"]
OTHER = ["guitar", "violin", "bow", "string", "drum", "flute", "amp", "cable", "pick", "stand"]
HISTORIES = {
    f"u{u}": [ITEMS[i] for i in RNG.integers(0, 200, RNG.integers(4, 12))] for u in range(300)
}
Change = Callable[[dict[str, list[str]], list[dict[str, Any]]], None]


def titles(words: list[str], rng: np.random.Generator) -> dict[str, str]:
    return {item: f"The {' '.join(rng.choice(words, 4))} of {item}" for item in ITEMS}


TITLES = titles(NOUNS, np.random.default_rng(1))


def statistics_of(folder: Path, change: Change | None = None) -> Artifact:
    histories, rows = {u: list(items) for u, items in HISTORIES.items()}, titled(TITLES)
    if change is not None:
        change(histories, rows)
    inputs = {
        "examples": write_examples(folder / "e", histories),
        "items": write_items(folder / "i", rows),
    }
    return finished(run(StatisticsGen(), folder / "made", inputs), "statistics")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return statistics_of(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def schema(good: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    made = run(SchemaGen(), tmp_path_factory.mktemp("schema"), {"statistics": good})
    return finished(made, "schema")


def validate(
    folder: Path, statistics: Artifact, schema: Artifact, previous: Artifact | None, **more: Any
) -> dict[str, Any]:
    inputs: dict[str, Any] = {"statistics": statistics, "schema": schema}
    inputs["previous_statistics"] = [] if previous is None else [previous]
    made = run(ExampleValidator(), folder, inputs, **{"fail_on": "never"} | more)
    found = made.outputs["anomalies"].uri / "anomalies.json"
    return json.loads(found.read_text("utf-8"))


def checks(found: Mapping[str, Any]) -> dict[str, str]:
    return {one["check"]: one["severity"] for one in found["anomalies"]}


def edited(good: Artifact, folder: Path, change: Callable[[dict[str, Any]], None]) -> Artifact:
    """The good statistics with another domain.json."""
    shutil.copytree(good.uri, folder)
    file = folder / "domain.json"
    content = json.loads(file.read_text("utf-8"))
    change(content)
    file.write_text(json.dumps(content))
    return Artifact(good.type, folder, "edited", good.properties)


def test_good_input_passes(good: Artifact, schema: Artifact, tmp_path: Path) -> None:
    found = validate(tmp_path / "1", good, schema, good)
    assert found["anomalies"] == [] and found["compared_with_last_run"]
    drifts = [one["value"] for one in found["measurements"] if one["kind"] == "drift"]
    assert len(drifts) == 8 and set(drifts) == {0}
    text = (tmp_path / "1" / "anomalies" / "anomalies.txt").read_text()
    assert text == "shop: no anomalies\n"
    first = validate(tmp_path / "2", good, schema, None, fail_on="warning")
    assert first["anomalies"] == [] and not first["compared_with_last_run"]


def spoil(histories: dict[str, list[str]], rows: list[dict[str, Any]]) -> None:
    """Many things at once: each must be found beside the others."""
    for user in list(histories)[:200]:
        del histories[user]
    histories["u299"] = ["nowhere"] * 80 + histories["u299"]
    for row in rows[:30]:
        row["title"] = ""
    for row in rows[30:100]:
        row["title"] = "Sold &amp;amp; gone &amp; out"
    rows[0]["internal_id"] = 0
    rows[1]["internal_id"] = None
    rows[2]["title"] = ["two", "titles"]
    rows[3]["colour"] = "red"
    rows[4] = dict(rows[5])
    for row in rows[120:170]:
        row["item_id"] = f"new {row['item_id']}"


def test_spoiled_input(good: Artifact, schema: Artifact, tmp_path: Path) -> None:
    bad = statistics_of(tmp_path / "bad", spoil)
    found = validate(tmp_path / "v", bad, schema, good)
    by_check = checks(found)
    errors = {"unknown_items", "repeated_items", "presence", "domain", "valency", "fewer_records"}
    warnings = {"unexpected_feature", "empty_titles", "duplicate_titles", "html_entities"}
    assert {name: by_check.get(name) for name in errors} == dict.fromkeys(errors, "ERROR")
    assert {name: by_check.get(name) for name in warnings} == dict.fromkeys(warnings, "WARNING")
    assert by_check["drift"] == by_check["gone_items"] == "WARNING"
    assert "new_items" not in by_check  # a fourth of them is not half
    assert [one["severity"] for one in found["anomalies"]] == sorted(
        (one["severity"] for one in found["anomalies"]), key=lambda s: s != "ERROR"
    )
    (empty,) = (one for one in found["anomalies"] if one["check"] == "empty_titles")
    assert empty["value"].startswith("29 of 200") or empty["value"].startswith("28 of 200")
    lines = (tmp_path / "v" / "anomalies" / "anomalies.txt").read_text().splitlines()
    assert len(lines) == 1 + len(found["anomalies"])
    assert any(
        line.startswith("ERROR Split-all, internal_id: a value is too small: 0, expected at least")
        for line in lines
    )


def test_protos_say_the_same(good: Artifact, schema: Artifact, tmp_path: Path) -> None:
    bad = edited(good, tmp_path / "bad", lambda domain: domain["titles"].update(empty_share=0.3))
    validate(tmp_path / "v", bad, schema, good)
    raw = (tmp_path / "v" / "anomalies" / "Split-all" / "SchemaDiff.pb").read_bytes()
    anomalies = anomalies_pb2.Anomalies.FromString(raw)
    info = anomalies.anomaly_info["title"]
    assert info.severity == anomalies_pb2.AnomalyInfo.WARNING
    assert [reason.type for reason in info.reason] == [anomalies_pb2.AnomalyInfo.CUSTOM_VALIDATION]
    assert anomalies.baseline == read_schema(schema.uri / "schema.pbtxt")
    measured = {tuple(d.path.step): d.drift_measurements for d in anomalies.drift_skew_info}
    assert measured["title",][0].threshold == pytest.approx(0.1)
    other = (tmp_path / "v" / "anomalies" / "Split-eval" / "SchemaDiff.pb").read_bytes()
    assert not anomalies_pb2.Anomalies.FromString(other).anomaly_info


def test_a_title_file_of_another_domain(good: Artifact, schema: Artifact, tmp_path: Path) -> None:
    def exchange(_: dict[str, list[str]], rows: list[dict[str, Any]]) -> None:
        foreign = titles(OTHER, np.random.default_rng(2))
        for row in rows:
            row["title"] = foreign[row["item_id"]]

    bad = statistics_of(tmp_path / "bad", exchange)
    with pytest.raises(DataError, match="title file of another domain") as raised:
        validate(tmp_path / "v", bad, schema, good, fail_on="error")
    left = tmp_path / "v" / "work" / "anomalies" / "anomalies.txt"
    assert str(left) in str(raised.value) and "other_domain" in left.read_text()


def test_languages_and_lengths_move(good: Artifact, schema: Artifact, tmp_path: Path) -> None:
    def translate(_: dict[str, list[str]], rows: list[dict[str, Any]]) -> None:
        for row in rows[:60]:
            row["title"] = f"{row['title'].replace('The', 'Der').replace('of', 'und')} " * 6

    bad = statistics_of(tmp_path / "bad", translate)
    by_check = checks(validate(tmp_path / "v", bad, schema, good))
    assert {"title_language_drift", "title_length_drift"} <= set(by_check)
    assert set(by_check.values()) == {"WARNING"}


@pytest.mark.parametrize(
    ("change", "check", "severity"),
    [
        (lambda d: d["titles"].update(empty_share=0.6), "empty_titles", "ERROR"),
        (lambda d: d["titles"].update(empty_share=0.06), "empty_titles", "WARNING"),
        (lambda d: d["titles"].update(empty_share=0.05), None, None),
        (lambda d: d["titles"].update(duplicate_share=0.21), "duplicate_titles", "WARNING"),
        (lambda d: d.update(interactions=d["interactions"] // 3), "fewer_interactions", "ERROR"),
        (
            lambda d: d["titles"].update(letters={"Cyrillic": 1.0}),
            "title_language_drift",
            "WARNING",
        ),
    ],
)
def test_thresholds(
    good: Artifact, schema: Artifact, tmp_path: Path, change: Any, check: str, severity: str
) -> None:
    found = validate(tmp_path / "v", edited(good, tmp_path / "bad", change), schema, good)
    assert checks(found) == ({} if check is None else {check: severity})


@pytest.mark.parametrize(("kept", "found"), [(101, "gone_items"), (90, "new_items")])
def test_new_and_gone_items(
    good: Artifact, schema: Artifact, tmp_path: Path, kept: int, found: str
) -> None:
    """Of 200 items as many are kept; half may be new, and a fifth gone."""
    bad = edited(good, tmp_path / "bad", lambda domain: None)
    sketch = KmvSketch(65_536)
    sketch.AddValues(pa.array([*ITEMS[:kept], *(f"new {n}" for n in range(200 - kept))]))
    (bad.uri / "item_ids.kmv").write_bytes(sketch.Serialize())
    by_check = checks(validate(tmp_path / "v", bad, schema, good))
    assert set(by_check) == {"gone_items", found} and set(by_check.values()) == {"WARNING"}


def with_schema(schema: Artifact, folder: Path, change: Callable[[Any], None]) -> Artifact:
    from google.protobuf import text_format

    changed = read_schema(schema.uri / "schema.pbtxt")
    change(changed)
    folder.mkdir()
    (folder / "schema.pbtxt").write_text(text_format.MessageToString(changed))
    return Artifact(SCHEMA, folder, "changed", {})


def feature(schema: Any, name: str) -> Any:
    return next(found for found in schema.feature if found.name == name)


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda s: s.feature.add(name="price", type=3).presence.SetInParent(), None),
        (lambda s: setattr(s.feature.add(name="price", type=3).presence, "min_count", 1), "x"),
        (lambda s: setattr(feature(s, "title"), "type", 2), "type"),
        (lambda s: setattr(s.dataset_constraints, "min_examples_count", 301), "too_few_records"),
        (lambda s: setattr(s.dataset_constraints, "max_examples_count", 250), "too_many_records"),
        (lambda s: setattr(feature(s, "internal_id").int_domain, "max", 199), "domain"),
        (lambda s: setattr(feature(s, "item_id").unique_constraints, "max", 199), "distinct"),
        (lambda s: feature(s, "item_id").string_domain.value.extend(ITEMS[1:]), "domain"),
        (lambda s: setattr(feature(s, "title").value_count, "min", 2), "valency"),
    ],
)
def test_curated_constraints(
    good: Artifact, schema: Artifact, tmp_path: Path, change: Any, check: str | None
) -> None:
    found = validate(tmp_path / "v", good, with_schema(schema, tmp_path / "s", change), None)
    expected = {"x": "missing_feature"}.get(str(check), check)
    assert set(checks(found)) == (set() if expected is None else {expected})
    assert set(checks(found).values()) <= {"ERROR"}


def test_warnings_can_stop_too(good: Artifact, schema: Artifact, tmp_path: Path) -> None:
    bad = edited(good, tmp_path / "bad", lambda domain: domain["titles"].update(empty_share=0.3))
    validate(tmp_path / "1", bad, schema, None, fail_on="error")
    with pytest.raises(DataError, match="1 anomalies stop"):
        validate(tmp_path / "2", bad, schema, None, fail_on="warning")


def test_another_domains_statistics_are_not_compared(
    good: Artifact, schema: Artifact, tmp_path: Path
) -> None:
    other = edited(good, tmp_path / "other", lambda domain: domain.update(domain="toys"))
    assert not validate(tmp_path / "v", good, schema, other)["compared_with_last_run"]


weights = st.lists(st.floats(0, 100), min_size=3, max_size=3).filter(lambda w: sum(w) > 1)


@given(weights, weights)
def test_distances_are_scipys(now: list[float], before: list[float]) -> None:
    p, q = dict(zip("abc", now, strict=True)), dict(zip("abc", before, strict=True))
    expected = distance.jensenshannon(now, before, base=2) ** 2
    assert jensen_shannon(p, q) == pytest.approx(expected, abs=1e-9)
    assert l_infinity(p, q)[0] == np.abs(np.subtract(now, before)).max()


def test_histograms_over_common_borders() -> None:
    found = statistics_pb2.Histogram(), statistics_pb2.Histogram()
    found[0].buckets.add(low_value=0, high_value=4, sample_count=8)
    found[1].buckets.add(low_value=1, high_value=2, sample_count=3)
    found[1].buckets.add(low_value=2, high_value=4, sample_count=1)
    first, second = rebinned(found)  # borders 0, 1, 2, 4
    assert list(first.values()) == [2, 2, 4] and list(second.values()) == [0, 3, 1]
