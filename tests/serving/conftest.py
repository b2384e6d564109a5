"""A small recommender and matcher, exported in both forms and served on a free port."""

from __future__ import annotations

import os

# idp_tf sets it, too; here Keras comes first.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import keras
import keras_hub
import numpy as np
import pytest
from small_models import Caller, Gate, add_version, config_text, save_doubler

from idp_tf.data.schema import IdMap
from idp_tf.models import SASRec
from idp_tf.retrieval import Index, build_index
from idp_tf.text import TextEncoder
from serving.client import ServingClient
from serving.export import (
    SourceItems,
    TitleMatcher,
    export_cold_start,
    export_matcher,
    export_recommender,
    write_models_config,
)
from serving.server import ModelServer
from serving.server.loaded_model import LoadedModel

NUM_ITEMS = 60
MAX_LENGTH = 5
NUM_SOURCES = 50
TOP_M = 4
WORDS = ("green", "black", "tea", "pot", "guitar", "string", "case", "cup", "strap", "stand", "red")

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
def encoder() -> TextEncoder:
    """A BERT with random weights over a few words."""
    keras.utils.set_random_seed(5)
    tokenizer = keras_hub.models.BertTokenizer(
        vocabulary=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS], lowercase=True
    )
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=5 + len(WORDS),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=12,
    )
    # Wider than BERT's own start, so that titles differ by more than rounding.
    for variable in backbone.trainable_variables:
        variable.assign(keras.random.normal(variable.shape, stddev=0.7, seed=len(variable.path)))
    return TextEncoder(backbone, tokenizer, "mean", title_length=8)


@pytest.fixture(scope="session")
def source_titles() -> list[str]:
    """A title for each source item, each of another pair of words."""
    pairs = [f"{a} {b}" for i, a in enumerate(WORDS) for b in WORDS[i + 1 :]]
    return pairs[:NUM_SOURCES]


@pytest.fixture(scope="session")
def source_ids() -> list[str]:
    """Ids as merged domains give them."""
    return [f"{'food' if i % 2 else 'music'}:{i}" for i in range(NUM_SOURCES)]


@pytest.fixture(scope="session")
def source_items(source_ids: list[str], source_titles: list[str]) -> SourceItems:
    """What answers call them."""
    return SourceItems(source_ids, source_titles, [name.split(":")[0] for name in source_ids])


@pytest.fixture(scope="session")
def source_embeddings() -> np.ndarray:
    """Pre-trained ID embeddings of the source items."""
    return np.random.default_rng(7).normal(size=(NUM_SOURCES, 8)).astype(np.float32)


@pytest.fixture(scope="session")
def indexes(encoder: TextEncoder, source_titles: list[str]) -> dict[str, Index]:
    """Retrieval over the source titles, by the name of the export that holds it."""
    vectors = encoder.encode(source_titles)
    return {
        "matcher": build_index(vectors, "exact", k=TOP_M),
        "matcher_scann": build_index(vectors, "scann", k=TOP_M),
    }


@pytest.fixture(scope="session")
def exports(
    sequence_model: SASRec,
    item_ids: IdMap,
    encoder: TextEncoder,
    indexes: dict[str, Index],
    source_embeddings: np.ndarray,
    source_items: SourceItems,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An export folder with recommender, matcher and cold start in both forms, models.config."""
    folder = tmp_path_factory.mktemp("export")
    export_recommender(sequence_model, item_ids, folder)
    export_recommender(sequence_model, item_ids, folder, scann=True)
    for index in indexes.values():
        export_matcher(
            encoder, index, source_embeddings, source_items, folder, top_m=TOP_M, norm="matches"
        )
        matcher = TitleMatcher(encoder, index, source_embeddings, TOP_M, "matches")
        export_cold_start(matcher, sequence_model, item_ids, folder)
    write_models_config(folder)
    return folder


@pytest.fixture(scope="session")
def server(exports: Path) -> Iterator[ModelServer]:
    """A running server."""
    with ModelServer(exports / "models.config", port=0, tensorflow_session_parallelism=1) as server:
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


@pytest.fixture(scope="session")
def doubler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SavedModel, to be copied to versions."""
    return save_doubler(tmp_path_factory.mktemp("doubler") / "model")


@pytest.fixture
def base(tmp_path: Path, doubler: Path) -> Path:
    """The base path of a model ``m`` with the version 1."""
    add_version(tmp_path / "m", 1, doubler)
    return tmp_path / "m"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Holds requests of servers in this process."""
    gate = Gate(LoadedModel._run)
    monkeypatch.setattr(LoadedModel, "_run", lambda *arguments: gate.run(*arguments))
    yield gate
    gate.open()


@pytest.fixture
def launch(tmp_path: Path, base: Path) -> Iterator[Callable[..., Caller]]:
    """Starts a server of ``m`` that looks for versions all the time, and gives its caller."""
    with ExitStack() as stack:

        def start(config: str = "", **flags: Any) -> Caller:
            file = tmp_path / "models.config"
            file.write_text(config or config_text(("m", base)))
            settings = {
                "file_system_poll_wait_seconds": 0.05,
                "max_num_load_retries": 0,
                "tensorflow_session_parallelism": 1,
                **flags,
            }
            server = stack.enter_context(ModelServer(file, 0, **settings))
            channel = stack.enter_context(grpc.insecure_channel(server.address))
            return Caller(channel, server)

        yield start
