"""What all tests share."""

from __future__ import annotations

import os

# Before anything imports TensorFlow; the machines that test are small and busy.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from pathlib import Path

import pytest
from hypothesis import settings

import idp_tf

# The import above sets the Keras guard before a test imports keras_hub, which touches tf.keras.
assert idp_tf.__version__

# Machines are busy and reads are timed by them; the same examples every time, so that no run
# fails by chance.
settings.register_profile("idp_tf", deadline=None, derandomize=True)
settings.load_profile("idp_tf")


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a two-layer BERT."""
    from tiny_bert import write_tiny_bert

    return write_tiny_bert(tmp_path_factory.mktemp("bert") / "tiny")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the tiny world."""
    from tiny_world import write_world

    return write_world(tmp_path_factory.mktemp("world") / "data")


@pytest.fixture(scope="session")
def finished(world: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workdir of one whole run over the tiny world; tests that change it take a copy."""
    from tiny_world import command, invoke

    workdir = tmp_path_factory.mktemp("finished") / "w"
    done = invoke(*command(world, workdir, tiny_bert))
    assert done.code == 0, done.err
    return workdir
