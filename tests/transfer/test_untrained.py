"""Items that training never met get what their likes have learned, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from idp_tf.config import TransferSettings
from idp_tf.data.sequences import Sequences
from idp_tf.errors import SettingsError
from idp_tf.layers import IdItems, SummedItems, TitleItems
from idp_tf.models import SASRec
from idp_tf.transfer import regenerate_untrained

# Trained on are 1 to 4; 5 and 6 are somebody's held-out items, and nobody has met 7 and 8.
HISTORIES = [[1, 2, 3, 5, 6], [4, 1, 2, 6, 5]]
TITLES = np.array(
    [[1, 0], [0, 1], [0.6, 0.8], [0, 0], [0.8, 0.6], [0, 0], [0, 1], [-1, 0]], np.float32
)
"""Items 4 and 6 have none."""


def sequences(histories: list[list[int]] = HISTORIES) -> Sequences:
    ends = np.cumsum([0, *(len(history) for history in histories)])
    return Sequences(np.concatenate(histories).astype(np.int32), ends.astype(np.int64))


def make_model() -> SASRec:
    return SASRec(8, embedding_dim=4, num_layers=1, num_heads=1, max_length=3, seed=3)


def table_of(model: SASRec) -> np.ndarray:
    assert model.item_embedding is not None
    return model.item_embedding.embeddings.numpy()


def test_items_that_are_only_held_out_or_new_are_blended_of_trained_ones() -> None:
    model = make_model()
    before = table_of(model)
    settings = TransferSettings(top_m=2, zero_shot_norm="none")
    assert regenerate_untrained(model, sequences(), TITLES, settings) == 3
    after = table_of(model)
    # Untitled items keep theirs, and item 4 is nobody's match.
    kept = [0, 1, 2, 3, 4, 6]
    np.testing.assert_array_equal(after[kept], before[kept])
    # Cosines of 5 are 0.8, 0.6 and 0.96 to 1, 2 and 3; of 7 they are 0, 1 and 0.8.
    np.testing.assert_allclose(after[5], (0.8 * before[1] + 0.96 * before[3]) / 1.76, atol=1e-6)
    np.testing.assert_allclose(after[7], (before[2] + 0.8 * before[3]) / 1.8, atol=1e-6)
    # None is like 8: 2 has the cosine 0, 3 that of -0.6, and both weigh the same.
    np.testing.assert_allclose(after[8], (before[2] + before[3]) / 2, atol=1e-6)


def test_blends_are_as_long_as_what_they_are_made_of() -> None:
    model = make_model()
    before = table_of(model)
    regenerate_untrained(model, sequences(), TITLES, TransferSettings(top_m=2))
    lengths = np.linalg.norm(before, axis=1)
    wanted = (lengths[2] + 0.8 * lengths[3]) / 1.8
    assert np.linalg.norm(table_of(model)[7]) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("histories", "titles"),
    [
        pytest.param([[1, 2, 3, 4, 5, 6], [5, 6, 7, 8, 1, 2]], TITLES, id="all are trained on"),
        pytest.param(HISTORIES, np.zeros_like(TITLES), id="none has a title"),
    ],
)
def test_nothing_to_do(histories: list[list[int]], titles: np.ndarray) -> None:
    model = make_model()
    before = table_of(model)
    assert regenerate_untrained(model, sequences(histories), titles, TransferSettings()) == 0
    np.testing.assert_array_equal(table_of(model), before)


def test_items_that_no_batch_shows_are_blended_too() -> None:
    """One before the model's three positions and the next item; one of a user of one item."""
    model = make_model()
    before = table_of(model)
    histories = [[1, 2, 3, 5, 7, 6, 6], [8, 6, 6]]
    assert regenerate_untrained(model, sequences(histories), TITLES, TransferSettings()) == 2
    after = table_of(model)
    changed = [item for item in range(9) if (after[item] != before[item]).any()]
    assert changed == [1, 8]


def test_fewer_trained_items_than_matches_are_wanted() -> None:
    model = make_model()
    assert regenerate_untrained(model, sequences(), TITLES, TransferSettings(top_m=10)) == 3


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"\(7, 2\) for 8 items"):
        regenerate_untrained(make_model(), sequences(), TITLES[1:], TransferSettings())
    both = SummedItems(IdItems(8, 4), TitleItems(np.vstack([np.zeros((1, 2)), TITLES]), 4))
    model = SASRec(8, 4, num_layers=1, num_heads=1, max_length=3, items=both)
    with pytest.raises(SettingsError, match="reads more of an item"):
        regenerate_untrained(model, sequences(), TITLES, TransferSettings())
