"""The answer of `idp-tf query`, as a table and as JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from idp_tf.errors import MissingDataError, ServingError
from serving.client import ServingClient
from serving.query import format_json, print_table, query, read_titles

ANSWER = [("a", 1.5), ("b [red]", -0.25)]
TITLES = {"a": "Green tea [organic]"}


def test_query_asks_the_server(client: ServingClient) -> None:
    assert query(client.address, ["item-1"], 3) == client.recommend([["item-1"]], 3)[0]


@pytest.mark.parametrize(
    ("items", "k", "message"),
    [
        ([], 3, "row 0 of item_ids holds no known item id"),
        (["nobody"], 3, "row 0 of item_ids holds no known item id"),
        (["item-1"], 0, "k must be between 1 and 60, got 0"),
        (["item-1"], 61, "k must be between 1 and 60, got 61"),
    ],
)
def test_a_question_that_has_no_answer(
    client: ServingClient, items: list[str], k: int, message: str
) -> None:
    with pytest.raises(ServingError) as caught:
        query(client.address, items, k)
    assert str(caught.value).startswith(f"{client.address}: INVALID_ARGUMENT: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_ids_beside_known_ones_are_skipped(client: ServingClient) -> None:
    assert query(client.address, ["nobody", "item-1"], 3) == query(client.address, ["item-1"], 3)


def test_no_server() -> None:
    with pytest.raises(ServingError) as caught:
        query("127.0.0.1:1", ["item-1"], timeout=5)
    assert "127.0.0.1:1: UNAVAILABLE: no server answers here" in str(caught.value)
    assert "idp-tf serve" in str(caught.value)


def test_json() -> None:
    assert json.loads(format_json(["x"], ANSWER, TITLES)) == {
        "items": ["x"],
        "recommendations": [
            {"item_id": "a", "score": 1.5, "title": "Green tea [organic]"},
            {"item_id": "b [red]", "score": -0.25, "title": ""},
        ],
    }
    assert "title" not in format_json(["x"], ANSWER)


def test_table_shows_brackets_as_they_are() -> None:
    stream = io.StringIO()
    print_table(ANSWER, TITLES, console=Console(file=stream, width=80))
    text = stream.getvalue()
    assert "Green tea [organic]" in text
    assert "b [red]" in text
    assert "-0.2500" in text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", 'item_id,price,title\na,1,"Green tea [organic]"\n'),
        ("t.tsv", "title\titem_id\nGreen tea [organic]\ta\n"),
        ("t.item", "item_id:token\ttitle:token_seq\na\tGreen tea [organic]\n"),
    ],
)
def test_titles_of_text_files(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_titles(tmp_path / name) == TITLES


def test_titles_of_parquet(tmp_path: Path) -> None:
    file = tmp_path / "items.parquet"
    pl.DataFrame({"item_id": ["a", "b"], "title": ["Green tea", None]}).write_parquet(file)
    assert read_titles(file) == {"a": "Green tea", "b": ""}


def test_titles_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="not there"):
        read_titles(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("id,title\n1,x\n")
    with pytest.raises(MissingDataError, match="no column 'item_id', only id, title"):
        read_titles(tmp_path / "t.csv")
