"""Every system goes through a whole run: trained, evaluated, reported, and reused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import in_process, served
from tiny_world import NUM_ITEMS, SOURCES, TARGET, TOP_M, command, invoke

from idp_tf.data.store import load_domain
from idp_tf.models import load_model
from idp_tf.systems import IDP_INNER, SYSTEMS
from idp_tf.text import TextEncoder
from idp_tf.text.recformer import Recformer
from idp_tf.workflow.artifacts import DONE_FILE

ALL = f"systems=[{', '.join(SYSTEMS)}]"


@pytest.fixture(scope="module")
def workdir(
    world: Path, tiny_bert: Path, finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run of some systems, and then of all: those that it has are not made again."""
    workdir = shutil.copytree(finished, tmp_path_factory.mktemp("all") / "w")
    done = invoke(*command(world, workdir, tiny_bert, ALL))
    assert done.code == 0, done.err
    return workdir


@pytest.fixture(scope="module")
def report(workdir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workdir / "report.json").read_text(encoding="utf-8"))
    return found


def embeddings(workdir: Path, slug: str) -> Any:
    model = load_model(workdir / "target" / TARGET / "systems" / slug / "seed-0" / "model")
    assert model.item_embedding is not None
    return model, model.item_embedding.embeddings.numpy()


def encoder(model: Any) -> list[Any]:
    return [weight.numpy() for weight in model.encoder.weights if weight.dtype.is_floating]


def test_each_has_its_results(report: dict[str, Any]) -> None:
    found = {(row["system"], row["protocol"]) for row in report["results"]}
    cold = {(slug, f"{name}-cold") for slug in SYSTEMS for name in ("sampled-10", "full")}
    whole = {(slug, name) for slug in SYSTEMS for name in ("sampled-10", "full")}
    assert found == cold | {(slug, name) for slug, name in whole if slug != IDP_INNER}


def test_what_is_capped_is_told(report: dict[str, Any]) -> None:
    told = "\n".join(report["notes"])
    assert "word pieces of each" in told
    assert "UniSRec's pre-training draws at most 2,048 positions" in told


def test_each_that_is_trained_has_its_curve(workdir: Path, report: dict[str, Any]) -> None:
    trained = {slug for slug, system in SYSTEMS.items() if system.trained}
    assert {"sasrec", "recformer", IDP_INNER} <= trained
    found = {name for name in report["curves"] if name.startswith(f"{TARGET}: ")}
    assert found == {f"{TARGET}: {slug}, seed 0" for slug in trained}
    # What is trained of it are the items that stay.
    done = workdir / "target" / TARGET / "inner" / "pretrain" / DONE_FILE
    history = json.loads(done.read_text(encoding="utf-8"))["history"]
    assert report["curves"][f"{TARGET}: {IDP_INNER}, seed 0"]["loss"] == history["loss"]


def test_each_that_transfers_stands_beside_its_twin(report: dict[str, Any]) -> None:
    twins = {(entry["system"], entry["twin"]) for entry in report["twins"]}
    assert twins == {(s.slug, s.twin) for s in SYSTEMS.values() if s.twin is not None}
    for entry in report["twins"]:
        found = {(c["protocol"], c["metric"]) for c in entry["comparisons"]}
        assert found == {(p, f"NDCG@{k}") for p in ("sampled-10", "full") for k in (5, 10)}


def test_zero_shot_is_held_against_titles(report: dict[str, Any]) -> None:
    untrained = [s.slug for s in SYSTEMS.values() if s.kind == "sequence" and not s.trained]
    compared = {frozenset((row["better"], row["than"])) for row in report["significance"]}
    assert "idp-id-t-zero-shot" in untrained
    assert all(frozenset((slug, "nearest-title")) in compared for slug in untrained)


def test_each_is_reused(world: Path, workdir: Path, tiny_bert: Path) -> None:
    done = invoke(*command(world, workdir, tiny_bert, ALL))
    assert done.code == 0, done.err
    stages = json.loads((workdir / "report.json").read_text())["stages"]
    assert stages and all(stage["reused"] for stage in stages)


# The contract exports each kind of model; here are those that lie elsewhere or read more.
EXPORTED = ["bert4rec", "unisrec-id-t", "recformer", IDP_INNER]
EXPORTED_TOO = ["gru4rec", "fdsa", "dacdr", "peterrec", "sasrec-ex"]


def made(workdir: Path, slug: str) -> Any:
    system = workdir / "target" / TARGET / "systems" / slug
    folder = system / "model" if slug == IDP_INNER else system / "seed-0" / "model"
    return Recformer.load(folder) if slug == "recformer" else load_model(folder)


