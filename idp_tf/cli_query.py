"""The command ``idp-tf query``. It asks in under a second, as no TensorFlow is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idp_tf.errors import MissingDataError, SettingsError, requires_extra

if TYPE_CHECKING:
    from serving.client import Tls

_MANY = "by commas, or @FILE with one on each line"


def query(
    items: Annotated[
        str | None, typer.Option(help=f"A history: item ids, oldest first, {_MANY}.")
    ] = None,
    titles_history: Annotated[
        list[str] | None,
        typer.Option(help="Instead of ids a title, of any item; repeat it, oldest first."),
    ] = None,
    address: Annotated[str, typer.Option(help="HOST:PORT of any TF-Serving.")] = "127.0.0.1:8500",
    k: Annotated[int, typer.Option(help="How many recommendations.")] = 10,
    exclude: Annotated[str | None, typer.Option(help=f"Items not wanted: ids {_MANY}.")] = None,
    allowed: Annotated[
        str | None, typer.Option(help=f"The only items wanted, a shop's stock: ids {_MANY}.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Name of the served model; else recommender, for titles cold_start."),
    ] = None,
    titles: Annotated[
        Path | None,
        typer.Option(
            help="Where titles are read: a workdir, a pipeline's root, or a table of items."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait.")] = 10.0,
    tls_ca: Annotated[
        Path | None, typer.Option(help="Speak TLS; the root certificates to trust (PEM).")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="This client's certificate (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
) -> None:
    """Ask a running server for recommendations."""
    history = titles_history or []
    known_ids = _ids("--items", items) or []
    if bool(history) == bool(known_ids):
        raise SettingsError(
            f"--items is {items!r}, which names no item"
            if items is not None and not history
            else "a history is given by --items or by --titles-history, and not by both",
            remedy="--items ID1,ID2",
        )
    with requires_extra("serving", purpose="idp-tf query"):
        from serving.query import format_json, print_table, read_titles
        from serving.query import query as ask

    known = read_titles(_items_file(titles)) if titles is not None else None
    answer = ask(
        address,
        known_ids,
        k,
        titles=history,
        model=model,
        exclude=_ids("--exclude", exclude),
        allowed=_ids("--allowed", allowed),
        timeout=timeout,
        tls=_tls(tls_ca, tls_cert, tls_key),
    )
    if json:
        typer.echo(format_json(known_ids or history, answer, known))
    else:
        print_table(answer, known)


def _ids(option: str, text: str | None) -> list[str] | None:
    """The ids that an option names; None if it is not given."""
    if text is None:
        return None
    parts = text.split(",")
    if text.startswith("@"):
        try:
            parts = Path(text[1:]).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise MissingDataError(
                f"cannot be read: {error}", where=f"{option} {text}", remedy="name a text file"
            ) from error
    return [part.strip() for part in parts if part.strip()]


def _items_file(place: Path) -> Path:
    # What knows a workdir, or a root, is slow to import, and a table needs none of it.
    if not place.is_dir():
        return place
    if (place / "metadata.sqlite").is_file():
        with requires_extra("pipelines", purpose="idp-tf query --titles ROOT"):
            from pipelines.rollback import served_items
        return served_items(place)
    from idp_tf.workflow.run import items_file

    return items_file(place)


def _tls(ca: Path | None, certificate: Path | None, key: Path | None) -> Tls | None:
    from serving.client import Tls

    if (certificate is None) != (key is None):
        raise SettingsError(
            "--tls-cert and --tls-key are given together or not at all",
            remedy="--tls-cert client.pem --tls-key client.key",
        )
    given = [file for file in (ca, certificate, key) if file is not None]
    return Tls(ca, certificate, key) if given else None
