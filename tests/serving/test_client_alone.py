"""The client where nothing of TensorFlow is: imports that fail, and a bare environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from serving.client import ServingClient

ROOT = Path(__file__).resolve().parents[2]

BLOCK = """
import sys

BLOCKED = {
    "tensorflow", "tensorflow_serving", "tensorflow_text", "tensorflow_recommenders", "keras",
    "keras_hub", "tf_keras", "scann", "idp_tf", "polars", "pydantic", "typer", "rich",
}

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
"""
ASK = """
import asyncio, json, sys
from serving.client import AsyncServingClient, ServingClient

def plain(answers):
    return [[list(pair) for pair in answer] for answer in answers]

async def ask():
    async with AsyncServingClient(sys.argv[1], timeout=30) as client:
        return await client.recommend([["item-1", "item-2"]], 3)

with ServingClient(sys.argv[1], timeout=30) as client:
    answers = client.recommend([["item-1", "item-2"]], 3)
    print(json.dumps({
        "recommended": plain(answers),
        "asyncio": plain(asyncio.run(ask())),
        "status": client.status("recommender")[0].state,
        "signatures": sorted(client.metadata("recommender")),
    }))
"""
NO_NETWORK = ("NewConnectionError", "ConnectTimeoutError", "NameResolutionError", "ProxyError")
NO_TENSORFLOW = """
found = {name.partition(".")[0] for name in sys.modules}
assert not found & {"tensorflow", "tensorflow_serving", "keras", "idp_tf"}, sorted(found)
"""


def run(python: str | Path, program: str, address: str) -> dict[str, object]:
    done = subprocess.run(
        [python, "-c", program, address],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def expected(client: ServingClient) -> dict[str, object]:
    """The same questions from a process that has TensorFlow and the wheel."""
    answers = client.recommend([["item-1", "item-2"]], 3)
    plain = [[list(pair) for pair in answer] for answer in answers]
    return {
        "recommended": plain,
        "asyncio": plain,
        "status": "AVAILABLE",
        "signatures": sorted(client.metadata("recommender")),
    }


def test_where_imports_of_tensorflow_fail(client: ServingClient) -> None:
    assert run(sys.executable, BLOCK + ASK + NO_TENSORFLOW, client.address) == expected(client)


def test_the_block_blocks() -> None:
    program = BLOCK + "import serving.tensor_protos"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and "is blocked" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "packages",
    [
        ("grpcio", "protobuf", "numpy"),
        ("grpcio==1.60.*", "protobuf==4.25.*", "numpy==1.26.*"),
    ],
    ids=["newest", "oldest"],
)
def test_in_a_bare_environment(
    packages: tuple[str, ...], client: ServingClient, tmp_path: Path
) -> None:
    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare/bin/python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *packages],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if any(words in done.stderr for words in NO_NETWORK):
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    program = "import sys" + ASK + NO_TENSORFLOW
    assert run(python, program, client.address) == expected(client)
