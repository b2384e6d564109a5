"""What the load of a server is judged by, and what becomes of a process that ends too soon."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import serve
from benchmarks.serve_processes import Process
from idp_tf.errors import IdpError


def round_of(off_1: float, bare: float, off_32: float, on_32: float) -> dict:
    """One round's CPU milliseconds a request."""
    return {
        key: {"CPU ms a request": value}
        for key, value in {
            ("served", False, 1): off_1,
            ("bare", False, 1): bare,
            ("served", False, 32): off_32,
            ("served", True, 32): on_32,
        }.items()
    }


def test_the_median_of_the_ratios_within_rounds_is_judged() -> None:
    """Of 1.25, 1.5 and 2, and of 4, 2 and 1; the second round ran on a machine half as fast."""
    rounds = [round_of(5, 4, 4, 1), round_of(12, 8, 8, 4), round_of(4, 2, 3, 3)]
    cost, gain, growth = serve._judge(rounds, {"growth, MiB": 8.5})
    assert (cost.value, cost.met) == (1.5, True)
    assert (gain.value, gain.met) == (2.0, True)
    assert (growth.value, growth.met) == (8.5, False)


def test_a_process_that_ends_before_it_answers_says_why(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        Process(["benchmarks.no_such_module"], log) as process,
        pytest.raises(IdpError, match="benchmarks.no_such_module.*No module named"),
    ):
        process.read()


def test_cpu_and_memory_are_of_that_process(tmp_path: Path) -> None:
    """0.3 seconds of CPU and 64 MiB, in a process that waits then to be stopped."""
    work = "\n".join(
        [
            "import sys, time",
            "held = bytearray(b'x') * (64 << 20)",
            "while time.process_time() < 0.3: pass",
            "print(1, flush=True)",
            "sys.stdin.read()",
        ]
    )
    # The one program of Python's own that runs what an argument says.
    with Process(["timeit", "-n", "1", "-r", "1", work], tmp_path / "log") as process:
        process.read()
        # The system counts in hundredths, each of the two kinds cut.
        assert 0.25 <= process.cpu_seconds < 5
        assert 64 < process.resident_mib < 256
