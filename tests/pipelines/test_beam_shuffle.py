"""The shuffle that is measured loses nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipelines.beam_shuffle import BLOCK, PARTS, DrawBlock, read_table, shuffle


def test_every_row_of_every_block_is_counted() -> None:
    rows = BLOCK + 500
    found = shuffle(rows, ())
    drawn = [
        read_table(data)
        for block in ((0, BLOCK), (1, 500))
        for _, data in DrawBlock().process(block)
    ]
    users = pa.concat_tables(drawn)["user"].to_pylist()
    assert len(users) == rows
    assert found["rows"] == rows
    assert found["users"] == len(set(users))


def test_a_part_holds_the_users_of_its_hash() -> None:
    parts = dict(DrawBlock().process((3, 5000)))
    assert sorted(parts) == list(range(PARTS))
    for part, data in parts.items():
        users = [int(user.removeprefix("user-")) for user in read_table(data)["user"].to_pylist()]
        np.testing.assert_array_equal(np.array(users, dtype=int) % PARTS, part)
