"""Histories as sentences, hidden words and batches, against tokens written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_bert import VOCABULARY

from idp_tf.config import RecformerSettings
from idp_tf.data.sequences import Sequences
from idp_tf.errors import SettingsError
from idp_tf.text.recformer import build_recformer_encoder
from idp_tf.text.recformer.batches import PretrainingBatches, Rounds
from idp_tf.text.recformer.masking import WordMasker

SETTINGS = RecformerSettings(kept_layers=1, max_items=3, title_tokens=4, max_tokens=9, window=4)
TITLES = ["green teas", "Black violin bow of the night", "", "ink", "green teas"]
# The tiny vocabulary does not know the key, "title".
CLS, KEY, MASK = (VOCABULARY.index(word) for word in ("[CLS]", "[UNK]", "[MASK]"))


def ids(text):
    return [VOCABULARY.index(word) for word in text.split()]


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return build_recformer_encoder(SETTINGS, str(tiny_bert))


@pytest.fixture(scope="module")
def sentences(encoder):
    return encoder.tokenise(TITLES)


def test_a_sentence_is_the_latest_item_first_after_cls(sentences):
    packed = sentences.pack([[0, 0, 2, 1], [0, 0, 0, 4], [0, 0, 0, 0]])
    first = [CLS, KEY, *ids("green tea ##s"), KEY, *ids("black violin bow")]
    assert packed["token_ids"].tolist() == [
        first,
        [CLS, KEY, *ids("ink"), 0, 0, 0, 0, 0, 0],
        [CLS, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert packed["token_types"][0].tolist() == [0, 1, 2, 2, 2, 1, 2, 2, 2]
    assert packed["item_positions"][0].tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert packed["padding_mask"].sum(axis=1).tolist() == [9, 3, 1]
    assert packed["token_types"][1].tolist() == [0, 1, 2, 0, 0, 0, 0, 0, 0]
    assert packed["item_positions"][1].tolist() == [0, 1, 1, 0, 0, 0, 0, 0, 0]


def test_sentences_are_cut_at_the_caps(sentences):
    # An item without a title is its key; the third item back is cut, the fourth not read.
    packed = sentences.pack([[4, 1, 2, 3]])
    assert packed["token_ids"].tolist() == [
        [CLS, KEY, KEY, *ids("black violin bow"), KEY, *ids("green tea")]
    ]
    assert packed["item_positions"].tolist() == [[0, 1, 2, 2, 2, 2, 3, 3, 3]]
    assert sentences.lengths([[4, 1, 2, 3], [0, 0, 0, 3]]).tolist() == [9, 2]


def test_items_of_equal_pieces_are_known_as_such(sentences):
    one_each, group = sentences.alike
    assert len(one_each) == 4 and group[0] == group[4]
    np.testing.assert_array_equal(one_each[group], [1, 2, 3, 4, 1])


def test_caps_that_cannot_be_met_are_refused(tiny_bert):
    with pytest.raises(SettingsError, match="has 32 positions"):
        build_recformer_encoder(SETTINGS.model_copy(update={"max_tokens": 33}), str(tiny_bert))
    with pytest.raises(SettingsError, match=r"recformer\.kept_layers.*has 2 layers"):
        build_recformer_encoder(SETTINGS.model_copy(update={"kept_layers": 3}), str(tiny_bert))
    short = SETTINGS.model_copy(update={"title_tokens": 1})
    with pytest.raises(SettingsError, match="the key 'title' takes 1"):
        build_recformer_encoder(short, str(tiny_bert)).tokenise(TITLES)


def test_whole_words_are_hidden_and_told(encoder):
    masker = WordMasker.of(encoder.tokenizer)
    row = [CLS, *ids("green tea ##s pot ##s cup night day ink"), 0, 0]
    token_ids = np.array([row] * 400, np.int32)
    mask = (token_ids != 0).astype(np.int32)
    masked = masker.mask(token_ids, mask, np.random.default_rng(0))
    rows, places = np.divmod(masked["places"], len(row))
    # round(0.15 · 10) = 2 pieces of each sentence: two short words or one of two pieces.
    assert np.bincount(rows).tolist() == [2] * 400
    told = {tuple(places[rows == r]) for r in range(400)}
    assert (2, 3) in told and (4, 5) in told
    assert all((2 in pair) == (3 in pair) and (4 in pair) == (5 in pair) for pair in told)
    assert set(np.unique(places)) == {1, 2, 3, 4, 5, 6, 7, 8, 9}
    np.testing.assert_array_equal(masked["targets"], token_ids.ravel()[masked["places"]])
    changed = masked["token_ids"] != token_ids
    changed[rows, places] = False
    assert not changed.any()
    shown = masked["token_ids"][rows, places]
    assert np.mean(shown == MASK) == pytest.approx(0.8 + 0.1 / len(VOCABULARY), abs=0.03)
    kept = 0.1 + 0.1 / len(VOCABULARY)
    assert np.mean(shown == masked["targets"]) == pytest.approx(kept, abs=0.03)


def test_a_sentence_of_cls_alone_hides_nothing(encoder):
    masker = WordMasker.of(encoder.tokenizer)
    alone = np.array([[CLS]], np.int32)
    masked = masker.mask(alone, np.ones_like(alone), np.random.default_rng(0))
    assert masked["token_ids"].tolist() == [[CLS]] and not len(masked["places"])


WHOLES = [[1, 2, 3], [5], [2, 3, 4, 5, 1], [4, 3], [5, 4, 3, 2]]
HISTORIES = Sequences(np.concatenate(WHOLES).astype(np.int32), np.array([0, 3, 4, 9, 11, 15]))


@pytest.mark.parametrize("late_half", [True, False])
def test_a_round_asks_each_history_for_one_of_its_items(sentences, late_half):
    rounds = Rounds(sentences, HISTORIES, 2, 0, late_half=late_half)
    assert (rounds.num_histories, rounds.num_batches) == (4, 2)
    asked = {}
    for number in range(40):
        found = []
        for place in range(2):
            before, following = rounds.batch(number, place)
            for history, item in zip(before, following, strict=True):
                found.append([*history[history > 0].tolist(), int(item)])
        for whole in (whole for whole in WHOLES if len(whole) > 1):
            # An item, and the three at most that stood before it.
            parts = {end: whole[max(0, end - 3) : end + 1] for end in range(1, len(whole))}
            (end,) = [end for end, part in parts.items() if part in found]
            asked.setdefault(tuple(whole), set()).add(end)
    assert asked[(4, 3)] == {1}
    assert asked[(1, 2, 3)] == {1, 2}
    assert asked[(2, 3, 4, 5, 1)] == ({2, 3, 4} if late_half else {1, 2, 3, 4})


def test_batches_are_a_function_of_seed_and_step(encoder, sentences):
    masker = WordMasker.of(encoder.tokenizer)

    def batches(seed):
        rounds = Rounds(sentences, HISTORIES, 2, seed, late_half=True)
        return PretrainingBatches(rounds, sentences, masker, seed)

    one, again, other = batches(0), batches(0), batches(1)
    for step in (5, 2):
        for name, arrays in one.batch(step).items():
            for key, array in arrays.items():
                np.testing.assert_array_equal(array, again.batch(step)[name][key])
    different = [
        one.batch(step)["histories"]["token_ids"].tolist()
        != other.batch(step)["histories"]["token_ids"].tolist()
        for step in range(6)
    ]
    assert any(different)
    batch = one.batch(0)
    assert batch["items"]["item_positions"].max() == 1
    assert len(batch["items"]["token_ids"]) == len(batch["histories"]["token_ids"]) == 2


def test_a_sample_of_histories_is_learned_from(sentences):
    rounds = Rounds(sentences, HISTORIES, 2, 0, late_half=True, max_histories=3)
    assert (rounds.num_histories, rounds.num_batches) == (3, 2)
    with pytest.raises(SettingsError, match="no history has two items"):
        Rounds(sentences, Sequences(HISTORIES.values[3:4], np.array([0, 1])), 2, 0, late_half=True)
