"""Work that would hold the event loop up is done beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

LONG: Final = 1 << 16
"""Bytes of JSON, or elements of tensors, that take some milliseconds to be read or written."""


async def beside(size: int, work: Callable[..., T], *arguments: Any) -> T:
    """Does the work here or, where it is long, in a thread, so that other requests go on."""
    if size <= LONG:
        return work(*arguments)
    return await asyncio.to_thread(work, *arguments)
