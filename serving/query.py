"""One question to a recommender, and its answer as a table or as JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from idp_tf.errors import MissingDataError, ServingError, SettingsError
from serving.client import (
    COLD_START,
    DEFAULT_TIMEOUT,
    RECOMMENDER,
    ServingClient,
    ServingClientError,
    Tls,
)

Recommendations = Sequence[tuple[str, float]]
"""(item id, score), best first."""

_COLUMNS: Final = ("item_id", "title")

_NO_SCALARS: Final = "input tensors must have at least one dimension"
"""What a server that batches says of a scalar ``k``; others say what is wrong with its value."""


def query(
    address: str,
    items: Sequence[str] = (),
    k: int = 10,
    *,
    titles: Sequence[str] = (),
    model: str | None = None,
    exclude: Sequence[str] | None = None,
    allowed: Sequence[str] | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    tls: Tls | None = None,
) -> list[tuple[str, float]]:
    """Recommendations for one history from any TF-Serving address.

    Args:
        address: ``HOST:PORT``.
        items: The history's item ids, oldest first.
        k: How many.
        titles: Instead of ids the history's titles, for a ``cold_start`` model.
        model: The served model; None is ``recommender``, or for titles ``cold_start``.
        exclude: Item ids that are not wanted.
        allowed: The only item ids that are; None allows all.
        timeout: Seconds that the answer may take.
        tls: Certificates; None speaks plain text.

    Raises:
        ServingError: if there is no answer, or it is an error.
        SettingsError: for titles with ``exclude`` or ``allowed``, which ``cold_start`` lacks.
    """
    if titles and not (exclude is None and allowed is None):
        raise SettingsError(
            "a history of titles is answered over the whole catalogue",
            remedy="leave out --exclude and --allowed, or give --items",
        )
    try:
        with ServingClient(address, timeout, tls=tls) as client:

            def ask(k: int | list[int]) -> list[tuple[str, float]]:
                if titles:
                    return client.cold_start([titles], k, model or COLD_START)[0]
                wanted = {"exclude": exclude, "allowed": allowed}
                return client.recommend([items], k, model or RECOMMENDER, **wanted)[0]

            try:
                return ask(k)
            except ServingClientError as error:
                if _NO_SCALARS not in error.message:
                    raise
                return ask([k])
    except ServingClientError as error:
        # What follows the first line names nodes of the graph.
        message = error.message.splitlines()[0] if error.message else "no message"
        raise ServingError(
            f"{error.code}: {message}" if error.code else message,
            where=address,
            remedy=error.remedy or None,
        ) from error


def format_json(
    items: Sequence[str], answer: Recommendations, titles: Mapping[str, str] | None = None
) -> str:
    """The answer as one JSON object; items get a ``title`` if titles are given."""
    rows = [
        {"item_id": item, "score": score, **({"title": titles.get(item, "")} if titles else {})}
        for item, score in answer
    ]
    return json.dumps({"items": list(items), "recommendations": rows}, ensure_ascii=False, indent=1)


def print_table(
    answer: Recommendations,
    titles: Mapping[str, str] | None = None,
    *,
    heading: str | None = None,
    console: Console | None = None,
) -> None:
    """Prints the answer as a table: rank, id, score and, if titles are given, the title."""
    table = Table("", "item", "score", *(["title"] if titles else []), title=heading)
    for rank, (item, score) in enumerate(answer, start=1):
        # Ids and titles are data: square brackets in them are no markup.
        cells = [str(rank), item, f"{score:.4f}", *([titles.get(item, "")] if titles else [])]
        table.add_row(*(cell.replace("[", "\\[") for cell in cells))
    (console or Console()).print(table)


def read_titles(file: str | Path) -> dict[str, str]:
    """Item titles of a .parquet, .csv or tab-separated file with the columns item_id and title.

    The items of a prepared domain, and the type suffixes of RecBole's .item files
    (``item_id:token``), are read, too.

    Raises:
        MissingDataError: if the file or a column is missing.
    """
    file = Path(file)
    if not file.is_file():
        raise MissingDataError("the titles file is not there", where=file)
    if file.suffix == ".parquet":
        return _read_parquet(file)
    with file.open(encoding="utf-8", newline="") as stream:
        if file.suffix == ".csv":
            return _titles_of(csv.reader(stream), file)
        return _titles_of((line.rstrip("\r\n").split("\t") for line in stream), file)


def _read_parquet(file: Path) -> dict[str, str]:
    import polars as pl

    frame = pl.read_parquet(file)
    _check_columns(frame.columns, file)
    ids, titles = (frame[column].cast(pl.String).fill_null("") for column in _COLUMNS)
    return dict(zip(ids.to_list(), titles.to_list(), strict=True))


def _titles_of(rows: Iterable[list[str]], file: Path) -> dict[str, str]:
    lines = iter(rows)
    header = [name.partition(":")[0] for name in next(lines, [])]
    _check_columns(header, file)
    item, title = (header.index(column) for column in _COLUMNS)
    return {row[item]: row[title] for row in lines if len(row) > max(item, title)}


def _check_columns(found: Sequence[str], file: Path) -> None:
    for column in _COLUMNS:
        if column not in found:
            raise MissingDataError(
                f"there is no column '{column}', only {', '.join(found) or 'nothing'}",
                where=file,
                remedy="name a table with the columns item_id and title",
            )
