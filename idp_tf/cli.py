"""The command ``idp-tf``. Heavy imports happen inside the commands."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idp_tf import IdpError, __version__
from idp_tf.cli_options import (
    CheckOption,
    ConfigFile,
    Data,
    Exported,
    Preset,
    PresetOption,
    QuantizeOption,
    Rebuild,
    Seed,
    SetOption,
    Sources,
    Strategy,
    StrategyOption,
    Systems,
    Target,
    Tune,
    Workdir,
    split_names,
)
from idp_tf.cli_pipeline import pipeline
from idp_tf.cli_query import query
from idp_tf.errors import SettingsError, requires_extra
from idp_tf.machine import restart_with_huge_pages, set_thread_counts

if TYPE_CHECKING:
    import tensorflow as tf

    from idp_tf.workflow.run import Run

app = typer.Typer(
    name="idp-tf",
    help="Recommend in a new domain with what behaviour has taught in others.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def run(
    data: Data,
    sources: Sources,
    target: Target,
    workdir: Workdir,
    preset: PresetOption = Preset.standard,
    seed: Seed = None,
    config: ConfigFile = None,
    set_: SetOption = None,
    systems: Systems = None,
    tune: Tune = False,
    rebuild: Rebuild = False,
    strategy: StrategyOption = Strategy.none,
) -> None:
    """The main job: every stage, then the report. Killed and run again, it goes on."""
    from idp_tf.workflow import help_to_train, run_all

    prepared = _new_run(
        data, sources, target, workdir, preset, seed, config, set_, systems, tune, rebuild, strategy
    )
    if prepared.is_chief:
        _print_results(run_all(prepared), target, workdir)
    else:
        help_to_train(prepared)


@app.command()
def prepare(
    data: Data,
    sources: Sources,
    target: Target,
    workdir: Workdir,
    preset: PresetOption = Preset.standard,
    seed: Seed = None,
    config: ConfigFile = None,
    set_: SetOption = None,
    systems: Systems = None,
    tune: Tune = False,
    rebuild: Rebuild = False,
) -> None:
    """Stage 1: read, filter and store the domains; writes the workdir's config.yaml."""
    from idp_tf.workflow import stages
    from idp_tf.workflow.preflight import check_run

    prepared = _new_run(
        data, sources, target, workdir, preset, seed, config, set_, systems, tune, rebuild
    )
    check_run(prepared)
    with prepared.locked():
        stages.prepare(prepared)


@app.command()
def pretrain(
    workdir: Workdir, rebuild: Rebuild = False, strategy: StrategyOption = Strategy.none
) -> None:
    """Stage 2: pre-train the sequence model on the merged sources."""
    from idp_tf.workflow import stages

    with _old_run(workdir, rebuild, strategy) as opened:
        stages.pretrain(opened)


@app.command()
def match(workdir: Workdir, rebuild: Rebuild = False) -> None:
    """Stage 3: tune the matcher and encode the source titles."""
    from idp_tf.workflow import stages

    with _old_run(workdir, rebuild) as opened:
        stages.match(opened)


@app.command()
def transfer(workdir: Workdir, rebuild: Rebuild = False) -> None:
    """Stage 4: match the target's items and generate their embeddings."""
    from idp_tf.workflow import stages

    with _old_run(workdir, rebuild) as opened:
        stages.transfer(opened)


@app.command()
def fine_tune(
    workdir: Workdir,
    tune: Tune = False,
    rebuild: Rebuild = False,
    strategy: StrategyOption = Strategy.none,
) -> None:
    """Stage 5: make every system's model for the target."""
    from idp_tf.workflow import stages
    from idp_tf.workflow.preflight import add_tuning

    with _old_run(workdir, rebuild, strategy) as opened:
        if tune:
            add_tuning(opened)
        stages.make_systems(opened)


@app.command()
def evaluate(workdir: Workdir, rebuild: Rebuild = False) -> None:
    """Stage 6: rank the test items by every system, and write the report."""
    from idp_tf.workflow import stages

    with _old_run(workdir, rebuild) as opened:
        stages.evaluate_all(opened)
        _print_results(stages.write_report(opened), opened.config.target, workdir)


@app.command()
def export(
    workdir: Workdir,
    system: Exported = None,
    quantize: QuantizeOption = None,
    check: CheckOption = False,
    rebuild: Rebuild = False,
) -> None:
    """Stage 7: write the SavedModels that TF-Serving serves."""
    from idp_tf.workflow import stages

    if check:
        _check_exports(workdir, others=system is not None or quantize is not None or rebuild)
        return
    with _old_run(workdir, rebuild) as opened:
        config_file = stages.export(opened, system, quantize.value if quantize else "float32")
    typer.echo(f"Serve them with: idp-tf serve --model_config_file {config_file} --port 8500")


def _check_exports(workdir: Path, *, others: bool) -> None:
    from idp_tf.workflow import stages

    if others:
        raise SettingsError(
            "it checks what has been exported, and exports nothing",
            where="--check",
            remedy="export first, then --check alone",
        )
    with _old_run(workdir, False) as opened:
        checks = stages.check_exports(opened)
    from serving.export.check import format_checks

    typer.echo(format_checks(checks))
    if not all(check.good for check in checks):
        raise typer.Exit(1)


