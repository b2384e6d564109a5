"""Model patches, against NumPy and against the encoder that they are put into."""

import numpy as np
import pytest
import tensorflow as tf

from idp_tf.errors import SettingsError
from idp_tf.layers import CausalTransformer, ModelPatch, PatchedTransformer

LAYERS, HEADS, LENGTH, DIM, WIDTH = 2, 2, 6, 8, 3
SHAPE = {"num_layers": LAYERS, "num_heads": HEADS, "max_length": LENGTH, "seed": 5}


@pytest.fixture
def inputs():
    return np.random.default_rng(0).normal(size=(4, LENGTH, DIM)).astype(np.float32)


@pytest.fixture
def mask():
    mask = np.ones((4, LENGTH), bool)
    mask[0, :3] = False
    return mask


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def bottleneck(x, down, down_bias, up, up_bias):
    """φ_up(σ(φ_down(x))), the paper's patch without its shortcut."""
    return gelu(x @ down + down_bias) @ up + up_bias


def randomize(layer, seed=0):
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in layer.get_weights()])
    return layer


def test_a_patch_equals_numpy(inputs):
    patch = ModelPatch(WIDTH, seed=1)
    patch.build(inputs.shape)
    patch(inputs)
    randomize(patch)
    wanted = bottleneck(inputs.astype(np.float64), *patch.get_weights())
    np.testing.assert_allclose(patch(inputs), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", ["serial", "parallel"])
@pytest.mark.parametrize("training", [False, True])
def test_patched_encoders_start_as_the_plain_one(kind, training, inputs, mask):
    plain = CausalTransformer(**SHAPE, dropout=0.3)
    patched = PatchedTransformer(**SHAPE, dropout=0.3, patch=kind, patch_width=WIDTH)
    np.testing.assert_array_equal(
        patched(inputs, mask, training=training), plain(inputs, mask, training=training)
    )


@pytest.mark.parametrize("kind", ["serial", "parallel"])
def test_where_a_patch_gets_its_input(kind, inputs, mask):
    """The sublayers of the first layer as functions of NumPy's patch."""
    encoder = PatchedTransformer(**SHAPE, patch=kind, patch_width=WIDTH)
    encoder(inputs, mask)
    block = encoder.blocks[0]
    randomize(block.attention_patch, 1)
    randomize(block.network_patch, 2)

    normal = block.attention_norm(inputs).numpy()
    attended = block.attention(normal, mask).numpy()
    patch_input = attended if kind == "serial" else normal
    attended += bottleneck(patch_input, *block.attention_patch.get_weights())
    hidden = inputs + attended
    normal = block.network_norm(hidden).numpy()
    outer = block.outer(block.inner(normal)).numpy()
    patch_input = outer if kind == "serial" else normal
    outer += bottleneck(patch_input, *block.network_patch.get_weights())
    np.testing.assert_allclose(block(inputs, mask), hidden + outer, rtol=1e-4, atol=1e-4)


def test_what_is_trained_by_number(inputs, mask):
    encoder = PatchedTransformer(**SHAPE, patch_width=WIDTH)
    encoder(inputs, mask)
    patch = DIM * WIDTH + WIDTH + WIDTH * DIM + DIM
    norm = 2 * DIM
    size = sum(int(tf.size(weight)) for weight in encoder.trainable_weights)
    assert size == LAYERS * (2 * patch + norm) + norm

    plain = CausalTransformer(**SHAPE)
    plain(inputs, mask)
    pretrained = [weight.shape for weight in encoder.pretrained_weights]
    assert pretrained == [weight.shape for weight in plain.trainable_weights]
    counters = len(plain.non_trainable_weights)
    assert len(encoder.weights) == len(plain.trainable_weights) + LAYERS * 2 * 4 + counters
    assert len({id(weight) for weight in encoder.weights}) == len(encoder.weights)


def test_a_config_gives_the_layer_back():
    layer = PatchedTransformer(**SHAPE, patch="parallel", patch_width=WIDTH, dropout=0.1)
    assert PatchedTransformer.from_config(layer.get_config()).get_config() == layer.get_config()


def test_impossible_patches_are_refused_in_words():
    with pytest.raises(SettingsError, match=r"unknown insertion 'sideways'[^$]*serial, parallel"):
        PatchedTransformer(**SHAPE, patch="sideways")
    with pytest.raises(SettingsError, match="width 0"):
        PatchedTransformer(**SHAPE, patch_width=0)
