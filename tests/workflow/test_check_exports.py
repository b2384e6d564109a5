"""`idp-tf export --check`: exports as they are pass it, others do not."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_world import TARGET, invoke

from idp_tf.models import load_model, save_model
from serving.export.check import compare_ranking, difference

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no cc")


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A finished workdir that a test may change."""
    return shutil.copytree(finished, tmp_path / "copy")


def keep_noted(workdir: Path, *names: str) -> Path:
    """Lets these alone be exports to check; gives the file that lists them."""
    notes = workdir / "export/versions.json"
    told = json.loads(notes.read_text())
    notes.write_text(json.dumps({name: told[name] for name in names}))
    return notes


@needs_cc
def test_every_export_passes(copied: Path) -> None:
    assert invoke("export", "--workdir", copied, "--quantize", "int8").code == 0
    done = invoke("export", "--workdir", copied, "--check")
    assert done.code == 0, done.out + done.err
    rows = [re.split(r"  +", line.strip()) for line in done.out.splitlines()[1:]]
    signatures = ["serving_default", "recommend", "score", "classify", "regress"]
    forms = [(name, "") for name in ("cold_start", "matcher", "recommender")]
    expected = {
        (name + form, signature)
        for name, _ in forms
        for form in ("", "_scann")
        for signature in (signatures if name == "recommender" else signatures[:1])
    }
    assert {(row[0], row[2]) for row in rows} == expected
    assert all(row[-1] == "ok" for row in rows)
    assert all(row[4] == "1.000" for row in rows if not row[0].endswith("_scann"))


@needs_cc
def test_an_export_of_another_model_fails(copied: Path) -> None:
    """The stored model changes behind the workdir's back."""
    keep_noted(copied, "recommender", "matcher")
    folder = copied / "target" / TARGET / "systems/idp/seed-0/model"
    model: Any = load_model(folder)
    table = model.item_embedding.get_weights()[0]
    model.item_embedding.set_weights([table[np.r_[0, len(table) - 1 : 0 : -1]]])
    save_model(model, folder)
    done = invoke("export", "--workdir", copied, "--check")
    assert done.code == 1
    lines = {tuple(line.split()[:3:2]): line for line in done.out.splitlines()}
    assert lines["recommender", "serving_default"].endswith("DIFFERS")
    assert lines["recommender", "score"].endswith("DIFFERS")
    assert lines["matcher", "serving_default"].endswith("ok")


def test_what_cannot_be_checked(copied: Path) -> None:
    done = invoke("export", "--workdir", copied, "--check", "--system", "idp")
    assert done.code == 2 and "then --check alone" in done.err
    notes = keep_noted(copied, "matcher")
    told = json.loads(notes.read_text())
    told["matcher"]["key"] = "of old"
    notes.write_text(json.dumps(told))
    if shutil.which("cc") is not None:
        done = invoke("export", "--workdir", copied, "--check")
        assert done.code == 1 or done.code == 2
        assert "it was made of other settings" in done.err
    shutil.rmtree(copied / "export")
    done = invoke("export", "--workdir", copied, "--check")
    assert done.code != 0 and "nothing has been exported" in done.err


@pytest.mark.parametrize(
    ("ids", "scores", "expected"),
    [
        ([b"a", b"c"], [3.0, 2.0], (1.0, 0.0)),
        ([b"a", b"d"], [3.0, 2.0], (1.0, 0.0)),  # c and d tie
        ([b"a", b"b"], [3.0, 1.0], (0.5, 0.0)),
        ([b"a", b"c"], [3.0, 2.3], (1.0, 0.1)),
        ([b"a", b"x"], [3.0, 2.0], (0.0, np.inf)),
        ([b"a", b"a"], [3.0, 3.0], (0.0, np.inf)),
        ([b"a", b""], [3.0, -np.inf], (0.5, 0.0)),
        ([b"a", b""], [3.0, 0.0], (0.0, np.inf)),
    ],
)
def test_how_a_ranking_compares(
    ids: list[bytes], scores: list[float], expected: tuple[float, float]
) -> None:
    library = {"a": 3.0, "b": 1.0, "c": 2.0, "d": 2.0}
    found = compare_ranking(ids, np.array(scores, np.float32), library, 2)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "expected"), [([1.0], [1.0, 2.0]), ([np.nan], [1.0]), ([np.inf], [1.0])]
)
def test_what_differs_without_limit(given: list[float], expected: list[float]) -> None:
    assert difference(given, expected) == np.inf
