"""What all tests share."""

from __future__ import annotations

import fcntl
import gc
import os

# Before anything imports TensorFlow; the machines that test are small and busy.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

import idp_tf

# The import above sets the Keras guard before a test imports keras_hub, which touches tf.keras.
assert idp_tf.__version__

MakeOnce = Callable[[str, Callable[[Path], object]], Path]

# Machines are busy and reads are timed by them; the same examples every time, so that no run
# fails by chance.
settings.register_profile("idp_tf", deadline=None, derandomize=True)
settings.load_profile("idp_tf")


def pytest_collection_finish() -> None:
    """TensorFlow's modules stay: the collector need not walk them whenever a graph is traced."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Gives a folder that the first process of a run makes and all of them read.

    None may change it or run a stage in it, not even one that is refused: stages lock it.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def make_once(name: str, make: Callable[[Path], object]) -> Path:
        folder, made = shared / name, shared / f"{name}.made"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                make(folder)
                made.touch()
        return folder

    return make_once


@pytest.fixture(scope="session")
def tiny_bert(make_once: MakeOnce) -> Path:
    """The folder of a two-layer BERT."""
    from tiny_bert import write_tiny_bert

    return make_once("tiny-bert", write_tiny_bert)


@pytest.fixture(scope="session")
def world(make_once: MakeOnce) -> Path:
    """The data folder of the tiny world."""
    from tiny_world import write_world

    return make_once("tiny-world", write_world)


@pytest.fixture(scope="session")
def finished(world: Path, tiny_bert: Path, make_once: MakeOnce) -> Path:
    """The workdir of one whole run over the tiny world; tests that run in it take a copy."""
    from tiny_world import command, invoke

    def run(workdir: Path) -> None:
        done = invoke(*command(world, workdir, tiny_bert))
        assert done.code == 0, done.err

    return make_once("finished", run)
