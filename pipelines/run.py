"""Runs the pipeline of a YAML file.

Usage::

    python -m pipelines.run --config pipelines/configs/local.yaml [--data DIR] [--root DIR]
        [--wait] [Beam's options]

What has not changed since it was made is reused. A run that was killed goes on by the same
command. The exit status is 0 if the model is pushed, or was already; 3 if it was not blessed and
the one before it stays; 2 for an error that the message explains.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from idp_tf.errors import IdpError
from idp_tf.machine import set_thread_counts
from pipelines.compose import PUSHER, compose, models_config
from pipelines.dag import Pipeline
from pipelines.failures import told
from pipelines.launcher import Listener, NodeResult, recover, run_nodes
from pipelines.record import Record
from pipelines.report import REPORT, write_report
from pipelines.rollback import mark_rolled_back
from pipelines.root import locked, logs_folder
from pipelines.run_log import PACKAGES, logged
from pipelines.settings import PipelineSettings, load_pipeline_settings

NOT_PUSHED: Final = 3
_NODE_WIDTH: Final = 26
_LOG = logging.getLogger("pipelines.run")


@dataclass(frozen=True)
class RunResult:
    """What a run has come to.

    Args:
        run: Its number in the record.
        nodes: Its nodes, in the order in which they were done.
        seconds: How long it took.
    """

    run: int
    nodes: tuple[NodeResult, ...]
    seconds: float

    @property
    def pushed(self) -> bool:
        """Whether servers have the model of this run."""
        pushed = next(node for node in self.nodes if node.node_id == PUSHER)
        return bool(pushed.outputs["pushed_model"].properties.get("pushed"))

    @property
    def has_done_something(self) -> bool:
        """Whether any node had to run."""
        return any(node.state == "ran" for node in self.nodes)


def run_pipeline(
    settings: PipelineSettings,
    *,
    beam_args: Sequence[str] = (),
    wait: bool = False,
    tell: Listener = lambda result: None,
) -> RunResult:
    """Runs a pipeline over its root.

    Args:
        settings: What to run, and where.
        beam_args: Options for Beam, after those of the settings.
        wait: Wait for another run over the same root, rather than refuse.
        tell: Called after each node.

    Raises:
        IdpError: whatever is wrong; what was finished stays, and the same call goes on.
    """
    pipeline = compose(settings)
    try:
        return _run(pipeline, settings, (*settings.beam_args, *beam_args), wait, tell)
    except Exception as error:
        failure = told(error, settings.root)
        if failure is None:
            raise
        raise failure from error


def _run(
    pipeline: Pipeline,
    settings: PipelineSettings,
    beam_args: Sequence[str],
    wait: bool,
    tell: Listener,
) -> RunResult:
    began = time.monotonic()
    with locked(settings.root, wait=wait), Record(settings.root) as record:
        recovered = recover(settings.root, record)
        # A rollback may have been killed between servers' folder and the record.
        mark_rolled_back(record, settings.destination)
        run = record.begin_run(settings=settings.model_dump_json())
        with logged(logs_folder(settings.root) / f"run-{run}.jsonl", run) as log:
            try:
                results = run_nodes(
                    pipeline,
                    settings.root,
                    record,
                    run,
                    beam_args=beam_args,
                    recovered=recovered,
                    begin=log.begin,
                    tell=tell,
                )
            except BaseException as error:
                _LOG.error("%s", error, exc_info=error)
                _end_badly(settings.root, record, run, str(error) or type(error).__name__)
                raise
            result = RunResult(run, tuple(results), time.monotonic() - began)
            record.end_run(run, "COMPLETE", pushed=int(result.pushed))
            write_report(settings.root, run)
    return result


def _end_badly(root: Path, record: Record, run: int, why: str) -> None:
    try:
        record.end_run(run, "FAILED", error=why)
        write_report(root, run)
    except Exception as error:  # it must not hide what the run has ended with
        _LOG.warning("how the run ended could not be written: %s", error)


def main(arguments: Sequence[str] | None = None, prog: str = "python -m pipelines.run") -> int:
    """The command; options that it does not know go to Beam."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Run the pipeline of a YAML file; what has not changed is reused.",
        epilog="All other options are Beam's, such as --runner. Exit status: 0 pushed, "
        f"{NOT_PUSHED} not blessed, 2 an error.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, required=True, help="YAML file of settings")
    parser.add_argument("--data", type=Path, help="folder of domains; wins over the file's")
    parser.add_argument("--root", type=Path, help="the pipeline's root; wins over the file's")
    parser.add_argument("--wait", action="store_true", help="wait for another run over the root")
    own, beam_args = parser.parse_known_args(arguments)
    _show_log()
    set_thread_counts()
    try:
        settings = load_pipeline_settings(own.config, data=own.data, root=own.root)
        result = run_pipeline(settings, beam_args=beam_args, wait=own.wait, tell=_tell)
    except IdpError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    _print_end(settings, result)
    return 0 if result.pushed else NOT_PUSHED


def _tell(result: NodeResult) -> None:
    counted = ", ".join(f"{what} {number:,}" for what, number in result.counters.items())
    why = f"  ({result.reason})" if result.reason else ""
    figures = f"  {counted}" if counted and result.state == "ran" else ""
    sys.stdout.write(
        f"{result.node_id:{_NODE_WIDTH}} {result.state:9} {result.seconds:7.1f} s{figures}{why}\n"
    )
    sys.stdout.flush()


def _print_end(settings: PipelineSettings, result: RunResult) -> None:
    ran = sum(node.state == "ran" for node in result.nodes)
    lines = [
        f"Run {result.run}: {ran} of {len(result.nodes)} nodes had something to do;"
        f" {result.seconds:.0f} s."
    ]
    if not result.has_done_something:
        lines.append("Nothing has changed since they were made: neither data nor settings.")
    pushed = result.nodes[-1].outputs["pushed_model"].properties
    if result.pushed:
        lines.append(
            f"Version {pushed.get('version')} is pushed. Serve it with: idp-tf serve"
            f" --model_config_file {models_config(settings)}"
        )
    else:
        lines.append("The model is not pushed; what was pushed before stays. Why: ")
        lines.append(f"  idp-tf pipeline status --root {settings.root}")
    lines.append(f"The whole of it: {settings.root / REPORT}")
    sys.stdout.write("\n".join(lines) + "\n")


def _show_log() -> None:
    """Our own progress goes to stderr; of other packages only warnings do."""
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S"
    )
    for package in PACKAGES:
        logging.getLogger(package).setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
