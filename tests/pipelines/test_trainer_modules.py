"""Trainer modules under TFX's FnArgs make what ``idp-tf run`` makes of the same data."""

from __future__ import annotations

import ast
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from exported import Session, in_process, served
from tiny_world import SOURCES, TARGET, overrides
from trainer_world import Lines, embeddings_of, fn_args, write_domain

from idp_tf.config import load_settings
from idp_tf.data.domain import Domain
from idp_tf.data.schema import IdMap
from idp_tf.data.store import load_domain
from idp_tf.errors import IdpError
from idp_tf.models import SequenceModel, load_model
from idp_tf.systems import SYSTEMS
from idp_tf.text import TextEncoder
from idp_tf.workflow.trainer_modules import read_config
from pipelines.trainers import fine_tune, pretrain, tune_matcher

Dirs = dict[str, Path]
TRAINERS = Path(pretrain.__file__).parent
KILL_TRAINER = Path(__file__).with_name("kill_trainer.py")
NEW = {"office-08b": "night lamp", "zz": "steel guitar"}
"""Items that come to the target later; by their ids they stand among and after the others."""


@pytest.fixture(scope="module")
def target(finished: Path) -> Domain:
    return load_domain(finished / "data" / TARGET)


@pytest.fixture(scope="module")
def domains(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Dirs:
    folder = tmp_path_factory.mktemp("records")
    return {
        name: write_domain(load_domain(finished / "data" / name), folder / name)
        for name in (*SOURCES, TARGET)
    }


@pytest.fixture(scope="module")
def settings(tiny_bert: Path) -> dict[str, Any]:
    whole = load_settings("quick", overrides=overrides(tiny_bert)).model_dump(mode="json")
    read = ("seed", "model", "pretrain", "matcher", "fine_tune", "evaluation")
    return {name: whole[name] for name in read}


@pytest.fixture(scope="module")
def pretrained(domains: Dirs, settings: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The serving_model_dir of a pre-training that was killed after its second epoch."""
    args = fn_args(tmp_path_factory.mktemp("pretrain"), sources(domains), {"settings": settings})
    assert killed_at("pre-training: epoch 2 ", pretrain, args) == -signal.SIGKILL
    assert not Path(args.serving_model_dir).exists()
    with Lines() as lines:
        pretrain.run_fn(args)
    told = [line.partition("  ")[0] for line in lines if line.startswith("pre-training:")]
    assert told == ["pre-training: goes on after epoch 2", "pre-training: epoch 3"]
    return Path(args.serving_model_dir)


@pytest.fixture(scope="module")
def matcher(
    domains: Dirs, settings: Any, pretrained: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    args = fn_args(
        tmp_path_factory.mktemp("matcher"),
        sources(domains),
        {"settings": settings, "pretrained": str(pretrained)},
    )
    tune_matcher.run_fn(args)
    return Path(args.serving_model_dir)


@pytest.fixture(scope="module")
def custom(settings: Any, pretrained: Path, finished: Path, target: Domain, tmp_path_factory: Any):
    """The custom_config of fine-tuning, with the run's own embeddings."""
    found = np.load(finished / "target" / TARGET / "embeddings.npy")
    folder = embeddings_of(target, found, tmp_path_factory.mktemp("generated"))
    return {"settings": settings, "pretrained": str(pretrained), "embeddings": str(folder)}


@pytest.fixture(scope="module")
def tuned(domains: Dirs, custom: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    args = fn_args(tmp_path_factory.mktemp("fine_tune"), only(domains), custom)
    fine_tune.run_fn(args)
    return Path(args.serving_model_dir)


def killed_at(line: str, module: Any, args: SimpleNamespace) -> int:
    """The exit status of a process that runs a module until it logs a line."""
    attributes = {name: value for name, value in vars(args).items() if name != "data_accessor"}
    done = subprocess.run(
        [sys.executable, str(KILL_TRAINER), module.__name__, line],
        input=json.dumps(attributes),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode < 0, done.stderr
    return done.returncode


def sources(domains: Dirs) -> Dirs:
    return {name: domains[name] for name in SOURCES}


def only(domains: Dirs) -> Dirs:
    return {TARGET: domains[TARGET]}


def model_in(serving: Path) -> SequenceModel:
    return load_model(serving / "assets.extra" / "idp_tf" / "model")


def items_in(serving: Path) -> pl.DataFrame:
    return pl.read_parquet(serving / "assets.extra" / "idp_tf" / "items.parquet")


def assert_same_weights(model: SequenceModel, other: SequenceModel) -> None:
    for ours, theirs in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=ours.name)


def histories(domain: Domain, count: int) -> list[list[str]]:
    sequences = domain.sequences
    rows = (sequences.values[sequences.offsets[u] : sequences.offsets[u + 1]] for u in range(count))
    return [domain.item_ids.to_external(np.asarray(row)) for row in rows]


def assert_serves(serving: Path, ids: Sequence[str], asked: list[list[str]]) -> None:
    """A v1 session answers as the model beside it does."""
    got, scores = served(serving, asked, 5)
    wanted, wanted_scores = in_process(model_in(serving), ids, asked, 5)
    assert got == wanted
    np.testing.assert_allclose(scores, wanted_scores, rtol=1e-4, atol=1e-5)


def test_the_control_is_trained_as_in_the_run(
    domains: Dirs, settings: Any, finished: Path, tmp_path: Path
) -> None:
    args = fn_args(tmp_path, only(domains), {"settings": settings, "system": "sasrec"})
    args.data_accessor = None  # then records are decoded in Arrow
    # The run's rate, and one by which nothing is learned.
    args.hyperparameters = {"fine_tune.learning_rate_grid": [1e-9, 0.01]}
    fine_tune.run_fn(args)
    model = finished / "target" / TARGET / "systems" / "sasrec" / "seed-0" / "model"
    assert_same_weights(model_in(Path(args.serving_model_dir)), load_model(model))


def test_pretraining_that_was_killed_ends_as_the_run_does(pretrained: Path, finished: Path) -> None:
    assert_same_weights(model_in(pretrained), load_model(finished / "pretrain" / "model"))
    made = [load_domain(finished / "data" / name) for name in SOURCES]
    rows = [(domain.name, item) for domain in made for item in domain.item_ids.external_ids]
    assert items_in(pretrained).rows() == rows
    ids = [f"{domain}:{item}" for domain, item in rows]
    asked = [[f"{made[1].name}:{item}" for item in one] for one in histories(made[1], 3)]
    assert_serves(pretrained, ids, asked)


def test_the_encoder_is_tuned_as_in_the_run(matcher: Path, finished: Path) -> None:
    ours = TextEncoder.load(matcher / "assets.extra" / "idp_tf" / "encoder")
    theirs = TextEncoder.load(finished / "matcher" / "tuned" / "encoder")
    for mine, other in zip(ours.backbone.weights, theirs.backbone.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), other.numpy(), err_msg=mine.path)


def test_the_encoder_answers_serialized_examples_in_a_v1_session(
    matcher: Path, domains: Dirs, finished: Path
) -> None:
    import tensorflow as tf

    files = sorted((domains[SOURCES[0]] / "items" / "Split-all").glob("*.gz"))
    raw = list(tf.data.TFRecordDataset([*map(str, files)], "GZIP").as_numpy_iterator())
    numbers = [
        tf.train.Example.FromString(one).features.feature["internal_id"].int64_list.value[0]
        for one in raw
    ]
    with Session(matcher) as session:
        vectors = session.ask(examples=np.array(raw, object))["embedding"]
    wanted = np.load(finished / "matcher" / "tuned" / "vectors.npy")[np.array(numbers) - 1]
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, wanted, atol=1e-5)


def test_the_target_model_is_trained_as_in_the_run(
    tuned: Path, target: Domain, finished: Path
) -> None:
    model = finished / "target" / TARGET / "systems" / "idp" / "seed-0" / "model"
    assert_same_weights(model_in(tuned), load_model(model))
    assert items_in(tuned).rows() == [
        *zip(target.item_ids.external_ids, target.titles, strict=True)
    ]
    assert_serves(tuned, target.item_ids.external_ids, histories(target, 3))


def grown(target: Domain) -> Domain:
    """The target with new items, so that most old ones have new numbers."""
    ids = sorted([*target.item_ids.external_ids, *NEW])
    titles = dict(zip(target.item_ids.external_ids, target.titles, strict=True)) | NEW
    numbers = np.array([0, *(ids.index(item) + 1 for item in target.item_ids.external_ids)])
    values = numbers[np.asarray(target.sequences.values)].astype(np.int32)
    return replace(
        target,
        item_ids=IdMap(ids),
        titles=[titles[item] for item in ids],
        sequences=replace(target.sequences, values=values),
    )


def test_a_warm_start_keeps_known_items_and_generates_new_ones(
    target: Domain, tuned: Path, custom: Any, tmp_path: Path
) -> None:
    later = grown(target)
    generated = np.random.default_rng(1).normal(size=(later.num_items, 8)).astype(np.float32)
    folder = embeddings_of(later, generated, tmp_path)
    args = fn_args(
        tmp_path,
        {TARGET: write_domain(later, tmp_path / "records")},
        {**custom, "embeddings": str(folder)},
        base_model=str(tuned),
        # So little that the model stays as it begins.
        hyperparameters={"fine_tune.learning_rate": 1e-12, "fine_tune.epochs": 1},
    )
    fine_tune.run_fn(args)
    model, before = model_in(Path(args.serving_model_dir)), model_in(tuned)
    rows, learned = (m.item_embedding.embeddings.numpy() for m in (model, before))
    for number, item in enumerate(later.item_ids.external_ids, start=1):
        if item in NEW:
            wanted = generated[number - 1]
        else:
            wanted = learned[target.item_ids.external_ids.index(item) + 1]
        np.testing.assert_allclose(rows[number], wanted, atol=1e-7, err_msg=item)
    for ours, theirs in zip(model.encoder.weights, before.encoder.weights, strict=True):
        if ours.dtype.is_floating:
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-7, err_msg=ours.name)
    training = pl.read_json(
        Path(args.serving_model_dir) / "assets.extra" / "idp_tf" / "training.json"
    )
    assert training["items_known_before"].item() == target.num_items
    assert training["epoch"].item() == 1


