"""Bad input: every error says what, where, and what to do."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import polars as pl
import pytest

from idp_tf.data.readers import (
    files,
    read_amazon_2014,
    read_amazon_2018,
    read_amazon_2023,
    read_domain,
    read_movielens,
    read_recbole,
    read_table,
)
from idp_tf.errors import DataError, EmptyDomainError, MissingDataError, RowError

INTER = "user_id:token\titem_id:token\ttimestamp:float\n"
ITEM = "item_id:token\ttitle:token_seq\n"


def recbole(folder: Path, interactions: str, items: str) -> tuple[str, Path, Path]:
    paths = folder / "x.inter", folder / "x.item"
    for path, text in zip(paths, (INTER + interactions, ITEM + items), strict=True):
        path.write_text(text, encoding="utf-8")
    return "x", *paths


def test_missing_files(tmp_path: Path) -> None:
    arguments = recbole(tmp_path, "u\ti\t1\n", "i\tT\n")
    arguments[2].unlink()
    with pytest.raises(MissingDataError, match=r"x\.item: there is no such file"):
        read_recbole(*arguments)
    with pytest.raises(MissingDataError, match=r"file of titles is missing.*x\.item"):
        read_domain(tmp_path, "x")
    with pytest.raises(MissingDataError, match="no such folder"):
        read_domain(tmp_path / "none", "x")
    with pytest.raises(MissingDataError, match="domains found there: none"):
        (tmp_path / "empty").mkdir()
        read_domain(tmp_path / "empty", "x")


def test_missing_columns(tmp_path: Path) -> None:
    name, inter, item = recbole(tmp_path, "", "")
    inter.write_text("user_id:token\titem_id:token\nu\ti\n")
    with pytest.raises(MissingDataError, match="no column 'timestamp'; .* user_id, item_id"):
        read_recbole(name, inter, item)
    inter.write_text(INTER + "u\ti\t1\n")
    item.write_text("item_id:token\tname:token\ni\tT\n")
    with pytest.raises(MissingDataError, match="no column 'title'"):
        read_recbole(name, inter, item)
    item.write_text("item_id:token\ttitle:token\ttitle:token_seq\n")
    with pytest.raises(DataError, match="names 'title' twice"):
        read_recbole(name, inter, item)
    table = tmp_path / "t.csv"
    table.write_text("user_id,item,line\nu,i,1\n")
    with pytest.raises(MissingDataError, match="no column 'item_id'; there are user_id") as caught:
        read_table("t", table, table)
    assert "set prepare.columns.item_id" in str(caught.value)
    table.write_text("user_id,asin,rating,timestamp\nu,i,1,1\n")
    with pytest.raises(MissingDataError, match="no column 'parent_asin'"):
        read_amazon_2023("t", tmp_path / "t.csv", item)


@pytest.mark.parametrize(
    ("row", "field", "value"),
    [
        ("u\ti\tyesterday", "timestamp", "yesterday"),
        ("u\ti\tnan", "timestamp", "nan"),
        ("u\ti\t", "timestamp", ""),
        ("u\ti\t1e999", "timestamp", "1e999"),
        ("\ti\t3", "user_id", ""),
        ("u\t \t3", "item_id", " "),
        ("u\ti", "(row)", "u\ti"),
        ("u\ti\t3\t4", "(row)", "u\ti\t3\t4"),
    ],
)
@pytest.mark.parametrize("block", [8, 2**20])
def test_unparsable_rows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    row: str,
    field: str,
    value: str,
    block: int,
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", block)
    arguments = recbole(tmp_path, f"u\ti\t1\n\nu\ti\t2\n{row}\nu\ti\t5\n", "i\tT\n")
    with pytest.raises(RowError) as caught:
        read_recbole(*arguments)
    error = caught.value
    assert (error.file, error.line, error.field, error.value) == (arguments[1], 5, field, value)
    assert "expected" in str(error)


def test_text_that_is_not_utf_8(tmp_path: Path) -> None:
    name, inter, item = recbole(tmp_path, "u\ti\t1\n", "")
    item.write_bytes(ITEM.encode() + b"i\tT\nj\tcaf\xe9\n")
    with pytest.raises(RowError, match=r"x\.item, line 3: .*text in utf-8"):
        read_recbole(name, inter, item)


def test_duplicate_item(tmp_path: Path) -> None:
    arguments = recbole(tmp_path, "u\ti\t1\n", "j\tA\ni\tB\nk\tC\nj\tA\ni\tD\n")
    with pytest.raises(DataError, match=r"item id 'j' stands on the lines 2, 5 \(2 such") as caught:
        read_recbole(*arguments)
    assert "prepare.repeated_items=first" in str(caught.value)


def test_unknown_item(tmp_path: Path) -> None:
    arguments = recbole(tmp_path, "u\ti\t1\nu\tgone\t2\nv\tgone\t3\nv\tlost\t3\n", "i\tT\n")
    with pytest.raises(DataError) as caught:
        read_recbole(*arguments)
    message = str(caught.value)
    assert "line 3: the item 'gone' has no row in x.item; 3 interactions with 2 items" in message
    assert "unknown_items='drop'" in message and "prepare.unknown_items=drop" in message


def test_empty_domain(tmp_path: Path) -> None:
    with pytest.raises(EmptyDomainError, match=r"x\.inter: there are no interactions"):
        read_recbole(*recbole(tmp_path, "", "i\tT\n"))
    with pytest.raises(EmptyDomainError, match="no items"):
        read_recbole(*recbole(tmp_path, "u\ti\t1\n", ""))
    table = tmp_path / "t.csv"
    table.write_text("\n")
    with pytest.raises(EmptyDomainError, match="empty"):
        read_table("t", table, table)


@pytest.mark.parametrize("damage", ["cut off", "flipped", "not gzip"])
@pytest.mark.parametrize("kind", ["recbole", "table"])
def test_broken_gzip(tmp_path: Path, damage: str, kind: str) -> None:
    # Random-looking ids, so that the packed file is long enough to be cut.
    body = "".join(f"u{i * 7919 % 1009}\ti\t{i}\n" for i in range(3000))
    packed = gzip.compress((INTER + body).encode())
    middle = len(packed) // 2
    broken = {
        "cut off": packed[:-20],
        "flipped": packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :],
        "not gzip": (INTER + body).encode(),
    }[damage]
    file = tmp_path / ("x.inter.gz" if kind == "recbole" else "x.csv.gz")
    file.write_bytes(broken)
    item = tmp_path / "x.item"
    item.write_text(ITEM + "i\tT\n")
    reader = read_recbole if kind == "recbole" else read_table
    with pytest.raises(DataError, match=re.escape(str(file))) as caught:
        reader("x", file, item)
    assert not isinstance(caught.value, RowError)
    assert "gzip file is broken or cut off" in str(caught.value)


def test_broken_json(tmp_path: Path) -> None:
    meta = tmp_path / "meta.json"
    meta.write_text('{"asin": "i", "title": "T"}\n')
    reviews = tmp_path / "reviews.json"
    good = '{"reviewerID": "u", "asin": "i", "unixReviewTime": 1}\n'
    for bad in ('{"reviewerID": "u", "as\n', "[1]\n", "   \n"):
        reviews.write_text(good + "\n" + bad + good)
        with pytest.raises(RowError, match="line 3.*a JSON object"):
            read_amazon_2018("x", reviews, meta)
    for bad, field in (
        ('{"reviewerID": "u", "asin": "i", "unixReviewTime": "soon"}\n', "timestamp"),
        ('{"reviewerID": "u", "asin": "i"}\n', "timestamp"),
        ('{"asin": "i", "unixReviewTime": 1}\n', "user_id"),
    ):
        reviews.write_text(good + bad)
        with pytest.raises(RowError, match=f"line 2: field '{field}'"):
            read_amazon_2018("x", reviews, meta)


def test_broken_literals(tmp_path: Path) -> None:
    meta, reviews = tmp_path / "meta.json", tmp_path / "reviews.json"
    reviews.write_text('{"reviewerID": "u", "asin": "i", "unixReviewTime": 1}\n')
    meta.write_text("{'asin': 'i'}\n{'asin': 'j', 'title': 'It's'}\n")
    with pytest.raises(RowError, match="line 2.*a Python dict"):
        read_amazon_2014("x", reviews, meta)
    meta.write_text("{'asin': 'i'}\n{'title': 'T'}\n")
    with pytest.raises(RowError, match="line 2: field 'item_id'"):
        read_amazon_2014("x", reviews, meta)


def test_broken_movielens(tmp_path: Path) -> None:
    ratings, movies = tmp_path / "ratings.dat", tmp_path / "movies.dat"
    ratings.write_text("1::2::5::6\n1:2:5:6\n")
    movies.write_text("2::T::G\n")
    with pytest.raises(RowError, match="line 2.*4 fields"):
        read_movielens("x", ratings, movies)
    ratings.write_text("1::2::5::6\n")
    movies.write_text("2::T::G\n3::T\n")
    with pytest.raises(RowError, match="line 2.*MovieID::Title::Genres"):
        read_movielens("x", ratings, movies)


@pytest.mark.parametrize(
    ("rows", "line", "value"),
    [
        ("i,T\nB2\n", 3, "B2"),
        ("i,\nB2", 3, "B2"),
        ('i,"T, U"\nB2\n"j, k",\n', 3, "B2"),
        ('i,"T\n\nU"\n\nB2\nj,V\n', 6, "B2"),
        ('""\ni,T\n', 2, '""'),
    ],
)
def test_a_table_row_that_is_too_short(tmp_path: Path, rows: str, line: int, value: str) -> None:
    items, log = tmp_path / "items.csv", tmp_path / "log.csv"
    items.write_text(f"item_id,title\n{rows}")
    log.write_text("user_id,item_id,timestamp\nu,i,1\n")
    with pytest.raises(RowError, match=r"expected 2 fields \(item_id, title\)") as caught:
        read_table("x", log, items)
    error = caught.value
    assert (error.file, error.line, error.value) == (items, line, value)


def test_an_interaction_that_is_too_short(tmp_path: Path) -> None:
    items, log = tmp_path / "items.csv", tmp_path / "log.csv"
    items.write_text("item_id,title\ni,T\n")
    log.write_text('user_id,item_id,timestamp,note\n\nu,i,1,\nu,i,2,"a,\nb"\nu,i,\nu,i,3\n')
    with pytest.raises(RowError, match=r"log\.csv, line 6: .* 'u,i,', expected 4 fields"):
        read_table("x", log, items)


def test_table_errors_count_lines_inside_quotes(tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("item_id,title\ni,T\n")
    log = tmp_path / "log.csv"
    log.write_text('user_id,note,item_id,timestamp\nu,"a\n\nb",i,1\nu,,i,late\n')
    with pytest.raises(RowError) as caught:
        read_table("x", log, items)
    assert (caught.value.line, caught.value.value) == (5, "late")
    log.write_text("user_id,item_id,timestamp\nu,i,1\nu,i,2,3\n")
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_table("x", log, items)
    parquet = tmp_path / "log.parquet"
    parquet.write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_table("x", parquet, items)
    pl.DataFrame(
        {"user_id": ["u", None], "item_id": ["i", "i"], "timestamp": [1, 2]}
    ).write_parquet(parquet)
    with pytest.raises(RowError, match="line 2: field 'user_id'"):
        read_table("x", parquet, items)
