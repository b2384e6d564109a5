"""Input files as blocks of whole lines, plain or gzipped, with line numbers and checksums.

Every text format is read in blocks of some MiB, each cut after a line feed and
then split by polars, so that memory stays bounded and a bad row can be named by
its line. Lines end at a line feed (a carriage return before it goes); lines with
nothing in them are passed over but counted.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Protocol

import polars as pl
from rich.console import Console
from rich.progress import Progress

from idp_tf.data.readers.bad_rows import LINE as LINE
from idp_tf.data.readers.bad_rows import REFUSED, VALUE, BadRows
from idp_tf.errors import DataError, MissingDataError

logger = logging.getLogger(__name__)

BLOCK_BYTES = 16 * 2**20
_LOG_EVERY_SECONDS = 10.0
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class SourceFile:
    """A file that a domain was read from.

    Args:
        name: The file's name, without its folder, so that records don't depend on the machine; of
            one shard among several, also what tells it from the others.
        size: Its size in bytes, as it lies on the disk.
        sha256: The checksum of those bytes.
    """

    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, file: Path, name: str | None = None) -> SourceFile:
        """Reads size and checksum of a file.

        Args:
            file: The file.
            name: Its name in records; by default that without its folder.

        Raises:
            MissingDataError: if it is not there.
        """
        require_file(file)
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return cls(name or file.name, file.stat().st_size, digest)

    def as_dict(self) -> dict[str, str | int]:
        """Name, size and checksum, for the manifest."""
        return asdict(self)


@dataclass(frozen=True)
class Block:
    """Some whole lines of a file.

    Args:
        file: The file.
        first_line: The number of the first of them.
        data: Their bytes.
        encoding: How the bytes are to be read.
    """

    file: Path
    first_line: int
    data: bytes
    encoding: str = "utf-8"

    def lines(self, bad: BadRows = REFUSED) -> pl.DataFrame:
        """The lines that hold something.

        Args:
            bad: What becomes of lines that are not in the encoding.

        Returns:
            Columns ``text`` (str) and ``line`` (uint32).

        Raises:
            RowError: if the bytes are not in the encoding, and such lines are refused.
        """
        lines = pl.Series("text", [self.text(bad)]).str.split("\n").explode()
        if b"\r" in self.data:
            lines = lines.str.strip_suffix("\r")
        frame = lines.to_frame().with_row_index(LINE, offset=self.first_line)
        return frame.filter(pl.col("text") != "").select("text", LINE)

    def text(self, bad: BadRows = REFUSED) -> str:
        """The lines as text, those that are not in the encoding left empty; see ``lines``."""
        try:
            return self.data.decode(self.encoding)
        except UnicodeDecodeError:
            return self._decodable(bad)

    def _decodable(self, bad: BadRows) -> str:
        """The text, lines that are not in the encoding left empty; line by line, as it is rare."""
        kept, wrong = [], []
        for line, data in enumerate(self.data.split(b"\n"), start=self.first_line):
            try:
                kept.append(data.decode(self.encoding))
            except UnicodeDecodeError as error:
                kept.append("")
                wrong.append((line, str(data[error.start : error.end])))
        bad.found(
            pl.DataFrame(wrong, [LINE, VALUE], orient="row"),
            file=self.file,
            field="(row)",
            expected=f"text in {self.encoding}",
            remedy=f"convert the file to {self.encoding}",
        )
        return "\n".join(kept)


def require_file(file: Path) -> None:
    """Checks that a file is there.

    Raises:
        MissingDataError: if not.
    """
    if not file.is_file():
        raise MissingDataError(
            "there is no such file",
            where=file,
            remedy="check the path and the file's name",
        )


def read_blocks(file: Path, encoding: str = "utf-8") -> Iterator[Block]:
    """Reads a file, unpacked if its name ends in ``.gz``, in blocks of whole lines.

    Raises:
        MissingDataError: if the file is not there.
        DataError: if it is no sound gzip file though its name says so.
    """
    require_file(file)
    line, rest, first = 1, b"", True
    with _opened(file) as chunks:
        for chunk in chunks:
            if first:
                chunk, first = chunk.removeprefix(_BYTE_ORDER_MARK), False
            head, feed, tail = chunk.rpartition(b"\n")
            if not feed:
                rest += chunk
                continue
            data = rest + head
            yield Block(file, line, data, encoding)
            line += data.count(b"\n") + 1
            rest = tail
    if rest:
        yield Block(file, line, rest, encoding)


def first_line(file: Path, encoding: str = "utf-8") -> str:
    """The first line of a file, without its end; empty if the file is.

    Raises:
        MissingDataError: if the file is not there.
        RowError: if the line is not in the encoding.
    """
    for block in read_blocks(file, encoding):
        head = Block(file, 1, block.data.partition(b"\n")[0], encoding).lines()["text"]
        return str(head[0]) if len(head) else ""
    return ""


def split_fields(
    lines: pl.DataFrame,
    separator: str,
    names: list[str],
    file: Path,
    bad: BadRows = REFUSED,
) -> pl.DataFrame:
    """Splits lines that have no quoting into columns.

    Args:
        lines: What ``Block.lines`` gave.
        separator: Stands between two fields.
        names: All fields in their order.
        file: For the error.
        bad: What becomes of lines with more or fewer fields.

    Returns:
        One string column for each name, and ``line``.

    Raises:
        RowError: if a line has more or fewer fields, and such lines are refused.
    """
    whole = pl.col("text").str.count_matches(separator, literal=True) == len(names) - 1
    refuse_rows(lines.filter(~whole), separator, names, file, bad)
    lines = lines.filter(whole)
    fields = lines["text"].str.split_exact(separator, len(names) - 1).struct.unnest()
    fields.columns = names
    return fields.with_columns(lines[LINE])


def refuse_rows(
    wrong: pl.DataFrame,
    separator: str,
    names: list[str],
    file: Path,
    bad: BadRows = REFUSED,
) -> None:
    """Gives the lines that have more or fewer fields, if there are any, to ``bad``.

    Args:
        wrong: Columns ``text`` and ``line``, maybe ``lines``.
        separator: Stands between two fields.
        names: All fields in their order.
        file: For the error.
        bad: What becomes of them.

    Raises:
        RowError: at the first of them, if they are refused.
    """
    bad.found(
        shortened_rows(wrong),
        file=file,
        field="(row)",
        expected=f"{len(names)} fields ({', '.join(names)}) with {separator!r} between them",
    )


def shortened_rows(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines (``text``, ``line``, maybe ``lines``) as ``BadRows.found`` takes them."""
    values = [shortened(text) for text in lines["text"]]
    return lines.drop("text").with_columns(pl.Series(VALUE, values, dtype=pl.String))


def shortened(value: str, width: int = 80) -> str:
    """A value as errors show it: cut where it is long."""
    return value if len(value) <= width else value[: width - 1] + "…"


@contextmanager
def _opened(file: Path) -> Iterator[Iterator[bytes]]:
    with file.open("rb") as raw:
        if file.name.endswith(".gz"):
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield _chunks(unpacked, raw, file)
        else:
            yield _chunks(raw, raw, file)


def _chunks(stream: _Readable, raw: IO[bytes], file: Path) -> Iterator[bytes]:
    """Reads block after block; shows progress by the bytes of the file itself."""
    size, last_log = file.stat().st_size, time.monotonic()
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"reading {file.name}", total=size)
        while chunk := _read(stream, file):
            bar.update(task, completed=raw.tell())
            if time.monotonic() - last_log > _LOG_EVERY_SECONDS and not sys.stderr.isatty():
                last_log = time.monotonic()
                logger.info("reading %s: %d of %d MiB", file.name, raw.tell() >> 20, size >> 20)
            yield chunk


def _read(stream: _Readable, file: Path) -> bytes:
    try:
        return stream.read(BLOCK_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"the gzip file is broken or cut off: {error}",
            where=file,
            remedy="fetch or pack the file again",
        ) from error
