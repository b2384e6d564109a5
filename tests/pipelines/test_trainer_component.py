"""The component Trainer: what it gives a module, and what it makes of what the module leaves."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from trainer_world import TFX_ATTRIBUTES, write_domain

from idp_tf.data.domain import Domain
from idp_tf.data.schema import IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.errors import SettingsError
from pipelines.artifacts import EMBEDDINGS, EXAMPLES, ITEMS, MODEL, Artifact, OutputArtifact
from pipelines.component import Execution
from pipelines.components.trainer import (
    FnArgs,
    Trainer,
    TrainerParameters,
    build_fn_args,
    model_fingerprint,
)

ITEM_COUNT, LENGTH = 12, 5
SHORT = {
    "model": {"embedding_dim": 4, "num_layers": 1, "num_heads": 1, "max_length": 4},
    "fine_tune": {"epochs": 2, "batch_size": 8, "learning_rate": 0.01},
    "evaluation": {"negatives": 3},
}
MODULE = """
from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path

@dataclass
class Told:
    steps: int | None = None

def run_fn(fn_args):
    folder = Path(fn_args.serving_model_dir)
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_text(f"{Told(fn_args.train_steps)} {fn_args.base_model}")
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A domain's records."""
    rng = np.random.default_rng(0)
    ids = [f"i{number:02}" for number in range(ITEM_COUNT)]
    users = [f"u{number:02}" for number in range(20)]
    rows = [rng.permutation(ITEM_COUNT)[:LENGTH] + 1 for _ in users]
    offsets = np.arange(len(users) + 1, dtype=np.int64) * LENGTH
    sequences = Sequences(np.concatenate(rows).astype(np.int32), offsets)
    domain = Domain("shop", IdMap(ids), [f"title {item}" for item in ids], users, sequences, {})
    return write_domain(domain, tmp_path_factory.mktemp("shop") / "shop")


def artifact(kind: str, uri: Path, **properties: Any) -> Artifact:
    return Artifact(kind, uri, "f", properties)


def execution(folder: Path, shop: Path, **parameters: Any) -> Execution[TrainerParameters]:
    output = OutputArtifact(MODEL, folder / "output")
    output.uri.mkdir(parents=True)
    (folder / "work").mkdir()
    inputs = {
        "examples": [artifact(EXAMPLES, shop / "examples", domain="shop")],
        "items": [artifact(ITEMS, shop / "items", domain="shop")],
    }
    given = TrainerParameters(**parameters)
    return Execution("Trainer.x", inputs, {"model": output}, given, folder / "work")


def test_fn_args_are_those_of_tfx() -> None:
    assert {field.name for field in fields(FnArgs)} == TFX_ATTRIBUTES


def test_inputs_become_fn_args(shop: Path, tmp_path: Path) -> None:
    run = execution(tmp_path, shop, module="m", system="idp", settings={"seed": 3}, train_steps=7)
    run.inputs = {
        **run.inputs,
        "model": [artifact(MODEL, Path("/p"))],
        "embeddings": [artifact(EMBEDDINGS, Path("/e"))],
        "base_model": [artifact(MODEL, Path("/b"))],
    }
    found = asdict(build_fn_args(run))
    assert found["custom_config"] == {
        "settings": {"seed": 3},
        "domains": [{"name": "shop", "items": f"{shop}/items/Split-all/data_tfrecord-*"}],
        "system": "idp",
        "pretrained": "/p/Format-Serving",
        "embeddings": "/e",
    }
    assert found["eval_files"] == [f"{shop}/examples/Split-eval/data_tfrecord-*"]
    assert found["train_files"] == [f"{shop}/examples/Split-train/data_tfrecord-*"]
    assert found["serving_model_dir"] == f"{tmp_path}/output/Format-Serving"
    assert found["base_model"] == "/b/Format-Serving"
    assert found["train_steps"] == 7
    assert Path(found["model_run_dir"]).is_relative_to(tmp_path / "work")


def test_examples_and_items_come_in_pairs(shop: Path, tmp_path: Path) -> None:
    run = execution(tmp_path, shop, module="m")
    for items in ([], [artifact(ITEMS, shop, domain="music")]):
        run.inputs = {**run.inputs, "items": items}
        with pytest.raises(SettingsError, match=r"Trainer\.x.*examples are of shop"):
            build_fn_args(run)


def test_a_module_of_ones_own(shop: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(MODULE, encoding="utf-8")
    run = execution(tmp_path / "run", shop, module=str(file), train_steps=3)
    Trainer().execute(run)
    output = run.outputs["model"]
    text = (output.uri / "Format-Serving" / "saved_model.pb").read_text(encoding="utf-8")
    assert text == "Told(steps=3) None"
    assert output.properties == {"system": "", "domains": ["shop"]}
    assert output.fingerprint is None  # then the launcher hashes all files


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "no run_fn"), ("def run_fn(fn_args): pass", "left no SavedModel"), (None, "no trainer")],
)
def test_modules_that_are_none(text: str | None, told: str, shop: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=told):
        Trainer().execute(execution(tmp_path / "run", shop, module=str(file)))


def test_the_cache_key_holds_the_module(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    parameters = TrainerParameters(module=str(file), settings={"seed": 1})
    keys = []
    for text in ("a = 1", "a = 2", "a = 1"):
        file.write_text(text, encoding="utf-8")
        keys.append(Trainer().cache_inputs(parameters))
    assert keys[0] == keys[2] != keys[1]
    assert keys[0]["settings"] == {"seed": 1}
    own = Trainer().cache_inputs(TrainerParameters(module="pipelines.trainers.pretrain"))
    assert own["module_digest"]
    with pytest.raises(SettingsError, match=r"no trainer module 'pipelines\.none\.x'"):
        Trainer().cache_inputs(TrainerParameters(module="pipelines.none.x"))


def test_equal_trainings_have_equal_fingerprints(shop: Path, tmp_path: Path) -> None:
    found = []
    for number in range(2):
        run = execution(
            tmp_path / str(number),
            shop,
            module="pipelines.trainers.fine_tune",
            system="sasrec",
            settings=SHORT,
        )
        Trainer().execute(run)
        found.append(run.outputs["model"].fingerprint)
        assert run.counters == {
            "epochs": 2,
            "items": ITEM_COUNT,
            "items known before": 0,
            "untrained items regenerated": 0,
        }
        properties = run.outputs["model"].properties
        assert properties["domains"] == ["shop"]
        assert 0 <= properties["best_value"] <= 1
    assert found[0] is not None
    assert found[0] == found[1]
    serving = run.outputs["model"].uri / "Format-Serving"
    assert model_fingerprint(serving) == found[0]
    titles = serving / "assets.extra" / "idp_tf" / "items.parquet"
    pl.read_parquet(titles).with_columns(title=pl.lit("another")).write_parquet(titles)
    assert model_fingerprint(serving) != found[0]
