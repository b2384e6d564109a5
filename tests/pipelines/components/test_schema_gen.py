"""SchemaGen: what is inferred, and that a curated schema is kept as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from domain_artifacts import finished, run, titled, write_examples, write_items
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from idp_tf.errors import DataError, MissingDataError
from pipelines.artifacts import Artifact
from pipelines.components.schema_gen import SchemaGen, SchemaGenParameters
from pipelines.components.schema_gen.files import features_of, limits_of, read_schema
from pipelines.components.statistics_gen import StatisticsGen

CURATED = """# kept by hand
feature { name: "user_id" type: BYTES in_environment: "users" }
"""


@pytest.fixture(scope="module")
def statistics(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("statistics")
    rows = [*titled({"a": "A", "b": "B"}), {"item_id": "c", "internal_id": 3, "title": None}]
    inputs = {
        "examples": write_examples(folder / "e", {"u": ["a", "b", "c"], "v": ["b", "c", "a", "a"]}),
        "items": write_items(folder / "i", rows),
    }
    return finished(run(StatisticsGen(), folder / "made", inputs), "statistics")


def test_inferred_schema(statistics: Artifact, tmp_path: Path) -> None:
    given = {"item_drift": 0.1, "item_skew": 0.2, "title_drift": 0.3, "max_empty_share": 0.4}
    made = run(SchemaGen(), tmp_path, {"statistics": statistics}, **given)
    schema = schema_pb2.Schema()
    text_format.Parse((made.outputs["schema"].uri / "schema.pbtxt").read_text(), schema)
    by_name = {feature.name: feature for feature in schema.feature}
    assert set(by_name) == {"user_id", "##SEQUENCE##", "item_id", "internal_id", "title"}
    assert list(by_name["user_id"].in_environment) == ["users"]
    assert list(by_name["title"].in_environment) == ["items"]

    user = by_name["user_id"]
    assert (user.type, user.value_count.min, user.value_count.max) == (schema_pb2.BYTES, 1, 1)
    assert (user.presence.min_fraction, user.presence.min_count) == (1.0, 1)
    assert not by_name["title"].presence.min_fraction  # one row has none
    assert by_name["internal_id"].type == schema_pb2.INT
    assert by_name["internal_id"].int_domain.min == 1
    (items,) = by_name["##SEQUENCE##"].struct_domain.feature
    steps, values = items.value_counts.value_count
    assert (items.name, steps.min, steps.max, values.min, values.max) == ("item_ids", 1, 0, 1, 1)
    assert items.drift_comparator.infinity_norm.threshold == 0.1
    assert items.skew_comparator.infinity_norm.threshold == 0.2
    drift = by_name["title"].drift_comparator.jensen_shannon_divergence
    assert drift.threshold == 0.3 and by_name["title"].HasField("natural_language_domain")
    assert limits_of(by_name["title"])["max_empty_share"] == pytest.approx(0.4)
    fraction = schema.dataset_constraints.num_examples_drift_comparator.min_fraction_threshold
    assert fraction == 0.5
    users = features_of(schema, "users")
    assert set(users) == {("user_id",), ("##SEQUENCE##",), ("##SEQUENCE##", "item_ids")}
    assert made.outputs["schema"].properties == {"domain": "shop", "curated": False}


def test_a_curated_schema_is_kept(statistics: Artifact, tmp_path: Path) -> None:
    file = tmp_path / "mine.pbtxt"
    file.write_text(CURATED)
    made = run(SchemaGen(), tmp_path / "made", {"statistics": statistics}, curated=file)
    kept = made.outputs["schema"].uri / "schema.pbtxt"
    assert kept.read_bytes() == file.read_bytes()
    assert made.outputs["schema"].properties["curated"] is True
    assert list(features_of(read_schema(kept), "items")) == []


def test_the_key_follows_the_curated_content(tmp_path: Path) -> None:
    here, there = tmp_path / "a.pbtxt", tmp_path / "b.pbtxt"
    for file in (here, there):
        file.write_text(CURATED)
    keys = [SchemaGen().cache_inputs(SchemaGenParameters(curated=f)) for f in (here, there)]
    assert keys[0] == keys[1]
    there.write_text(CURATED + "\n")
    assert SchemaGen().cache_inputs(SchemaGenParameters(curated=there)) != keys[0]
    with pytest.raises(MissingDataError, match="curated"):
        SchemaGen().cache_inputs(SchemaGenParameters(curated=tmp_path / "none"))


def test_a_broken_schema_is_told_by_its_line(statistics: Artifact, tmp_path: Path) -> None:
    file = tmp_path / "mine.pbtxt"
    file.write_text(CURATED + "featur {}\n")
    with pytest.raises(DataError, match=r"mine\.pbtxt.*3:1"):
        run(SchemaGen(), tmp_path / "made", {"statistics": statistics}, curated=file)


def test_the_order_of_limits_changes_no_byte(tmp_path: Path) -> None:
    """Other artifacts hold schemas in bytes, and are known by these."""
    limits = [f'fields {{ key: "{k}" value {{ number_value: 0.5 }} }}' for k in "abcdefgh"]
    packed = "[type.googleapis.com/google.protobuf.Struct]"
    found = set()
    for shown in (limits, limits[::-1]):
        file = tmp_path / "schema.pbtxt"
        annotation = f"annotation {{ extra_metadata {{ {packed} {{ {' '.join(shown)} }} }} }}"
        file.write_text(f'feature {{ name: "title" type: BYTES {annotation} }}')
        found.add(read_schema(file).SerializeToString(deterministic=True))
    assert len(found) == 1
