"""The quotes of a CSV file, mended block by block, so that none swallows the lines behind it.

A quoted field begins with a quote right after a separator or at a line's start, and ends with one
right before a separator or the line's end; quotes in it are doubled. Quotes in other fields are
ordinary characters, as Python's ``csv`` has it. Anything else is a quote that is not closed: then
the line on which the row begins is bad, and reading goes on at the next one. Since a stray quote
may meet another one, a field of several lines counts as closed only if

- it is no id and no timestamp,
- its row has at most ``MOST_LINES`` lines,
- in a table with timestamps, none of its lines behind the first could itself be a row: as many
  fields as the header, ids, and a number for the timestamp,
- in other tables, where prose with commas is easily taken for a row, not ``MOST_ALIKE`` or more
  of the lines between its first and its last, and at least half of these, could be rows.

What is decided depends on a row's own lines and so on no block's size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from idp_tf.data.readers.bad_rows import LINE, REFUSED, BadRows
from idp_tf.data.readers.files import read_blocks, shortened_rows
from idp_tf.data.schema import COLUMNS

MOST_LINES: Final = 1000
"""How many lines a row may have; as many are held until its quotes close."""
MOST_ALIKE: Final = 3
_FIELD: Final = r'(?:[^",]*|"(?:[^"]|"")*")'
_SOUND_LINE: Final = rf"^{_FIELD}(?:,{_FIELD})*\r?$"
_FIELDS: Final = re.compile(r'(?:^|,)(?:"((?:[^"]|"")*+)"|([^,]*))')
_TO_CLOSING: Final = re.compile(r'(?:[^"]++|"")*+')


class _NotClosedError(Exception):
    """A quote is not closed."""


class _CutOffError(Exception):
    """Whether a quote is closed, lines tell that have not been read."""


@dataclass(frozen=True)
class _Header:
    """Where our columns are: ids, and the timestamp, if there is one."""

    width: int
    ids: tuple[int, ...]
    time: int | None

    @classmethod
    def of(cls, row: str, columns: Mapping[str, str]) -> _Header:
        names = split_row(row)
        at = {ours: names.index(theirs) for ours, theirs in columns.items() if theirs in names}
        ids = tuple(at[ours] for ours in (COLUMNS.user_id, COLUMNS.item_id) if ours in at)
        return cls(len(names), ids, at.get(COLUMNS.timestamp))

    def has_one_line(self, column: int) -> bool:
        return column in self.ids or column == self.time

    def could_be_row(self, line: str) -> bool:
        fields = [field.strip(' "\r') for field in line.split(",")]
        if len(fields) != self.width or not all(fields[at] for at in self.ids):
            return False
        if self.time is None:
            return not any(" " in fields[at] for at in self.ids)
        return _is_number(fields[self.time])


class SoundBlocks:
    """Reads a CSV file in blocks of whole rows whose quotes are all in order.

    Lines that hold a quote that is not closed go to ``bad`` and are left empty, so that the others
    keep their numbers. A bad header is refused in any case.

    Args:
        file: The file.
        columns: What our columns in it are called.
        bad: What becomes of bad rows, and of lines that are no UTF-8.
    """

    def __init__(self, file: Path, columns: Mapping[str, str], bad: BadRows):
        self._file, self._columns, self._bad = file, columns, bad
        self._header: _Header | None = None

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Blocks, each with the number of its first line."""
        held: list[str] = []
        first = 1
        for block in read_blocks(self._file):
            text = block.text(self._bad)
            if self._header and not held and '"' not in text:
                yield block.first_line, text.encode()
                continue
            first = first if held else block.first_line
            lines = held + text.split("\n")
            done = self._mend(lines, first, final=False)
            if done:
                yield first, "\n".join(lines[:done]).encode()
            held, first = lines[done:], first + done
        if held:
            self._mend(held, first, final=True)
            yield first, "\n".join(held).encode()

    def _mend(self, lines: list[str], first: int, *, final: bool) -> int:
        """Puts quotes in order.

        Args:
            lines: The lines; changed in place, their number stays.
            first: The number of the first of them.
            final: Whether they are the file's last.

        Returns:
            How many of them are done; a row begins behind these, of which lines are missing.
        """
        done = 0
        wrong: list[tuple[int, str]] = []
        odd = ~pl.Series(lines, dtype=pl.String).str.contains(_SOUND_LINE)
        try:
            if not self._header:
                done = self._read_header(lines, first, final)
            for at in odd.arg_true():
                if at < done:
                    continue
                done = at
                try:
                    row = self._row(lines, at, final)
                except _NotClosedError:
                    wrong.append((first + at, lines[at]))
                    row = [""]
                done = at + len(row)
                lines[at:done] = row
            done = len(lines)
        except _CutOffError:
            pass  # the row waits, with those behind it, for the next block
        self._tell(wrong, self._bad)
        return done

    def _read_header(self, lines: list[str], first: int, final: bool) -> int:
        at = next((at for at, line in enumerate(lines) if line.strip("\r")), len(lines))
        if at == len(lines):
            return at
        try:
            row = self._row(lines, at, final)
        except _NotClosedError:  # without a header nothing can be read
            self._tell([(first + at, lines[at])], REFUSED)
            raise
        end = at + len(row)
        lines[at:end] = row
        self._header = _Header.of("\n".join(row).removesuffix("\r"), self._columns)
        return end

    def _tell(self, wrong: Sequence[tuple[int, str]], bad: BadRows) -> None:
        schema = {LINE: pl.UInt32, "text": pl.String}
        bad.found(
            shortened_rows(pl.DataFrame(wrong, schema, orient="row")),
            file=self._file,
            field="(row)",
            expected="a row in which every quote is closed",
            remedy="remove the quote, close it, or double it within a quoted field",
        )

    def _row(self, lines: Sequence[str], at: int, final: bool) -> list[str]:
        """The row that begins at a line, fields that hold ordinary quotes now quoted.

        Raises:
            _NotClosedError: if a quote is not closed.
            _CutOffError: if that cannot be told by these lines.
        """
        fields: list[str] = []
        line, begin = at, 0
        while True:
            if lines[line].startswith('"', begin):
                place = at, line, begin
                close, end = self._closing(lines, place, len(fields), final)
                quoted = [*lines[line:close], lines[close][:end]]
                fields.append("\n".join(quoted)[begin:])
                line = close
                length = _length(lines[line])
            else:
                length = _length(lines[line])
                comma = lines[line].find(",", begin, length)
                end = length if comma < 0 else comma
                fields.append(_quoted(lines[line][begin:end]))
            if end == length:
                return (",".join(fields) + lines[line][length:]).split("\n")
            begin = end + 1

    def _closing(
        self, lines: Sequence[str], place: tuple[int, int, int], column: int, final: bool
    ) -> tuple[int, int]:
        """The line on which a quoted field ends, and where on it.

        Args:
            lines: The lines.
            place: Where the row begins, where the field, and at which of that line's characters.
            column: The field's number, from 0.
            final: Whether the lines are the file's last.

        Raises:
            _NotClosedError: if it does not end.
            _CutOffError: if that cannot be told by these lines.
        """
        row, line, begin = place
        header, first = self._header, line
        end = _end(lines[line], begin + 1)
        while end > len(lines[line]):
            line += 1
            if line - row >= MOST_LINES or (header and header.has_one_line(column)):
                raise _NotClosedError
            if line == len(lines):
                raise _NotClosedError if final else _CutOffError
            if header and header.time is not None and header.could_be_row(lines[line]):
                raise _NotClosedError
            end = _end(lines[line], 0)
        if end < _length(lines[line]) and lines[line][end] != ",":
            raise _NotClosedError
        if header and header.time is None:
            between = lines[first + 1 : line]
            alike = sum(map(header.could_be_row, between))
            if alike >= max(MOST_ALIKE, len(between) / 2):
                raise _NotClosedError
        return line, end


def split_row(row: str) -> list[str]:
    """The fields of a row whose quotes are in order."""
    return [
        match[2] if match[1] is None else match[1].replace('""', '"')
        for match in _FIELDS.finditer(row)
    ]


def split_rows(text: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """Rows whose quotes are in order, blank ones left out.

    Yields:
        The number of the row's first line, from 0; its lines and its fields.
    """
    begun, parts, quotes = 0, [], 0
    for at, line in enumerate(text.split("\n")):
        parts.append(line)
        quotes += line.count('"')
        if quotes % 2 == 0:
            if row := "\n".join(parts).removesuffix("\r"):
                yield begun, parts, split_row(row)
            begun, parts, quotes = at + 1, [], 0


def _end(line: str, begin: int) -> int:
    """Right behind the quote that ends a quoted field; beyond the line if there is none."""
    match = _TO_CLOSING.match(line, begin)
    return (match.end() if match else begin) + 1


def _length(line: str) -> int:
    return len(line) - line.endswith("\r")


def _quoted(field: str) -> str:
    """A field without its own quotes, quoted where quotes stand in it."""
    return '"' + field.replace('"', '""') + '"' if '"' in field else field


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