def test_items_without_training_interactions_are_blended_of_what_was_learned(
    target: Domain, tuned: Path, custom: Any, tmp_path: Path
) -> None:
    later = grown(target)
    vectors = np.random.default_rng(2).normal(size=(later.num_items, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = {item: n for n, item in enumerate(later.item_ids.external_ids)}
    # Each is exactly like one item that is trained on, and one match is asked for.
    first = target.sequences.values[:1].tolist() + target.sequences.values[-3:-2].tolist()
    twins = dict(zip(NEW, target.item_ids.to_external(np.array(first)), strict=True))
    for item, twin in twins.items():
        vectors[numbers[item]] = vectors[numbers[twin]]
    folder = embeddings_of(later, np.ones((later.num_items, 8), np.float32), tmp_path)
    np.save(folder / "title_vectors.npy", vectors)
    args = fn_args(
        tmp_path,
        {TARGET: write_domain(later, tmp_path / "records")},
        {**custom, "embeddings": str(folder)},
        hyperparameters={"transfer.top_m": 1, "fine_tune.epochs": 1},
    )
    fine_tune.run_fn(args)
    serving = Path(args.serving_model_dir)
    rows = model_in(serving).item_embedding.embeddings.numpy()[1:]
    for item, twin in twins.items():
        np.testing.assert_allclose(rows[numbers[item]], rows[numbers[twin]], rtol=1e-5)
    training = json.loads((serving / "assets.extra/idp_tf/training.json").read_text())
    met = {item for row in histories(later, target.sequences.num_users) for item in row[:-2]}
    assert training["items_regenerated"] == later.num_items - len(met) >= len(NEW)
    # What is served is what was saved; items tie with their twins, so scores alone compare.
    ids, asked = later.item_ids.external_ids, histories(later, 2)
    _, scores = served(serving, asked, 20)
    _, wanted = in_process(model_in(serving), ids, asked, 20)
    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-5)
    np.save(folder / "title_vectors.npy", vectors[1:])
    with pytest.raises(IdpError, match=r"title vectors of the shape .* items of"):
        fine_tune.run_fn(args)


def test_a_base_model_of_another_shape_is_left(
    target: Domain, domains: Dirs, custom: Any, tuned: Path, caplog: pytest.LogCaptureFixture
) -> None:
    longer = {"hyperparameters": {"model.num_layers": 2}}
    args = fn_args(Path("x"), only(domains), custom, **longer)
    config, system = read_config(args), SYSTEMS["idp-wo-encoder"]
    model, known = fine_tune.initial_model(system, config, target, str(tuned))
    assert (model.num_layers, known) == (2, 0)
    assert "begins anew" in caplog.text
    generated = np.load(Path(custom["embeddings"]) / "embeddings.npy")
    np.testing.assert_array_equal(model.item_embedding.embeddings.numpy()[1:], generated)


WRONG: list[tuple[Any, dict[str, Any], dict[str, Any], str]] = [
    (pretrain, {"pretrain": 1}, {}, r"custom_config.*'pretrain'"),
    (pretrain, {"settings": {"model": {"num_layer": 1}}}, {}, "settings.model.num_layer"),
    (pretrain, {"settings": {"model": {"num_layers": 0}}}, {}, "settings.model.num_layers"),
    (pretrain, {"domains": [{"name": "a"}]}, {}, r"domains.0.items.* is missing"),
    (pretrain, {"domains": [{"name": "a", "items": "b"}]}, {}, "2 eval_files for 1 domains"),
    (pretrain, {}, {"custom_config": [1]}, "expected a mapping"),
    (pretrain, {}, {"base_model": "/m"}, "base_model"),
    (pretrain, {}, {"serving_model_dir": "gs://b/m"}, "serving_model_dir.*mounted"),
    (pretrain, {}, {"hyperparameters": {"pretrain.rate": 1}}, "settings.pretrain.rate"),
    (tune_matcher, {}, {}, "custom_config.pretrained"),
    (tune_matcher, {"pretrained": "/none"}, {}, "/none"),
    (fine_tune, {"system": "popularity"}, {}, r"'popularity'.*choose one of .*sasrec"),
    (fine_tune, {"system": "sasrec"}, {}, "one target domain, got 2"),
    (fine_tune, {}, {}, "custom_config.embeddings"),
    (fine_tune, {"embeddings": "/e"}, {}, "custom_config.pretrained"),
]


@pytest.mark.parametrize(("module", "custom_config", "changes", "told"), WRONG)
def test_what_is_wrong_is_named(
    module: Any, custom_config: Any, changes: Any, told: str, domains: Dirs, tmp_path: Path
) -> None:
    args = fn_args(tmp_path, sources(domains), custom_config, **changes)
    with pytest.raises(IdpError, match=f"(?s){told}"):
        module.run_fn(args)
    assert not (tmp_path / "model").exists()


def test_a_model_of_other_items_is_refused(
    domains: Dirs, custom: Any, pretrained: Path, settings: Any, tmp_path: Path
) -> None:
    music = {"music": domains["music"]}
    args = fn_args(tmp_path, music, {"settings": settings, "pretrained": str(pretrained)})
    with pytest.raises(IdpError, match="which are not the"):
        tune_matcher.run_fn(args)
    with pytest.raises(IdpError, match=r"embeddings of .* items, which are not the"):
        fine_tune.run_fn(fn_args(tmp_path, music, custom))


def test_a_base_model_of_another_domain_is_refused(
    domains: Dirs, settings: Any, pretrained: Path, tmp_path: Path
) -> None:
    args = fn_args(
        tmp_path,
        only(domains),
        {"settings": settings, "system": "sasrec"},
        base_model=str(pretrained),
    )
    with pytest.raises(IdpError, match="knows none of the"):
        fine_tune.run_fn(args)


@pytest.mark.parametrize(
    "given",
    [
        {"fine_tune.learning_rate": 0.5, "model.dropout": 0.3},
        {"space": [], "values": {"fine_tune.learning_rate": 0.5, "model.dropout": 0.3}},
    ],
)
def test_hyperparameters_win_over_settings(given: Any) -> None:
    args: SimpleNamespace = fn_args(
        Path("x"), {"a": Path("a")}, {"settings": {"seed": 3, "fine_tune": {"learning_rate": 0.1}}}
    )
    args.hyperparameters = given
    settings = read_config(args).settings
    found = (settings.seed, settings.fine_tune.learning_rate, settings.model.dropout)
    assert found == (3, 0.5, 0.3)


@pytest.mark.parametrize("file", sorted(TRAINERS.glob("*.py")), ids=lambda file: file.stem)
def test_modules_import_what_a_tfx_image_has(file: Path) -> None:
    """So that TFX can be given the file alone: nothing of ``pipelines``, nor of TFX."""
    allowed = {*sys.stdlib_module_names, "numpy", "tensorflow", "tfx_bsl", "idp_tf", "serving"}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} imports relatively"
            names = [str(node.module)]
        assert {name.partition(".")[0] for name in names} <= allowed, f"line {node.lineno}"


def test_nothing_of_tfx_was_imported(pretrained: Path) -> None:
    assert "tfx" not in sys.modules
