"""UniSRec's whitening and adaptor, against NumPy's transcription of the official code."""

import numpy as np
import pytest
import tensorflow as tf

from idp_tf.layers import MoEAdaptor, ParametricWhitening

ROWS, WIDTH, DIM, EXPERTS = 40, 6, 4, 3


@pytest.fixture
def inputs():
    return np.random.default_rng(0).normal(2.0, 1.5, (ROWS, WIDTH)).astype(np.float32)


def make_adaptor(inputs, **options):
    """An adaptor whose weights are all away from their starts."""
    adaptor = MoEAdaptor(DIM, num_experts=EXPERTS, **options)
    adaptor(inputs)
    rng = np.random.default_rng(1)
    for weight in adaptor.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return adaptor


def softmax(scores):
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def test_whitening_with_the_right_weights_decorrelates(inputs):
    mean, covariance = inputs.mean(axis=0), np.cov(inputs.T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    layer = ParametricWhitening(WIDTH)
    layer.build(inputs.shape)
    layer.shift.assign(mean)
    layer.kernel.assign(vectors / np.sqrt(values))
    whitened = layer(inputs).numpy()
    np.testing.assert_allclose(whitened.mean(axis=0), np.zeros(WIDTH), atol=1e-5)
    np.testing.assert_allclose(np.cov(whitened.T, bias=True), np.eye(WIDTH), atol=1e-4)


def test_whitening_drops_before_it_shifts():
    """A dropped element becomes 0 and is shifted then, as in the official code."""
    layer = ParametricWhitening(1, dropout=0.5, seed=1)
    layer.build((None, 1))
    layer.shift.assign([3.0])
    layer.kernel.assign([[1.0]])
    found = np.unique(layer(tf.ones((200, 1)), training=True))
    np.testing.assert_allclose(found, [0 - 3, 2 - 3])


def test_the_mixture_equals_numpy(inputs):
    adaptor = make_adaptor(inputs)
    gate = softmax(inputs @ adaptor.gate_kernel.numpy())
    experts = [(inputs - e.shift.numpy()) @ e.kernel.numpy() for e in adaptor.experts]
    wanted = sum(gate[:, k, None] * experts[k] for k in range(EXPERTS))
    np.testing.assert_allclose(adaptor(inputs), wanted, rtol=1e-4, atol=1e-5)
    # Any leading shape will do.
    cube = adaptor(inputs.reshape(4, 10, WIDTH))
    np.testing.assert_allclose(cube, wanted.reshape(4, 10, DIM), rtol=1e-4, atol=1e-5)


def test_an_item_without_a_title_stays_zero(inputs):
    """And trains nothing: no shift is to fit what has no title."""
    adaptor = make_adaptor(inputs)
    with tf.GradientTape() as tape:
        found = adaptor(tf.zeros((2, WIDTH)), training=True)
    np.testing.assert_array_equal(found, np.zeros((2, DIM)))
    for gradient in tape.gradient(found, adaptor.trainable_weights):
        assert np.abs(tf.convert_to_tensor(gradient)).max() == 0


@pytest.mark.parametrize("training", [False, True])
def test_the_gate_sums_to_one(inputs, training):
    gate = make_adaptor(inputs).gate(inputs, training=training).numpy()
    assert gate.shape == (ROWS, EXPERTS)
    np.testing.assert_allclose(gate.sum(axis=1), np.ones(ROWS), atol=1e-6)
    assert gate.min() > 0 or not training


def test_all_experts_count_alike_at_the_start(inputs):
    adaptor = MoEAdaptor(DIM, num_experts=EXPERTS)
    adaptor(inputs)
    np.testing.assert_allclose(adaptor.gate(inputs), np.full((ROWS, EXPERTS), 1 / EXPERTS))


def test_noise_has_the_official_codes_spread():
    """At a gate of zeros, log ratios of the gate are differences of the noise."""
    inputs = np.ones((20000, 1), np.float32)
    adaptor = MoEAdaptor(1, num_experts=2)
    adaptor(inputs)
    adaptor.noise_kernel.assign([[1.0, -1.0]])
    gate = adaptor.gate(inputs, training=True).numpy().astype(np.float64)
    difference = np.log(gate[:, 0] / gate[:, 1])
    variances = [(np.log1p(np.exp(raw)) + 0.01) ** 2 for raw in (1.0, -1.0)]
    assert abs(difference.mean()) < 0.05
    np.testing.assert_allclose(difference.std(), np.sqrt(sum(variances)), rtol=0.02)


def test_noise_is_a_function_of_seed_and_count(inputs):
    first, second = (make_adaptor(inputs, seed=4) for _ in range(2))
    one, two = (first.gate(inputs, training=True).numpy() for _ in range(2))
    assert not np.array_equal(one, two)
    second.draws.calls.assign(1)
    np.testing.assert_array_equal(second.gate(inputs, training=True), two)
    other = make_adaptor(inputs, seed=5)
    assert not np.array_equal(other.gate(inputs, training=True), one)
    quiet = make_adaptor(inputs, noise=False)
    np.testing.assert_array_equal(quiet.gate(inputs, training=True), quiet.gate(inputs))


def test_gradients_reach_every_weight(inputs):
    adaptor = make_adaptor(inputs)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(adaptor(inputs, training=True)))
    gradients = tape.gradient(loss, adaptor.trainable_weights)
    # A gate, its noise, and a shift and a projection of each expert.
    assert len(gradients) == 2 + 2 * EXPERTS
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


def test_configs_give_the_layers_back(inputs):
    for layer in (ParametricWhitening(3, 0.1, 5), MoEAdaptor(3, 2, 0.1, False, 5)):
        assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
