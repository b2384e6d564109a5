"""DACDR: two parts that are kept apart, and the adversary that hides domains from one of them."""

import numpy as np
import pytest
import tensorflow as tf

from idp_tf.config import ModelSettings
from idp_tf.errors import SettingsError
from idp_tf.layers import IdItems, JoinedItems, MoEAdaptor, TitleItems
from idp_tf.models import DACDR, DACDRPretraining, SASRec, build_model, load_model, save_model
from idp_tf.optimizers import LazyAdam

NUM_ITEMS, WIDTH, DIM, LENGTH = 10, 6, 4, 5
OFFSETS = (0, 4, NUM_ITEMS)
DOMAINS = np.array([-1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
"""Of each id, by hand; padding has none."""

BATCH = {
    "item_ids": np.array([[0, 0, 3, 1, 4], [5, 9, 7, 6, 5], [0, 0, 0, 10, 8]], np.int32),
    "positive_ids": np.array([[0, 0, 1, 4, 2], [9, 7, 6, 5, 8], [0, 0, 0, 8, 6]], np.int32),
    "negative_ids": np.array([[0, 0, 2, 2, 3], [8, 8, 8, 10, 7], [0, 0, 0, 5, 9]], np.int32),
}


def title_vectors(num_items=NUM_ITEMS, width=WIDTH, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(num_items + 1, width)).astype(np.float32)
    vectors[0] = 0
    return vectors


def joined(titles=None, dim=DIM, seed=0, adaptor=None):
    titles = title_vectors() if titles is None else titles
    ids = IdItems(len(titles) - 1, dim, seed=2 * seed)
    return JoinedItems(ids, TitleItems(titles, dim, adaptor, seed=seed))


def make_dacdr(titles=None, adaptor=None, **options):
    items = joined(titles, DIM, options.get("seed", 0), adaptor)
    shape = {"embedding_dim": DIM, "num_layers": 1, "max_length": LENGTH, "dropout": 0.0}
    return DACDR(items.num_items, items=items, **{**shape, **options})


def make_pretraining(adaptor=None, **options):
    """With a reversal at its full strength, tanh(5), and weights away from their start."""
    shape = {"embedding_dim": DIM, "num_layers": 1, "max_length": LENGTH, "dropout": 0.0}
    items = joined(adaptor=adaptor)
    model = DACDRPretraining(NUM_ITEMS, OFFSETS, items=items, **{**shape, **options})
    rng = np.random.default_rng(3)
    for weight in model.trainable_weights:
        weight.assign_add(rng.normal(0, 0.3, weight.shape))
    for classifier in (model.user_classifier, model.item_classifier):
        classifier.reversal.calls.assign(10**6)
    return model


def norm(values, layer):
    gamma, beta = (weight.numpy() for weight in layer.weights)
    centred = values - values.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-8) * gamma + beta


def dense(values, layer):
    kernel, bias = (weight.numpy() for weight in layer.weights)
    return values @ kernel + bias


def attended(values, layer, num_heads):
    heads = []
    for query, key, value in zip(
        *(np.split(part, num_heads, -1) for part in np.split(dense(values, layer.qkv), 3, -1)),
        strict=True,
    ):
        weights = np.tril(np.exp(query @ key.T / np.sqrt(query.shape[-1])))
        heads.append(weights / weights.sum(-1, keepdims=True) @ value)
    return dense(np.concatenate(heads, -1), layer.output_projection)


def sasrec_encoder(vectors, encoder):
    """Kang and McAuley's equations, for one sequence without padding."""
    hidden = vectors + encoder.positions.numpy()[: len(vectors)][::-1]
    for block in encoder.blocks:
        normal = norm(hidden, block.attention_norm)
        hidden = hidden + attended(normal, block.attention, encoder.num_heads)
        inner = np.maximum(dense(norm(hidden, block.network_norm), block.inner), 0)
        hidden = hidden + dense(inner, block.outer)
    return norm(hidden, encoder.output_norm)


def test_scores_are_those_of_ids_and_of_titles_added():
    model = make_dacdr(num_layers=2, num_heads=2)
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    ids = model.item_embedding.embeddings.numpy()
    titles = dense(title_vectors(), model.items.titles.adaptor)
    found = model.encode_users(BATCH["item_ids"]).numpy() @ model.item_vectors().numpy().T
    for row, history in enumerate(BATCH["item_ids"]):
        seen = history[history != 0]
        specific = sasrec_encoder(ids[seen], model.encoder.specific)[-1]
        shared = sasrec_encoder(titles[seen], model.encoder.shared)[-1]
        np.testing.assert_allclose(found[row], ids @ specific + titles @ shared, atol=1e-4)


def test_domains_are_read_from_the_ids():
    found = make_pretraining().domain_of(tf.range(1, NUM_ITEMS + 1))
    np.testing.assert_array_equal(found, DOMAINS[1:])


def cosines(vectors):
    specific, shared = np.split(vectors, 2, axis=-1)
    lengths = np.linalg.norm(specific, axis=-1) * np.linalg.norm(shared, axis=-1)
    return (specific * shared).sum(-1) / lengths


def cross_entropies(vectors, classifier, domains):
    inner = np.maximum(dense(vectors[:, DIM:], classifier.hidden), 0)
    logits = dense(inner, classifier.logits)
    chosen = np.take_along_axis(logits, domains[:, None], axis=1)[:, 0]
    return np.log(np.exp(logits).sum(axis=1)) - chosen


def wanted_losses(model):
    """Item loss, orthogonality and cross-entropy of a batch, each by NumPy."""
    real = BATCH["positive_ids"] != 0
    positive_ids = BATCH["positive_ids"][real]
    users, table = model(BATCH["item_ids"]).numpy()[real], model.item_vectors().numpy()
    items = table[positive_ids]
    margins = (users * (items - table[BATCH["negative_ids"][real]])).sum(-1)
    apart = (cosines(users) ** 2).mean() + (cosines(items) ** 2).mean()
    told = 0.0
    if isinstance(model, DACDRPretraining):
        domains = DOMAINS[positive_ids]
        told = cross_entropies(users, model.user_classifier, domains).mean()
        told += cross_entropies(items, model.item_classifier, domains).mean()
    return np.log1p(np.exp(-margins)).mean(), apart, told


@pytest.mark.parametrize("maker", [make_dacdr, make_pretraining])
def test_the_loss_is_the_sum_of_its_parts(maker):
    model = maker(orthogonality_weight=0.7)
    weight = model.adversarial_weight = 0.4
    item_loss, apart, told = wanted_losses(model)
    wanted = item_loss + 0.7 * apart + weight * told
    np.testing.assert_allclose(model.compute_loss(BATCH, training=True), wanted, rtol=1e-5)
    # Its name is that of the item loss, which is all that there is outside of training.
    np.testing.assert_allclose(model.loss_tracker.result(), item_loss, rtol=1e-5)
    np.testing.assert_allclose(model.compute_loss(BATCH), item_loss, rtol=1e-5)


def test_a_batch_without_a_next_item_has_no_loss():
    nothing = {name: np.zeros_like(ids) for name, ids in BATCH.items()}
    assert float(make_pretraining().compute_loss(nothing, training=True)) == 0


def gradients(model, loss):
    with tf.GradientTape() as tape:
        value = loss()
    zeros = tf.UnconnectedGradients.ZERO
    found = tape.gradient(value, model.trainable_weights, unconnected_gradients=zeros)
    return [tf.convert_to_tensor(gradient).numpy() for gradient in found]


def of_the_adversary(model):
    """What the classifiers add to the gradient of each weight."""
    found = []
    for weight in (2.0, 0.0):
        model.adversarial_weight = weight
        found.append(gradients(model, lambda: model.compute_loss(BATCH, training=True)))
    return [full - without for full, without in zip(*found, strict=True)]


def without_reversal(model):
    """The gradients of what the classifiers say, with nothing between them and the vectors."""
    real = BATCH["positive_ids"] != 0

    def loss():
        domains, losses = DOMAINS[BATCH["positive_ids"][real]], []
        for classifier, vectors in (
            (model.user_classifier, model(BATCH["item_ids"])[real]),
            (model.item_classifier, model.vectors_of(BATCH["positive_ids"][real])),
        ):
            logits = classifier.logits(classifier.hidden(vectors[:, DIM:]))
            losses.append(tf.nn.sparse_softmax_cross_entropy_with_logits(domains, logits))
        return 2.0 * tf.reduce_mean(tf.add_n(losses))

    return gradients(model, loss)


def test_the_adversary_is_reversed_in_what_is_shared_and_not_felt_in_what_is_not():
    model = make_pretraining()
    shared = {id(w) for w in model.encoder.shared.weights + model.items.titles.weights}
    specific = {id(w) for w in model.encoder.specific.weights + model.items.ids.weights}
    seen = set()
    for weight, found, plain in zip(
        model.trainable_weights, of_the_adversary(model), without_reversal(model), strict=True
    ):
        if id(weight) in specific:
            part, wanted = "specific", np.zeros_like(found)
        elif id(weight) in shared:
            part, wanted = "shared", -np.tanh(5) * plain
        else:
            part, wanted = "classifier", plain
        np.testing.assert_allclose(found, wanted, atol=2e-5, err_msg=weight.name)
        assert bool(np.abs(plain).max() > 1e-3) is (part != "specific"), weight.name
        seen.add(part)
    assert seen == {"specific", "shared", "classifier"}


def test_at_the_first_step_the_adversary_only_learns():
    model = make_pretraining()
    for classifier in (model.user_classifier, model.item_classifier):
        classifier.reversal.calls.assign(0)
    model.adversarial_weight, model.orthogonality_weight = 5.0, 0.0
    with tf.GradientTape(persistent=True) as tape:
        losses = [model.compute_loss(BATCH, training) for training in (False, True)]
    kernel = model.items.titles.adaptor.kernel
    calm, moved = (tape.gradient(loss, kernel) for loss in losses)
    np.testing.assert_allclose(moved, calm, atol=1e-6)
    assert np.abs(tape.gradient(losses[1], model.item_classifier.hidden.kernel)).max() > 0


TOY_ITEMS, TOY_WIDTH, TOY_DIM = 100, 12, 8


def toy_pretraining(adversarial_weight):
    """Two domains of rings, next to each item the one after it; titles differ by a shift."""
    titles = title_vectors(2 * TOY_ITEMS, TOY_WIDTH)
    titles[1 : TOY_ITEMS + 1, 0] += 2
    titles[TOY_ITEMS + 1 :, 0] -= 2
    model = DACDRPretraining(
        2 * TOY_ITEMS,
        item_offsets=(0, TOY_ITEMS, 2 * TOY_ITEMS),
        embedding_dim=TOY_DIM,
        num_layers=1,
        dropout=0.0,
        max_length=LENGTH,
        adversarial_weight=adversarial_weight,
        warmup_steps=100,
        items=joined(titles, TOY_DIM),
    )
    rng = np.random.default_rng(1)
    domains = np.arange(64)[:, None] % 2
    rings = (rng.integers(0, TOY_ITEMS, (64, 1)) + np.arange(LENGTH + 1)) % TOY_ITEMS
    negatives = rng.integers(0, TOY_ITEMS, (64, LENGTH))
    ids = [1 + domains * TOY_ITEMS + x for x in (rings[:, :-1], rings[:, 1:], negatives)]
    batch = dict(zip(BATCH, (x.astype(np.int32) for x in ids), strict=True))
    model.compile(optimizer=LazyAdam(1e-2), steps_per_execution=20)
    # Variables that appear in the first step would have it traced twice.
    model.optimizer.build(model.trainable_variables)
    stream = tf.data.Dataset.from_tensors(batch).repeat()
    history = model.fit(stream, steps_per_epoch=100, epochs=3, verbose=0).history
    assert history["bpr"][-1] < 0.1
    users = model(batch["item_ids"]).numpy().reshape(-1, 2 * TOY_DIM)
    return {
        "items": (model.item_vectors().numpy()[1:], np.repeat([0, 1], TOY_ITEMS)),
        "users": (users, np.repeat(domains.ravel(), LENGTH)),
    }


def told_by_a_probe(vectors, domains):
    """How often ridge regression on half of the shared parts is right about the other half."""
    order = np.random.default_rng(0).permutation(len(vectors))
    shared = (vectors - vectors.mean(axis=0))[order, TOY_DIM:]
    (known, rest), (labels, wanted) = ([x[::2], x[1::2]] for x in (shared, domains[order]))
    covariance = known.T @ known
    # A difference that is small beside the others is none.
    covariance += 0.1 * np.trace(covariance) / TOY_DIM * np.eye(TOY_DIM)
    weights = np.linalg.solve(covariance, known.T @ (2.0 * labels - 1))
    return ((rest @ weights > 0) == wanted).mean()


def test_shared_parts_tell_domains_apart_worse_for_the_adversary():
    with_it, without = toy_pretraining(1.0), toy_pretraining(0.0)
    for kind in ("items", "users"):
        told, told_without = told_by_a_probe(*with_it[kind]), told_by_a_probe(*without[kind])
        assert told_without > 0.75, kind
        assert told < told_without - 0.1, kind


def floats(layer):
    return [weight for weight in layer.weights if weight.dtype == tf.float32]


@pytest.mark.parametrize("make_adaptor", [lambda: None, lambda: MoEAdaptor(DIM, num_experts=2)])
def test_a_target_takes_over_what_is_shared_and_nothing_else(make_adaptor):
    source = make_pretraining(make_adaptor(), dropout=0.1)
    source.compute_loss(BATCH, training=True)
    target = make_dacdr(title_vectors(7, seed=5), make_adaptor(), seed=1)
    before = {id(weight): weight.numpy() for weight in target.weights}
    target.take_over(source)
    copied = []
    for model in (target, source):
        copied.append(floats(model.items.titles.adaptor) + floats(model.encoder.shared))
    for ours, theirs in zip(*copied, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert not np.array_equal(ours, before.pop(id(ours)))
    kept = [weight for weight in target.weights if id(weight) in before]
    for weight in kept:
        np.testing.assert_array_equal(weight, before[id(weight)])
    specific = floats(target.encoder.specific) + target.items.ids.weights
    assert {id(weight) for weight in specific} <= set(before)
    # Among them what has been counted.
    assert any(weight.dtype == tf.int64 for weight in kept)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (lambda: SASRec(NUM_ITEMS, 2 * DIM, num_layers=1), "DACDR cannot start from a SASRec"),
        (lambda: make_dacdr(num_layers=2), "do not fit"),
        (lambda: make_dacdr(title_vectors(width=9)), "do not fit"),
    ],
)
def test_what_does_not_fit_is_not_taken_over(source, problem):
    with pytest.raises(SettingsError, match=problem):
        make_dacdr().take_over(source())


