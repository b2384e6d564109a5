"""Which errors are worth another attempt, and when.

A request is sent again only where the server cannot have begun to work on it, or where
nobody can have taken harm: after UNAVAILABLE (no connection, a server that stops, a full
batching queue), and after RESOURCE_EXHAUSTED if the server refused the request at its
door. It says so by the trailer ``grpc-retry-pushback-ms``, or in gRPC's own words for a
server at its limit of concurrent requests. TF-Serving also answers RESOURCE_EXHAUSTED when
the work itself took too much memory, and gRPC for a message too long: both would only
happen again.

Source: https://github.com/grpc/proposal/blob/master/A6-client-retries.md (pushback);
https://github.com/grpc/grpc/blob/master/doc/statuscodes.md.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

PUSHBACK: Final = "grpc-retry-pushback-ms"
"""The trailer by which a server asks for a retry after so long, or, if negative, for none."""

_AT_THE_DOOR: Final = "Concurrent RPC limit exceeded!"
_NEVER: Final = -1.0


@dataclass(frozen=True)
class Retries:
    """How often, and after how long, a request is tried again.

    The wait doubles from attempt to attempt. A random half of it keeps clients that failed
    together from coming back together. A server that names a wait gets that one instead.

    Args:
        attempts: How often a request is sent at most, the first time included; 1 is no retry.
        first_delay: Seconds before the second attempt.
        max_delay: Seconds that a wait never exceeds.

    Example:
        >>> Retries(attempts=1).delay(1, lambda: 0.0), Retries().delay(3, lambda: 1.0)
        (0.05, 0.4)
    """

    attempts: int = 5
    first_delay: float = 0.1
    max_delay: float = 2.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_delay < 0 or self.max_delay < 0:
            raise ValueError(f"{self} needs an attempt or more, and no negative delays")

    def delay(self, made: int, draw: Callable[[], float] = random.random) -> float:
        """Seconds to wait after so many attempts.

        Args:
            made: How many, from 1.
            draw: A random number from 0 to 1.
        """
        longest = min(self.max_delay, self.first_delay * 2.0 ** (made - 1))
        return longest / 2 + draw() * longest / 2


class Attempts:
    """One request's attempts, under one deadline.

    Args:
        retries: How many, and how far apart.
        timeout: Seconds for all of them, waits included.
        repeatable: Whether a second one is allowed at all.
    """

    def __init__(self, retries: Retries, timeout: float, *, repeatable: bool = True):
        self._retries = retries
        self._end = time.monotonic() + timeout
        self._repeatable = repeatable
        self._made = 0

    def remaining(self) -> float:
        """Seconds left for the attempt that begins now; counts it."""
        self._made += 1
        return max(self._end - time.monotonic(), 0.0)

    def delay_after(self, error: Any) -> float | None:
        """Seconds to wait before the next attempt; None if there is to be none.

        Args:
            error: The ``grpc.RpcError`` of the last one.
        """
        if not self._repeatable or self._made >= self._retries.attempts:
            return None
        wish = _pushback(error)
        if wish == _NEVER or not _is_worth_it(error, wish):
            return None
        delay = self._retries.delay(self._made) if wish is None else wish
        return delay if time.monotonic() + delay < self._end else None


def _is_worth_it(error: Any, wish: float | None) -> bool:
    code = error.code().name
    if code == "RESOURCE_EXHAUSTED":
        return wish is not None or error.details() == _AT_THE_DOOR
    return code == "UNAVAILABLE"


def _pushback(error: Any) -> float | None:
    """Seconds that the server asks for; _NEVER if negative or no number; None if it is silent."""
    for key, value in error.trailing_metadata() or ():
        if key == PUSHBACK:
            return int(value) / 1000 if value.isdecimal() else _NEVER
    return None
