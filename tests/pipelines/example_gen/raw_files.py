"""One small log, written in every format that is read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

Log = list[tuple[str, str, int]]

TITLES = {
    f"i{n:02d}": f" Tea &amp; pot,  no. {n} &quot;ж&quot;" if n % 7 else "" for n in range(30)
}


def made_up_log(users: int = 40, seed: int = 0) -> Log:
    """Users of three to nine rows; times tie, rows repeat, and some users and items go."""
    rng = np.random.default_rng(seed)
    rows: Log = []
    for user in range(users):
        for item in rng.integers(0, 30, int(rng.integers(1, 10))) ** 2 // 30:
            rows += [(f"u{user}", f"i{int(item):02d}", int(rng.integers(1000, 1006)))]
    rows += rows[:5]
    return [rows[i] for i in rng.permutation(len(rows))]


def write_tables(folder: Path, rows: Sequence[tuple[str, str, int]], name: str = "") -> None:
    """``interactions.csv`` and ``items.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "interactions.csv", rows)
    frame = pl.DataFrame({"item_id": list(TITLES), "title": list(TITLES.values())})
    frame.write_csv(folder / "items.csv")


def write_csv(file: Path, rows: Sequence[tuple[str, str, int]]) -> None:
    """A table of interactions; packed if the file's name says so."""
    lines = ["user_id,item_id,timestamp", *(f"{u},{i},{t}" for u, i, t in rows)]
    _write(file, lines)


def write_recbole(folder: Path, rows: Log, name: str) -> None:
    header = "user_id:token\titem_id:token\ttimestamp:float"
    _write(folder / f"{name}.inter", [header, *(f"{u}\t{i}\t{t}" for u, i, t in rows)])
    titles = [f"{i}\t{t}" for i, t in TITLES.items()]
    _write(folder / f"{name}.item", ["item_id:token\ttitle:token_seq", *titles])


def write_movielens(folder: Path, rows: Log, name: str) -> None:
    _write(folder / "ratings.dat", [f"{u}::{i}::5::{t}" for u, i, t in rows])
    _write(folder / "movies.dat", [f"{i}::{t}::Comedy" for i, t in TITLES.items()])


def write_parquet(folder: Path, rows: Log, name: str) -> None:
    write_tables(folder, rows)
    for stem in ("interactions", "items"):
        frame = pl.read_csv(folder / f"{stem}.csv", infer_schema=False)
        frame.write_parquet(folder / f"{stem}.parquet")
        (folder / f"{stem}.csv").unlink()


def write_amazon_2014(folder: Path, rows: Log, name: str) -> None:
    _write_reviews(folder / f"reviews_{name}.json.gz", rows, "reviewerID", "asin", "unixReviewTime")
    metadata = [repr({"asin": i, "title": t}) for i, t in TITLES.items()]
    _write(folder / f"meta_{name}.json.gz", metadata)


def write_amazon_2018(folder: Path, rows: Log, name: str) -> None:
    _write(folder / f"{name}.csv", [f"{i},{u},5.0,{t}" for u, i, t in rows])
    metadata = [json.dumps({"asin": i, "title": t}) for i, t in TITLES.items()]
    _write(folder / f"meta_{name}.json", metadata)


def write_amazon_2023(folder: Path, rows: Log, name: str) -> None:
    _write_reviews(folder / f"{name}.jsonl", rows, "user_id", "parent_asin", "timestamp")
    metadata = [json.dumps({"parent_asin": i, "title": t}) for i, t in TITLES.items()]
    _write(folder / f"meta_{name}.jsonl", metadata)


WRITERS: dict[str, Callable[[Path, Log, str], None]] = {
    "RecBole": write_recbole,
    "MovieLens": write_movielens,
    "tables": write_tables,
    "Parquet": write_parquet,
    "Amazon 2014": write_amazon_2014,
    "Amazon 2018": write_amazon_2018,
    "Amazon 2023": write_amazon_2023,
}


def _write_reviews(file: Path, rows: Log, user: str, item: str, time: str) -> None:
    _write(file, [json.dumps({user: u, item: i, time: t}) for u, i, t in rows])


def _write(file: Path, lines: Sequence[str]) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)
