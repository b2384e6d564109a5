"""Progress that suits who is looking: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_SECONDS_BETWEEN_LINES: Final = 30.0


@contextmanager
def progress_bar(
    description: str, total: int, log: logging.Logger
) -> Iterator[Callable[[int], None]]:
    """Yields a function to be called with how much more is done.

    Args:
        description: What is going on.
        total: How much there is to do.
        log: Where lines go if stderr is no terminal, one every half minute.
    """
    if sys.stderr.isatty():
        with _terminal_bar(description, total) as advance:
            yield advance
        return
    begun = last = time.monotonic()
    done = 0

    def advance_log(amount: int) -> None:
        nonlocal done, last
        done += amount
        if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            log.info("%s: %d of %d in %.0f s", description, done, total, last - begun)

    yield advance_log
    log.info("%s: %d in %.1f s", description, done, time.monotonic() - begun)


@contextmanager
def _terminal_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress("{task.description}", *columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total)
        yield lambda amount: bar.update(task, advance=amount)
