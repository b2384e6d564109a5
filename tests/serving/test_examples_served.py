"""Classify and Regress over tf.Examples, as TF-Serving runs them: one input, named outputs.

What the server checks of such signatures is in tensorflow_serving/servables/tensorflow/
classifier.cc (PreProcessClassification) and regressor.cc (PreProcessRegression).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from exported import Session

from serving.saved_models import describe_signature
from serving.server.request_checks import RequestError

NUM_ITEMS = 60


@pytest.fixture(scope="module", params=["recommender", "recommender_scann"])
def version(request: pytest.FixtureRequest, exports: Path) -> Path:
    """One form of the recommender."""
    return exports / request.param / "1"


@pytest.fixture(scope="module")
def served(version: Path) -> Iterator[Session]:
    """It, loaded."""
    with Session(version) as session:
        yield session


def example(**features: Any) -> bytes:
    """A serialized tf.Example of strings and integers."""
    made = tf.train.Example()
    for name, value in features.items():
        feature = made.features.feature[name]
        if isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.bytes_list.value.extend(text.encode() for text in value)
    serialized: bytes = made.SerializeToString()
    return serialized


def ask(served: Session, signature: str, examples: Sequence[bytes]) -> dict[str, np.ndarray]:
    return served.ask(signature, inputs=np.array(examples, object))


def test_the_signatures_are_as_the_server_wants_them(version: Path) -> None:
    classify = describe_signature(version, "classify")
    regress = describe_signature(version, "regress")
    assert classify["method"] == "tensorflow/serving/classify"
    assert regress["method"] == "tensorflow/serving/regress"
    assert classify["inputs"] == regress["inputs"]  # MultiInference runs both at once
    assert classify["inputs"]["inputs"]["dtype"] == "string"
    assert classify["inputs"]["inputs"]["shape"] == [-1]
    assert set(classify["outputs"]) == {"classes", "scores"}
    assert set(regress["outputs"]) == {"outputs"}
    told = json.loads((version / "assets.extra/signature.json").read_text())["signatures"]
    assert told["classify"] == classify and told["regress"] == regress


def test_classes_are_the_recommendations(served: Session, expect: Any) -> None:
    histories = [["item-3"], ["item-5", "nobody", "item-9"], ["thé [vert]"]]
    examples = [
        example(item_ids=histories[0], k=3),
        example(item_ids=histories[1]),  # as many as the default says
        example(item_ids=histories[2], k=1),
    ]
    answer = ask(served, "classify", examples)
    assert answer["classes"].shape == answer["scores"].shape == (3, 10)
    for row, k in enumerate((3, 10, 1)):
        expected = expect(histories[row], k)
        found = [name.decode() for name in answer["classes"][row]]
        assert found == [item for item, _ in expected] + [""] * (10 - k)
        np.testing.assert_allclose(
            answer["scores"][row, :k], [score for _, score in expected], atol=1e-5
        )
        assert np.isneginf(answer["scores"][row, k:]).all()


def test_the_value_is_the_score_of_the_candidate(served: Session, expect: Any) -> None:
    scores = dict(expect(["item-3"], NUM_ITEMS))
    candidates = ["item-20", "thé [vert]", "nobody"]
    examples = [example(item_ids=["item-3"], candidate_item_id=[name]) for name in candidates]
    examples += [example(item_ids=["item-3"]), example(candidate_item_id=["item-20"])]
    values = ask(served, "regress", examples)["outputs"]
    assert values.shape == (5,)
    np.testing.assert_allclose(values[:2], [scores[name] for name in candidates[:2]], atol=1e-5)
    assert np.isneginf(values[2:]).all()


def test_an_example_that_cannot_be_met_spoils_no_other(served: Session, expect: Any) -> None:
    examples = [
        example(item_ids=["nobody"], k=2),
        example(),
        example(item_ids=["item-3"], k=2**40),
        example(item_ids=["item-3"], k=-1),
    ]
    classes = ask(served, "classify", examples)["classes"]
    assert classes.shape == (4, NUM_ITEMS)
    assert set(classes[[0, 1, 3]].ravel()) == {b""}
    expected = [item for item, _ in expect(["item-3"], NUM_ITEMS)]
    assert [name.decode() for name in classes[2] if name] == expected


def test_context_and_example_are_one_message(served: Session, expect: Any) -> None:
    """ExampleListWithContext: the server joins the two serialized messages (util.cc)."""
    context = example(item_ids=["item-3"])
    joined = [context + example(candidate_item_id=[name]) for name in ("item-1", "item-2")]
    scores = dict(expect(["item-3"], NUM_ITEMS))
    np.testing.assert_allclose(
        ask(served, "regress", joined)["outputs"], [scores["item-1"], scores["item-2"]], atol=1e-5
    )


@pytest.mark.parametrize("bad", [b"no example", example(item_ids=3), example(k=["three"])])
def test_what_is_no_such_example(served: Session, bad: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        ask(served, "classify", [bad])
    assert caught.value.code.name == "INVALID_ARGUMENT"


def test_request_bodies_are_told(version: Path) -> None:
    text = (version / "assets.extra/README.md").read_text(encoding="utf-8")
    assert f"POST /v1/models/{version.parent.name}:classify" in text
    assert f"POST /v1/models/{version.parent.name}:regress" in text
    assert '"candidate_item_id": "item-0"' in text
