"""The tables of the record: those of ml-metadata's schema, version 10.

An ml-metadata 1.17 client opens the file as its own. Of its tables ours fill Type, Artifact,
Execution, Context, their properties, Event, EventPath, Association and Attribution.
"""

from __future__ import annotations

import sqlite3
from enum import IntEnum
from typing import Final

VERSION: Final = 10


class ExecutionState(IntEnum):
    """``ml_metadata.Execution.State``."""

    RUNNING = 2
    COMPLETE = 3
    FAILED = 4
    CACHED = 5
    CANCELED = 6


class ArtifactState(IntEnum):
    """``ml_metadata.Artifact.State``."""

    LIVE = 2
    DELETED = 4


class EventType(IntEnum):
    """``ml_metadata.Event.Type``."""

    INPUT = 3
    OUTPUT = 4


class TypeKind(IntEnum):
    """What a row of the table Type is a type of."""

    EXECUTION = 0
    ARTIFACT = 1
    CONTEXT = 2


def _entity(name: str, extra: str, unique_name: str) -> str:
    return f"""
CREATE TABLE {name} (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  type_id INT NOT NULL,
  {extra}
  name VARCHAR(255) {unique_name},
  external_id VARCHAR(255) UNIQUE,
  create_time_since_epoch INT NOT NULL DEFAULT 0,
  last_update_time_since_epoch INT NOT NULL DEFAULT 0,
  UNIQUE(type_id, name)
);
CREATE TABLE {name}Property (
  {name.lower()}_id INT NOT NULL,
  name VARCHAR(255) NOT NULL,
  is_custom_property TINYINT(1) NOT NULL,
  int_value INT,
  double_value DOUBLE,
  string_value TEXT,
  byte_value BLOB,
  proto_value BLOB,
  bool_value BOOLEAN,
  PRIMARY KEY ({name.lower()}_id, name, is_custom_property)
);
"""


_TABLES: Final = (
    """
CREATE TABLE Type (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name VARCHAR(255) NOT NULL,
  version VARCHAR(255),
  type_kind TINYINT(1) NOT NULL,
  description TEXT,
  input_type TEXT,
  output_type TEXT,
  external_id VARCHAR(255) UNIQUE
);
CREATE TABLE TypeProperty (
  type_id INT NOT NULL,
  name VARCHAR(255) NOT NULL,
  data_type INT NULL,
  PRIMARY KEY (type_id, name)
);
CREATE TABLE ParentType (
  type_id INT NOT NULL, parent_type_id INT NOT NULL, PRIMARY KEY (type_id, parent_type_id)
);
CREATE TABLE ParentContext (
  context_id INT NOT NULL,
  parent_context_id INT NOT NULL,
  PRIMARY KEY (context_id, parent_context_id)
);
CREATE TABLE Event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  artifact_id INT NOT NULL,
  execution_id INT NOT NULL,
  type INT NOT NULL,
  milliseconds_since_epoch INT,
  UNIQUE(artifact_id, execution_id, type)
);
CREATE TABLE EventPath (
  event_id INT NOT NULL,
  is_index_step TINYINT(1) NOT NULL,
  step_index INT,
  step_key TEXT
);
CREATE TABLE Association (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  context_id INT NOT NULL,
  execution_id INT NOT NULL,
  UNIQUE(context_id, execution_id)
);
CREATE TABLE Attribution (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  context_id INT NOT NULL,
  artifact_id INT NOT NULL,
  UNIQUE(context_id, artifact_id)
);
CREATE TABLE MLMDEnv (schema_version INTEGER PRIMARY KEY);
"""
    + _entity("Artifact", "uri TEXT, state INT,", "")
    + _entity("Execution", "last_known_state INT,", "")
    + _entity("Context", "", "NOT NULL")
    + """
CREATE INDEX idx_event_execution_id ON Event(execution_id);
CREATE INDEX idx_eventpath_event_id ON EventPath(event_id);
CREATE INDEX idx_artifact_uri ON Artifact(uri);
CREATE INDEX idx_type_name ON Type(name);
"""
)


def create_tables(database: sqlite3.Connection) -> None:
    """Makes all tables, in one transaction."""
    database.executescript(f"BEGIN; {_TABLES} INSERT INTO MLMDEnv VALUES ({VERSION}); COMMIT;")


def schema_version(database: sqlite3.Connection) -> int | None:
    """The version of the tables that are there; None if there are none."""
    found = database.execute("SELECT name FROM sqlite_master WHERE name = 'MLMDEnv'").fetchone()
    if found is None:
        return None
    (version,) = database.execute("SELECT schema_version FROM MLMDEnv").fetchone()
    return int(version)
