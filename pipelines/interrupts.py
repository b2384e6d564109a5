"""Ctrl-C and SIGTERM end a run soon and surely, and in order.

Python raises an interrupt wherever the main thread happens to be. In a callback of the garbage
collector it is dropped ("Exception ignored in"), a library may catch it, and in a long call into
C nothing is raised at all. So a thread that hears of signals from the system itself repeats the
signal until the run has begun to end, and ends the process as a kill would if nothing helps.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
GOES_ON: Final = "The same command goes on."
_PAUSE: Final = 1.0
_PATIENCE: Final = 20
"""Pauses before the process is ended; a run needs a second to note that it was interrupted."""


class Interrupted(KeyboardInterrupt):
    """Somebody wants the run to end."""


def is_interrupt(error: BaseException | None) -> bool:
    """Whether an error is an interrupt, or was raised as one was handled (Beam wraps them)."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


class Interrupts:
    """What has come so far.

    Attributes:
        number: The signal; None if there was none.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.is_over = threading.Event()

    @property
    def status(self) -> int:
        """The exit status, as a shell gives it."""
        return 128 + (self.number or signal.SIGINT)

    def handle(self, number: int, frame: Any) -> None:
        """Raises, unless what an earlier signal has raised is being handled: that is the end."""
        self.number = self.number or number
        if not is_interrupt(sys.exc_info()[1]):
            raise Interrupted("interrupted")

    def dropped(self, unraisable: Any) -> None:
        """Says nothing of an interrupt that was dropped: it is repeated."""
        if not is_interrupt(unraisable.exc_value):
            sys.__unraisablehook__(unraisable)

    def insist(self, heard: int) -> None:
        """Waits for a signal, then repeats it until the run is over."""
        while (number := os.read(heard, 1)[0]) not in SIGNALS:  # others have handlers too
            if self.is_over.is_set():
                return
        self.number = self.number or number
        main = threading.main_thread().ident
        assert main is not None
        for _ in range(_PATIENCE):
            if self.is_over.wait(_PAUSE):
                return
            signal.pthread_kill(main, self.number)
        sys.stderr.write(f"Interrupted, and killed, as it did not end by itself. {GOES_ON}\n")
        sys.stderr.flush()
        os._exit(self.status)


@contextmanager
def interruptible() -> Iterator[Interrupts]:
    """While it lasts, SIGINT and SIGTERM raise ``Interrupted`` until that has an effect.

    A signal that is ignored, as a shell has it for what runs in the background, stays so. In
    another thread than the main one it does nothing: Python allows no handlers there.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    heard, wake = os.pipe()
    os.set_blocking(wake, False)
    handled = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    earlier = {number: signal.signal(number, interrupts.handle) for number in handled}
    earlier_wake = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    thread = threading.Thread(target=interrupts.insist, args=(heard,), daemon=True)
    thread.start()
    earlier_hook, sys.unraisablehook = sys.unraisablehook, interrupts.dropped
    try:
        yield interrupts
    finally:
        interrupts.is_over.set()
        sys.unraisablehook = earlier_hook
        signal.set_wakeup_fd(earlier_wake)
        for number, handler in earlier.items():
            signal.signal(number, handler)
        os.write(wake, b"\0")
        thread.join()
        os.close(heard)
        os.close(wake)
