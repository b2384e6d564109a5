"""``idp-tf pipeline``: runs a pipeline over its root, and tells what its runs have done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from idp_tf.errors import requires_extra

pipeline = typer.Typer(
    help="The nightly job as a pipeline: new logs in, a checked model out.", no_args_is_help=True
)

Root = Annotated[Path, typer.Option(help="The pipeline's root.")]
RunNumber = Annotated[int | None, typer.Option("--run", help="Which run; the last one if none.")]


@pipeline.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def run(context: typer.Context) -> None:
    """Run it, as python -m pipelines.run does; --help lists its options."""
    with requires_extra("pipelines", purpose="idp-tf pipeline"):
        from pipelines.run import main

    raise typer.Exit(main(context.args, prog="idp-tf pipeline run"))


@pipeline.command()
def status(
    root: Root,
    number: RunNumber = None,
    paths: Annotated[bool, typer.Option("--paths", help="List artifacts' folders too.")] = False,
) -> None:
    """What a run did: each component's state, time and main figures, and the verdict."""
    from pipelines.status import show_status

    show_status(root, number, paths=paths)


@pipeline.command()
def history(root: Root) -> None:
    """All runs."""
    from pipelines.status import show_history

    show_history(root)


@pipeline.command()
def graph(
    root: Root,
    number: RunNumber = None,
    output: Annotated[
        Path | None, typer.Option(help="Draw it here (.svg), rather than in the terminal.")
    ] = None,
) -> None:
    """The components of a run, what they handed on, and what was reused."""
    from pipelines.graph import show_graph

    show_graph(root, number, output)


@pipeline.command()
def rollback(
    root: Root,
    to: Annotated[
        int | None, typer.Option(help="The version to go to; the one before the latest if none.")
    ] = None,
    why: Annotated[str, typer.Option(help="For the record.")] = "",
) -> None:
    """Have servers go back to an earlier version; the next run does not build on the later one."""
    from pipelines.rollback import roll_back

    done = roll_back(root, to=to, why=why)
    taken = ", ".join(map(str, done.taken_back)) or "none"
    typer.echo(f"Version {done.version} is the latest now; taken back: {taken}.")
