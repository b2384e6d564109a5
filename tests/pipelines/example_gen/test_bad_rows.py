"""Bad input: what is set aside and told, what ends a run, and what a killed run leaves."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from generated import generate
from raw_files import WRITERS, made_up_log, write_csv, write_tables

from idp_tf.data import prepare_domain, read_domain
from idp_tf.data.readers import ReadOptions, SetAside, files, find_shards, read_shards
from idp_tf.errors import DataError, SettingsError
from pipelines.components.example_gen import ExampleGen, ExampleGenParameters
from pipelines.components.example_gen.rows import DropFromBucket
from pipelines.components.example_gen.tasks import Task

PATTERNS: dict[str, Any] = {"interactions": ("shop/*.inter",), "items": ("shop/*.item",)}


def write_bad(folder: Path) -> list[tuple[str, int, str, str]]:
    """Two files of a hundred rows with five bad ones; returns file, line, field and value."""
    rows = made_up_log()[:190]
    WRITERS["RecBole"](folder, rows[:95], "one")
    WRITERS["RecBole"](folder, rows[95:], "two")
    (folder / "two.item").unlink()
    one, two = (folder / f"{name}.inter" for name in ("one", "two"))
    lines = one.read_text(encoding="utf-8").splitlines()
    lines[3:3] = ["u1\ti01\tyesterday", "u1\ti01"]
    lines.insert(40, "\ti01\t1001")
    one.write_text("\n".join(lines), encoding="utf-8")
    two.write_bytes(two.read_bytes() + b"u1\t\xff\xfe\t1001\nu1\ti01\tnan\n")
    last = two.read_bytes().count(b"\n")
    return [
        ("one.inter", 4, "timestamp", "yesterday"),
        ("one.inter", 5, "(row)", "u1\ti01"),
        ("one.inter", 41, "user_id", ""),
        ("two.inter", last - 1, "(row)", "b'\\xff'"),
        ("two.inter", last, "timestamp", "nan"),
    ]


def test_bad_rows_are_set_aside_and_told(tmp_path: Path) -> None:
    bad = write_bad(tmp_path / "shop")
    aside = SetAside()
    shards = find_shards(tmp_path, "shop", *PATTERNS.values())
    expected = prepare_domain(read_shards("shop", shards, ReadOptions(bad_rows=aside)), k_core=1)
    arguments: dict[str, Any] = {"domain": "shop", "data": tmp_path, "k_core": 1, **PATTERNS}
    found = generate(tmp_path / "g", max_bad_share=0.03, rows_per_bucket=50, **arguments)
    assert found.manifest == expected.manifest
    told = [(row["file"], row["line"], row["field"], row["value"]) for row in found.quarantine]
    assert Counter(told) == Counter(bad)
    assert all(row["reason"] for row in found.quarantine)
    assert sum(found.manifest["dropped_by_reading"].values()) == 5
    assert found.execution.counters["rows read: interactions"] == 195
    with pytest.raises(DataError) as caught:
        generate(tmp_path / "h", **arguments)
    assert "5 of 195 rows of interactions are bad (2.56%), more than 1.00%" in str(caught.value)
    assert "one.inter, line 4: timestamp holds 'yesterday'" in str(caught.value)
    listed = generate(tmp_path / "i", max_bad_share=0.03, max_listed=1, **arguments)
    assert [row["file"] for row in listed.quarantine] == ["one.inter", "two.inter"]
    assert listed.manifest == found.manifest


@pytest.mark.parametrize("block", [100, 2**24])
def test_a_stray_quote_loses_no_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", block)
    rows = made_up_log()
    write_tables(tmp_path / "right/shop", rows)
    right = prepare_domain(read_domain(tmp_path / "right", "shop"), k_core=1)
    write_tables(tmp_path / "shop", rows)
    log = tmp_path / "shop/interactions.csv"
    header, _, lines = log.read_text(encoding="utf-8").partition("\n")
    arguments: dict[str, Any] = {"domain": "shop", "data": tmp_path, "k_core": 1}
    log.write_text(f'{header}\n"\n{lines}"u1,i01,1000\n', encoding="utf-8")
    found = generate(tmp_path / "g", max_bad_share=2 / (len(rows) + 2), **arguments)
    assert found.manifest["hash"] == right.manifest["hash"]
    told = [(row["line"], row["lines"]) for row in found.quarantine]
    assert told == [(2, 1), (len(rows) + 3, 1)]
    notes = "".join(f"{line},\n" for line in lines.splitlines())
    log.write_text(f'{header},note\n{notes}u1,i01,late,"a\n\nb"\n', encoding="utf-8")
    found = generate(tmp_path / "h", max_bad_share=3 / (len(rows) + 3), **arguments)
    assert [(row["line"], row["lines"]) for row in found.quarantine] == [(len(rows) + 2, 3)]
    assert sum(found.manifest["dropped_by_reading"].values()) == 3
    with pytest.raises(DataError, match=f"3 of {len(rows) + 3} rows of interactions are bad"):
        generate(tmp_path / "i", max_bad_share=2 / (len(rows) + 3), **arguments)


def test_times_that_cannot_be_right_are_bad_if_that_is_said(tmp_path: Path) -> None:
    rows = [*made_up_log(), ("u1", "i01", 9_999_999), ("u2", "i01", -5)]
    write_tables(tmp_path / "shop", rows)
    arguments: dict[str, Any] = {"domain": "shop", "data": tmp_path, "k_core": 1}
    found = generate(tmp_path / "g", times=(0, 5000), max_bad_share=0.5, **arguments)
    assert [(row["line"], float(row["value"])) for row in found.quarantine] == [
        (len(rows), 9_999_999),
        (len(rows) + 1, -5),
    ]
    write_tables(tmp_path / "right/shop", rows[:-2])
    right = prepare_domain(read_domain(tmp_path / "right", "shop"), k_core=1)
    assert found.manifest["hash"] == right.manifest["hash"]
    assert generate(tmp_path / "h", **arguments).manifest["dropped_by_reading"] == {}


def test_a_broken_file_ends_the_run(tmp_path: Path) -> None:
    write_tables(tmp_path / "shop", made_up_log())
    (tmp_path / "shop/interactions.csv").unlink()
    write_csv(tmp_path / "shop/interactions.csv.gz", made_up_log())
    packed = (tmp_path / "shop/interactions.csv.gz").read_bytes()
    (tmp_path / "shop/interactions.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"interactions.csv.gz: the gzip file is broken or cut off"):
        generate(tmp_path / "g", domain="shop", data=tmp_path)


def test_too_large_a_bucket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tables(tmp_path / "shop", made_up_log())
    package = "pipelines.components.example_gen"
    arguments: dict[str, Any] = {"domain": "shop", "data": tmp_path, "k_core": 1}
    monkeypatch.setattr(f"{package}.rows.available_memory", lambda: 500 * 20)
    with pytest.raises(DataError, match=r"interactions are of users .*, and 20 fit") as caught:
        generate(tmp_path / "g", **arguments)
    assert "rows_per_bucket" in str(caught.value)
    monkeypatch.setattr("pipelines.beam_memory.available_memory", lambda: 2**29)
    with pytest.raises(
        SettingsError, match=r"1 workers with buckets of 19\d .* 512 MiB can be had"
    ):
        generate(tmp_path / "h", **arguments)


def test_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tables(tmp_path / "shop", made_up_log())
    arguments: dict[str, Any] = {
        "domain": "shop",
        "data": tmp_path,
        "k_core": 5,
        "rows_per_bucket": 60,
    }
    undisturbed = generate(tmp_path / "g", **arguments)
    whole = DropFromBucket.make

    def killed(self: DropFromBucket, folder: Path) -> dict[str, Any]:
        if self.phase.endswith("round-0003") and self.number == 1:
            raise RuntimeError("killed")
        return whole(self, folder)

    monkeypatch.setattr(DropFromBucket, "make", killed)
    with pytest.raises(RuntimeError, match="killed"):
        generate(tmp_path / "h", **arguments)
    monkeypatch.setattr(DropFromBucket, "make", whole)
    finished = {f.parent for f in (tmp_path / "h/work").rglob("stats.json")}
    made: list[Path] = []
    for kind in _kinds(Task):
        monkeypatch.setattr(kind, "make", _noting(kind.make, made))
    again = generate(tmp_path / "h", **arguments)
    assert not finished & {*made} and any("round-0003" in str(folder) for folder in made)
    assert again.manifest == undisturbed.manifest
    assert again.fingerprints == undisturbed.fingerprints
    assert again.execution.counters == undisturbed.execution.counters
    assert again.users("train") == undisturbed.users("train")


def _kinds(task: type[Task]) -> list[type[Task]]:
    return list(task.__subclasses__())


def _noting(make: Any, made: list[Path]) -> Any:
    def noted(self: Task, folder: Path) -> dict[str, Any]:
        made.append(self.folder)
        stats: dict[str, Any] = make(self, folder)
        return stats

    return noted


def test_what_decides_the_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tables(tmp_path / "shop", made_up_log())
    component, log = ExampleGen(), tmp_path / "shop/interactions.csv"

    def key(**changed: Any) -> str:
        given = {"domain": "shop", "data": tmp_path, "digests": tmp_path / "digests.json"}
        return json.dumps(component.cache_inputs(ExampleGenParameters(**given | changed)))

    first = key()
    assert str(tmp_path) not in first
    assert first == key(rows_per_bucket=5, digests=None)
    assert len({first, key(k_core=2), key(seed=1), key(max_bad_share=0.5)}) == 4
    read: list[Path] = []
    module = "pipelines.components.example_gen.digests.digest_of"
    monkeypatch.setattr(module, lambda file: read.append(file) or "0" * 64)
    assert key() == first and not read  # nothing has changed, so nothing is read
    log.write_bytes(log.read_bytes() + b"u1,i01,1000\n")
    os.utime(log, ns=(1, 1))
    assert key() != first and [file.name for file in read] == ["interactions.csv"]
    (tmp_path / "digests.json").write_text("{", encoding="utf-8")
    key()
    assert len(read) == 3  # what was damaged is made again
