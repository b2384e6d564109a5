"""Every export and signature answers in a C program against TensorFlow's C library, no Python.

Where there is no cc the tests are skipped, but in CI (the variable CI is set) they fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from exported import Session

from idp_tf.errors import ServingError
from idp_tf.retrieval import Index
from idp_tf.text import TextEncoder
from idp_tf.transfer.generate import find_untitled, generate_embeddings
from serving.export import SourceItems
from serving.export.c_runtime import Call, build_program, run_calls
from serving.saved_models import describe_signatures

Expect = Callable[[Sequence[str], int], list[tuple[str, float]]]

HISTORIES = [["item-3", "", "nobody"], ["item-5", "item-9", "thé [vert]"]]
TITLES = ["green tea", "", "Red guitar case"]
K = 7
TOP_M = 4


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built program."""
    if shutil.which("cc") is None:
        if os.environ.get("CI"):
            pytest.fail("there is no cc, and CI is set: this check must not be skipped")
        pytest.skip("there is no cc to build the program with")
    return build_program(tmp_path_factory.mktemp("c_runtime"))


def example(**features: Any) -> bytes:
    made = tf.train.Example()
    for name, value in features.items():
        feature = made.features.feature[name]
        if isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.bytes_list.value.extend(text.encode() for text in value)
    serialized: bytes = made.SerializeToString()
    return serialized


EXAMPLES = [example(item_ids=HISTORIES[1], k=3, candidate_item_id=["item-1"]), example()]
CALLS = [
    Call("serving_default", {"item_ids": HISTORIES, "k": np.int32(K)}),
    Call("serving_default", {"item_ids": HISTORIES, "k": np.array([2, K], np.int32)}),
    Call(
        "recommend",
        {
            "item_ids": HISTORIES,
            "k": np.int32(2),
            "exclude_item_ids": np.zeros((2, 0), object),
            "allowed_item_ids": [["item-1", "item-2", "item-4", "item-6"]],
        },
    ),
    Call("score", {"item_ids": HISTORIES, "candidate_item_ids": [["item-1", ""], ["x", "item-2"]]}),
    *(Call(key, {"inputs": EXAMPLES}) for key in ("examples", "classify", "regress")),
]


@pytest.mark.parametrize("model", ["recommender", "recommender_scann"])
def test_recommender(program: Path, exports: Path, expect: Expect, model: str) -> None:
    outputs = run_calls(program, exports / model / "1", CALLS)
    assert outputs[0]["num_known"].tolist() == [1, 3]
    for row, history in enumerate(HISTORIES):
        expected = expect(history, K)
        names = [name.decode() for name in outputs[0]["item_ids"][row]]
        assert names == [item for item, _ in expected]
        np.testing.assert_allclose(
            outputs[0]["scores"][row], [score for _, score in expected], atol=1e-5
        )
        scores = dict(expect(history, 60))
        stock = sorted(["item-1", "item-2", "item-4", "item-6"], key=lambda item: -scores[item])
        assert [name.decode() for name in outputs[2]["item_ids"][row]] == stock[:2]
    assert {call.signature for call in CALLS} == set(describe_signatures(exports / model / "1"))


@pytest.mark.parametrize("model", ["recommender", "recommender_scann"])
def test_a_session_in_python_says_the_same(program: Path, exports: Path, model: str) -> None:
    """Of every signature; what is right is tested signature by signature elsewhere."""
    version = exports / model / "1"
    with Session(version) as session:
        expected = [session.ask(call.signature, **call.inputs) for call in CALLS]
    for answer, outputs in zip(expected, run_calls(program, version, CALLS), strict=True):
        assert answer.keys() == outputs.keys()
        for name, values in answer.items():
            if values.dtype == object:
                assert outputs[name].tolist() == values.tolist()
            else:
                np.testing.assert_allclose(outputs[name], values, atol=1e-5)


@pytest.mark.parametrize("model", ["matcher", "matcher_scann"])
def test_matcher(
    program: Path,
    exports: Path,
    encoder: TextEncoder,
    indexes: dict[str, Index],
    source_embeddings: np.ndarray,
    source_items: SourceItems,
    model: str,
) -> None:
    call = Call("serving_default", {"titles": TITLES})
    (outputs,) = run_calls(program, exports / model / "1", [call])
    expected = generate_embeddings(
        encoder.encode(TITLES),
        indexes[model],
        source_embeddings,
        top_m=TOP_M,
        norm="matches",
        untitled=find_untitled(TITLES),
    )
    told = {"source_item_ids": source_items.ids, "source_titles": source_items.titles}
    for name, texts in told.items():
        named = np.array(["", *texts], dtype=object)[expected.rows + 1]
        assert [[text.decode() for text in row] for row in outputs[name]] == named.tolist()
    np.testing.assert_allclose(outputs["scores"], expected.scores, atol=1e-5)
    np.testing.assert_allclose(outputs["weights"], expected.weights, atol=1e-5)
    np.testing.assert_allclose(outputs["embedding"], expected.embeddings, atol=1e-5)


@pytest.mark.parametrize("model", ["cold_start", "cold_start_scann"])
def test_cold_start(program: Path, exports: Path, model: str) -> None:
    """As in a session, whose answers are held against the library elsewhere."""
    rows = [["green tea", "", "Red guitar case"], ["", "tea cup", " "]]
    k = np.array([5, 3], np.int32)
    version = exports / model / "1"
    (outputs,) = run_calls(program, version, [Call("serving_default", {"titles": rows, "k": k})])
    with Session(version) as session:
        answer = session.ask(titles=rows, k=k)
    assert outputs["num_titles"].tolist() == [2, 1]
    assert outputs["item_ids"].tolist() == answer["item_ids"].tolist()
    np.testing.assert_allclose(outputs["scores"], answer["scores"], atol=1e-5)


def test_the_exact_recommender_needs_no_other_ops(program: Path, exports: Path) -> None:
    """And the ScaNN form does: a server without its ops refuses it as a whole."""
    assert run_calls(program, exports / "recommender" / "1", CALLS[:1], libraries=[])
    with pytest.raises(ServingError, match="Scann>"):
        run_calls(program, exports / "recommender_scann" / "1", [], libraries=[])


def test_an_error_of_the_graph_is_told(program: Path, exports: Path) -> None:
    call = Call("serving_default", {"item_ids": HISTORIES, "k": np.int32(61)})
    with pytest.raises(ServingError, match="k must be between 1 and 60, got 61"):
        run_calls(program, exports / "recommender" / "1", [call])


def test_there_is_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServingError, match="no C compiler"):
        build_program(tmp_path)
