"""ExampleGen under a limit that holds buckets of users, and not the domain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

HERE = Path(__file__).parent
ROWS, USERS, ITEMS = 10_000_000, 500_000, 5_000
LIMIT = 600 * 2**20
"""Bytes beyond what is held when a small domain has been through all steps.

Some 300 MiB of them take the blocks in which files are read, however long these are.
"""

SCRIPT = """
import resource, sys
from pathlib import Path
from generated import generate
from raw_files import made_up_log, write_tables

folder, data, rows, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
write_tables(folder / "small" / "shop", made_up_log())
generate(folder / "warm", domain="shop", data=folder / "small", k_core=1)
(held,) = [
    int(line.split()[1]) << 10
    for line in Path("/proc/self/status").read_text().splitlines()
    if line.startswith("VmData")
]
resource.setrlimit(resource.RLIMIT_DATA, (held + limit, held + limit))
made = generate(folder / "made", domain="shop", data=data, k_core=1, rows_per_bucket=rows)
print(made.manifest["after"]["interactions"])
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, draw = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    log = pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(USERS), ROWS // USERS),
            "item_id": draw.integers(0, ITEMS, ROWS),
            "timestamp": np.arange(ROWS),
        }
    ).with_columns(pl.format("user {}", "user_id"), pl.format("item {}", "item_id"))
    (folder / "shop").mkdir()
    log.write_csv(folder / "shop" / "interactions.csv")
    items = pl.DataFrame({"item_id": [f"item {n}" for n in range(ITEMS)]})
    items.with_columns(title=pl.lit("Tea")).write_csv(folder / "shop" / "items.csv")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("rows_per_bucket", "fits"), [(100_000, True), (20_000_000, False)])
def test_buckets_fit_where_the_domain_does_not(
    data: Path, tmp_path: Path, rows_per_bucket: int, fits: bool
) -> None:
    arguments = [tmp_path, data, rows_per_bucket, LIMIT]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[2])])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == fits, done.stderr[-3000:]
    if fits:
        assert done.stdout.splitlines()[-1] == str(ROWS)
