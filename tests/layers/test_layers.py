"""Layers, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from idp_tf.layers import (
    BidirectionalTransformer,
    CausalSelfAttention,
    CausalTransformer,
    ClozeMask,
    CountedDropout,
    GatedRecurrent,
    LayerNorm,
    SelfAttention,
)


def test_dropout_keeps_the_mean_and_drops_the_rate():
    layer = CountedDropout(0.25, seed=3)
    dropped = layer(tf.ones((400, 500)), training=True).numpy()
    assert abs((dropped == 0).mean() - 0.25) < 0.01
    kept = dropped[dropped != 0]
    np.testing.assert_allclose(kept, 1 / 0.75, rtol=1e-6)


def test_dropout_is_a_function_of_seed_and_count():
    ones = tf.ones((4, 33))
    first, second = CountedDropout(0.5, seed=1), CountedDropout(0.5, seed=1)
    one, two = first(ones, training=True), first(ones, training=True)
    assert not np.array_equal(one, two)
    second.calls.assign(1)
    np.testing.assert_array_equal(second(ones, training=True), two)
    assert not np.array_equal(CountedDropout(0.5, seed=2)(ones, training=True), one)


def test_dropout_does_nothing_without_training():
    values = tf.random.stateless_normal((3, 5), seed=(0, 0))
    np.testing.assert_array_equal(CountedDropout(0.5)(values, training=False), values)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_dropout_refuses_impossible_rates(rate):
    with pytest.raises(ValueError, match="rate"):
        CountedDropout(rate)


def test_layer_norm_has_the_values_and_gradients_of_keras():
    rng = np.random.default_rng(0)
    values = tf.constant(rng.normal(2.0, 3.0, (4, 5, 8)).astype(np.float32))
    weights = [rng.normal(size=8).astype(np.float32) for _ in range(2)]
    upstream = tf.constant(rng.normal(size=(4, 5, 8)).astype(np.float32))
    found = []
    for layer in (LayerNorm(epsilon=1e-8), tf_keras.layers.LayerNormalization(epsilon=1e-8)):
        layer.build(values.shape)
        layer.set_weights(weights)
        with tf.GradientTape() as tape:
            tape.watch(values)
            out = layer(values, training=True)
        gradients = tape.gradient(out, [values, layer.gamma, layer.beta], upstream)
        found.append([out, *gradients, layer(values)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def _softmax(scores):
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def test_attention_equals_a_numpy_transcription():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2, 4, 6)).astype(np.float32)
    mask = np.array([[False, True, True, True], [True, True, True, True]])
    layer = CausalSelfAttention(num_heads=2, seed=5)
    found = layer(inputs, padding_mask=tf.constant(mask)).numpy()

    kernel, bias = (w.numpy() for w in layer.qkv.weights)
    out_kernel, out_bias = (w.numpy() for w in layer.output_projection.weights)
    for b in range(2):
        query, key, value = np.split(inputs[b] @ kernel + bias, 3, axis=-1)
        heads = []
        for h in range(2):
            part = slice(3 * h, 3 * h + 3)
            scores = query[:, part] @ key[:, part].T / np.sqrt(3)
            visible = np.tril(np.ones((4, 4), bool)) & mask[b][None]
            heads.append(_softmax(np.where(visible, scores, -1e9)) @ value[:, part])
        wanted = np.concatenate(heads, axis=-1) @ out_kernel + out_bias
        # A padding position has nothing to look at: its output means nothing.
        np.testing.assert_allclose(found[b][mask[b]], wanted[mask[b]], atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_attention_sees_no_padding_in_half_precision(dtype):
    """Two layers deep, where the NaN of one padded position would be in every other one."""
    inputs = np.random.default_rng(0).normal(size=(1, 4, 8)).astype(np.float32)
    mask = np.array([[False, False, True, True]])
    encoder = CausalTransformer(2, num_heads=2, max_length=4, seed=1)
    wanted = encoder(inputs, padding_mask=mask)[:, 2:]
    tf_keras.mixed_precision.set_global_policy(f"mixed_{dtype}")
    try:
        half = CausalTransformer(2, num_heads=2, max_length=4, seed=1)
        found = half(inputs, padding_mask=mask)
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    assert found.dtype == dtype and np.isfinite(tf.cast(found, tf.float32)).all()
    np.testing.assert_allclose(tf.cast(found, tf.float32)[:, 2:], wanted, atol=0.05)


def test_attention_refuses_heads_that_do_not_divide_the_width():
    with pytest.raises(ValueError, match="num_heads"):
        CausalSelfAttention(num_heads=4)(tf.ones((1, 2, 6)), padding_mask=tf.ones((1, 2), bool))


def test_fused_projection_starts_within_glorot_limits_of_one_projection():
    layer = CausalSelfAttention(num_heads=1, seed=0)
    layer(tf.ones((1, 2, 64)), padding_mask=tf.ones((1, 2), bool))
    limit = np.sqrt(6 / (64 + 64))
    kernel = np.abs(layer.qkv.kernel.numpy())
    assert kernel.max() <= limit
    assert kernel.max() > 0.99 * limit


@pytest.mark.parametrize(
    "layer",
    [
        CausalTransformer(num_layers=1, num_heads=2, max_length=7, dropout=0.1, seed=4),
        BidirectionalTransformer(num_layers=1, num_heads=2, max_length=7, dropout=0.1, seed=4),
        GatedRecurrent(num_layers=3, input_dropout=0.1, state_dropout=0.2, seed=4),
        SelfAttention(num_heads=2, dropout=0.1, seed=4, initial_stddev=0.02),
        CountedDropout(0.1, seed=4),
        ClozeMask(0.4, seed=4),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_config_round_trip(layer):
    config = layer.get_config()
    assert config["seed"] == 4
    assert type(layer).from_config(config).get_config() == config


def test_layer_norm_counts_in_float32_under_mixed_precision():
    # A mean of these, some hundred steps of bfloat16 from 0, is no number of bfloat16.
    half = tf.constant([[[256.0, 258.0, 260.0, 256.0]]], tf.bfloat16)
    layer = LayerNorm(epsilon=1e-8, dtype="mixed_bfloat16")
    full = tf.cast(half, tf.float32).numpy()
    wanted = (full - full.mean()) / full.std()
    found = layer(half, training=True)
    assert found.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(found, tf.float32), wanted, rtol=0.01)
