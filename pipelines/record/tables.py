"""Reading and writing ml-metadata's tables, statement by statement."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pipelines.record.schema import EventType, TypeKind

Value = int | float | str


class Tables:
    """The tables of one open file.

    Args:
        database: The connection, in autocommit: transactions are begun by ``transaction``.
    """

    def __init__(self, database: sqlite3.Connection):
        self.database = database

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is written inside, or nothing."""
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.database.execute("COMMIT")
        except BaseException:
            if self.database.in_transaction:  # a full disk may have ended it already
                self.database.execute("ROLLBACK")
            raise

    def select(self, statement: str, values: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """The rows that a statement finds."""
        return self.database.execute(statement, values).fetchall()

    def type_id(self, name: str, kind: TypeKind) -> int:
        """The number of a type, which is made if it is new."""
        found = self.select(
            "SELECT id FROM Type WHERE name = ? AND type_kind = ?", (name, int(kind))
        )
        if found:
            return int(found[0][0])
        return self._new("INSERT INTO Type (name, type_kind) VALUES (?, ?)", (name, int(kind)))

    def insert(self, table: str, type_id: int, **columns: Value) -> int:
        """A new Artifact, Execution or Context; its number."""
        now = milliseconds()
        values = {
            "type_id": type_id,
            "create_time_since_epoch": now,
            "last_update_time_since_epoch": now,
            **columns,
        }
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        return self._new(f"INSERT INTO {table} ({names}) VALUES ({marks})", [*values.values()])

    def add_event(self, execution: int, artifact: int, kind: EventType, key: str, at: int) -> None:
        """An artifact as an execution's input or output, at a place of a key.

        ml-metadata has one event of a kind between the two: a second key is not noted.
        """
        cursor = self.database.execute(
            "INSERT OR IGNORE INTO Event"
            " (artifact_id, execution_id, type, milliseconds_since_epoch) VALUES (?, ?, ?, ?)",
            (artifact, execution, int(kind), milliseconds()),
        )
        if cursor.rowcount:
            event = cursor.lastrowid
            self.database.executemany(
                "INSERT INTO EventPath VALUES (?, ?, ?, ?)",
                [(event, 0, None, key), (event, 1, at, None)],
            )

    def link(self, table: str, column: str, context: int, other: int) -> None:
        """An execution (Association) or an artifact (Attribution) as a context's."""
        self.database.execute(
            f"INSERT OR IGNORE INTO {table} (context_id, {column}) VALUES (?, ?)", (context, other)
        )

    def set_properties(self, table: str, owner: int, properties: Mapping[str, Value]) -> None:
        """Custom properties of an Artifact, Execution or Context; older values are replaced."""
        for name, value in properties.items():
            self.database.execute(
                f"INSERT OR REPLACE INTO {table}Property"
                f" ({table.lower()}_id, name, is_custom_property, {_column(value)})"
                " VALUES (?, ?, 1, ?)",
                (owner, name, value),
            )

    def properties(self, table: str, owner: int) -> dict[str, Any]:
        """What ``set_properties`` was given."""
        rows = self.select(
            "SELECT name, coalesce(string_value, int_value, double_value) FROM"
            f" {table}Property WHERE {table.lower()}_id = ?",
            (owner,),
        )
        return dict(rows)

    def touch(self, table: str, row: int) -> None:
        """Sets the time of the last update."""
        self.database.execute(
            f"UPDATE {table} SET last_update_time_since_epoch = ? WHERE id = ?",
            (milliseconds(), row),
        )

    def _new(self, statement: str, values: Sequence[Value]) -> int:
        number = self.database.execute(statement, values).lastrowid
        assert number is not None  # it was an INSERT
        return number


def milliseconds() -> int:
    """Now, since the epoch."""
    return int(time.time() * 1000)


def _column(value: Value) -> str:
    if isinstance(value, str):
        return "string_value"
    return "int_value" if isinstance(value, int) else "double_value"
