"""Training: it learns, stops, resumes exactly, and minds damaged checkpoints."""

import json

import numpy as np
import pytest

from idp_tf.config import TrainSettings
from idp_tf.data.batches import TrainingBatches
from idp_tf.data.sequences import Sequences
from idp_tf.errors import WorkdirError
from idp_tf.models import SASRec
from idp_tf.models.training import train

NUM_ITEMS, USERS, LENGTH = 30, 60, 9


class Killed(Exception):
    """Stands for kill -9: raised where a checkpoint has just been written."""


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(0)
    # Each item is followed by the next one: something to learn.
    starts = rng.integers(0, NUM_ITEMS, USERS)
    values = 1 + (starts[:, None] + np.arange(LENGTH)) % NUM_ITEMS
    sequences = Sequences(values.ravel().astype(np.int32), np.arange(0, USERS * LENGTH + 1, LENGTH))
    return TrainingBatches(sequences, NUM_ITEMS, batch_size=16, max_length=8, seed=1)


def make_model():
    return SASRec(NUM_ITEMS, embedding_dim=8, num_layers=1, num_heads=2, max_length=8, seed=1)


def run(batches, folder, values, *, die_after=None, patience=3, epochs=6):
    """Trains with a validation that gives ``values`` in turn."""
    model = make_model()
    state_file = folder / "epochs.json"
    done = json.loads(state_file.read_text()) if state_file.exists() else 0

    def validate():
        nonlocal done
        if die_after is not None and done >= die_after:
            raise Killed
        done += 1
        folder.mkdir(exist_ok=True, parents=True)
        state_file.write_text(json.dumps(done))
        return values[done - 1]

    settings = TrainSettings(learning_rate=1e-2, epochs=epochs, patience=patience, batch_size=16)
    state = train(model, batches, settings, validate=validate, folder=folder, name="test")
    return model, state


def test_it_learns(batches, tmp_path):
    _, state = run(batches, tmp_path, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert state.history["loss"][-1] < 0.7 * state.history["loss"][0]
    assert state.epoch == 6


def test_it_stops_when_patience_runs_out_and_keeps_the_best(batches, tmp_path):
    values = [0.1, 0.5, 0.4, 0.3, 0.2, 0.1]
    model, state = run(batches, tmp_path, values)
    assert (state.epoch, state.best_epoch, state.best_value) == (5, 2, 0.5)
    best, _ = run(batches, tmp_path / "two", values, epochs=2)
    for ours, theirs in zip(model.get_weights(), best.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_killed_run_ends_as_an_undisturbed_one(batches, tmp_path):
    values = [0.1, 0.3, 0.2, 0.25, 0.4, 0.35]
    whole, whole_state = run(batches, tmp_path / "whole", values)
    for after in (1, 3, 4):
        with pytest.raises(Killed):
            run(batches, tmp_path / "killed", values, die_after=after)
    resumed, state = run(batches, tmp_path / "killed", values)
    assert state.history["loss"] == whole_state.history["loss"]
    assert (state.epoch, state.best_epoch) == (whole_state.epoch, whole_state.best_epoch)
    for ours, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_finished_training_is_not_repeated(batches, tmp_path):
    model, _ = run(batches, tmp_path, [0.1, 0.2], epochs=2)

    def never():
        raise AssertionError("validated again")

    again = make_model()
    settings = TrainSettings(learning_rate=1e-2, epochs=2, patience=3, batch_size=16)
    state = train(again, batches, settings, validate=never, folder=tmp_path, name="test")
    assert state.epoch == 2
    np.testing.assert_array_equal(again.item_vectors(), model.item_vectors())


def test_a_damaged_checkpoint_gives_way_to_the_one_before(batches, tmp_path, caplog):
    values = [0.1, 0.3, 0.2, 0.4]
    whole, _ = run(batches, tmp_path / "whole", values, epochs=4)
    with pytest.raises(Killed):
        run(batches, tmp_path / "hurt", values, die_after=3, epochs=4)
    newest = tmp_path / "hurt" / "ckpt-3.data-00000-of-00001"
    newest.write_bytes(newest.read_bytes()[:100])
    (tmp_path / "hurt" / "epochs.json").write_text("2")
    resumed, _ = run(batches, tmp_path / "hurt", values, epochs=4)
    assert "damaged" in caplog.text
    np.testing.assert_array_equal(resumed.item_vectors(), whole.item_vectors())


def test_no_whole_checkpoint_is_an_error_that_says_what_to_do(batches, tmp_path):
    with pytest.raises(Killed):
        run(batches, tmp_path, [0.1, 0.2, 0.3], die_after=2)
    for file in tmp_path.glob("ckpt-*.data*"):
        file.write_bytes(b"")
    with pytest.raises(WorkdirError, match="delete that folder"):
        run(batches, tmp_path, [0.1, 0.2, 0.3])
