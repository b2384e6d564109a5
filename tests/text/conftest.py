"""A tiny BERT for the whole session."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bert import write_tiny_bert


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a two-layer BERT."""
    return write_tiny_bert(tmp_path_factory.mktemp("bert") / "tiny")
