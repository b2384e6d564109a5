"""ExampleGen makes of raw files what the in-memory preparation makes, in buckets."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from generated import generate
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_files import TITLES, WRITERS, Log, made_up_log, write_csv, write_tables

from idp_tf.data import prepare_domain, read_domain
from idp_tf.data.readers import ReadOptions, find_shards, read_shards
from idp_tf.data.sample import write_sample_catalogue
from idp_tf.errors import DataError, EmptyDomainError, IdpError, MissingDataError, SettingsError
from pipelines.artifacts import EXAMPLES, ITEMS, Artifact
from pipelines.examples import load_domain

SHARDS = {"interactions": ("shop/logs/day=*/*.csv.gz",), "items": ("shop/items/*.csv",)}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    write_tables(folder / "shop", made_up_log())
    return folder


def write_days(folder: Path, rows: Log) -> None:
    """Three files, one of them without rows, and two files of items."""
    for day, part in enumerate((rows[:100], [], rows[100:])):
        (folder / f"logs/day=2014-01-0{day + 1}").mkdir(parents=True)
        write_csv(folder / f"logs/day=2014-01-0{day + 1}" / "part-0.csv.gz", part)
    (folder / "items").mkdir()
    for number, items in enumerate((list(TITLES)[:11], list(TITLES)[11:])):
        lines = ["item_id,title", *(f'{i},"{TITLES[i].replace(chr(34), "")}"' for i in items)]
        (folder / f"items/{number}.csv").write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_gives_the_manifest_of_the_preparation(form: str, tmp_path: Path) -> None:
    WRITERS[form](tmp_path / "shop", made_up_log(), "shop")
    expected = prepare_domain(read_domain(tmp_path, "shop"), k_core=4)
    assert expected.manifest["filters"][2]["parameters"]["rounds"] > 1
    found = generate(tmp_path / "g", domain="shop", data=tmp_path, k_core=4, rows_per_bucket=40)
    assert found.manifest == expected.manifest


def test_a_domain_of_many_buckets_and_what_its_records_hold(tmp_path: Path) -> None:
    write_sample_catalogue(tmp_path / "data")
    name, data = "sample-stationery", tmp_path / "data"
    expected = prepare_domain(read_domain(data, name), seed=3)
    found = generate(tmp_path, domain=name, data=data, seed=3, rows_per_bucket=1000)
    assert found.manifest == expected.manifest
    ids = expected.item_ids.external_ids
    assert found.items() == dict(enumerate(zip(ids, expected.titles, strict=True), start=1))
    offsets = expected.sequences.offsets
    histories = {
        user: expected.item_ids.to_external(expected.sequences.values[a:b])
        for user, a, b in zip(expected.user_ids, offsets, offsets[1:], strict=False)
    }
    assert found.users("eval") == histories
    assert found.users("train") == {user: items[:-2] for user, items in histories.items()}
    splits = json.loads((found.execution.outputs["examples"].uri / "counts.json").read_text())
    held_out = 2 * len(histories)
    total = expected.sequences.num_interactions
    assert splits["splits"]["train"] == {
        "records": len(histories),
        "interactions": total - held_out,
    }
    # No worker was given much more than its share.
    stats = [json.loads(f.read_text()) for f in (tmp_path / "work").rglob("gather/*/stats.json")]
    assert len(stats) >= 6 and sum(s["rows"] for s in stats) == total
    assert max(s["rows"] for s in stats) < 2000
    files = found.execution.outputs["examples"].uri.glob("Split-eval/*")
    names = [f"data_tfrecord-{n:05d}-of-{len(stats):05d}.gz" for n in range(len(stats))]
    assert sorted(file.name for file in files) == names


def test_others_read_the_same_domain(tables: Path, tmp_path: Path) -> None:
    expected = prepare_domain(read_domain(tables, "shop"), k_core=2)
    outputs = generate(
        tmp_path, domain="shop", data=tables, k_core=2, rows_per_bucket=50
    ).execution.outputs
    examples, items = (
        Artifact(kind, outputs[key].uri, "", outputs[key].properties)
        for key, kind in (("examples", EXAMPLES), ("items", ITEMS))
    )
    assert examples.properties["users"] == len(expected.user_ids)
    domain = load_domain(examples, items)
    assert domain.user_ids == expected.user_ids and domain.titles == expected.titles
    assert domain.item_ids.external_ids == expected.item_ids.external_ids
    assert domain.sequences.values.tolist() == expected.sequences.values.tolist()
    assert domain.sequences.offsets.tolist() == expected.sequences.offsets.tolist()


@pytest.mark.parametrize(("ties", "seed"), [("random", 0), ("random", 7), ("id", 0), ("source", 0)])
def test_ties_are_ordered_alike(tables: Path, tmp_path: Path, ties: Any, seed: int) -> None:
    expected = prepare_domain(read_domain(tables, "shop"), k_core=1, ties=ties, seed=seed)
    found = generate(
        tmp_path,
        domain="shop",
        data=tables,
        k_core=1,
        ties=ties,
        seed=seed,
        rows_per_bucket=30,
    )
    assert found.manifest == expected.manifest
    assert found.manifest["ties"]["tied_interactions"] > 0


def test_fingerprints_do_not_depend_on_buckets_but_on_content(tables: Path, tmp_path: Path) -> None:
    of = {
        (rows, ties): generate(
            tmp_path / f"{rows}-{ties}",
            domain="shop",
            data=tables,
            k_core=2,
            ties=ties,
            rows_per_bucket=rows,
        ).fingerprints
        for rows, ties in ((20, "id"), (10_000, "id"), (10_000, "random"))
    }
    assert of[20, "id"] == of[10_000, "id"]
    assert of[20, "id"]["examples"] != of[10_000, "random"]["examples"]
    assert of[20, "id"]["items"] == of[10_000, "random"]["items"]


def test_shards_are_one_log(tmp_path: Path) -> None:
    rows = made_up_log()
    write_days(tmp_path / "shop", rows)
    write_tables(tmp_path / "whole/shop", rows)
    raw = read_shards("shop", find_shards(tmp_path, "shop", *SHARDS.values()))
    whole = read_domain(tmp_path / "whole", "shop")
    assert raw.interactions.equals(whole.interactions)
    assert raw.items["item_id"].equals(whole.items["item_id"])
    expected = prepare_domain(raw, k_core=2, ties="source")
    assert [source["name"] for source in expected.manifest["sources"]] == [
        "day=2014-01-01/part-0.csv.gz",
        "day=2014-01-02/part-0.csv.gz",
        "day=2014-01-03/part-0.csv.gz",
        "0.csv",
        "1.csv",
    ]
    found = generate(
        tmp_path / "g",
        domain="shop",
        data=tmp_path,
        k_core=2,
        ties="source",
        rows_per_bucket=50,
        **SHARDS,
    )
    assert found.manifest == expected.manifest
    assert found.execution.counters["files without rows"] == 1


@pytest.mark.parametrize("unknown_items", ["drop", "untitled"])
def test_gaps_that_parameters_allow(tmp_path: Path, unknown_items: Any) -> None:
    rows = made_up_log()
    rows += [("only-unknown", "x1", 1), ("only-unknown", "x2", 1), ("u1", "x1", 1003)]
    write_days(tmp_path / "shop", rows)
    with (tmp_path / "shop/items/1.csv").open("a", encoding="utf-8") as stream:
        stream.write("\ni03,another title")
    options = ReadOptions(unknown_items=unknown_items, repeated_items="first")
    raw = read_shards("shop", find_shards(tmp_path, "shop", *SHARDS.values()), options)
    expected = prepare_domain(raw, k_core=1)
    assert raw.dropped["rows of repeated items"] == 1
    assert raw.dropped.get("interactions of unknown items", 0) == (unknown_items == "drop") * 3
    arguments: dict[str, Any] = {
        "domain": "shop",
        "data": tmp_path,
        "k_core": 1,
        "rows_per_bucket": 50,
        **SHARDS,
    }
    found = generate(
        tmp_path / "g", unknown_items=unknown_items, repeated_items="first", **arguments
    )
    assert found.manifest == expected.manifest
    for allowed in ({"repeated_items": "first"}, {"unknown_items": unknown_items}):
        with pytest.raises(DataError) as in_memory:
            read_shards(
                "shop", find_shards(tmp_path, "shop", *SHARDS.values()), ReadOptions(**allowed)
            )
        with pytest.raises(DataError) as in_buckets:
            generate(tmp_path / str(allowed), **arguments, **allowed)
        assert str(in_buckets.value) == str(in_memory.value)


def test_errors_are_those_of_the_preparation(tables: Path, tmp_path: Path) -> None:
    with pytest.raises(EmptyDomainError, match=r"nothing is left .* 'k-core': users need 90 "):
        generate(tmp_path / "a", domain="shop", data=tables, k_core=90, rows_per_bucket=50)
    with pytest.raises(MissingDataError, match="no domain 'none'"):
        generate(tmp_path / "b", domain="none", data=tables)
    with pytest.raises(MissingDataError, match=r"no file of interactions matches"):
        generate(tmp_path / "c", domain="shop", data=tables, interactions=["x*"], items=["x*"])
    with pytest.raises(SettingsError, match="there is no format 'excel'"):
        generate(tmp_path / "d", domain="shop", data=tables, form="excel")
    with pytest.raises(MissingDataError, match="no column 'when'"):
        generate(tmp_path / "e", domain="shop", data=tables, columns={"timestamp": "when"})
    with pytest.raises(DataError, match="interactions have no timestamp"):
        generate(tmp_path / "f", domain="shop", data=tables, columns={"timestamp": None})


def test_no_timestamps_at_all(tables: Path, tmp_path: Path) -> None:
    columns: dict[str, str | None] = {"timestamp": None}
    raw = read_domain(tables, "shop", ReadOptions(columns=columns))
    expected = prepare_domain(raw, k_core=2, ties="source")
    found = generate(
        tmp_path,
        domain="shop",
        data=tables,
        columns=columns,
        ties="source",
        k_core=2,
        rows_per_bucket=40,
    )
    assert found.manifest == expected.manifest


LOGS = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b", "c", "dd", "ж", "\U0001f600"]).map("u{}".format),
        st.sampled_from([*TITLES][:6]),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=60,
)


def outcome(make: Callable[[], dict[str, Any]]) -> dict[str, Any] | str:
    """What is made, or what the error says."""
    try:
        return make()
    except IdpError as error:
        return f"{type(error).__name__}: {error}"


@given(LOGS, st.integers(1, 4), st.integers(1, 30))
@settings(max_examples=10)
def test_any_log(
    tmp_path_factory: pytest.TempPathFactory, rows: Log, k_core: int, rows_per_bucket: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    write_tables(folder / "shop", rows)
    arguments: dict[str, Any] = {
        "domain": "shop",
        "data": folder,
        "k_core": k_core,
        "rows_per_bucket": rows_per_bucket,
    }

    def prepared() -> dict[str, Any]:
        return prepare_domain(read_domain(folder, "shop"), k_core=k_core).manifest

    expected = outcome(prepared)
    assert outcome(lambda: generate(folder / "g", **arguments).manifest) == expected
    if isinstance(expected, str):
        return
    found = generate(folder / "g", **arguments)
    by_user: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for user, item, time in set(rows):
        by_user[user].append((item, time))
    times = {(user, item): {t for i, t in by_user[user] if i == item} for user, item, _ in rows}
    for user, items in found.users("eval").items():
        # Whatever the order of ties is, time does not run backwards.
        earliest = -1
        for item in items:
            later = [t for t in times[user, item] if t >= earliest]
            assert later
            earliest = min(later)
