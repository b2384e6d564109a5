"""Histories of titles alone, in both forms in a session, against the library step by step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from exported import Session

from idp_tf.data.schema import IdMap
from idp_tf.errors import ServingError, SettingsError
from idp_tf.layers import TitleItems
from idp_tf.models import SASRec
from idp_tf.retrieval import Index
from idp_tf.text import TextEncoder
from idp_tf.transfer.generate import generate_embeddings
from serving.export import TitleMatcher, export_cold_start
from serving.server.request_checks import RequestError

TOP_M = 4
NUM_ITEMS = 60
HISTORIES = [
    ["green tea", "", "Red guitar case", " "],
    ["", "unheard of", "", ""],
    ["black tea pot", "green cup", "Té «vert» 绿茶", "guitar strap"],
]


@pytest.fixture(scope="module", params=["matcher", "matcher_scann"])
def form(request: pytest.FixtureRequest) -> str:
    """The index that an export is made of."""
    return str(request.param)


@pytest.fixture(scope="module")
def served(form: str, exports: Path) -> Iterator[Session]:
    """The export of that form."""
    with Session(exports / form.replace("matcher", "cold_start") / "1") as session:
        yield session


def ask(served: Session, titles: object, k: object) -> dict[str, np.ndarray]:
    return served.ask(titles=titles, k=np.array(k, np.int32))


@pytest.fixture(scope="module")
def scores_of(
    form: str,
    encoder: TextEncoder,
    indexes: dict[str, Index],
    source_embeddings: np.ndarray,
    sequence_model: SASRec,
) -> dict[int, np.ndarray]:
    """By history, the scores of all items: each title's embedding, written into the table.

    The model reads them as ids that it has been trained with, by a table of the same rows.
    """
    found = {}
    for row, history in enumerate(HISTORIES):
        titles = [title for title in history if title.strip()]
        made = generate_embeddings(
            encoder.encode(titles),
            indexes[form],
            source_embeddings,
            top_m=TOP_M,
            norm="matches",
            untitled=np.zeros(len(titles), bool),
        ).embeddings
        other = SASRec(NUM_ITEMS, 8, num_layers=1, num_heads=2, max_length=5, seed=3)
        other.set_weights(sequence_model.get_weights())
        table = np.zeros((NUM_ITEMS + 1, 8), np.float32)
        table[1 : 1 + len(made)] = made
        other.item_embedding.set_weights([table])
        window = [0] * (5 - len(made)) + list(range(1, 1 + len(made)))
        user = other.encode_users(np.array([window], np.int32)).numpy()[0]
        found[row] = np.asarray(sequence_model.item_vectors())[1:] @ user
    return found


@pytest.mark.parametrize("k", [4, [4, 2, 3]])
def test_the_chain_is_the_librarys(
    served: Session, scores_of: dict[int, np.ndarray], item_ids: IdMap, k: int | list[int]
) -> None:
    answer = ask(served, HISTORIES, k)
    assert answer["num_titles"].tolist() == [2, 1, 4]
    for row, scores in scores_of.items():
        wanted = k if isinstance(k, int) else k[row]
        order = np.argsort(-np.round(scores, 5), kind="stable")[:wanted]
        found = [name.decode() for name in answer["item_ids"][row]]
        assert found == [item_ids.external_ids[i] for i in order] + [""] * (4 - wanted)
        np.testing.assert_allclose(answer["scores"][row, :wanted], scores[order], atol=1e-4)


def test_only_the_last_titles_are_read(served: Session) -> None:
    last = ["green tea", "red guitar", "black cup", "tea pot", "guitar case"]
    full = ask(served, [["guitar string", "tea stand", *last]], 5)
    assert full["num_titles"].tolist() == [7]
    np.testing.assert_array_equal(full["item_ids"], ask(served, [last], 5)["item_ids"])


def test_rows_without_titles(served: Session) -> None:
    rows = [["green tea"], [" "]]
    with pytest.raises(RequestError, match="row 1 of titles holds no title"):
        ask(served, rows, 3)
    answer = ask(served, rows, [3, 3])
    assert answer["item_ids"][1].tolist() == [b""] * 3
    assert np.isfinite(answer["scores"][0]).all()
    assert ask(served, [[""], [""]], [2, 2])["item_ids"].shape == (2, 2)
    assert ask(served, np.zeros((0, 2), object), 3)["item_ids"].shape == (0, 3)


def test_k_that_cannot_be_met(served: Session) -> None:
    with pytest.raises(RequestError, match="k must be between 1 and 60, got 61"):
        ask(served, HISTORIES, NUM_ITEMS + 1)


def test_models_that_cannot(
    encoder: TextEncoder,
    indexes: dict[str, Index],
    source_embeddings: np.ndarray,
    sequence_model: SASRec,
    item_ids: IdMap,
    tmp_path: Path,
) -> None:
    index = indexes["matcher"]
    narrow = TitleMatcher(encoder, index, source_embeddings[:, :6], TOP_M, "none")
    with pytest.raises(ServingError, match="6 wide and the model's 8"):
        export_cold_start(narrow, sequence_model, item_ids, tmp_path)
    titles = np.pad(np.eye(NUM_ITEMS, 3, dtype=np.float32), [(1, 0), (0, 0)])
    of_titles = SASRec(NUM_ITEMS, 8, num_layers=1, max_length=5, items=TitleItems(titles, 8))
    matcher = TitleMatcher(encoder, index, source_embeddings, TOP_M, "none")
    with pytest.raises(SettingsError, match="more of an item than the vector of its id"):
        export_cold_start(matcher, of_titles, item_ids, tmp_path)
    assert list(tmp_path.iterdir()) == []
