"""Recformer exported: the graph that takes item ids against the model that packs with NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from exported import in_process, served

from idp_tf.config import RecformerSettings
from idp_tf.data.schema import IdMap
from idp_tf.text.recformer import Recformer, build_recformer_encoder
from serving.export import export_recommender

SETTINGS = RecformerSettings(kept_layers=2, max_items=4, title_tokens=6, max_tokens=17, window=6)
TITLES = [
    "green tea kettle",
    "black star wars",
    "the night of the day",
    "ink",
    "",
    "Green tea kettle",
    "white paper lamp",
    "violin bow",
]
NAMES = [f"item-{letter}" for letter in "hbdfaceg"]
# No item, one, one without a title, some and all places taken, so many pieces that they are cut.
HISTORIES = np.array(
    [[0, 0, 0, 0], [0, 0, 0, 4], [0, 0, 0, 5], [0, 0, 5, 3], [4, 1, 2, 3], [7, 8, 3, 1]], np.int32
)


def make_recformer(tiny_bert, pooling="cls"):
    settings = SETTINGS.model_copy(update={"pooling": pooling})
    encoder = build_recformer_encoder(settings, str(tiny_bert), seed=3)
    # Fresh ones are small; here the order of items is to matter.
    encoder.item_positions.embeddings.assign(20 * encoder.item_positions.embeddings)
    return Recformer.of(encoder, TITLES)


@pytest.fixture(scope="module")
def recformer(tiny_bert):
    return make_recformer(tiny_bert)


@pytest.mark.parametrize(
    "item_ids",
    [
        HISTORIES,
        HISTORIES[:2],
        HISTORIES[:, 2:],
        np.pad(HISTORIES, [(0, 0), (3, 0)]),
        np.tile(HISTORIES[4:], 2),
        HISTORIES[:0],
        HISTORIES[:, :0],
    ],
)
def test_the_graph_packs_as_numpy_does(recformer, item_ids):
    wanted = recformer.sentences.pack(item_ids)
    found = tf.function(recformer.in_graph().pack)(tf.constant(item_ids))
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name].dtype == tf.int32
        np.testing.assert_array_equal(found[name], values, name)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_graph_encodes_users_as_the_model_does(tiny_bert, pooling):
    recformer = make_recformer(tiny_bert, pooling)
    graph = recformer.in_graph()
    wanted = recformer.encode_users(HISTORIES)
    np.testing.assert_allclose(graph.encode_users(HISTORIES), wanted, atol=1e-6)
    assert (graph.num_items, graph.max_length) == (len(TITLES), 4)
    np.testing.assert_array_equal(graph.item_vectors(), recformer.item_vectors())


def test_an_export_answers_as_the_model(recformer, tmp_path):
    """In a session as a server has it; items 1 and 6 have one title, and so one score."""
    histories = [
        [NAMES[3]],
        [NAMES[1], "nobody", "", NAMES[2]],
        [NAMES[2], NAMES[1], "nobody"],
        [NAMES[0], *NAMES[4:8]],
    ]
    version = export_recommender(recformer.in_graph(), IdMap(NAMES), tmp_path)
    ids, scores = served(version, histories, k=3)
    wanted_ids, wanted_scores = in_process(recformer, NAMES, histories, k=3)
    assert ids == wanted_ids
    np.testing.assert_allclose(scores, wanted_scores, atol=1e-5)
    assert abs(scores[1] - scores[2]).max() > 1e-3

    # Keras's own objects are not in the tree: a server would find copies of them without values.
    reader = tf.train.load_checkpoint(str(version / "variables/variables"))
    names = [name for name in reader.get_variable_to_shape_map() if "_CHECKPOINTABLE" not in name]
    assert names and all(name.startswith("read_variables/") for name in names)
