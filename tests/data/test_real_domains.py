"""Real domains, where ``IDP_TF_DATA`` says they are: known counts come out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from idp_tf.data.prepare import prepare_domain
from idp_tf.data.readers import read_domain

DATA = os.environ.get("IDP_TF_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="IDP_TF_DATA is not set")
SOURCES = ("grocery", "home", "movies", "books", "electronics")


def test_office() -> None:
    manifest = prepare_domain(read_domain(Path(DATA or ""), "office"), k_core=5).manifest
    expected = {"users": 4905, "items": 2420, "interactions": 53258}
    assert manifest["before"] == manifest["after"] == expected
    assert manifest["untitled_items"] == 3


def test_sources_after_5_core() -> None:
    total = {"users": 0, "items": 0, "interactions": 0}
    for name in SOURCES:
        manifest = prepare_domain(read_domain(Path(DATA or ""), name), k_core=5).manifest
        for what, count in manifest["after"].items():
            total[what] += count
    assert total == {"users": 125_027, "items": 82_952, "interactions": 1_256_324}


def test_ties_of_toys() -> None:
    manifest = prepare_domain(read_domain(Path(DATA or ""), "toys"), k_core=5).manifest
    assert manifest["ties"]["users_with_tied_last_item"] == pytest.approx(0.49, abs=0.005)
