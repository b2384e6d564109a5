"""Training batches: what they hold, and what they never hold."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp_tf.data.batches import TrainingBatches
from idp_tf.data.sequences import Sequences
from idp_tf.errors import DataError

NUM_ITEMS = 40


def make_sequences(histories):
    offsets = np.concatenate([[0], np.cumsum([len(h) for h in histories])]).astype(np.int64)
    return Sequences(np.array([i for h in histories for i in h], np.int32), offsets)


histories = st.lists(
    st.lists(st.integers(1, NUM_ITEMS), min_size=3, max_size=12), min_size=1, max_size=9
)


@given(histories, st.integers(1, 4), st.integers(1, 8), st.integers(0, 3))
def test_an_epoch_holds_each_training_target_once(users, batch_size, max_length, seed):
    if all(len(history) < 4 for history in users):
        return
    batches = TrainingBatches(
        make_sequences(users), NUM_ITEMS, batch_size=batch_size, max_length=max_length, seed=seed
    )
    found, steps = [], 0
    for batch in batches.epoch(0):
        steps += 1
        real = batch["positive_ids"] != 0
        np.testing.assert_array_equal(real, batch["item_ids"] != 0)
        np.testing.assert_array_equal(real, batch["negative_ids"] != 0)
        assert len(real) <= batch_size
        found += list(zip(batch["item_ids"][real], batch["positive_ids"][real], strict=True))
    wanted = []
    for history in users:
        pairs = list(pairwise(history[:-2]))
        wanted += pairs[-max_length:]
    assert sorted(map(tuple, np.array(found).tolist())) == sorted(wanted)
    assert steps == batches.steps_per_epoch
    assert len(found) == batches.num_targets


@given(st.lists(st.integers(4, 70), min_size=1, max_size=300), st.integers(1, 20))
def test_buckets_are_full_or_short_of_padding(lengths, batch_size):
    batches = TrainingBatches(
        make_sequences([[1 + i % NUM_ITEMS for i in range(n)] for n in lengths]),
        NUM_ITEMS + 1,
        batch_size=batch_size,
        max_length=50,
    )
    users = {}
    for batch in batches.epoch(0):
        users.setdefault(batch["item_ids"].shape[1], []).extend((batch["item_ids"] != 0).sum(1))
    for length, real in users.items():
        assert max(real) == length
        assert len(real) >= batch_size or length == max(users)
        near = [n for n in real if n * 8 <= min(real) * 9]
        assert len(near) == len(real) or len(near) < batch_size


@given(histories, st.integers(0, 5))
def test_negatives_are_never_training_items_and_lie_in_range(users, epoch):
    if all(len(history) < 4 for history in users):
        return
    # Each user's history is told by its first training item here.
    users = [[1 + u, *[min(i + 10, NUM_ITEMS) for i in h]] for u, h in enumerate(users)]
    sequences = make_sequences(users)
    ranges = np.tile([10, NUM_ITEMS], (len(users), 1))
    try:
        batches = TrainingBatches(sequences, NUM_ITEMS, batch_size=1, item_ranges=ranges)
    except DataError:
        return
    for batch in batches.epoch(epoch):
        owner = next(i for i in batch["item_ids"][0] if i) - 1
        negatives = batch["negative_ids"][batch["negative_ids"] != 0]
        assert not set(negatives.tolist()) & set(users[owner][:-2])
        assert negatives.min() >= 10
        assert negatives.max() <= NUM_ITEMS


def test_negatives_reach_every_untouched_item_evenly():
    sequences = make_sequences([[1, 2, 3, 4, 5, 6]])
    batches = TrainingBatches(sequences, 9, batch_size=1)
    drawn = np.concatenate(
        [b["negative_ids"][b["negative_ids"] != 0] for e in range(2_000) for b in batches.epoch(e)]
    )
    counts = np.bincount(drawn, minlength=10)
    assert counts[:5].sum() == 0
    # The held-out items 5 and 6 are negatives like any other: training must not know them.
    np.testing.assert_allclose(counts[5:] / len(drawn), 0.2, atol=0.02)


def draw(negatives, num_negatives=50):
    """Many epochs of two users of two domains: items 1 … 4 and 5 … 9."""
    sequences = make_sequences([[1, 1, 2, 1, 4, 3], [5, 6, 5, 7, 9, 9]])
    return TrainingBatches(
        sequences,
        9,
        item_ranges=[[1, 4], [5, 9]],
        negatives=negatives,
        num_negatives=num_negatives,
    )


def test_a_user_is_given_items_of_the_own_range_evenly():
    batches = draw("user")
    found = [batch for epoch in range(200) for batch in batches.epoch(epoch)]
    for batch in found:
        owner = np.where(batch["item_ids"][:, -1:] < 5, 0, 1)
        sampled = batch["sampled_ids"]
        assert ((sampled >= np.array([1, 5])[owner]) & (sampled <= np.array([4, 9])[owner])).all()
        np.testing.assert_array_equal(batch["num_candidates"], np.array([4, 5])[owner[:, 0]])
    every = np.concatenate([batch["sampled_ids"].ravel() for batch in found])
    shares = np.bincount(every, minlength=10)[1:] / (len(every) / 2)
    np.testing.assert_allclose(shares, [1 / 4] * 4 + [1 / 5] * 5, atol=0.02)


def test_popular_items_are_drawn_as_often_as_they_stand_in_training():
    # Training items, the last two of each left out: 1 1 2 1, and 5 6 5 7.
    share = {1: 3 / 4, 2: 1 / 4, 5: 1 / 2, 6: 1 / 4, 7: 1 / 4}
    batches = draw("popular")
    every = []
    for epoch in range(200):
        for batch in batches.epoch(epoch):
            for name in ("sampled", "positive"):
                wanted = np.vectorize(lambda item: np.log(share.get(item, 1)))(batch[f"{name}_ids"])
                np.testing.assert_allclose(batch[f"{name}_log_q"], wanted, rtol=1e-6)
            every.append(batch["sampled_ids"].ravel())
    every = np.concatenate(every)
    counts = np.bincount(every, minlength=10) / (len(every) / 2)
    wanted = [share.get(item, 0) for item in range(10)]
    np.testing.assert_allclose(counts, wanted, atol=0.02)


def test_without_negatives_there_are_none():
    batch = next(draw("none").epoch(0))
    assert set(batch) == {"item_ids", "positive_ids"} == set(draw("none").signature())


def test_epochs_differ_and_repeat():
    users = [np.random.default_rng(u).integers(1, NUM_ITEMS, 9).tolist() for u in range(20)]
    batches = TrainingBatches(make_sequences(users), NUM_ITEMS, batch_size=4, seed=7)
    again = TrainingBatches(make_sequences(users), NUM_ITEMS, batch_size=4, seed=7)

    def flat(source, epoch):
        return np.concatenate([b["negative_ids"].ravel() for b in source.epoch(epoch)])

    np.testing.assert_array_equal(flat(batches, 3), flat(again, 3))
    assert not np.array_equal(flat(batches, 3), flat(batches, 4))


def test_the_stream_begins_at_the_epoch_asked_for():
    users = [np.random.default_rng(u).integers(1, NUM_ITEMS, 9).tolist() for u in range(20)]
    batches = TrainingBatches(make_sequences(users), NUM_ITEMS, batch_size=8, seed=7)
    steps = batches.steps_per_epoch
    streamed = list(batches.dataset(first_epoch=2).take(2 * steps).as_numpy_iterator())
    direct = [*batches.epoch(2), *batches.epoch(3)]
    for found, wanted in zip(streamed, direct, strict=True):
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)


def test_dropping_the_stream_waits_for_no_tuning():
    """tf.data's tuning thread is only joined at the end of a sleep of up to a minute."""
    batches = TrainingBatches(make_sequences([[1, 2, 3, 4, 5]]), NUM_ITEMS)
    assert batches.dataset().options().autotune.enabled is False


def test_a_user_who_touched_everything_is_named():
    with pytest.raises(DataError, match="user 0 has touched all 3 items"):
        TrainingBatches(make_sequences([[1, 2, 3, 1, 2]]), 3)


def test_users_without_a_target_are_not_enough():
    with pytest.raises(DataError, match="two training items"):
        TrainingBatches(make_sequences([[1, 2, 3]]), NUM_ITEMS)