@pytest.mark.parametrize("items", [lambda: None, lambda: IdItems(NUM_ITEMS, DIM)])
def test_data_without_titles_is_refused(items):
    with pytest.raises(SettingsError, match="(?s)none are given.*title_vectors.*SASRec"):
        DACDR(NUM_ITEMS, DIM, items=items())


def test_items_of_another_width_are_refused():
    with pytest.raises(SettingsError, match="ids are 4 wide and titles 4, not embedding_dim=8"):
        DACDR(NUM_ITEMS, 8, items=joined())


@pytest.mark.parametrize("offsets", [(0, 10), (0, 4, 9), (1, 4, 10), (0, 4, 4, 10), (0, 6, 4, 10)])
def test_offsets_that_are_not_those_of_several_domains_are_refused(offsets):
    with pytest.raises(SettingsError, match="bounds of two or more domains of 10 items"):
        DACDRPretraining(NUM_ITEMS, offsets, items=joined())


def test_it_is_built_by_name_from_the_settings_shape_and_saved_with_its_offsets(tmp_path):
    settings = ModelSettings(embedding_dim=DIM, num_layers=1, max_length=LENGTH)
    titles = {"items": "joined", "title_vectors": title_vectors()[1:]}
    model = build_model("dacdr-pretraining", settings, NUM_ITEMS, item_offsets=OFFSETS, **titles)
    assert isinstance(model, DACDRPretraining)
    assert (model.num_layers, model.max_length, model.embedding_dim) == (1, LENGTH, DIM)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.get_config() == model.get_config()
    assert loaded.item_offsets == OFFSETS
    target = build_model("dacdr", settings, NUM_ITEMS, seed=2, **titles)
    target.take_over(loaded)
    np.testing.assert_array_equal(target.item_vectors()[:, DIM:], model.item_vectors()[:, DIM:])


def test_without_titles_it_is_refused_by_name_too():
    with pytest.raises(SettingsError, match="none are given"):
        build_model("dacdr", ModelSettings(embedding_dim=DIM), NUM_ITEMS)
