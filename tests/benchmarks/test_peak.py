"""The floor of a training step, worked out by hand."""

from benchmarks.peak import count_bytes, count_operations


def test_operations_of_six_positions() -> None:
    # A layer: 12 * 64^2 = 49,152 in projections and 4 * 3 * 64 = 768 in attention; two layers,
    # and 256 for the scores, are 100,096 a position; six positions, and thrice for the backward.
    assert count_operations(batch_size=2, length=3) == 100_096 * 6 * 3


def test_bytes_of_six_positions() -> None:
    # A layer keeps 9 * 64 + 2 * 2 * 3 = 588 numbers, moved five times, and two layers do; rows
    # of the table move three times (1 + 6) * 64 = 1,344 numbers; four bytes each, six positions.
    assert count_bytes(batch_size=2, length=3) == 4 * 6 * (5 * 2 * 588 + 1_344)