@app.command()
def demo(workdir: Workdir = Path("demo-workdir"), rebuild: Rebuild = False) -> None:
    """The main job on the built-in catalogue, served and asked over gRPC."""
    _show_log()
    with requires_extra("serving", purpose="idp-tf demo"):
        from idp_tf.workflow.demo import run_demo

    run_demo(workdir, rebuild=rebuild)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def serve(context: typer.Context) -> None:
    """A local server that answers as TF-Serving does; --help lists its flags."""
    _show_log()
    with requires_extra("serving", purpose="idp-tf serve"):
        from serving.server.flags import parse_flags

        # Before TensorFlow is imported, which takes seconds.
        flags = parse_flags(context.args)
        from serving.server import DEFAULT_REST_PORT
        from serving.server import serve as run_server

    run_server(**{"rest_api_port": DEFAULT_REST_PORT, **flags})


app.command()(query)
app.add_typer(pipeline, name="pipeline")


@app.command()
def systems(
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """What a run can train and evaluate: slugs, papers, and what each needs."""
    from idp_tf.system_table import format_systems, systems_json

    typer.echo(systems_json() if json else format_systems())


@app.command()
def experiment(
    name: Annotated[str, typer.Argument(help="table2 to table9, or figure4.")],
    data: Data,
    workdir: Workdir,
    preset: PresetOption = Preset.standard,
    seeds: Annotated[int, typer.Option(min=1, help="Fine-tuning seeds.")] = 3,
    sources: Annotated[str | None, typer.Option(help="Instead of the experiment's own.")] = None,
    target: Annotated[str | None, typer.Option(help="Instead of the experiment's own.")] = None,
    set_: SetOption = None,
    tune: Tune = False,
    rebuild: Rebuild = False,
) -> None:
    """One table or figure of the paper, on the domains at hand."""
    _show_log()
    set_thread_counts()
    from idp_tf.experiments import run_experiment

    run_experiment(
        name,
        data=data,
        workdir=workdir,
        preset=preset.value,
        seeds=seeds,
        sources=None if sources is None else tuple(split_names(sources)),
        targets=None if target is None else tuple(split_names(target)),
        overrides=tuple(set_ or ()),
        tune=tune,
        rebuild=rebuild,
    )


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="Its name; an unknown one lists them.")],
    json: Annotated[Path | None, typer.Option("--json", help="Also write the result here.")] = None,
    smoke: Annotated[
        bool, typer.Option(help="Small, to see that it works; judges no time.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="Folder of real domains, for those that use them.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw its curve here, if it has one (.svg, .png, .pdf).")
    ] = None,
) -> None:
    """One benchmark, as a table and as JSON."""
    _show_log()
    from benchmarks import run_bench

    run_bench(name, smoke=smoke, data=data, json_file=json, plot_file=plot)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def start() -> None:
    """The command ``idp-tf`` in a process of its own."""
    restart_with_huge_pages()
    main()


def main() -> None:
    """Runs the command; errors of the package become one message and exit code 2."""
    try:
        app()
    except IdpError as error:
        typer.secho(f"Error: {error}", fg="red", err=True)
        sys.exit(2)


def _new_run(
    data: Path,
    sources: str,
    target: str,
    workdir: Path,
    preset: Preset,
    seed: int | None,
    config: Path | None,
    overrides: list[str] | None,
    systems: str | None,
    tune: bool,
    rebuild: bool,
    strategy: Strategy = Strategy.none,
) -> Run:
    _show_log()
    set_thread_counts()
    from idp_tf.config import load_settings
    from idp_tf.workflow.run import Run, RunConfig

    top_level: dict[str, Any] = {} if seed is None else {"seed": seed}
    if systems is not None:
        top_level["systems"] = split_names(systems)
    settings = load_settings(
        preset.value, file=config, overrides=overrides or (), tune=tune, **top_level
    )
    resolved = RunConfig(
        data=data.resolve(), sources=tuple(split_names(sources)), target=target, settings=settings
    )
    joined = _join_cluster(strategy)
    # Without a cluster TensorFlow is still to be imported, which takes some seconds.
    resolved.check()
    resolved.check_data()
    return Run(workdir, resolved, rebuild=rebuild, strategy=joined)


@contextmanager
def _old_run(workdir: Path, rebuild: bool, strategy: Strategy = Strategy.none) -> Iterator[Run]:
    _show_log()
    set_thread_counts()
    from idp_tf.workflow.run import load_run

    joined = _join_cluster(strategy)
    with load_run(workdir, rebuild=rebuild, strategy=joined).locked() as opened:
        yield opened


def _join_cluster(name: Strategy) -> tf.distribute.Strategy | None:
    """The strategy, before TensorFlow does anything else; servers of a cluster stay in here."""
    if name is Strategy.none:
        return None
    from idp_tf.cluster import serve_task
    from idp_tf.strategy import build_strategy

    serve_task(name.value)
    return build_strategy(name.value)


def _print_results(report: dict[str, object], target: str, workdir: Path) -> None:
    from idp_tf.workflow.result_table import format_results

    typer.echo(format_results(report, target))
    typer.echo(f"The whole report: {workdir / 'report.html'}")


def _show_log() -> None:
    """Our own progress goes to stderr; of other packages only warnings do."""
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S"
    )
    for package in ("idp_tf", "serving"):
        logging.getLogger(package).setLevel(logging.INFO)
    logging.getLogger("tensorflow").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Every system is a model of its own and is traced once; TensorFlow takes it for a mistake."""
    return "tf.function retracing" not in record.getMessage()


if __name__ == "__main__":
    start()
