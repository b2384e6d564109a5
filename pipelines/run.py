"""Runs the pipeline of a YAML file.

Usage::

    python -m pipelines.run --config pipelines/configs/local.yaml [--data DIR] [--root DIR]
        [--wait] [--verbose] [Beam's options]

What has not changed since it was made is reused. A run that was killed goes on by the same
command. The exit status is 0 if the model is pushed, or was already; 3 if it was not blessed and
the one before it stays; 2 for an error that the message explains; 130 if the run was interrupted
(Ctrl-C), and 143 by SIGTERM.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from idp_tf.errors import IdpError
from idp_tf.machine import set_thread_counts
from pipelines.artifacts import Artifact
from pipelines.beam_options import check_options
from pipelines.compose import PUSHER, compose
from pipelines.dag import Pipeline
from pipelines.failures import told, words
from pipelines.interrupts import GOES_ON, interruptible, is_interrupt
from pipelines.launcher import Listener, NodeResult, recover, run_nodes
from pipelines.record import Record
from pipelines.report import write_report
from pipelines.rollback import mark_rolled_back
from pipelines.root import locked, logs_folder
from pipelines.run_log import logged
from pipelines.settings import PipelineSettings, load_pipeline_settings
from pipelines.terminal import print_end, show_log

NOT_PUSHED: Final = 3
_OWN_OPTIONS: Final = ("config", "data", "root", "wait", "verbose", "help")
_LOG = logging.getLogger("pipelines.run")


@dataclass(frozen=True)
class RunResult:
    """What a run has come to.

    Args:
        run: Its number in the record.
        nodes: Its nodes, in the order in which they were done.
        seconds: How long it took, what it waited for another run not counted.
    """

    run: int
    nodes: tuple[NodeResult, ...]
    seconds: float

    @property
    def pushed_model(self) -> Artifact:
        """What the Pusher says of it."""
        pushed = next(node for node in self.nodes if node.node_id == PUSHER)
        return pushed.outputs["pushed_model"]

    @property
    def pushed(self) -> bool:
        """Whether servers have the model of this run."""
        return bool(self.pushed_model.properties.get("pushed"))

    @property
    def has_done_something(self) -> bool:
        """Whether any node had to run."""
        return any(node.state == "ran" for node in self.nodes)


def run_pipeline(
    settings: PipelineSettings,
    *,
    beam_args: Sequence[str] = (),
    wait: bool = False,
    begin: Callable[[str], None] = lambda node_id: None,
    tell: Listener = lambda result: None,
) -> RunResult:
    """Runs a pipeline over its root.

    Options for Beam, and the names of files, are looked at before anything is made below the root.

    Args:
        settings: What to run, and where.
        beam_args: Options for Beam, after those of the settings.
        wait: Wait for another run over the same root, rather than refuse.
        begin: Called with a node's id before it.
        tell: Called after each node.

    Raises:
        IdpError: whatever is wrong; what was finished stays, and the same call goes on.
    """
    pipeline = compose(settings)
    every_arg = (*settings.beam_args, *beam_args)
    try:
        if every_arg:  # Beam takes seconds to import
            check_options(every_arg, _OWN_OPTIONS)
        for node in pipeline:
            node.component.check(node.parameters)
        return _run(pipeline, settings, every_arg, wait, begin, tell)
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
    begin: Callable[[str], None],
    tell: Listener,
) -> RunResult:
    with locked(settings.root, wait=wait), Record(settings.root) as record:
        began = time.monotonic()
        recovered = recover(settings.root, record)
        # A rollback may have been killed between servers' folder and the record.
        mark_rolled_back(record, settings.destination)
        run = record.begin_run(settings=settings.model_dump_json())
        with logged(logs_folder(settings.root) / f"run-{run}.jsonl", run) as log:

            def begins(node_id: str) -> None:
                log.begin(node_id)
                begin(node_id)

            try:
                results = run_nodes(
                    pipeline,
                    settings.root,
                    record,
                    run,
                    beam_args=beam_args,
                    recovered=recovered,
                    begin=begins,
                    tell=tell,
                )
            except BaseException as error:
                log.note(error, words(error))
                _end_badly(settings.root, record, run, words(error))
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
    own, beam_args = _parser(prog).parse_known_args(arguments)
    at: list[str] = []
    with interruptible() as interrupts:
        try:
            return _run_command(own, beam_args, at.append)
        except IdpError as error:
            sys.stderr.write(f"Error: {words(error)}\n")
            return 2
        except BaseException as error:
            if interrupts.number is None and not is_interrupt(error):
                raise
    sys.stderr.write(f"Interrupted{f' in {at[-1]}' if at else ''}. {GOES_ON}\n")
    return interrupts.status


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Run the pipeline of a YAML file; what has not changed is reused.",
        epilog="All other options are Beam's, such as --runner. Exit status: 0 pushed, "
        f"{NOT_PUSHED} not blessed, 2 an error, 130 interrupted (143 by SIGTERM).",
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, required=True, help="YAML file of settings")
    parser.add_argument("--data", type=Path, help="folder of domains; wins over the file's")
    parser.add_argument("--root", type=Path, help="the pipeline's root; wins over the file's")
    parser.add_argument("--wait", action="store_true", help="wait for another run over the root")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show all that ROOT/logs/run-N.jsonl has"
    )
    return parser


def _run_command(
    own: argparse.Namespace, beam_args: Sequence[str], begin: Callable[[str], None]
) -> int:
    terminal = show_log(verbose=own.verbose)
    set_thread_counts()
    settings = load_pipeline_settings(own.config, data=own.data, root=own.root)
    result = run_pipeline(
        settings, beam_args=beam_args, wait=own.wait, begin=begin, tell=terminal.done
    )
    print_end(settings, result)
    return 0 if result.pushed else NOT_PUSHED


if __name__ == "__main__":
    sys.exit(main())
