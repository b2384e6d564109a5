"""Readers of every format, and the detection of formats."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest import mock

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp_tf.data.readers import (
    RawDomain,
    ReadOptions,
    SetAside,
    files,
    list_domains,
    read_amazon_2014,
    read_amazon_2018,
    read_amazon_2023,
    read_domain,
    read_movielens,
    read_recbole,
    read_table,
    table,
)
from idp_tf.data.readers.amazon_2014 import literal_strings
from idp_tf.errors import DataError, MissingDataError, RowError, SettingsError

INTER = "user_id:token\titem_id:token\ttimestamp:float\n007\t01\t5\n007\t02\t6.5\n8\t01\t1e3\n"
ITEM = 'item_id:token\ttitle:token_seq\n01\t12" Ruler, "Steel"\n02\t\n'
ROWS = [("007", "01", 5.0), ("007", "02", 6.5), ("8", "01", 1000.0)]


def write(file: Path, text: str | bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode() if isinstance(text, str) else text
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)
    return file


def rows(domain: RawDomain) -> list[tuple[str, str, float]]:
    return domain.interactions.select("user_id", "item_id", "timestamp").rows()


def titles(domain: RawDomain) -> dict[str, str]:
    return dict(domain.items.select("item_id", "title").rows())


@pytest.mark.parametrize("end", ["", ".gz"])
def test_recbole_keeps_ids_and_quotes(tmp_path: Path, end: str) -> None:
    write(tmp_path / "desk" / f"desk.inter{end}", INTER)
    items = write(tmp_path / "desk" / f"desk.item{end}", ITEM)
    domain = read_domain(tmp_path, "desk")
    assert rows(domain) == ROWS
    assert titles(domain) == {"01": '12" Ruler, "Steel"', "02": ""}
    assert [file.name for file in domain.sources] == [f"desk.inter{end}", f"desk.item{end}"]
    assert domain.sources[1].sha256 == hashlib.sha256(items.read_bytes()).hexdigest()
    assert domain.sources[1].size == items.stat().st_size
    assert domain.dropped == {}


def test_recbole_by_header_not_by_place(tmp_path: Path) -> None:
    inter = write(
        tmp_path / "x.inter",
        "\ufeffrating:float\ttimestamp:float\titem_id:token\tuser_id:token\r\n3\t5\ti\tu\r\n\r\n",
    )
    item = write(tmp_path / "x.item", "movie_title:token_seq\titem_id:token\r\nHeat\ti")
    domain = read_recbole("x", inter, item)
    assert rows(domain) == [("u", "i", 5.0)]
    assert titles(domain) == {"i": "Heat"}


def test_blocks_cut_anywhere_give_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "desk.inter", INTER)
    write(tmp_path / "desk.item.gz", ITEM)
    for size in (1, 2, 7, 40):
        monkeypatch.setattr(files, "BLOCK_BYTES", size)
        assert rows(read_domain(tmp_path, "desk")) == ROWS


# Tabs and line ends would be another row; a carriage return before a line feed is the line's end.
RAW_TITLES = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]))


@given(st.lists(RAW_TITLES, min_size=1, max_size=8))
def test_odd_titles_survive_recbole(
    tmp_path_factory: pytest.TempPathFactory, odd: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    item = "".join(f"i{number}\t{title}\n" for number, title in enumerate(odd))
    write(folder / "x.item", "item_id:token\ttitle:token_seq\n" + item)
    write(folder / "x.inter", "user_id:token\titem_id:token\ttimestamp:float\nu\ti0\t0\n")
    assert titles(read_domain(folder, "x")) == {f"i{n}": title for n, title in enumerate(odd)}


REVIEWS = [
    {"reviewerID": "A1", "asin": "0001", "unixReviewTime": 1360000000, "summary": 'a "b"'},
    {"reviewerID": "A2", "asin": "B2", "unixReviewTime": 1370000000, "helpful": [1, 2]},
]
REVIEW_ROWS = [("A1", "0001", 1.36e9), ("A2", "B2", 1.37e9)]


def json_lines(objects: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in objects)


def literals(objects: Sequence[Mapping[str, object]]) -> str:
    return "".join(f"{entry!r}\n" for entry in objects)


def test_amazon_2014_literals(tmp_path: Path) -> None:
    metadata: list[dict[str, object]] = [
        {
            "asin": "0001",
            "description": "it says 'title': 'wrong' and \"asin\": too",
            "salesRank": {"Toys & Games": 3},
            "title": 'Cat\'s "big" C:\\new\tday, café 中',
        },
        {"title": "It's plain", "price": 3.5, "asin": "B2", "related": {"also_bought": ["B9"]}},
        {"asin": "B3", "categories": [["Toys", "Kid's"]]},
    ]
    write(tmp_path / "toys" / "reviews_Toys_5.json.gz", json_lines(REVIEWS))
    write(tmp_path / "toys" / "meta_Toys.json.gz", literals(metadata))
    domain = read_domain(tmp_path, "toys")
    assert rows(domain) == REVIEW_ROWS
    assert titles(domain) == {
        "0001": 'Cat\'s "big" C:\\new\tday, café 中',
        "B2": "It's plain",
        "B3": "",
    }


def test_amazon_2014_ratings_are_user_then_item(tmp_path: Path) -> None:
    ratings = write(tmp_path / "ratings_Toys.csv", "A1,0001,5.0,1360000000\n")
    metadata = write(tmp_path / "meta_Toys.json", "{'asin': '0001'}\n")
    assert rows(read_amazon_2014("toys", ratings, metadata)) == REVIEW_ROWS[:1]
    assert rows(read_domain(tmp_path, "Toys")) == REVIEW_ROWS[:1]


@given(st.dictionaries(st.text(max_size=6), st.text(st.characters(exclude_categories=["Cs"]))))
def test_literals_are_read_as_python_reads_them(extra: dict[str, str]) -> None:
    extra.pop("title", None)
    for title in [*extra.values(), "plain"]:
        entry = {**extra, "title": title}
        found = literal_strings(pl.Series([repr(entry), ascii(entry)]), "title").to_list()
        # ascii() writes é as \xe9, which is Latin-1 unless a run of such bytes is valid UTF-8.
        assert found[0] == title
        if all(ord(character) < 128 or ord(character) > 255 for character in title):
            assert found[1] == title


def test_python_2_literals() -> None:
    lines = pl.Series([r"{u'title': u'\ud83d\ude00 \ud83d! \u00e9 caf\xc3\xa9 \xe9 \\x41 \q\0'}"])
    assert literal_strings(lines, "title")[0] == "😀 \ufffd! é café é \\x41 \\q\0"
    assert literal_strings(lines, "asin")[0] is None


def test_amazon_2018_reviews_and_ratings(tmp_path: Path) -> None:
    metadata: list[dict[str, object]] = [
        {"title": 'A "B" \u00e9', "asin": "0001", "also_buy": ["x"]},
        {"asin": "B2"},
    ]
    write(tmp_path / "toys" / "Toys_5.json", json_lines(REVIEWS))
    meta = write(tmp_path / "toys" / "meta_Toys.json", json_lines(metadata))
    domain = read_domain(tmp_path, "toys")
    assert rows(domain) == REVIEW_ROWS
    assert titles(domain) == {"0001": 'A "B" é', "B2": ""}
    ratings = write(tmp_path / "Toys.csv.gz", "0001,A1,5.0,1360000000\nB2,A2,1.0,1370000000\n")
    assert rows(read_amazon_2018("toys", ratings, meta)) == REVIEW_ROWS


def test_amazon_2023(tmp_path: Path) -> None:
    reviews = [
        {"user_id": "AE", "asin": "V1", "parent_asin": "P1", "timestamp": 1588687728923},
        {"user_id": "AF", "asin": "V2", "parent_asin": "P2", "timestamp": 1588687728924},
    ]
    expected = [("AE", "P1", 1588687728923.0), ("AF", "P2", 1588687728924.0)]
    write(tmp_path / "Toys.jsonl.gz", json_lines(reviews))
    meta = write(
        tmp_path / "meta_Toys.jsonl",
        json_lines([{"parent_asin": "P1", "title": "T"}, {"parent_asin": "P2", "title": None}]),
    )
    domain = read_domain(tmp_path, "Toys")
    assert rows(domain) == expected
    assert titles(domain) == {"P1": "T", "P2": ""}
    ratings = write(
        tmp_path / "r.csv",
        "user_id,parent_asin,rating,timestamp\nAE,P1,5.0,1588687728923\nAF,P2,1,1588687728924\n",
    )
    assert rows(read_amazon_2023("Toys", ratings, meta)) == expected


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_movielens(tmp_path: Path, encoding: str) -> None:
    ratings = write(tmp_path / "ml" / "ratings.dat", "1::10::5::978300760\n1::2::3::978302109\n")
    movies = "2::Amélie::Part Two (2001)::Comedy|Romance\n10::GoldenEye (1995)::Action\n"
    file = write(tmp_path / "ml" / "movies.dat", movies.encode(encoding))
    for domain in (read_domain(tmp_path, "ml"), read_movielens("ml", ratings, file)):
        assert rows(domain) == [("1", "10", 978300760.0), ("1", "2", 978302109.0)]
        assert titles(domain) == {"2": "Amélie::Part Two (2001)", "10": "GoldenEye (1995)"}


def test_tables_with_named_columns(tmp_path: Path) -> None:
    items = write(tmp_path / "i.csv", 'sku,name\n01,"a ""b"",\nc"\n02,\n')
    table = {"who": [1, 2], "sku": ["01", "02"], "when": [5, 6]}
    pl.DataFrame(table).write_parquet(tmp_path / "log.parquet")
    names = {"user_id": "who", "item_id": "sku", "timestamp": "when", "title": "name"}
    domain = read_table("shop", tmp_path / "log.parquet", items, ReadOptions(columns=names))
    assert rows(domain) == [("1", "01", 5.0), ("2", "02", 6.0)]
    assert titles(domain) == {"01": 'a "b",\nc', "02": ""}
    timeless = ReadOptions(columns={**names, "timestamp": None})
    no_time = read_table("shop", tmp_path / "log.parquet", items, timeless)
    assert no_time.interactions["timestamp"].null_count() == 2
    with pytest.raises(SettingsError, match="'user' to 'who'"):
        read_table("shop", items, items, ReadOptions(columns={"user": "who"}))


def test_blank_lines_of_a_table_are_passed_over(tmp_path: Path) -> None:
    items = write(tmp_path / "i.csv", '\n\r\nitem_id,title\n\n01,"a,\n\nb"\r\n\r\n02,\n03,""\n\n')
    log = write(tmp_path / "log.csv", "user_id,item_id,timestamp\nu,01,5\n\n\nu,02,6\n\n")
    domain = read_table("shop", log, items)
    assert rows(domain) == [("u", "01", 5.0), ("u", "02", 6.0)]
    assert titles(domain) == {"01": "a,\n\nb", "02": "", "03": ""}


CELLS = st.lists(st.text('ab,"\n', max_size=4), min_size=1, max_size=3)


@given(
    st.lists(CELLS, min_size=1, max_size=5),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from([1, 3, 20, 2**20]),
)
def test_tables_are_read_as_python_reads_them(
    tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]], quoting: int, block: int
) -> None:
    folder = tmp_path_factory.mktemp("table")
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator="\n")
    writer.writerows([f"i{number}", *row] for number, row in enumerate(cells))
    items = write(folder / "i.csv", "item_id,title,note,more\n" + text.getvalue())
    log = write(folder / "log.csv", "user_id,item_id,timestamp\nu,i0,0\n")
    with mock.patch.object(files, "BLOCK_BYTES", block):
        if all(len(row) == 3 for row in cells):
            assert titles(read_table("x", log, items)) == {
                f"i{number}": row[0] for number, row in enumerate(cells)
            }
            return
        short = next(number for number, row in enumerate(cells) if len(row) < 3)
        before = sum(1 + "".join(row).count("\n") for row in cells[:short])
        with pytest.raises(RowError) as caught:
            read_table("x", log, items)
        assert caught.value.line == 2 + before


@pytest.mark.parametrize("block", [1, 7, 30, 2**20])
def test_bad_rows_of_a_table_have_their_lines_in_any_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", block)
    items = write(tmp_path / "items.csv", 'item_id,title\ni,"T\n1"\nk,"T2"\n')
    good = ['u1,i,1,"a, b"', 'u2,k,2,"c\n\nd"', "u3,i,3,"]
    lines = [
        "",
        'user_id,item_id,timestamp,"no\nte"',
        *good,
        "u4,i",
        "u5,i,5,e,f",
        "",
        "u6,k,late,",
    ]
    log = write(tmp_path / "log.csv", "\n".join([*lines, "u7,k,7,g"]) + "\n")
    aside = SetAside()
    domain = read_table("x", log, items, ReadOptions(bad_rows=aside))
    assert rows(domain) == [("u1", "i", 1.0), ("u2", "k", 2.0), ("u3", "i", 3.0), ("u7", "k", 7.0)]
    assert {row.line for row in aside.rows} == {9, 10, 12}
    assert titles(domain) == {"i": "T\n1", "k": "T2"}


def test_parquet_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_PARQUET_ROWS", 2)
    items = write(tmp_path / "items.csv", "item_id,title\ni,T\n")
    users = [f"u{n}" for n in range(5)]
    frame = pl.DataFrame({"user_id": users, "item_id": ["i"] * 5, "timestamp": [*range(5)]})
    frame.write_parquet(tmp_path / "log.parquet")
    domain = read_table("x", tmp_path / "log.parquet", items)
    assert rows(domain) == [(user, "i", float(n)) for n, user in enumerate(users)]
    users[3] = ""
    frame.with_columns(pl.Series("user_id", users)).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(RowError, match="line 4: field 'user_id'"):
        read_table("x", tmp_path / "log.parquet", items)


def test_tables_are_detected(tmp_path: Path) -> None:
    write(tmp_path / "shop" / "interactions.csv.gz", "timestamp,item_id,user_id\n5,01,u\n")
    pl.DataFrame({"item_id": ["01"], "title": ["T"]}).write_parquet(
        tmp_path / "shop" / "items.parquet"
    )
    domain = read_domain(tmp_path, "shop")
    assert rows(domain) == [("u", "01", 5.0)]
    assert titles(domain) == {"01": "T"}


def test_unknown_domain_lists_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "desk" / "desk.inter", INTER)
    write(tmp_path / "flat.inter", INTER)
    write(tmp_path / "flat.item", ITEM)
    write(tmp_path / "notes" / "read.me", "")
    assert list_domains(tmp_path) == ["desk", "flat"]
    with pytest.raises(MissingDataError) as caught:
        read_domain(tmp_path, "dsk")
    message = str(caught.value)
    assert "no domain 'dsk'" in message
    assert "RecBole (dsk.inter with dsk.item)" in message
    assert message.endswith("domains found there: desk, flat")


def test_several_candidates_are_refused(tmp_path: Path) -> None:
    for end in ("", ".gz"):
        write(tmp_path / "desk" / f"desk.inter{end}", INTER)
    write(tmp_path / "desk" / "desk.item", ITEM)
    with pytest.raises(DataError, match=r"desk\.inter, desk\.inter\.gz"):
        read_domain(tmp_path, "desk")


def test_gaps_that_options_allow(tmp_path: Path) -> None:
    write(tmp_path / "x.inter", INTER + "8\t99\t7\n8\t99\t8\n")
    write(tmp_path / "x.item", ITEM + "01\tother\n")
    dropping = read_domain(tmp_path, "x", ReadOptions(unknown_items="drop", repeated_items="first"))
    assert rows(dropping) == ROWS
    assert dropping.dropped == {"rows of repeated items": 1, "interactions of unknown items": 2}
    assert titles(dropping)["01"] == '12" Ruler, "Steel"'
    untitled = read_domain(
        tmp_path, "x", ReadOptions(unknown_items="untitled", repeated_items="first")
    )
    assert rows(untitled) == [*ROWS, ("8", "99", 7.0), ("8", "99", 8.0)]
    assert titles(untitled)["99"] == ""
    assert untitled.dropped == {"rows of repeated items": 1}
