"""Prepared domains on the disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from idp_tf.data.domain import Domain
from idp_tf.data.prepare import load_domain, prepare_domain, write_domain
from idp_tf.data.readers import RawDomain
from idp_tf.errors import MissingDataError, WorkdirError


def domain(title: str = 'Café "\u4e2d"') -> Domain:
    rows = {
        "user_id": ["u"] * 4,
        "item_id": ["b", "a", "c", "a"],
        "timestamp": [1.0, 2.0, 3.0, 4.0],
    }
    items = {"item_id": ["a", "b", "c"], "title": [title, "", "C"]}
    return prepare_domain(RawDomain("shop", pl.DataFrame(rows), pl.DataFrame(items)), k_core=1)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_round_trip(tmp_path: Path) -> None:
    write_domain(domain(), tmp_path / "deep" / "shop")
    loaded = load_domain(tmp_path / "deep" / "shop")
    assert loaded.name == "shop"
    assert loaded.titles == ['Café "\u4e2d"', "", "C"]
    assert loaded.item_ids.external_ids == ["a", "b", "c"]
    assert loaded.user_ids == ["u"]
    assert isinstance(loaded.sequences.values, np.memmap)
    np.testing.assert_array_equal(loaded.sequences.values, [2, 1, 3, 1])
    np.testing.assert_array_equal(loaded.sequences.offsets, [0, 4])
    assert loaded.manifest == domain().manifest


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    write_domain(domain(), tmp_path / "one")
    write_domain(domain(), tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_writing_again_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write_domain(domain("old"), tmp_path / "shop")
    write_domain(domain("new"), tmp_path / "shop")
    assert load_domain(tmp_path / "shop").titles[0] == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_a_write_that_fails_leaves_the_old_domain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_domain(domain("old"), tmp_path / "shop")

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(pl.DataFrame, "write_parquet", fail)
        with pytest.raises(OSError, match="disk full"):
            write_domain(domain("new"), tmp_path / "shop")
    assert load_domain(tmp_path / "shop").titles[0] == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_damage_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    with pytest.raises(MissingDataError, match="no prepared domain"):
        load_domain(folder)
    write_domain(domain(), folder)
    np.save(folder / "sequences.npy", np.array([2, 1, 3, 3], np.int32))
    with pytest.raises(WorkdirError, match="hash"):
        load_domain(folder)
    (folder / "items.parquet").unlink()
    with pytest.raises(WorkdirError, match="damaged"):
        load_domain(folder)
    (folder / "manifest.json").write_text(json.dumps({"domain": "shop"})[:-4])
    with pytest.raises(WorkdirError, match="damaged"):
        load_domain(folder)
