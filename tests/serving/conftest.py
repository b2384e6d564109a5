"""A small recommender, exported in both forms and served on a free port."""

from __future__ import annotations

import os

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idp_tf.data.schema import IdMap
from idp_tf.models import SASRec
from serving.client import ServingClient
from serving.export import export_recommender, write_models_config
from serving.server import ModelServer

NUM_ITEMS = 60
MAX_LENGTH = 5

Expect = Callable[[Sequence[str], int], list[tuple[str, float]]]


@pytest.fixture(scope="session")
def item_ids() -> IdMap:
    """External ids in an order that is not the alphabet's, one with other letters."""
    return IdMap([f"item-{(7 * i) % NUM_ITEMS}" for i in range(NUM_ITEMS - 1)] + ["thé [vert]"])


@pytest.fixture(scope="session")
def sequence_model() -> SASRec:
    """A model with random weights; items 11 and 12 are twins, so their scores tie."""
    model = SASRec(NUM_ITEMS, 8, num_layers=1, num_heads=2, max_length=MAX_LENGTH, seed=3)
    table = np.random.default_rng(0).normal(size=(NUM_ITEMS + 1, 8)).astype(np.float32)
    table[12] = table[11]
    model.item_embedding.set_weights([table])
    return model


@pytest.fixture(scope="session")
def expect(sequence_model: SASRec, item_ids: IdMap) -> Expect:
    """The library's answer, worked out in NumPy: sort all scores, skip what was seen."""
    table = np.asarray(sequence_model.item_vectors())

    def recommend(history: Sequence[str], k: int) -> list[tuple[str, float]]:
        known = [i for i in item_ids.to_internal(history).tolist() if i]
        window = ([0] * MAX_LENGTH + known)[-MAX_LENGTH:]
        user = sequence_model.encode_users(np.array([window], np.int32)).numpy()[0]
        scores = table @ user
        # Equal vectors may differ in a last bit of a product; to six digits they tie.
        order = sorted(range(1, NUM_ITEMS + 1), key=lambda i: (-round(float(scores[i]), 6), i))
        best = [i for i in order if i not in known][:k]
        return [(item_ids.external_ids[i - 1], float(scores[i])) for i in best]

    return recommend


@pytest.fixture(scope="session")
def exports(sequence_model: SASRec, item_ids: IdMap, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export folder with the two recommenders and models.config."""
    folder = tmp_path_factory.mktemp("export")
    export_recommender(sequence_model, item_ids, folder)
    export_recommender(sequence_model, item_ids, folder, scann=True)
    write_models_config(folder)
    return folder


@pytest.fixture(scope="session")
def server(exports: Path) -> Iterator[ModelServer]:
    """A running server."""
    with ModelServer(exports / "models.config", port=0, threads=1) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: ModelServer) -> Iterator[ServingClient]:
    """A client of it."""
    with ServingClient(server.address, timeout=30) as client:
        yield client


@pytest.fixture
def predict_request() -> Callable[..., Any]:
    """Makes a good PredictRequest, to be spoiled by a test."""
    from tensorflow_serving.apis import predict_pb2

    from serving.tensor_protos import typed_proto

    def make(name: str = "recommender", **inputs: Any) -> Any:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        inputs = inputs or {"item_ids": [["item-1"]], "k": np.int32(3)}
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(typed_proto(value))
        return request

    return make
