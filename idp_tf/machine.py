"""What must be said to a process before TensorFlow starts in it. Imports no TensorFlow."""

from __future__ import annotations

import os
import platform
import sys
from typing import Final

_HUGE_PAGES: Final = "glibc.malloc.hugetlb=1"


def count_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def thread_counts(cores: int) -> tuple[int, int]:
    """TensorFlow's threads within an operation, and between operations.

    By default TensorFlow has one of each for every core. The operations of a sequence
    encoder are small: split over threads they wait for one another, and the threads that
    wait spin. Two operations at once, which share the cores, are faster
    (docs/performance.md; measured on two cores only).

    Example:
        >>> thread_counts(1), thread_counts(2), thread_counts(16)
        ((1, 1), (1, 2), (8, 2))
    """
    return max(1, cores // 2), min(2, cores)


def set_thread_counts() -> None:
    """Gives TensorFlow ``thread_counts``, unless the environment has numbers of its own.

    Has no effect once TensorFlow has begun to compute.
    """
    within, between = thread_counts(count_cores())
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(within))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(between))


def restart_with_huge_pages() -> None:
    """Starts this process again with transparent huge pages for malloc, where glibc has them.

    A step that meets rows all over a large table spends a good part of its time on address
    translation. glibc reads ``GLIBC_TUNABLES`` once, before Python runs; what the
    environment already says of it stays.
    """
    if "GLIBC_TUNABLES" in os.environ or platform.libc_ver()[0] != "glibc":
        return
    environment = {**os.environ, "GLIBC_TUNABLES": _HUGE_PAGES}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
