"""Domains read from TFRecords, by tfx-bsl's decoders and by TFX's data accessor."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_world import data_accessor, item_record, user_record, write_domain, write_records

from idp_tf.data.domain import Domain
from idp_tf.data.examples import read_domain
from idp_tf.data.schema import IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.errors import DataError, MissingDataError

TITLES = {"a": "green tea", "b": "", "ß 9": "steel\tguitar 弦"}
HISTORIES = {"u10": ["b", "a", "b"], "u2": ["ß 9"], "ü": ["a", "ß 9", "b", "a"]}
FACTORIES: list[Any] = [None, data_accessor().tf_dataset_factory]
FACTORY = pytest.mark.parametrize("factory", FACTORIES, ids=["arrow", "tensors"])


def domain_of(titles: dict[str, str], histories: dict[str, list[str]]) -> Domain:
    ids = sorted(titles)
    users = sorted(histories)
    values = [ids.index(item) + 1 for user in users for item in histories[user]]
    offsets = np.cumsum([0, *(len(histories[user]) for user in users)])
    sequences = Sequences(np.array(values, np.int32), offsets.astype(np.int64))
    return Domain("shop", IdMap(ids), [titles[item] for item in ids], users, sequences, {})


def read(folder: Path, factory: Any) -> Domain:
    users, items = (f"{folder}/{what}/*" for what in ("examples/Split-eval", "items/Split-all"))
    return read_domain("shop", [users], [items], dataset_factory=factory)


def assert_equal(found: Domain, wanted: Domain) -> None:
    assert found.user_ids == wanted.user_ids
    assert found.titles == wanted.titles
    assert found.item_ids.external_ids == wanted.item_ids.external_ids
    assert found.sequences.values.tolist() == wanted.sequences.values.tolist()
    assert found.sequences.offsets.tolist() == wanted.sequences.offsets.tolist()


@FACTORY
def test_what_was_written_is_read(factory: Any, tmp_path: Path) -> None:
    wanted = domain_of(TITLES, HISTORIES)
    assert_equal(read(write_domain(wanted, tmp_path / "shop"), factory), wanted)


@settings(max_examples=10)
@given(data=st.data())
def test_any_domain_is_read_alike_by_both(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    titles = data.draw(st.dictionaries(text.filter(bool), text, min_size=1, max_size=5))
    steps = st.lists(st.sampled_from(sorted(titles)), min_size=1, max_size=6)
    histories = data.draw(st.dictionaries(text, steps, min_size=1, max_size=6))
    wanted = domain_of(titles, histories)
    folder = write_domain(wanted, tmp_path_factory.mktemp("any") / "shop")
    for factory in FACTORIES:
        assert_equal(read(folder, factory), wanted)


USERS = [user_record("u", ["a"])]
ITEMS = [item_record("a", 1, "")]
UNUSABLE: list[tuple[list[bytes], list[bytes], str]] = [
    ([user_record("u", ["a", "c"])], ITEMS, "the item 'c' is not among the 1 items"),
    ([user_record("u", [])], ITEMS, "item_ids|SEQUENCE"),
    ([*USERS, *USERS], ITEMS, "the user 'u' stands there twice"),
    ([], ITEMS, "no records"),
    (USERS, [], "no records"),
    (USERS, [item_record("a", 2, "")], "internal_id are not 1"),
    (USERS, [*ITEMS, item_record("b", 1, "")], "internal_id are not 1"),
    (USERS, [b"no record"], ""),
    ([b"no record"], ITEMS, ""),
    ([user_record("u", ["a"]).replace(b"u", b"\xff", 1)], ITEMS, ""),
]


@FACTORY
@pytest.mark.parametrize(("users", "items", "told"), UNUSABLE)
def test_what_is_no_domain_is_refused(
    users: list[bytes], items: list[bytes], told: str, factory: Any, tmp_path: Path
) -> None:
    write_records(tmp_path / "examples" / "Split-eval", users)
    write_records(tmp_path / "items" / "Split-all", items)
    with pytest.raises(DataError, match=f"(?s)no whole TFRecords.*{told}.*ExampleGen"):
        read(tmp_path, factory)


@FACTORY
def test_missing_and_damaged_files_are_named(factory: Any, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no file matches"):
        read(tmp_path, factory)
    folder = write_domain(domain_of(TITLES, HISTORIES), tmp_path / "shop")
    file = next((folder / "examples" / "Split-eval").iterdir())
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes())[:-3]))
    with pytest.raises(DataError, match=r"Split-eval"):
        read(folder, factory)
