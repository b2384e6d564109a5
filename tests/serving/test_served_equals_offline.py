"""What is served is what was evaluated: the top 10 of 1,000 users, and the rank of the test item.

Of the built-in catalogue; of office, too, where ``IDP_TF_DATA`` says where it is (slow).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from idp_tf.config import load_settings
from idp_tf.data.batches import TrainingBatches
from idp_tf.data.domain import Domain
from idp_tf.data.prepare import prepare_domain
from idp_tf.data.readers import read_domain
from idp_tf.data.sample import TARGET_NAME, write_sample_catalogue
from idp_tf.evaluation import evaluate, model_scorer
from idp_tf.models import SASRec
from idp_tf.models.training import compile_model
from serving.client import ServingClient
from serving.export import export_recommender, write_models_config
from serving.server import ModelServer

DATA = os.environ.get("IDP_TF_DATA", "")
USERS, K = 1_000, 10
EPOCHS, LEARNING_RATE = 8, 0.005
LEAST_RECALL = 0.9
TIE = 1e-5
"""Scores that differ by less are taken for equal: products of other shapes round otherwise."""


@dataclass(frozen=True)
class World:
    """A trained model, 1,000 users, what the server says of them, and NumPy's scores.

    Args:
        domain: Items and sequences.
        model: Trained on them, briefly.
        users: Rows of the sequences.
        seen: What each user has done but for the test item, internal ids, oldest first.
        targets: The test items.
        scores: (users, num_items + 1) float64; -inf for padding and what was seen.
        served: Form -> internal ids (users, K), as the server ranks them.
    """

    domain: Domain
    model: SASRec
    users: np.ndarray
    seen: list[list[int]]
    targets: np.ndarray
    scores: np.ndarray
    served: dict[str, np.ndarray]


def prepare(name: str, folder: Path) -> Domain:
    if name == "office":
        return prepare_domain(read_domain(Path(DATA), name), k_core=5)
    write_sample_catalogue(folder, seed=0)
    return prepare_domain(read_domain(folder, TARGET_NAME))


def train(domain: Domain) -> SASRec:
    """A few epochs: enough for scores that say something."""
    settings = load_settings("standard").pretrain.model_copy(
        update={"learning_rate": LEARNING_RATE}
    )
    model = SASRec(domain.num_items, loss=settings.loss, seed=0)
    batches = TrainingBatches(
        domain.sequences,
        domain.num_items,
        batch_size=64,
        seed=0,
        negatives=model.item_loss.negatives,
    )
    compile_model(model, settings)
    model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=EPOCHS, verbose=0)
    return model


def score_all(model: SASRec, seen: list[list[int]]) -> np.ndarray:
    """Every item for every user, from the encoder's vectors and the table by one product."""
    length = model.max_length
    windows = np.array([([0] * length + history)[-length:] for history in seen], np.int32)
    vectors = np.asarray(model.encode_users(windows), np.float64)
    scores = vectors @ np.asarray(model.item_vectors(), np.float64).T
    scores[:, 0] = -np.inf
    for row, history in enumerate(seen):
        scores[row, history] = -np.inf
    return scores


def ask(
    domain: Domain, model: SASRec, seen: list[list[int]], folder: Path
) -> dict[str, np.ndarray]:
    """Both forms over a real channel; the answers as internal ids."""
    for scann in (False, True):
        export_recommender(model, domain.item_ids, folder, scann=scann)
    histories = [domain.item_ids.to_external(history) for history in seen]
    config = write_models_config(folder)
    with (
        ModelServer(config, port=0, tensorflow_session_parallelism=1) as server,
        ServingClient(server.address, timeout=120) as client,
    ):
        answers = {
            form: client.recommend(histories, K, name)
            for form, name in (("exact", "recommender"), ("scann", "recommender_scann"))
        }
    return {
        form: np.array([domain.item_ids.to_internal([i for i, _ in row]) for row in rows])
        for form, rows in answers.items()
    }


@pytest.fixture(
    scope="module",
    params=[
        "built-in",
        pytest.param(
            "office",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(not DATA, reason="IDP_TF_DATA is not set"),
            ],
        ),
    ],
)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("offline")
    domain = prepare(request.param, folder / "data")
    model = train(domain)
    count = domain.sequences.num_users
    users = np.sort(np.random.default_rng(0).permutation(count)[:USERS])
    rows = [domain.sequences.values[slice(*domain.sequences.offsets[u : u + 2])] for u in users]
    seen = [row[:-1].tolist() for row in rows]
    targets = np.array([row[-1] for row in rows])
    served = ask(domain, model, seen, folder / "export")
    return World(domain, model, users, seen, targets, score_all(model, seen), served)


def test_the_exact_form_serves_the_evaluated_order(world: World) -> None:
    """Ids and order; only places whose scores no float32 product tells apart may be exchanged."""
    expected = np.argsort(-world.scores, axis=1, kind="stable")[:, :K]
    served = world.served["exact"]
    assert served.shape == (USERS, K)
    differ = served != expected
    gaps = np.abs(
        np.take_along_axis(world.scores, served, axis=1)
        - np.take_along_axis(world.scores, expected, axis=1)
    )
    assert (gaps[differ] < TIE).all()
    assert differ.any(axis=1).mean() <= 0.01


def test_the_test_item_stands_where_evaluation_ranks_it(world: World) -> None:
    ranks = evaluate(
        model_scorer(world.model, "sasrec"),
        world.domain.sequences,
        split="test",
        num_items=world.domain.num_items,
        protocols=["full"],
        users=world.users,
    )["full"]
    own = np.take_along_axis(world.scores, world.targets[:, None], axis=1)
    # Evaluation ranks an item that the user comes back to; a server leaves it out.
    new = np.isfinite(own[:, 0])
    # Ties count against the model there, and go by id here.
    alone = (np.abs(world.scores - np.where(new[:, None], own, 0)) < TIE).sum(axis=1) == 1
    judged = new & alone
    assert judged[new].mean() > 0.99
    found = world.served["exact"] == world.targets[:, None]
    position = np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)
    assert (position[judged] == np.where(ranks <= K, ranks, 0)[judged]).all()
    # Training has told something, or nearly nobody would be looked at.
    assert (position[judged] > 0).mean() > 2 * K / world.domain.num_items


def test_recall_of_the_scann_form(world: World) -> None:
    expected = np.argsort(-world.scores, axis=1, kind="stable")[:, :K]
    recall = np.mean(
        [
            len(set(a) & set(b)) / K
            for a, b in zip(world.served["scann"].tolist(), expected.tolist(), strict=True)
        ]
    )
    print(f"recall@10 of the scann form over {world.domain.num_items} items: {recall:.4f}")
    assert recall >= LEAST_RECALL
