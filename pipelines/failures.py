"""Failures of the machine, told as errors that say what to do."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
from pathlib import Path
from typing import Final

from idp_tf.errors import IdpError, WorkdirError
from pipelines.interrupts import is_interrupt

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXTS: Final = (*map(os.strerror, _FULL), "database or disk is full")
"""Beam's workers, Arrow, TensorFlow and SQLite hand on the system's words, and no number."""


def told(error: BaseException, where: str | Path) -> IdpError | None:
    """An error of the disk in words; None if it is another one, or is in words already.

    Args:
        error: What was raised.
        where: The node, or the folder, that cannot go on.
    """
    if isinstance(error, IdpError) or is_interrupt(error):
        return None
    if isinstance(error, OSError | sqlite3.Error) or _is_full(error):
        return cannot_go_on(error, where)
    return None


def words(error: BaseException) -> str:
    """What the record, and people, are told of an error."""
    if is_interrupt(error):
        return "interrupted"
    # The library names its settings as idp-tf run has them.
    told = re.sub(r"(?<![\w.])prepare\.(?=[a-z])", "settings.prepare.", str(error))
    return told or type(error).__name__


def cannot_go_on(error: BaseException, where: str | Path) -> WorkdirError:
    """An error of the disk in words.

    Args:
        error: What was raised.
        where: The node, the file or the folder that cannot go on.
    """
    full = _is_full(error)
    remedy = "make room" if full else "mend that"
    return WorkdirError(
        f"{where} cannot go on: {f'the disk is full ({error})' if full else error}",
        where=error.filename if isinstance(error, OSError) else None,
        remedy=f"{remedy} and run the same command again; what is finished is kept",
    )


def _is_full(error: BaseException) -> bool:
    return any(text in str(error) for text in _FULL_TEXTS)
