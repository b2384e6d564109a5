"""What becomes of rows that cannot be used."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from idp_tf.errors import RowError

VALUE: Final = "value"
LINE: Final = "line"
"""The column that holds a row's line number, the first line of a file being 1."""
LINES: Final = "lines"
"""The column that holds how many lines a row takes; where it is missing, all take one."""


def told(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Rows whose ``column`` is bad, as ``BadRows.found`` takes them."""
    value = pl.col(column).alias(VALUE)
    return rows.select(LINE, value, *([LINES] if LINES in rows.columns else []))


class BadRows:
    """They are refused: the first one ends the reading."""

    def found(
        self,
        rows: pl.DataFrame,
        *,
        file: Path,
        field: str,
        expected: str,
        remedy: str | None = None,
    ) -> None:
        """Takes the bad rows of a block; the reader goes on without them, if it does.

        Args:
            rows: Columns ``line`` and ``value``, what stands there, maybe ``lines``; maybe no rows.
            file: The file.
            field: The column that is wrong.
            expected: What should stand there.
            remedy: What the user can do.

        Raises:
            RowError: at the first of them.
        """
        if rows.height:
            raise RowError(
                file=file,
                line=rows[LINE][0],
                field=field,
                value=rows[VALUE][0],
                expected=expected,
                remedy=remedy,
            )


REFUSED: Final = BadRows()


@dataclass(frozen=True)
class BadRow:
    """A row that was set aside.

    Args:
        file: The file's name.
        line: The line, from 1.
        field: The column that is wrong.
        value: What stands there.
        reason: What should stand there.
        lines: How many lines the row takes.
    """

    file: str
    line: int
    field: str
    value: str
    reason: str
    lines: int = 1


@dataclass
class SetAside(BadRows):
    """They are set aside, each with its place and the reason, and reading goes on.

    Args:
        most: How many are kept with what stands there; all are counted.

    Attributes:
        rows: The first ``most`` of them.
        counts: How many lines they take, by reason.
    """

    most: int = 10_000
    rows: list[BadRow] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def found(
        self,
        rows: pl.DataFrame,
        *,
        file: Path,
        field: str,
        expected: str,
        remedy: str | None = None,
    ) -> None:
        """Keeps them, as long as there is room."""
        if not rows.height:
            return
        if LINES not in rows.columns:
            rows = rows.with_columns(pl.lit(1).alias(LINES))
        self.counts[f"bad rows: {field} is not {expected}"] += int(rows[LINES].sum())
        self.rows += [
            BadRow(file.name, line, field, "" if value is None else str(value), expected, lines)
            for line, value, lines in rows.select(LINE, VALUE, LINES).head(self._room()).iter_rows()
        ]

    def _room(self) -> int:
        return self.most - len(self.rows)
