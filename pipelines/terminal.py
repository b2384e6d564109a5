"""What people see of a run: a line for what begins and takes a while, one for what is done."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from idp_tf.workflow.artifacts import read_json
from pipelines.compose import models_config
from pipelines.report import REPORT
from pipelines.run_log import BEGINS, PACKAGES

if TYPE_CHECKING:
    from pipelines.launcher import NodeResult
    from pipelines.run import RunResult
    from pipelines.settings import PipelineSettings

_NODE_WIDTH: Final = 26
_REASONS: Final = 3
_NO_NEWS: Final = (
    # Every system is a model of its own, and is traced once.
    "tf.function retracing",
    # Of Beam and tfx-bsl, about themselves.
    "Resource module is not available",
    "is deprecated and will be removed",
)


class Terminal(logging.Handler):
    """Writes log records for people to stderr.

    That a node begins is told at once on a terminal; in a file or a pipe, before the first thing
    that the node says of itself, so that short ones have one line each.

    Args:
        verbose: Show all that the run's own file has, and what other packages have to say.
    """

    def __init__(self, *, verbose: bool = False):
        super().__init__(logging.DEBUG if verbose else logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        self._verbose = verbose
        self._held: logging.LogRecord | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record, or holds it back."""
        if self._verbose:
            self._write(record, self.format(record))
        elif hasattr(record, BEGINS):
            self._held = record
            if sys.stderr.isatty():
                self._tell_what_begins()
        elif record.levelno >= logging.WARNING or record.name.startswith(PACKAGES):
            message = record.getMessage()
            if not any(text in message for text in _NO_NEWS):
                self._tell_what_begins()
                self._write(record, self.format(record))

    def done(self, result: NodeResult) -> None:
        """Tells of a node that is done; of its reason only if nothing has told it yet."""
        has_told = self._verbose or (result.state == "ran" and self._held is None)
        self._held = None
        counted = ", ".join(f"{what} {number:,}" for what, number in result.counters.items())
        why = f"  ({result.reason})" if result.reason and not has_told else ""
        figures = f"  {counted}" if counted and result.state == "ran" else ""
        node = f"{result.node_id:{_NODE_WIDTH}} {result.state:9} {result.seconds:7.1f} s"
        sys.stdout.write(f"{node}{figures}{why}\n")
        sys.stdout.flush()

    def _tell_what_begins(self) -> None:
        if self._held is not None:
            self._write(self._held, self.format(self._held))
        self._held = None

    def _write(self, record: logging.LogRecord, line: str) -> None:
        try:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        except OSError:
            self.handleError(record)


def show_log(*, verbose: bool = False) -> Terminal:
    """Our own progress goes to stderr; of other packages only warnings do."""
    terminal = Terminal(verbose=verbose)
    logging.basicConfig(level=logging.WARNING, handlers=[terminal])
    for package in PACKAGES:
        logging.getLogger(package).setLevel(logging.DEBUG)
    return terminal


def print_end(settings: PipelineSettings, result: RunResult) -> None:
    """Prints what a run has come to."""
    ran = sum(node.state == "ran" for node in result.nodes)
    lines = [
        f"Run {result.run}: {ran} of {len(result.nodes)} nodes had something to do;"
        f" {result.seconds:.0f} s."
    ]
    if not result.has_done_something:
        lines.append("Nothing has changed since they were made: neither data nor settings.")
    if result.pushed:
        version = result.pushed_model.properties.get("version")
        lines.append(
            f"Version {version} is pushed. Serve it with: idp-tf serve"
            f" --model_config_file {models_config(settings)}"
        )
    else:
        lines.append("The model is not pushed; what was pushed before stays. Why:")
        lines += [f"  {reason}" for reason in _why_not(result, settings.root)]
    lines.append(f"The whole of it: {settings.root / REPORT}")
    sys.stdout.write("\n".join(lines) + "\n")


def _why_not(result: RunResult, root: Path) -> list[str]:
    content = read_json(result.pushed_model.uri / "pushed.json")
    reasons: list[str] = content["why"]
    shown = [f"- {reason}" for reason in reasons[:_REASONS]]
    if len(reasons) > _REASONS:
        more = len(reasons) - _REASONS
        shown.append(f"- and {more} more: idp-tf pipeline status --root {root}")
    if content.get("rolled_back") and (found := re.search(r"roll back to (\d+)", reasons[0])):
        shown.append(f"  idp-tf pipeline rollback --root {root} --to {found[1]}")
    return shown
