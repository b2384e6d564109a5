"""The reversed gradient, and the classifier that sits behind it."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from idp_tf.errors import SettingsError
from idp_tf.layers import DomainClassifier, GradientReversal, GrowingStrength


@pytest.fixture
def values():
    return tf.constant(np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32))


def gradient(layer, values, upstream, training=True):
    with tf.GradientTape() as tape:
        tape.watch(values)
        out = layer(values, training=training)
    np.testing.assert_array_equal(out, values)
    return tape.gradient(out, values, upstream).numpy()


@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_forward_nothing_happens_and_backward_the_sign_turns(values, strength):
    upstream = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)
    found = gradient(GradientReversal(strength), values, upstream)
    np.testing.assert_allclose(found, -strength * upstream, rtol=1e-6)


def test_strength_grows_by_ganins_schedule_and_goes_on_where_it_was(values):
    ones = np.ones((4, 5), np.float32)
    layer = GradientReversal(GrowingStrength(steps=4, most=2.0))
    # Not training counts for nothing.
    gradient(layer, values, ones, training=False)
    found = [gradient(layer, values, ones)[0, 0] for _ in range(6)]
    done = np.array([0, 0.25, 0.5, 0.75, 1, 1])
    np.testing.assert_allclose(found, -2 * (2 / (1 + np.exp(-10 * done)) - 1), rtol=1e-5)

    resumed = GradientReversal.from_config(layer.get_config())
    resumed.calls.assign(2)
    np.testing.assert_allclose(gradient(resumed, values, ones)[0, 0], found[2], rtol=1e-6)


def test_it_works_in_a_graph(values):
    layer = GradientReversal(GrowingStrength(steps=2))

    @tf.function
    def step(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            out = tf.reduce_sum(layer(values, training=True))
        return tape.gradient(out, values)

    found = [step(values).numpy()[0, 0] for _ in range(3)]
    np.testing.assert_allclose(found, -np.tanh([0, 2.5, 5]), rtol=1e-5)


def test_the_classifier_equals_numpy(values):
    classifier = DomainClassifier(3, hidden_dim=7, seed=2)
    classifier(values)
    hidden, logits = classifier.hidden, classifier.logits
    inner = np.maximum(values.numpy() @ hidden.kernel.numpy() + hidden.bias.numpy(), 0)
    wanted = inner @ logits.kernel.numpy() + logits.bias.numpy()
    np.testing.assert_allclose(classifier(values), wanted, rtol=1e-5, atol=1e-6)


def test_the_classifier_learns_and_what_is_before_it_unlearns():
    """Two domains apart along one axis: descent on its scale raises the classifier's loss."""
    rng = np.random.default_rng(0)
    domains = rng.integers(0, 2, 256)
    values = np.stack([2.0 * domains - 1, np.zeros(256)], axis=1)
    values = (values + rng.normal(size=values.shape)).astype(np.float32)
    scale = tf.Variable([1.0, 1.0])
    classifier = DomainClassifier(2, hidden_dim=8, seed=1)

    def step(optimizer, variables):
        with tf.GradientTape() as tape:
            logits = classifier(values * scale, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(domains, logits)
            loss = tf.reduce_mean(losses)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables()), variables(), strict=True))
        return float(loss)

    adam = tf_keras.optimizers.Adam(0.05)
    first, *_, last = (step(adam, lambda: classifier.trainable_weights) for _ in range(30))
    assert last < 0.75 * first
    encoder = tf_keras.optimizers.SGD(0.5)
    confused = [step(encoder, lambda: [scale]) for _ in range(20)]
    assert confused[-1] > 1.3 * confused[0]
    assert scale[0] < 0.7


def test_configs_give_the_layers_back():
    for strength in (0.5, GrowingStrength(steps=7, most=0.3)):
        layer = DomainClassifier(3, 9, strength, seed=4)
        config = layer.get_config()
        again = DomainClassifier.from_config(config)
        assert again.get_config() == config
        assert type(again.reversal.strength) is type(strength)


def test_a_schedule_without_steps_is_refused():
    with pytest.raises(SettingsError, match="0 steps"):
        GrowingStrength(steps=0)
