"""Trainer: a trainer module's ``run_fn``, called as TFX's Trainer calls it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final

from pydantic import Field

from idp_tf.errors import SettingsError
from idp_tf.workflow.artifacts import read_json
from pipelines.artifacts import EMBEDDINGS, EXAMPLES, ITEMS, MODEL, Artifact, digest_of
from pipelines.component import Component, Execution, Parameters
from pipelines.examples import split_pattern

SERVING: Final = "Format-Serving"
"""The folder of a Model in which the SavedModel lies, as in TFX."""

_EXTRA: Final = "assets.extra"
_TRAINED: Final = f"{_EXTRA}/idp_tf"
_TOLD: Final = {
    "epoch": "epochs",
    "items": "items",
    "items_known_before": "items known before",
    "items_regenerated": "untrained items regenerated",
}
"""Of ``training.json``, what is counted, and what it is called."""

_log = logging.getLogger("pipelines.Trainer")


class TrainerParameters(Parameters):
    """Which module trains what."""

    module: str = Field(
        description="a trainer module: its import name, such as pipelines.trainers.pretrain, or a"
        " .py file with run_fn(fn_args)"
    )
    settings: Mapping[str, Any] = Field({}, description="as idp_tf.config.Settings, nested")
    system: str | None = Field(None, description="the system, for pipelines.trainers.fine_tune")
    reads_titles: bool = Field(
        True,
        description="False: new titles of the same items do not train anew, and those in what is"
        " exported may be old",
    )
    train_steps: int | None = Field(None, ge=1, description="most steps; None: as settings say")


@dataclass
class FnArgs:
    """What a trainer module is called with: the attributes of TFX's ``FnArgs``.

    Args:
        working_dir: A folder for whatever is not kept.
        train_files: Glob patterns of the split ``train``, one for each Examples artifact.
        eval_files: The same of the split ``eval``.
        train_steps: Most steps of training; None as settings say.
        eval_steps: Always None: a validation is whole.
        schema_path: None: the trainers' schema is that of ``idp_tf.data.examples``.
        schema_file: The same.
        transform_graph_path: None: nothing is transformed.
        transform_output: The same.
        data_accessor: None: files are read by tfx-bsl's decoders.
        serving_model_dir: Where the SavedModel is to lie.
        eval_model_dir: Where TFMA's would.
        model_run_dir: Checkpoints and logs; it outlives a kill.
        base_model: The SavedModel from which to go on, if any.
        hyperparameters: None.
        custom_config: What the module's docstring says.
    """

    working_dir: str
    train_files: list[str]
    eval_files: list[str]
    serving_model_dir: str
    eval_model_dir: str
    model_run_dir: str
    train_steps: int | None = None
    eval_steps: int | None = None
    schema_path: str | None = None
    schema_file: str | None = None
    transform_graph_path: str | None = None
    transform_output: str | None = None
    data_accessor: Any = None
    base_model: str | None = None
    hyperparameters: dict[str, Any] | None = None
    custom_config: dict[str, Any] = field(default_factory=dict)


class Trainer(Component[TrainerParameters]):
    """Trains a model by a trainer module.

    Inputs: ``examples`` and ``items`` of one or more domains, in the same order; ``model``, a
    model to start from or to learn from (a pre-training's), and ``embeddings``, if the module
    wants them. ``base_model``, the last model that was accepted, is looked up.

    Output ``model``: ``Format-Serving/``, a SavedModel in TF-Serving's layout without the folder
    of the version, which holds in ``assets.extra/idp_tf/`` what goes on being trained
    (``idp_tf.workflow.trainer_modules``). Its fingerprint is one of weights, settings, signatures
    and items: equal trainings have equal ones, though TensorFlow writes ``saved_model.pb`` anew
    each time in another order. Checkpoints and TensorBoard's events lie in the work folder, with
    which a training that was killed goes on.

    Validators' nodes are the gates of its node; nothing of their anomalies is read here.

    Parameters: ``TrainerParameters``. Memory: the domains' ids, and what is trained; a node trains
    in this process, on this machine.

    Raises:
        SettingsError: if the module cannot be had, or settings are wrong.
        DataError: if examples and items do not fit.
        MissingDataError: if a model or embeddings are none of these components'.
    """

    name: ClassVar[str] = "Trainer"
    inputs: ClassVar[Mapping[str, str]] = {
        "examples": EXAMPLES,
        "items": ITEMS,
        "model": MODEL,
        "embeddings": EMBEDDINGS,
    }
    optional: ClassVar[frozenset[str]] = frozenset({"model", "embeddings"})
    resolved: ClassVar[Mapping[str, str]] = {"base_model": MODEL}
    outputs: ClassVar[Mapping[str, str]] = {"model": MODEL}
    parameters: ClassVar[type[Parameters]] = TrainerParameters

    def execute(self, execution: Execution[TrainerParameters]) -> None:
        """Calls ``run_fn``."""
        run_fn = _run_fn(execution.parameters.module)
        output = execution.outputs["model"]
        fn_args = build_fn_args(execution)
        _log.debug("%s: %s", execution.node_id, execution.parameters.module)
        run_fn(fn_args)
        serving = output.uri / SERVING
        if not (serving / "saved_model.pb").is_file():
            raise SettingsError(
                "its run_fn left no SavedModel in serving_model_dir",
                where=execution.parameters.module,
            )
        output.properties["system"] = execution.parameters.system or ""
        output.properties["domains"] = [_domain(a) for a in execution.inputs["examples"]]
        output.fingerprint = model_fingerprint(serving)
        _count(execution, serving / _TRAINED / "training.json")

    def cache_inputs(self, parameters: TrainerParameters) -> Mapping[str, Any]:
        """The parameters, and a digest of the module."""
        return {
            **parameters.model_dump(mode="json"),
            "module_digest": digest_of(module_file(parameters.module)),
        }

    def fingerprint_of(self, parameters: TrainerParameters, key: str, artifact: Artifact) -> str:
        """Of items whose titles are not read, a hash of their ids alone."""
        if key == "items" and not parameters.reads_titles:
            return str(artifact.properties["ids"])
        return artifact.fingerprint


def build_fn_args(execution: Execution[TrainerParameters]) -> FnArgs:
    """What a trainer module is called with in an execution.

    Raises:
        SettingsError: if examples and items are not wired in pairs.
    """
    parameters, inputs = execution.parameters, execution.inputs
    domains = [[_domain(artifact) for artifact in inputs[key]] for key in ("examples", "items")]
    if domains[0] != domains[1]:
        raise SettingsError(
            f"its examples are of {', '.join(domains[0])}, its items of {', '.join(domains[1])}",
            where=execution.node_id,
            remedy="wire both from the same ExampleGens in the same order",
        )
    output = execution.outputs["model"].uri
    custom: dict[str, Any] = {
        "settings": dict(parameters.settings),
        "domains": [
            {"name": _domain(examples), "items": split_pattern(items, "all")}
            for examples, items in zip(inputs["examples"], inputs["items"], strict=True)
        ],
    }
    if parameters.system is not None:
        custom["system"] = parameters.system
    if inputs.get("model"):
        custom["pretrained"] = str(execution.one("model").uri / SERVING)
    if inputs.get("embeddings"):
        custom["embeddings"] = str(execution.one("embeddings").uri)
    base = execution.maybe("base_model")
    return FnArgs(
        working_dir=str(execution.work),
        train_files=_patterns(inputs["examples"], "train"),
        eval_files=_patterns(inputs["examples"], "eval"),
        serving_model_dir=str(output / SERVING),
        eval_model_dir=str(output / "Format-TFMA"),
        # The base is looked up: after a rollback it is another, and training begins anew.
        model_run_dir=str(execution.work / f"model_run-{base.fingerprint[:16] if base else 'new'}"),
        train_steps=parameters.train_steps,
        base_model=str(base.uri / SERVING) if base else None,
        custom_config=custom,
    )


def model_fingerprint(serving: Path) -> str | None:
    """A hash of what a trained SavedModel says and knows, however it was written.

    None for one that this repository's exports did not write.
    """
    signature, extra = serving / _EXTRA / "signature.json", serving / _TRAINED
    if not signature.is_file() or not (extra / "items.parquet").is_file():
        return None
    digest = hashlib.sha256(str(read_json(signature)["fingerprint"]).encode())
    for name in ("items.parquet", "model/model.json"):
        if (extra / name).is_file():
            digest.update(f"{name}\0{digest_of(extra / name)}\n".encode())
    return digest.hexdigest()


def _count(execution: Execution[TrainerParameters], file: Path) -> None:
    """Notes how a training went, for the record and its page."""
    if not file.is_file():  # a module of somebody else's
        return
    told = read_json(file)
    execution.counters |= {name: told[key] for key, name in _TOLD.items() if key in told}
    figures = ("best_epoch", "best_value", "tuned_items")
    execution.outputs["model"].properties |= {key: told[key] for key in figures if key in told}


def module_file(module: str) -> Path:
    """The file of a trainer module, which is not imported for this.

    Raises:
        SettingsError: if there is none.
    """
    if module.endswith(".py"):
        file = Path(module)
    else:
        try:
            spec = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            spec = None
        file = Path(spec.origin) if spec and spec.origin else Path()
    if not file.is_file():
        raise SettingsError(
            f"there is no trainer module {module!r}",
            where="module",
            remedy="give an import name such as pipelines.trainers.pretrain, or a .py file",
        )
    return file


def _run_fn(module: str) -> Callable[[Any], None]:
    loaded = _loaded(module)
    if not callable(getattr(loaded, "run_fn", None)):
        raise SettingsError("it has no run_fn(fn_args)", where=module)
    run_fn: Callable[[Any], None] = loaded.run_fn
    return run_fn


def _loaded(module: str) -> ModuleType:
    file = module_file(module)
    if not module.endswith(".py"):
        return importlib.import_module(module)
    name = f"idp_tf_trainer_module_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None  # the file is there
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded  # where dataclasses look up their annotations
    spec.loader.exec_module(loaded)
    return loaded


def _patterns(examples: Sequence[Artifact], split: str) -> list[str]:
    return [split_pattern(artifact, split) for artifact in examples]


def _domain(examples: Artifact) -> str:
    return str(examples.properties["domain"])
