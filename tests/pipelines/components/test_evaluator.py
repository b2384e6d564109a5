"""The Evaluator against ``idp_tf.evaluation`` and against NumPy, and what it writes."""

from __future__ import annotations

import hashlib
import json
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from judged_world import (
    NUM_ITEMS,
    execute,
    histories,
    item_ids,
    sasrec,
    write_examples,
    write_items,
    write_model,
)

from idp_tf.data.sequences import Sequences
from idp_tf.errors import DataError
from idp_tf.evaluation import evaluate, model_scorer, paired_test, sample_negatives
from idp_tf.metrics import per_user, summarize
from idp_tf.models import SASRec
from pipelines.artifacts import Artifact, digest_of
from pipelines.components.evaluator import Evaluator

OLD_ITEMS = 25
"""What the baseline knows: the first so many."""
NEGATIVES, SEED = 10, 3
USERS = histories()
NAMES = sorted(USERS)


class World(NamedTuple):
    """Artifacts and what they were made of."""

    inputs: dict[str, Artifact]
    models: dict[str, SASRec]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    place = tmp_path_factory.mktemp("judged")
    models = {
        "model": sasrec(seed=1),
        "control": sasrec(seed=2),
        "baseline": sasrec(OLD_ITEMS, seed=4),
    }
    inputs = {
        "examples": write_examples(place / "examples", USERS),
        "items": write_items(place / "items", item_ids()),
    }
    for name, model in models.items():
        inputs[name] = write_model(place / name, model, item_ids(model.num_items))
    inputs["baseline_model"] = inputs.pop("baseline")
    return World(inputs, models)


def run(world: World, folder: Path, *beam_args: str, **parameters: Any) -> Path:
    told = {"negatives": NEGATIVES, "seed": SEED, **parameters}
    execute(Evaluator(), world.inputs, folder, *beam_args, **told)
    return folder


