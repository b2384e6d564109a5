"""Trainer: a trainer module's ``run_fn``, called as TFX's Trainer calls it."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final

from pydantic import Field

from idp_tf.errors import SettingsError
from pipelines.artifacts import EMBEDDINGS, EXAMPLES, ITEMS, MODEL, Artifact, digest_of
from pipelines.component import Component, Execution, Parameters
from pipelines.examples import split_pattern

SERVING: Final = "Format-Serving"
"""The folder of a Model in which the SavedModel lies, as in TFX."""

_log = logging.getLogger("pipelines.Trainer")


class TrainerParameters(Parameters):
    """Which module trains what."""

    module: str = Field(
        description="a trainer module: its import name, such as pipelines.trainers.pretrain, or a"
        " .py file with run_fn(fn_args)"
    )
    settings: Mapping[str, Any] = Field({}, description="as idp_tf.config.Settings, nested")
    system: str | None = Field(None, description="the system, for pipelines.trainers.fine_tune")
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

    Output ``model``: ``Format-Serving/``, a SavedModel, which holds in ``assets.extra/idp_tf/``
    what goes on being trained (``idp_tf.workflow.trainer_modules``).

    Raises:
        SettingsError: if the module cannot be had, or settings are wrong.
        DataError: if examples and items do not fit.
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
        _log.info("%s: %s", execution.node_id, execution.parameters.module)
        run_fn(fn_args)
        if not (output.uri / SERVING / "saved_model.pb").is_file():
            raise SettingsError(
                "its run_fn left no SavedModel in serving_model_dir",
                where=execution.parameters.module,
            )
        output.properties["system"] = execution.parameters.system or ""
        output.properties["domains"] = [_domain(a) for a in execution.inputs["examples"]]

    def cache_inputs(self, parameters: TrainerParameters) -> Mapping[str, Any]:
        """The parameters, and a digest of the module."""
        return {
            **parameters.model_dump(mode="json"),
            "module_digest": digest_of(module_file(parameters.module)),
        }


def build_fn_args(execution: Execution[TrainerParameters]) -> FnArgs:
    """What a trainer module is called with in an execution."""
    parameters, inputs = execution.parameters, execution.inputs
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
        model_run_dir=str(execution.work / "model_run"),
        train_steps=parameters.train_steps,
        base_model=str(base.uri / SERVING) if base else None,
        custom_config=custom,
    )


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
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None  # the file is there
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def _patterns(examples: Sequence[Artifact], split: str) -> list[str]:
    return [split_pattern(artifact, split) for artifact in examples]


def _domain(examples: Artifact) -> str:
    return str(examples.properties["domain"])
