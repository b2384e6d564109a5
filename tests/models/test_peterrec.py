"""PeterRec's idea: the pre-trained encoder stays, patches learn."""

import numpy as np
import pytest
import tensorflow as tf

from idp_tf.errors import SettingsError
from idp_tf.models import GRU4Rec, PeterRec, SASRec, load_model, save_model
from idp_tf.optimizers import LazyAdam

SOURCE_ITEMS, TARGET_ITEMS, DIM, LENGTH, WIDTH = 30, 20, 8, 6, 3
KINDS = ("serial", "parallel")


@pytest.fixture(scope="module")
def source():
    """A model whose every weight, norms and biases too, is away from its start."""
    model = SASRec(SOURCE_ITEMS, embedding_dim=DIM, max_length=LENGTH, dropout=0.1, seed=7)
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign_add(rng.normal(scale=0.3, size=weight.shape))
    return model


@pytest.fixture(scope="module")
def batch():
    ids = np.random.default_rng(0).integers(1, TARGET_ITEMS + 1, (3, 16, LENGTH), dtype=np.int32)
    ids[:, :5, :3] = 0
    return dict(zip(("item_ids", "positive_ids", "negative_ids"), ids, strict=True))


@pytest.fixture(scope="module")
def fitted(source, batch):
    """By kind: a model that no test changes, and which of its weights training has moved."""
    return {kind: fit(source, batch, kind) for kind in KINDS}


def fit(source, batch, kind):
    model = PeterRec.from_pretrained(source, TARGET_ITEMS, patch=kind, patch_width=WIDTH, seed=2)
    before = {id(weight): weight.numpy() for weight in model.weights}
    model.compile(optimizer=LazyAdam(1e-2))
    # Variables that appear in the first step would have it traced twice.
    model.optimizer.build(model.trainable_variables)
    model.fit(tf.data.Dataset.from_tensors(batch).repeat(5), epochs=1, verbose=0)
    changed = {
        id(weight) for weight in model.weights if not np.array_equal(weight, before[id(weight)])
    }
    return model, changed


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_as_the_pretrained_encoder(source, batch, kind):
    model = PeterRec.from_pretrained(source, TARGET_ITEMS, patch=kind, patch_width=WIDTH, seed=2)
    # The source's own encoder over the target's items.
    mask = batch["item_ids"] != 0
    embeddings = model.item_embedding(batch["item_ids"]) * mask[..., None]
    wanted = source.encoder(embeddings, padding_mask=mask)
    np.testing.assert_array_equal(model(batch["item_ids"]), wanted)
    assert model.dropout == source.dropout == 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_fit_leaves_the_frozen_weights_and_moves_the_others(source, fitted, kind):
    model, changed = fitted[kind]
    trainable = {id(weight) for weight in model.trainable_weights}
    assert trainable <= changed
    pairs = list(
        zip(source.encoder.trainable_weights, model.encoder.pretrained_weights, strict=True)
    )
    frozen = [(theirs, ours) for theirs, ours in pairs if id(ours) not in trainable]
    # Of 27, all but a scale and a shift in 2 layers and at the end.
    assert (len(pairs), len(frozen)) == (27, 21)
    for theirs, ours in frozen:
        np.testing.assert_array_equal(ours, theirs)


def test_what_is_trained_by_number(source):
    model = PeterRec.from_pretrained(source, TARGET_ITEMS, patch_width=WIDTH)
    table = (TARGET_ITEMS + 1) * DIM
    patch = DIM * WIDTH + WIDTH + WIDTH * DIM + DIM
    norm = 2 * DIM
    size = sum(int(tf.size(weight)) for weight in model.trainable_weights)
    assert size == table + 2 * (2 * patch + norm) + norm


def test_serial_and_parallel_part_ways(fitted, batch):
    serial, parallel = (fitted[kind][0](batch["item_ids"]) for kind in KINDS)
    # Measured in the same units: outputs of a norm, whose scale is about 1.
    assert np.abs(serial - parallel).max() > 1e-3


def test_what_is_saved_is_frozen_when_it_is_loaded(source, fitted, batch, tmp_path):
    model, _ = fitted["parallel"]
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(loaded(batch["item_ids"]), model(batch["item_ids"]))
    loaded.compile(optimizer=LazyAdam(1e-2))
    loaded.optimizer.build(loaded.trainable_variables)
    loaded.fit(tf.data.Dataset.from_tensors(batch), epochs=1, verbose=0)
    trainable = {id(weight) for weight in loaded.trainable_weights}
    for theirs, ours in zip(
        source.encoder.trainable_weights, loaded.encoder.pretrained_weights, strict=True
    ):
        assert np.array_equal(theirs, ours) == (id(ours) not in trainable)


def test_the_shape_is_the_sources(source):
    with pytest.raises(TypeError, match="num_layers"):
        PeterRec.from_pretrained(source, TARGET_ITEMS, num_layers=3)


def test_an_encoder_of_another_class_or_shape_is_refused(source):
    model = PeterRec(TARGET_ITEMS, embedding_dim=DIM, num_layers=1, max_length=LENGTH)
    with pytest.raises(SettingsError, match=r"(?s)do not fit.*same width, layers"):
        model.take_over(source)
    with pytest.raises(SettingsError, match="not a GRU4Rec's"):
        model.take_over(GRU4Rec(TARGET_ITEMS, embedding_dim=DIM))
