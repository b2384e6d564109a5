"""The clients of the benchmark ``serve``: a process without TensorFlow that is told what to send.

Each line of standard input asks for one load, as JSON; its figures are printed as another.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from serving.client import AsyncServingClient, Retries

_TIMEOUT: Final = 120.0

History = list[str]


async def main(folder: str) -> None:
    """Answers line by line until the input ends; histories are in the folder."""
    histories = json.loads((Path(folder) / "histories.json").read_text(encoding="utf-8"))
    sent = cycle(histories)
    while line := sys.stdin.readline():
        print(json.dumps(await load(sent, **json.loads(line))), flush=True)


async def load(
    histories: Iterator[History], address: str, clients: int, requests: int, k: int
) -> dict[str, float]:
    """So many requests from so many clients, each of which waits for its answer.

    Returns:
        ``seconds`` in all; ``p50``, ``p95`` and ``p99`` of a request, in seconds.
    """
    waiting = islice(histories, requests)
    taken: list[float] = []
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(_ask(waiting, address, k, taken))
    seconds = time.perf_counter() - begun
    p50, p95, p99 = np.percentile(taken, [50, 95, 99]).tolist()
    return {"seconds": seconds, "p50": p50, "p95": p95, "p99": p99}


async def _ask(waiting: Iterator[History], address: str, k: int, taken: list[float]) -> None:
    # A request that fails fails the benchmark: a retry would hide it.
    settings: dict[str, Any] = {"timeout": _TIMEOUT, "retries": Retries(attempts=1)}
    async with AsyncServingClient(address, **settings) as client:
        for history in waiting:
            begun = time.perf_counter()
            (answer,) = await client.recommend([history], [k])
            taken.append(time.perf_counter() - begun)
            if len(answer) != k:
                raise ValueError(f"{len(answer)} items in the place of {k}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