@pytest.mark.parametrize(
    "slug",
    [*EXPORTED, *(pytest.param(slug, marks=[pytest.mark.slow]) for slug in EXPORTED_TOO)],
)
def test_each_model_can_be_exported(
    workdir: Path, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The forms with ScaNN know nothing of the system, and would double the time.
    monkeypatch.setattr("idp_tf.workflow.export_versions.MIN_VECTORS", 1 + 2 * NUM_ITEMS)
    done = invoke("export", "--workdir", workdir, "--system", slug)
    assert done.code == 0, done.err
    versions = workdir / "export" / "recommender"
    latest = max(versions.iterdir(), key=lambda version: int(version.name))
    told = json.loads((latest / "assets.extra/signature.json").read_text(encoding="utf-8"))
    assert (told["system"], told["num_items"]) == (slug, NUM_ITEMS)
    names = load_domain(workdir / "data" / TARGET).item_ids.external_ids
    histories = [names[:1], names[4:10]]
    ids, scores = served(latest, histories, k=10)
    wanted_ids, wanted_scores = in_process(made(workdir, slug), names, histories, k=10)
    np.testing.assert_allclose(scores, wanted_scores, rtol=0, atol=1e-5)
    assert ids == wanted_ids


def test_exchanged_encoders(workdir: Path) -> None:
    """The target's own table, beside the encoder of the first source's model."""
    swapped, table = embeddings(workdir, "sasrec-ex")
    _, own = embeddings(workdir, "sasrec")
    np.testing.assert_array_equal(table[1:], own[1:])
    other = load_model(workdir / "bases" / "sasrec-first-source" / "model")
    assert other.num_items == NUM_ITEMS == load_domain(workdir / "data" / SOURCES[0]).num_items
    for mine, theirs in zip(encoder(swapped), encoder(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_zero_shot_with_titles_is_zero_shot_beside_a_profile(workdir: Path) -> None:
    """Nothing of either part has been trained on the target."""
    model, table = embeddings(workdir, "idp-id-t-zero-shot")
    plain, own = embeddings(workdir, "idp-zero-shot")
    np.testing.assert_array_equal(table[1:], own[1:])
    weights = [weight.numpy() for weight in model.encoder.transformer.weights]
    for mine, theirs in zip(weights, plain.encoder.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_an_exchange_without_the_other_is_refused(
    world: Path, tmp_path: Path, tiny_bert: Path
) -> None:
    done = invoke(*command(world, tmp_path / "w", tiny_bert, "systems=[idp, sasrec-ex]"))
    assert done.code == 2
    assert "'sasrec-ex' takes what 'sasrec' has learned" in done.err


class TestInnerDomain:
    """Section 3.8: 10 % of the target's items are made cold."""

    @pytest.fixture(scope="class")
    def cold(self, workdir: Path) -> set[str]:
        inner = workdir / "target" / TARGET / "inner"
        every = set(load_domain(workdir / "data" / TARGET).item_ids.external_ids)
        return every - set(load_domain(inner / "data" / "warm").item_ids.external_ids)

    def test_a_tenth_is_cold(self, cold: set[str]) -> None:
        assert len(cold) == NUM_ITEMS // 10

    def test_only_users_with_a_cold_test_item_take_part(
        self, workdir: Path, report: dict[str, Any], cold: set[str]
    ) -> None:
        target = load_domain(workdir / "data" / TARGET)
        last = target.sequences.values[target.sequences.offsets[1:] - 1]
        users = sum(target.item_ids.external_ids[item - 1] in cold for item in last)
        rows = [row for row in report["results"] if row["protocol"].endswith("-cold")]
        assert {row["users"] for row in rows} == {users} and users > 0

    def test_what_is_warm_was_learned_and_what_is_cold_was_blended(
        self, workdir: Path, cold: set[str], report: dict[str, Any]
    ) -> None:
        """Eq. 8 and 9 once more, from what the inner run has stored."""
        target = load_domain(workdir / "data" / TARGET)
        folder = workdir / "target" / TARGET
        model = load_model(folder / "systems" / IDP_INNER / "model")
        base = load_model(folder / "inner" / "pretrain" / "model")
        for mine, theirs in zip(encoder(model), encoder(base), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        ours, learned = model.item_vectors().numpy()[1:], base.item_vectors().numpy()[1:]
        is_cold = np.array([item in cold for item in target.item_ids.external_ids])
        np.testing.assert_array_equal(ours[~is_cold], learned)
        # So blends are stretched to the mean length of what they are blended of.
        assert report["config"]["settings"]["transfer"]["zero_shot_norm"] == "matches"
        tuned = folder / "inner" / "matcher" / "tuned"
        keys = np.load(tuned / "vectors.npy").astype(np.float64)
        titles = [target.titles[row] for row in np.flatnonzero(is_cold)]
        queries = TextEncoder.load(tuned / "encoder").encode(titles).astype(np.float64)
        for query, embedding in zip(queries, ours[is_cold], strict=True):
            cosines = keys @ query / np.linalg.norm(keys, axis=1) / np.linalg.norm(query)
            # Items of one title tie; the first of them comes first.
            best = sorted(range(len(keys)), key=lambda row: (-round(cosines[row], 6), row))[:TOP_M]
            weights = np.maximum(cosines[best], 0)
            weights /= weights.sum()
            blend = weights @ learned[best]
            blend *= weights @ np.linalg.norm(learned[best], axis=1) / np.linalg.norm(blend)
            np.testing.assert_allclose(embedding, blend, atol=1e-5)

    def test_a_run_may_have_nothing_else(
        self, world: Path, workdir: Path, tmp_path: Path, tiny_bert: Path
    ) -> None:
        """It needs no other, is reported by the cold protocols alone, and is what is exported."""
        for made in ("data", f"target/{TARGET}/inner"):
            shutil.copytree(workdir / made, tmp_path / "w" / made)
        done = invoke(*command(world, tmp_path / "w", tiny_bert, f"systems=[{IDP_INNER}]"))
        assert done.code == 0, done.err
        report = json.loads((tmp_path / "w" / "report.json").read_text(encoding="utf-8"))
        assert not {"pretrain", "matcher", "bases"} & {p.name for p in (tmp_path / "w").iterdir()}
        assert {row["protocol"] for row in report["results"]} == {"sampled-10-cold", "full-cold"}
        assert list(report["curves"]) == [f"{TARGET}: {IDP_INNER}, seed 0"]
        versions = tmp_path / "w" / "export" / "recommender"
        signature = versions / "1" / "assets.extra" / "signature.json"
        assert json.loads(signature.read_text(encoding="utf-8"))["system"] == IDP_INNER
