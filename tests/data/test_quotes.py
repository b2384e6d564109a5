"""Stray quotes in CSV tables: what they cost, and that fields of several lines stay whole."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp_tf.data.readers import (
    ReadOptions,
    SetAside,
    files,
    quotes,
    read_recbole,
    read_table,
)
from idp_tf.errors import RowError

Rows = list[tuple[str, str, float]]
BLOCKS = [1, 7, 100, 2**24]
HEADER = "user_id,item_id,timestamp,note\n"


def read_log(folder: Path, text: str, block: int = 2**24) -> tuple[Rows, list[tuple[int, int]]]:
    """The rows of a log, and where those that were set aside begin and how many lines they take."""
    log, items = folder / "log.csv", folder / "items.csv"
    log.write_text(text, encoding="utf-8", newline="")
    items.write_text("item_id,title\ni,T\n", encoding="utf-8")
    aside = SetAside()
    with mock.patch.object(files, "BLOCK_BYTES", block):
        domain = read_table("x", log, items, ReadOptions(bad_rows=aside))
    assert aside.counts.total() == sum(row.lines for row in aside.rows)
    assert domain.dropped == dict(aside.counts)
    return domain.interactions.rows(), sorted((row.line, row.lines) for row in aside.rows)


def read_titles(
    folder: Path, text: str, block: int = 2**24, options: ReadOptions | None = None
) -> dict[str, str]:
    log, items = folder / "log.csv", folder / "items.csv"
    log.write_text("user_id,item_id,timestamp\nu,i0,1\n", encoding="utf-8")
    items.write_text(text, encoding="utf-8", newline="")
    with mock.patch.object(files, "BLOCK_BYTES", block):
        return dict(read_table("x", log, items, options or ReadOptions()).items.rows())


@pytest.mark.parametrize("block", [100, 2**24])
@pytest.mark.parametrize("at", [0, 551, 555])
def test_a_stray_quote_costs_its_own_line(tmp_path: Path, block: int, at: int) -> None:
    lines = [f"u{n},i,{n}" for n in range(555)]
    text = "\n".join(["user_id,item_id,timestamp", *lines[:at], '"', *lines[at:]])
    expected = [(f"u{n}", "i", float(n)) for n in range(555)]
    assert read_log(tmp_path, text, block) == (expected, [(at + 2, 1)])
    with mock.patch.object(files, "BLOCK_BYTES", block), pytest.raises(RowError) as caught:
        read_table("x", tmp_path / "log.csv", tmp_path / "items.csv")
    assert (caught.value.line, caught.value.value) == (at + 2, '"')
    assert "a row in which every quote is closed" in str(caught.value)


NOTES = ["", "n", '12" n', '"a, b"', '"a ""b"""', '"a\n\nb"', '"a,\nb, c\r\n"', '"\nu,i,n,n\n"']
STRAYS = ['"u{0},i,{0},', 'u{0},"i,{0},n', 'u{0},i,"{0},n', 'u{0},i,{0},"n', '"', '"u"x,i,5,n']


@given(
    st.lists(st.one_of(st.sampled_from(NOTES), st.integers(0, len(STRAYS) - 1)), max_size=12),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(BLOCKS),
)
@settings(max_examples=40)
def test_strays_cost_no_other_rows(
    tmp_path_factory: pytest.TempPathFactory, made: list[str | int], end: str, block: int
) -> None:
    text, kept, bad = HEADER, [("first", "i", 0.0)], []
    text += f"first,i,0,{end}"
    for number, note in enumerate(made):
        if isinstance(note, int):
            bad.append((1 + text.count("\n"), 1))
            text += STRAYS[note].format(number) + end
            # What follows is a row, without which a lone quote might close the one before.
            number = 100 + number
            note = ""
        kept.append((f"u{number}", "i", float(number)))
        text += f"u{number},i,{number},{note}{end}"
    assert read_log(tmp_path_factory.mktemp("log"), text, block) == (kept, bad)


def test_a_quote_that_meets_another_far_below(tmp_path: Path) -> None:
    rows = [f"u{n},i,{n},n" for n in range(400)]
    kept = [(f"u{n}", "i", float(n)) for n in range(400)]
    for last in ('u,i,5,"title"', 'u,i,5,n"', 'u,i,5,", n"'):
        text = HEADER + "\n".join(['u,i,4,"n', *rows, last]) + "\n"
        assert read_log(tmp_path, text) == ([*kept, ("u", "i", 5.0)], [(2, 1)])


