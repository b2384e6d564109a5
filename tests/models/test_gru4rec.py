"""GRU4Rec, against a NumPy transcription of the official equations."""

import numpy as np
import pytest
import tensorflow as tf

from idp_tf.layers import GatedRecurrent
from idp_tf.models import GRU4Rec


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def official_states(inputs, layer, kept=None):
    """``GRU4Rec.model`` of hidasib/GRU4Rec, ``vec``, ``rz`` and ``h``, step by step."""
    kernel, gates, recurrent, bias = (
        weight.numpy().astype(np.float64)
        for weight in (layer.input_kernel, layer.gates_kernel, layer.state_kernel, layer.bias)
    )
    width = inputs.shape[-1]
    state, states = np.zeros((len(inputs), width)), []
    for step in range(inputs.shape[1]):
        vec = inputs[:, step] @ kernel + bias
        rz = sigmoid(vec[:, width:] + state @ gates)
        proposed = np.tanh((state * rz[:, :width]) @ recurrent + vec[:, :width])
        update = rz[:, width:]
        state = (1 - update) * state + update * proposed
        if kept is not None:
            state = state * kept[:, step]
        states.append(state)
    return np.stack(states, axis=1)


@pytest.fixture
def model():
    model = GRU4Rec(30, embedding_dim=6, num_layers=2, max_length=7, seed=1)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.7, variable.shape))
    return model


def test_the_forward_pass_equals_the_official_equations(model):
    item_ids = np.random.default_rng(1).integers(1, 31, (5, 7), dtype=np.int32)
    wanted = model.item_vectors().numpy()[item_ids]
    for layer in model.encoder.layers:
        wanted = official_states(wanted, layer)
    np.testing.assert_allclose(model.encode_prefixes(item_ids), wanted, atol=1e-5)
    np.testing.assert_allclose(model.encode_users(item_ids), wanted[:, -1], atol=1e-5)


def test_the_reset_gate_is_applied_before_the_recurrent_product(model):
    """As in the papers and the Theano code; the authors' port and cuDNN do it after."""
    layer = model.encoder.layers[0]
    weights = [weight.numpy() for weight in layer.trainable_variables]
    inputs = np.random.default_rng(2).normal(size=(3, 2, 6)).astype(np.float32)
    found = layer(tf.constant(inputs), padding_mask=tf.ones((3, 2), tf.bool)).numpy()
    kernel, gates, recurrent, bias = weights
    vec, state = inputs[:, 1] @ kernel + bias, found[:, 0]
    rz = sigmoid(vec[:, 6:] + state @ gates)
    reset, update = rz[:, :6], rz[:, 6:]
    after = (1 - update) * state + update * np.tanh(reset * (state @ recurrent) + vec[:, :6])
    assert np.abs(found[:, 1] - after).max() > 1e-2


def test_the_state_is_zero_through_padding():
    layer = GatedRecurrent(num_layers=2, seed=1)
    inputs = tf.random.stateless_normal((1, 5, 4), seed=(0, 0))
    mask = tf.constant([[False, False, True, True, True]])
    layer(inputs, padding_mask=mask)
    for inner in layer.layers:
        # Biases would move a state that padding did not leave alone.
        inner.bias.assign(tf.ones_like(inner.bias))
    states = layer(inputs, padding_mask=mask).numpy()
    assert (states[:, :2] == 0).all()
    np.testing.assert_allclose(
        states[:, 2:], layer(inputs[:, 2:], padding_mask=mask[:, 2:]), atol=1e-6
    )


def test_dropped_states_are_what_is_carried_on():
    layer = GatedRecurrent(num_layers=1, state_dropout=0.25, seed=1)
    inputs = tf.random.stateless_normal((8, 6, 16), seed=(1, 0))
    mask = tf.ones((8, 6), tf.bool)
    states = layer(inputs, padding_mask=mask, training=True).numpy()
    kept = (states != 0) / 0.75
    assert 0.15 < (kept == 0).mean() < 0.35
    wanted = official_states(inputs.numpy(), layer.layers[0], kept)
    np.testing.assert_allclose(states, wanted, atol=1e-5)


def test_embeddings_are_dropped_before_the_recurrence():
    layer = GatedRecurrent(num_layers=1, input_dropout=0.5, seed=1)
    inputs, mask = tf.ones((4, 1, 64)), tf.ones((4, 1), tf.bool)
    layer(inputs, padding_mask=mask)
    layer.layers[0].input_kernel.assign(tf.tile(tf.eye(64), [1, 3]))
    states = layer(inputs, padding_mask=mask, training=True).numpy()
    # What is left of 1 is 0 or 2; the first state is sigmoid(x) tanh(x).
    assert (np.abs(states) < 1e-7).mean() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_allclose(states[states > 1e-7], sigmoid(2) * np.tanh(2), rtol=1e-5)


def test_initial_weights_are_uniform_within_the_official_limits():
    model = GRU4Rec(1000, embedding_dim=64)
    layer = model.encoder.layers[0]
    limits = {
        "items": (model.item_vectors()[1:], np.sqrt(6 / (1000 + 64))),
        # A gate has a matrix of its own, (64, 64).
        "input": (layer.input_kernel, np.sqrt(6 / 128)),
        "gates": (layer.gates_kernel, np.sqrt(6 / 128)),
        "state": (layer.state_kernel, np.sqrt(6 / 128)),
    }
    for name, (values, limit) in limits.items():
        values = np.asarray(values)
        assert 0.99 * limit < np.abs(values).max() <= limit, name
        # A uniform variable's deviation.
        assert values.std() == pytest.approx(limit / np.sqrt(3), rel=0.03), name
    assert (layer.bias.numpy() == 0).all()
    parts = [np.asarray(limits[name][0])[:, :64] for name in ("input", "gates", "state")]
    assert not np.array_equal(parts[0], parts[1]) and not np.array_equal(parts[1], parts[2])
