"""Tuning: what it learns, and that a killed run goes on as if nothing had happened."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from idp_tf.config import MatcherSettings
from idp_tf.errors import WorkdirError
from idp_tf.text import (
    build_text_encoder,
    hold_out,
    neighbour_recall,
    stepwise,
    tune_matcher,
    tuning,
)
from idp_tf.text.batches import TuningBatches, choose_items
from idp_tf.text.bert import encode_tokens
from idp_tf.text.matcher import MatcherModel
from idp_tf.text.stepwise import WarmUpThenLinear

GROUPS = [["green", "guitar", "night"], ["black", "violin", "star"], ["white", "desk", "robot"]]
TITLES = [
    f"{first} {second} {last}"
    for group in GROUPS
    for first, second in itertools.permutations(group, 2)
    for last in ("tea", "pot", "pen")
]
NEIGHBOURS = np.array(
    [
        [(item // 18) * 18 + (item % 18 + step) % 18 for step in (1, 5, 9)]
        for item in range(len(TITLES))
    ],
    np.int32,
)
SETTINGS = MatcherSettings(steps=8, batch_size=6, learning_rate=1e-3, title_length=12)


def _encoder(tiny_bert):
    return build_text_encoder(str(tiny_bert), "mean", 12, kept_layers=1)


def _tune(tiny_bert, folder, settings=SETTINGS, **more):
    encoder = _encoder(tiny_bert)
    result = tune_matcher(encoder, TITLES, NEIGHBOURS, settings, 0, folder, **more)
    return encoder, result


@pytest.fixture(scope="module")
def finished(tiny_bert, tmp_path_factory):
    """The folder, the vectors and the result of an undisturbed run."""
    folder = tmp_path_factory.mktemp("finished")
    encoder, result = _tune(tiny_bert, folder / "state", tensorboard_dir=folder / "logs")
    return folder, encoder.encode(TITLES), result


def test_the_loss_of_a_step_is_that_of_the_equations(tiny_bert):
    encoder = _encoder(tiny_bert)
    items = choose_items(TITLES, NEIGHBOURS, hold_out(len(TITLES), 0.1, 0), None, 0)
    vectors = encoder.encode(TITLES)
    untuned = np.roll(vectors, 1, axis=0)
    batches = TuningBatches(items, encoder.packer.tokenise(TITLES), untuned, 6, 0)
    model = MatcherModel(encoder, temperature=0.2, distillation=0.7)
    batch = batches.batch(0)
    anchors, neighbours = batches.rows(0)
    candidates = np.concatenate([vectors[anchors], vectors[neighbours]])
    expected = 0.0
    for i, anchor in enumerate(vectors[anchors]):
        negative = np.exp(candidates[batch["allowed"][i]] @ anchor / 0.2).sum()
        # Without dropout, the second view equals the first.
        for positive in (anchor, vectors[neighbours[i]]):
            share = np.exp(positive @ anchor / 0.2)
            expected -= np.log(share / (share + negative)) / len(anchors)
    rows = np.concatenate([anchors, neighbours])
    expected += 0.7 * np.mean([1 - vectors[row] @ vectors[row - 1] for row in rows])
    found = model.compute_loss(x=batch, y_pred=model(batch, training=False))
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_dropout_makes_two_views(tiny_bert):
    encoder = _encoder(tiny_bert)
    ids = np.array([[2, 5, 8, 3]], np.int32).repeat(2, axis=0)
    still = np.asarray(encode_tokens(encoder.backbone, ids, None, "mean"))
    first, second = np.asarray(encode_tokens(encoder.backbone, ids, None, "mean", training=True))
    np.testing.assert_allclose(still[0], still[1], atol=1e-6)
    assert abs(first - second).max() > 1e-3


def test_tuning_raises_held_out_recall(tiny_bert, tmp_path):
    settings = SETTINGS.model_copy(update={"steps": 60, "held_out": 0.2})
    before = _encoder(tiny_bert).encode(TITLES)
    encoder, result = _tune(tiny_bert, tmp_path, settings)
    offsets = [0, len(TITLES)]
    within = np.array([[g * 18 + i for i in range(18)] for g in range(3) for _ in range(18)])
    others = np.array([[j for j in row if j != i] for i, row in enumerate(within)], np.int32)
    recall = [
        neighbour_recall(vectors, others, result.held_out, offsets, 17)
        for vectors in (before, encoder.encode(TITLES))
    ]
    assert recall[1] > recall[0] + 0.05
    losses = [step["loss"] for step in result.history]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    for step in result.history:
        parts = step["text_loss"] + step["behaviour_loss"] + 10 * step["distillation_loss"]
        assert step["loss"] == pytest.approx(parts, rel=1e-4)


@pytest.mark.slow
def test_distillation_keeps_the_vectors_near_the_untuned_ones(tiny_bert, tmp_path):
    before = _encoder(tiny_bert).encode(TITLES)
    cosines = []
    for weight in (0.0, 1000.0):
        settings = SETTINGS.model_copy(update={"steps": 30, "distillation": weight})
        encoder, _ = _tune(tiny_bert, tmp_path / str(weight), settings)
        cosines.append(float(np.mean(np.sum(before * encoder.encode(TITLES), axis=1))))
    assert cosines[0] < 0.98 < cosines[1]


def test_untuned_vectors_may_be_at_hand(tiny_bert, finished, tmp_path):
    _, vectors, _ = finished
    given, _ = _tune(tiny_bert, tmp_path / "a", untuned=_encoder(tiny_bert).encode(TITLES))
    np.testing.assert_array_equal(given.encode(TITLES), vectors)
    other, _ = _tune(tiny_bert, tmp_path / "b", untuned=np.roll(vectors, 1, axis=0))
    assert abs(other.encode(TITLES) - vectors).max() > 1e-3


def test_a_resumed_run_equals_an_undisturbed_one(tiny_bert, finished, tmp_path, monkeypatch):
    _, vectors, undisturbed = finished
    monkeypatch.setattr(stepwise, "CHECKPOINT_STEPS", 2)
    original = stepwise.StepLog.on_train_batch_end

    def killed_in_the_sixth(self, batch, logs=None):
        if len(self.history) == 5:
            raise KeyboardInterrupt
        original(self, batch, logs)

    monkeypatch.setattr(stepwise.StepLog, "on_train_batch_end", killed_in_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        _tune(tiny_bert, tmp_path)
    monkeypatch.setattr(stepwise.StepLog, "on_train_batch_end", original)
    resumed, result = _tune(tiny_bert, tmp_path)
    assert (undisturbed.resumed_at, result.resumed_at) == (0, 4)
    assert result.history == undisturbed.history
    np.testing.assert_array_equal(resumed.encode(TITLES), vectors)


def test_a_finished_run_is_not_run_again(tiny_bert, finished, monkeypatch):
    folder, vectors, first = finished
    monkeypatch.setattr(MatcherModel, "fit", lambda *args, **kwargs: pytest.fail("ran again"))
    again, second = _tune(tiny_bert, folder / "state")
    assert second.resumed_at == SETTINGS.steps and second.history == first.history
    np.testing.assert_array_equal(again.encode(TITLES), vectors)


def test_no_steps_leave_the_encoder_untuned(tiny_bert, tmp_path):
    settings = SETTINGS.model_copy(update={"steps": 0})
    encoder, result = _tune(tiny_bert, tmp_path, settings)
    assert encoder.fingerprint() == _encoder(tiny_bert).fingerprint()
    assert result.history == () and len(result.held_out) == round(0.1 * len(TITLES))


def test_another_runs_state_and_a_damaged_one_are_refused(tiny_bert, finished, tmp_path):
    with pytest.raises(WorkdirError, match="other data or settings"):
        other = SETTINGS.model_copy(update={"temperature": 0.1})
        _tune(tiny_bert, finished[0] / "state", other)
    file = tmp_path / tuning.CHECKPOINT_FILE
    file.write_bytes((finished[0] / "state" / tuning.CHECKPOINT_FILE).read_bytes()[:1000])
    with pytest.raises(WorkdirError, match="cannot be read"):
        _tune(tiny_bert, tmp_path)


def test_tensorboard_holds_every_step(finished):
    folder, _, result = finished
    (file,) = (folder / "logs").iterdir()
    values = {}
    for event in tf.compat.v1.train.summary_iterator(str(file)):
        for value in event.summary.value:
            values.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    assert list(values["matcher/behaviour_loss"]) == list(range(1, 9))
    assert list(values["matcher/loss"].values()) == [step["loss"] for step in result.history]
    assert "matcher/learning_rate" in values


def test_the_rate_warms_up_and_falls_to_nothing():
    schedule = WarmUpThenLinear(1.0, 100)
    rates = [float(schedule(step)) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10, rtol=1e-5)
    np.testing.assert_allclose(rates[10:], np.arange(90, 0, -1) / 91, rtol=1e-5)
