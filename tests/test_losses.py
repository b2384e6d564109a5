"""Losses, against NumPy."""

import numpy as np
import tensorflow as tf

from idp_tf.losses import bpr_loss


def test_bpr_is_the_masked_mean_of_minus_log_sigmoid():
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(size=(2, 3, 4)).astype(np.float32)
    mask = rng.random((3, 4)) < 0.5
    wanted = -np.log(1 / (1 + np.exp(-(positive - negative))))[mask].mean()
    found = bpr_loss(tf.constant(positive), tf.constant(negative), tf.constant(mask))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_bpr_of_nothing_is_zero():
    assert float(bpr_loss(tf.ones((1, 2)), tf.zeros((1, 2)), tf.zeros((1, 2), tf.bool))) == 0


def test_bpr_does_not_overflow():
    loss = bpr_loss(tf.constant([[-1e4]]), tf.constant([[1e4]]), tf.constant([[True]]))
    np.testing.assert_allclose(loss, 2e4)
