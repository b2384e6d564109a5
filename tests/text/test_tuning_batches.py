"""What the matcher is tuned on."""

from __future__ import annotations

import numpy as np
import pytest

from idp_tf.errors import SettingsError
from idp_tf.text import build_text_encoder
from idp_tf.text.batches import TuningBatches, choose_items
from idp_tf.text.objectives import allowed_negatives

TITLES = [
    "green tea",
    "tea pot",
    "GREEN TEA ",
    "",
    "steel guitar string",
    "violin bow",
    "pen",
    "ink",
]
NEIGHBOURS = np.array([[1, 2], [0, 3], [0, 1], [0, 1], [5, 6], [4, 7], [7, 4], [3, -1]], np.int32)

UNTUNED = np.random.default_rng(0).normal(size=(len(TITLES), 5)).astype(np.float32)


def _batches(tiny_bert, batch_size=3, seed=0, held_out=(6,)):
    encoder = build_text_encoder(str(tiny_bert), title_length=12)
    items = choose_items(TITLES, NEIGHBOURS, np.array(held_out), None, seed)
    tokens = encoder.packer.tokenise(TITLES)
    return items, TuningBatches(items, tokens, UNTUNED, batch_size, seed)


def test_held_out_and_untitled_items_are_never_seen(tiny_bert):
    items, batches = _batches(tiny_bert)
    # 3 has no title, 6 is held out, 7's only neighbour has no title.
    assert items.anchors.tolist() == [0, 1, 2, 4, 5]
    assert items.neighbours[[1, 4]].tolist() == [[0, -1], [5, -1]]
    seen = {int(row) for step in range(40) for rows in batches.rows(step) for row in rows}
    assert seen == {0, 1, 2, 4, 5, 7}


def test_items_that_share_a_title_with_a_held_out_one_are_never_seen(tiny_bert):
    # 2 is "GREEN TEA ", as 0 is but for case and space.
    items, batches = _batches(tiny_bert, held_out=(0,))
    assert 2 not in items.anchors
    assert 2 not in items.neighbours
    seen = {int(row) for step in range(40) for rows in batches.rows(step) for row in rows}
    assert not seen & {0, 2, 3}


def test_every_anchor_comes_once_a_round_with_a_neighbour_of_its_own(tiny_bert):
    items, batches = _batches(tiny_bert, batch_size=5)
    drawn = {anchor: set() for anchor in items.anchors.tolist()}
    for step in range(40):
        anchors, neighbours = batches.rows(step)
        assert sorted(anchors.tolist()) == items.anchors.tolist()
        for anchor, neighbour in zip(anchors.tolist(), neighbours.tolist(), strict=True):
            drawn[anchor].add(neighbour)
    assert drawn == {0: {1, 2}, 1: {0}, 2: {0, 1}, 4: {5}, 5: {4, 7}}


def test_a_batch_is_a_function_of_seed_and_step(tiny_bert):
    _, one = _batches(tiny_bert)
    _, same = _batches(tiny_bert)
    _, other = _batches(tiny_bert, seed=1)
    same.rows(0)
    np.testing.assert_array_equal(one.rows(7), same.rows(7))
    assert any(not np.array_equal(one.rows(s), other.rows(s)) for s in range(5))


def test_groups_hold_all_titles_and_places_restore_their_order(tiny_bert):
    items, batches = _batches(tiny_bert)
    tokens = build_text_encoder(str(tiny_bert), title_length=12).packer.tokenise(TITLES)
    anchors, neighbours = batches.rows(2)
    batch = batches.batch(2)
    rows = [
        ids[mask == 1].tolist()
        for group, masks in zip(batch["token_ids"], batch["padding_mask"], strict=True)
        for ids, mask in zip(group, masks, strict=True)
    ]
    wanted = np.concatenate([anchors, anchors, neighbours])
    for place, title in zip(batch["places"], wanted, strict=True):
        own = tokens.values[tokens.offsets[title] : tokens.offsets[title + 1]]
        assert rows[place] == own.tolist()
    allowed = allowed_negatives(
        anchors, np.concatenate([anchors, neighbours]), items.neighbours, items.title_ids
    )
    np.testing.assert_array_equal(batch["allowed"], allowed)
    assert items.title_ids[0] == items.title_ids[2] != items.title_ids[1]


def test_nothing_to_tune_on_is_said():
    with pytest.raises(SettingsError, match="no item has both a title and a neighbour"):
        choose_items(["tea", ""], np.array([[1], [0]], np.int32), np.array([], int), None, 0)
    with pytest.raises(SettingsError, match="neighbours of 1 items for 2 titles"):
        choose_items(["tea", "pot"], np.array([[1]], np.int32), np.array([], int), None, 0)
    kept = choose_items(TITLES, NEIGHBOURS, np.array([], int), 3, 0)
    assert len(kept.anchors) == 3


def test_anchors_of_two_domains_meet_only_in_left_over_batches(tiny_bert):
    titles = [f"item {i}" for i in range(23)]
    offsets = np.array([0, 14, 23])
    neighbours = (np.arange(23)[:, None] + np.array([1, 2])) % 23
    encoder = build_text_encoder(str(tiny_bert), title_length=12)
    items = choose_items(
        titles, neighbours.astype(np.int32), np.array([], int), None, 0, item_offsets=offsets
    )
    tokens, vectors = encoder.packer.tokenise(titles), np.zeros((len(titles), 4), np.float32)
    batches = TuningBatches(items, tokens, vectors, 4, seed=1)
    first_round = [batches.rows(step)[0] for step in range(5)]
    # 14 and 9 anchors: three and two batches of one domain, and 2 + 1 are left over.
    assert [len({int(a >= 14) for a in anchors}) for anchors in first_round] == [1] * 5
    assert len(np.unique(np.concatenate(first_round))) == 20
    mixed = TuningBatches(items, tokens, vectors, 3, seed=1)
    # 4 and 3 batches, and 2 + 0 left over, which make none.
    assert len(np.unique(np.concatenate([mixed.rows(step)[0] for step in range(7)]))) == 21
    again = TuningBatches(items, tokens, vectors, 4, seed=1)
    np.testing.assert_array_equal(again.rows(3)[0], first_round[3])