@pytest.fixture(scope="module")
def evaluated(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(world, tmp_path_factory.mktemp("evaluated") / "e")


def metrics(folder: Path) -> Any:
    return json.loads((folder / "evaluation" / "metrics.json").read_text())


def sequences(num_items: int, users: list[str]) -> Sequences:
    """In the order of the users; ids above are left out, as a model leaves out what it lacks."""
    rows = [[n for item in USERS[u] if (n := int(item[-2:]) + 1) <= num_items] for u in users]
    values = np.array([item for row in rows for item in row], np.int32)
    return Sequences(values, np.cumsum([0, *map(len, rows)]))


def ranks_of(model: SASRec, users: list[str], candidates: int) -> dict[str, np.ndarray]:
    """By the library, the model's table cut to the candidates."""
    digests = [hashlib.sha256(user.encode()).digest()[:8] for user in users]
    keys = np.array([int.from_bytes(digest, "big") for digest in digests], np.uint64)
    known = sequences(candidates, users)
    negatives = sample_negatives(known, candidates, NEGATIVES, SEED, keys=keys)
    scorer = model_scorer(model, "m")
    cut = replace(scorer, item_vectors=scorer.item_vectors[: candidates + 1])
    # The model reads whole histories, even where it is ranked among fewer items than it knows.
    everyone = np.arange(len(users))
    history = sequences(model.num_items, users).left_padded(everyone, model.max_length, 1)
    protocols = ("full", f"sampled-{NEGATIVES}")
    each = [
        evaluate(
            replace(cut, encode_users=lambda _, row=row: scorer.encode_users(history[[row]])),
            known,
            split="test",
            num_items=candidates,
            users=[row],
            negatives=negatives[[row]],
            protocols=protocols,
        )
        for row in everyone
    ]
    return {name: np.concatenate([ranks[name] for ranks in each]) for name in protocols}


def by_hand(model: SASRec, user: str) -> int:
    """The rank in the whole catalogue, without what the user has seen, one item at a time."""
    items = [int(item[-2:]) + 1 for item in USERS[user]]
    window = ([0] * model.max_length + items[:-1])[-model.max_length :]
    user_vector = model.encode_users(np.array([window], np.int32)).numpy()[0]
    scores = model.item_vectors().numpy() @ user_vector
    target = items[-1]
    others = [i for i in range(1, NUM_ITEMS + 1) if i != target and i not in items[:-1]]
    return 1 + sum(float(scores[i]) >= float(scores[target]) for i in others)


@pytest.mark.parametrize("name", ["model", "control"])
def test_metrics_are_those_of_the_library(world: World, evaluated: Path, name: str) -> None:
    found = metrics(evaluated)[name]
    assert found["items"] == "all"
    for protocol, ranks in ranks_of(world.models[name], NAMES, NUM_ITEMS).items():
        row = found["overall"][protocol]
        assert row["users"] == len(NAMES)
        assert row["metrics"] == pytest.approx(summarize(ranks), abs=1e-14)


def test_full_ranks_are_those_of_counting_by_hand(world: World, evaluated: Path) -> None:
    model = world.models["model"]
    ranks = np.array([by_hand(model, user) for user in NAMES])
    found = metrics(evaluated)["model"]["overall"]["full"]
    assert found["metrics"] == pytest.approx(summarize(ranks), abs=1e-14)
    values = per_user(ranks, "NDCG@10")
    half = 1.976013 * values.std(ddof=1) / len(ranks) ** 0.5  # the t quantile of 149
    assert found["ci95"]["NDCG@10"] == pytest.approx(
        [values.mean() - half, values.mean() + half], abs=1e-7
    )


def test_the_baseline_is_compared_on_the_items_that_both_know(
    world: World, evaluated: Path
) -> None:
    known = [user for user in NAMES if int(USERS[user][-1][-2:]) < OLD_ITEMS]
    assert 0 < len(known) < len(NAMES)
    found = metrics(evaluated)
    assert found["baseline"]["items"] == "shared"
    ours = ranks_of(world.models["model"], known, OLD_ITEMS)
    theirs = ranks_of(world.models["baseline"], known, OLD_ITEMS)
    for protocol in ours:
        row = found["differences"]["baseline"]["overall"][protocol]
        assert row["users"] == len(known)
        for metric in ("NDCG@10", "MRR", "HR@1"):
            a, b = per_user(ours[protocol], metric), per_user(theirs[protocol], metric)
            p, mean, interval = paired_test(a, b)
            told = row["metrics"][metric]
            assert told["model"] == pytest.approx(a.mean(), abs=1e-14)
            assert told["baseline"] == pytest.approx(b.mean(), abs=1e-14)
            assert told["mean"] == pytest.approx(mean, abs=1e-14)
            assert told["p"] == pytest.approx(p, rel=1e-9)
            assert told["ci95"] == pytest.approx(interval, abs=1e-12)
    about = found["catalogue"]
    assert (about["items"], about["baseline_items"], about["shared_items"]) == (30, 25, 25)
    assert about["users_compared_with_baseline"] == len(known)


def test_slices_hold_the_users_that_they_name(world: World, evaluated: Path) -> None:
    ranks = ranks_of(world.models["model"], NAMES, NUM_ITEMS)["full"]
    lengths = np.array([len(USERS[user]) - 1 for user in NAMES])
    trained = [item for user in NAMES for item in USERS[user][:-2]]
    counts = np.array([trained.count(USERS[user][-1]) for user in NAMES])
    new = np.array([int(USERS[user][-1][-2:]) >= OLD_ITEMS for user in NAMES])
    members = {
        ("domain", "shop"): lengths > 0,
        ("history_length", "0-2"): lengths <= 2,
        ("history_length", "5-9"): (lengths >= 5) & (lengths <= 9),
        ("item_popularity", "0"): counts == 0,
        ("item_popularity", "5-19"): (counts >= 5) & (counts <= 19),
        ("item_training", "cold"): counts == 0,
        ("item_training", "warm"): counts > 0,
        ("item_novelty", "new"): new,
        ("item_novelty", "known"): ~new,
    }
    rows = metrics(evaluated)["model"]["slices"]
    found = {
        (row["dimension"], row["slice"]): row
        for row in rows
        if (row["items"], row["protocol"]) == ("all", "full")
    }
    for key, inside in members.items():
        assert inside.any()
        assert found[key]["users"] == inside.sum(), key
        assert found[key]["metrics"] == pytest.approx(summarize(ranks[inside]), abs=1e-14), key
    assert [name for dimension, name in found if dimension == "item_popularity"] == [
        "0", "1-4", "5-19", "20-99", "100+",
    ]  # fmt: skip


def test_the_table_says_what_the_json_says(evaluated: Path) -> None:
    table = pl.read_parquet(evaluated / "evaluation" / "slices.parquet")
    (row,) = table.filter(
        items="all", protocol="full", dimension="overall", system="model - control", metric="MRR"
    ).to_dicts()
    told = metrics(evaluated)["differences"]["control"]["overall"]["full"]["metrics"]["MRR"]
    assert row["value"] == told["mean"] and row["p"] == told["p"]
    assert [row["ci95_low"], row["ci95_high"]] == told["ci95"]


def test_the_picture_is_well_formed_and_names_its_slices(evaluated: Path) -> None:
    svg = ET.parse(evaluated / "evaluation" / "slices.svg")
    texts = {"".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {"cold (15 users)", "NDCG@10, whole catalogue", "baseline, last blessed"} <= texts


@pytest.mark.parametrize(
    "beam_args",
    [
        ("--direct_running_mode=multi_threading", "--direct_num_workers=3"),
        pytest.param(
            ("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_other_ways_to_run_give_the_same_bytes(
    world: World, evaluated: Path, tmp_path: Path, beam_args: tuple[str, ...]
) -> None:
    run(world, tmp_path / "e", *beam_args)
    for output in ("evaluation", "blessing"):
        assert digest_of(tmp_path / "e" / output) == digest_of(evaluated / output)


def test_a_small_block_ranks_the_same_and_a_first_run_says_that_it_is_one(
    world: World, evaluated: Path, tmp_path: Path
) -> None:
    alone = {key: found for key, found in world.inputs.items() if key != "baseline_model"}
    first = run(World(alone, world.models), tmp_path / "e", block=7)
    found = metrics(first)
    assert found["baseline"] is None and found["differences"]["baseline"] is None
    assert found["model"]["overall"] == metrics(evaluated)["model"]["overall"]
    reasons = json.loads((first / "blessing" / "reasons.json").read_text())
    assert any("first run" in note for note in reasons["notes"])
    (check,) = [c for c in reasons["checks"] if c["name"] == "full NDCG@10 against the baseline"]
    assert check["passed"] and check["value"] is None and "no blessed model yet" in check["words"]


def test_a_killed_execution_goes_on_from_its_sums(
    world: World, evaluated: Path, tmp_path: Path
) -> None:
    shutil.copytree(evaluated / "work", tmp_path / "e" / "work")
    unread = replace(world.inputs["examples"], uri=tmp_path / "gone")
    run(world._replace(inputs={**world.inputs, "examples": unread}), tmp_path / "e")
    assert digest_of(tmp_path / "e" / "evaluation") == digest_of(evaluated / "evaluation")


def test_examples_that_are_short_are_refused(world: World, tmp_path: Path) -> None:
    examples = world.inputs["examples"]
    told = replace(examples, properties={**examples.properties, "users": 151})
    with pytest.raises(DataError, match="150 users were read, the artifact says 151"):
        run(world._replace(inputs={**world.inputs, "examples": told}), tmp_path / "e")
    assert not list((tmp_path / "e" / "work").glob("sums*"))


def test_a_model_of_other_items_is_refused(world: World, tmp_path: Path) -> None:
    inputs = {**world.inputs, "model": world.inputs["baseline_model"]}
    with pytest.raises(DataError, match="does not know 5 of the 30 items"):
        run(world._replace(inputs=inputs), tmp_path / "e")


def test_examples_of_other_items_are_refused(world: World, tmp_path: Path) -> None:
    items = write_items(tmp_path / "items", item_ids(OLD_ITEMS))
    with pytest.raises(DataError, match="is not among the 25 items"):
        run(world._replace(inputs={**world.inputs, "items": items}), tmp_path / "e")