@pytest.mark.parametrize("block", BLOCKS)
def test_bad_rows_count_by_their_lines(tmp_path: Path, block: int) -> None:
    rows = ['u,i,late,"a\n\nb"', ',i,2,"a\nb"', 'u,i,3,"a\nb",e', 'u,i,"4"', 'u,i,5,"a\nb"']
    found = [("u", "i", 5.0)], [(2, 3), (5, 2), (7, 2), (9, 1)]
    assert read_log(tmp_path, HEADER + "\n".join(rows), block) == found


@pytest.mark.parametrize("block", BLOCKS)
def test_titles_may_have_lines_and_quotes(tmp_path: Path, block: int) -> None:
    text = 'item_id,title\ni0,"Tea, black\nfine,loose\n""Earl"""\ni1,12" Ruler\ni2,"\n"\n'
    expected = {"i0": 'Tea, black\nfine,loose\n"Earl"', "i1": '12" Ruler', "i2": "\n"}
    assert read_titles(tmp_path, text, block) == expected


@pytest.mark.parametrize("block", BLOCKS)
def test_titles_that_take_in_other_rows_or_too_many_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(quotes, "MOST_LINES", 6)
    rows = ["i1,A", "i2,B", "i3,C", 'i4,12"']
    aside = SetAside()
    options = ReadOptions(bad_rows=aside)
    expected = {"i0": "T", "i1": "A", "i2": "B", "i3": "C", "i4": '12"'}
    text = "\n".join(["item_id,title", "i0,T", 'i9,"T', *rows])
    assert read_titles(tmp_path, text, block, options) == expected
    assert [(row.line, row.value) for row in aside.rows] == [(3, 'i9,"T')]
    long = '"' + "\n" * 5 + '"'
    assert read_titles(tmp_path, f"item_id,title\ni0,{long}\n", block) == {"i0": "\n" * 5}
    with pytest.raises(RowError, match="line 3: .* every quote is closed"):
        read_titles(tmp_path, f"item_id,title\ni0,T\ni1,{long[0]}\n{long[1:]}\n", block)


def test_a_header_with_a_stray_quote_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r"line 1: .* every quote is closed"):
        read_log(tmp_path, '"user_id,item_id,timestamp\nu,i,1\n')


def test_lines_that_are_no_text_close_no_quotes(tmp_path: Path) -> None:
    log, items = tmp_path / "log.csv", tmp_path / "items.csv"
    items.write_text("item_id,title\ni,T\n", encoding="utf-8")
    log.write_bytes(HEADER.encode() + b'u,i,1,"a\n\xff"\nu,i,2,n\nu,i,3,n\n')
    aside = SetAside()
    domain = read_table("x", log, items, ReadOptions(bad_rows=aside))
    assert domain.interactions["timestamp"].to_list() == [2.0, 3.0]
    assert sorted(row.line for row in aside.rows) == [2, 3]
    with pytest.raises(RowError, match="line 3: .* text in utf-8"):
        read_table("x", log, items)


def test_recbole_has_no_quotes(tmp_path: Path) -> None:
    inter, item = tmp_path / "x.inter", tmp_path / "x.item"
    inter.write_text('user_id:token\titem_id:token\ttimestamp:float\n"u\ti\t1\nv\ti\t2\n')
    item.write_text('item_id:token\ttitle:token_seq\ni\t"T\nj\tU\n')
    domain = read_recbole("x", inter, item)
    assert domain.interactions.rows() == [('"u', "i", 1.0), ("v", "i", 2.0)]
    assert domain.items.rows() == [("i", '"T'), ("j", "U")]


@given(
    st.lists(st.sampled_from(['"', ",", "\n", "\r\n", "u", "7", "u,i,1,n\n", 'u,i,2,"a\nb"\n'])),
    st.sampled_from(BLOCKS[:-1]),
)
@settings(max_examples=40)
def test_blocks_cut_anywhere_decide_alike(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], block: int
) -> None:
    text = HEADER + "first,i,0,\n" + "".join(parts)
    folder = tmp_path_factory.mktemp("log")
    assert read_log(folder, text, block) == read_log(folder, text)
