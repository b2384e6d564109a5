"""What trainer modules share: what they are told, what they read, and what they leave behind.

A Model lies in ``serving_model_dir`` as a SavedModel; beside what is served it has, below
``assets.extra/idp_tf/``, what goes on being trained: ``model/`` (``save_model``) or ``encoder/``
(``TextEncoder.save``), ``items.parquet``, whose row ``i`` is internal id ``i + 1``, and
``training.json``, how the training went. It appears there whole or not at all.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from idp_tf.config import Settings, TrainSettings
from idp_tf.data.domain import Domain, MergedDomains
from idp_tf.data.examples import read_domain
from idp_tf.errors import DataError, MissingDataError, SettingsError
from idp_tf.setting_problems import first_problem
from idp_tf.workflow.artifacts import write_json

if TYPE_CHECKING:
    from idp_tf.models import SequenceModel

EXTRA: Final = "assets.extra/idp_tf"
"""Below a SavedModel; TensorFlow leaves ``assets.extra`` alone."""
MODEL: Final = "model"
ENCODER: Final = "encoder"
ITEMS_FILE: Final = "items.parquet"
TRAINING_FILE: Final = "training.json"
EMBEDDINGS_FILE: Final = "embeddings.npy"
TITLE_VECTORS_FILE: Final = "title_vectors.npy"

_FOLDERS: Final = ("serving_model_dir", "model_run_dir", "base_model")

_log = logging.getLogger(__name__)


class DomainFiles(BaseModel):
    """Where a domain's items lie; its users are in the same place of ``eval_files``.

    Args:
        name: The domain's name.
        items: A glob pattern of TFRecords of items.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    items: str


class TrainerConfig(BaseModel):
    """A trainer module's ``custom_config``.

    Args:
        settings: As ``idp_tf.config.Settings``, nested; what is not named has its default.
        domains: The domains, in the order of ``eval_files``: the sources, or the target alone.
        system: What the target model is: ``idp`` begins with generated embeddings under the
            pre-trained encoder, ``sasrec`` with nothing, or another that reads ids alone.
        pretrained: ``serving_model_dir`` of the pre-training, where it is needed.
        embeddings: A folder with generated embeddings, where they are needed; with the title
            vectors that are beside them, items without a training interaction get others in
            the end (``idp_tf.transfer.regenerate_untrained``).

    Example:
        >>> TrainerConfig(domains=[{"name": "office", "items": "…/Split-all/*"}]).system
        'idp'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: Settings = Settings()
    domains: tuple[DomainFiles, ...]
    system: str = "idp"
    pretrained: Path | None = None
    embeddings: Path | None = None


def read_config(fn_args: Any) -> TrainerConfig:
    """``custom_config``, checked, with ``hyperparameters`` laid over its settings.

    Args:
        fn_args: TFX's ``FnArgs``, or anything with its attributes. ``hyperparameters`` are named
            as settings are, such as ``{"fine_tune.learning_rate": 0.003}``, or they are what
            TFX's Tuner leaves: KerasTuner's ``{"space": …, "values": …}``.

    Raises:
        SettingsError: naming the first key that is wrong, ``eval_files`` that don't fit, or a
            folder that is not of this machine's file systems.
    """
    given = fn_args.custom_config or {}
    if not isinstance(given, Mapping):
        raise SettingsError(f"expected a mapping, got {given!r}", where="custom_config")
    _check_folders(fn_args)
    try:
        config = TrainerConfig.model_validate(_with_hyperparameters(given, fn_args.hyperparameters))
    except ValidationError as error:
        raise SettingsError(first_problem(error), where="custom_config") from error
    if len(config.domains) != len(fn_args.eval_files):
        raise SettingsError(
            f"{len(fn_args.eval_files)} eval_files for {len(config.domains)} domains",
            where="custom_config.domains",
            remedy="name the domains in the order of the examples, one for each pattern",
        )
    if fn_args.eval_steps:
        _log.warning("eval_steps is not looked at: settings say how many users validate")
    return config


def _check_folders(fn_args: Any) -> None:
    for name in _FOLDERS:
        folder = getattr(fn_args, name)
        if folder and "://" in str(folder):
            raise SettingsError(
                f"expected a folder of a mounted file system, got {folder}",
                where=name,
                remedy="mount the bucket, or have the pipeline's root on a shared file system",
            )


def _with_hyperparameters(given: Mapping[str, Any], hyperparameters: Any) -> dict[str, Any]:
    merged = dict(given)
    values = hyperparameters or {}
    if not isinstance(values, Mapping):
        raise SettingsError(f"expected a mapping, got {values!r}", where="hyperparameters")
    values = values["values"] if "space" in values else values
    for name, value in values.items():
        merged["settings"] = _laid(merged.get("settings") or {}, str(name).split("."), value)
    return merged


def _laid(base: Any, path: list[str], value: Any) -> Any:
    """A copy of nested mappings in which the place of a path holds the value."""
    if not path:
        return value
    inner = dict(base) if isinstance(base, Mapping) else {}
    inner[path[0]] = _laid(inner.get(path[0]), path[1:], value)
    return inner


def refuse_base_model(fn_args: Any) -> None:
    """For trainings that begin anew each time.

    Raises:
        SettingsError: if ``base_model`` is set.
    """
    if fn_args.base_model:
        raise SettingsError(
            "this training does not go on from an earlier model",
            where="base_model",
            remedy="leave it out; pipelines.trainers.fine_tune is what takes one",
        )


def read_domains(fn_args: Any, config: TrainerConfig) -> list[Domain]:
    """The domains, whole histories: what validates is in the split ``eval`` alone.

    Users are read by ``data_accessor``, if there is one; TFX has one for each format in which
    examples may lie.
    """
    accessor = fn_args.data_accessor
    factory = accessor.tf_dataset_factory if accessor is not None else None
    return [
        read_domain(domain.name, [users], [domain.items], dataset_factory=factory)
        for users, domain in zip(fn_args.eval_files, config.domains, strict=True)
    ]


def capped(settings: TrainSettings, fn_args: Any, steps_per_epoch: int) -> dict[str, int]:
    """The epochs that ``train_steps`` allows, as an update of settings; none if it is not set."""
    if not fn_args.train_steps:
        return {}
    allowed = math.ceil(fn_args.train_steps / steps_per_epoch)
    return {"epochs": max(1, min(settings.epochs, allowed))}


def load_trained(serving_model_dir: str | Path) -> tuple[SequenceModel, pl.DataFrame]:
    """A sequence model that a trainer module left, and its items.

    Raises:
        MissingDataError: if there is none.
    """
    from idp_tf.models import load_model

    folder = Path(serving_model_dir) / EXTRA
    if not (folder / ITEMS_FILE).is_file() or not (folder / MODEL).is_dir():
        raise MissingDataError(
            "this is no sequence model of idp_tf's trainers",
            where=serving_model_dir,
            remedy="give the serving_model_dir of pretrain or fine_tune",
        )
    return load_model(folder / MODEL), pl.read_parquet(folder / ITEMS_FILE)


def load_embeddings(folder: Path, target: Domain) -> npt.NDArray[np.float32]:
    """Generated embeddings of a domain's items, (num_items, dim).

    Raises:
        MissingDataError: if there are none.
        DataError: if they are of other items.
    """
    try:
        items = pl.read_parquet(folder / ITEMS_FILE)["item_id"].to_list()
        embeddings: npt.NDArray[np.float32] = np.load(folder / EMBEDDINGS_FILE)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise MissingDataError(
            f"no generated embeddings can be read: {error}",
            where=folder,
            remedy="give the folder that EmbeddingGenerator made",
        ) from error
    if items != target.item_ids.external_ids or len(embeddings) != target.num_items:
        raise DataError(
            f"{len(embeddings)} embeddings of {len(items)} items, which are not the"
            f" {target.num_items} of {target.name}",
            where=folder,
            remedy="generate them from the same items",
        )
    return embeddings


def load_title_vectors(folder: Path, target: Domain) -> npt.NDArray[np.float32] | None:
    """Title vectors of a domain's items, (num_items, width), or None if none lie there.

    Raises:
        DataError: if they are of other items, or damaged.
    """
    file = folder / TITLE_VECTORS_FILE
    if not file.is_file():
        return None
    try:
        vectors: npt.NDArray[np.float32] = np.load(file)
    except (OSError, ValueError) as error:
        raise DataError(
            f"the title vectors cannot be read: {error}", where=file, remedy="generate them again"
        ) from error
    if vectors.ndim != 2 or len(vectors) != target.num_items:
        raise DataError(
            f"title vectors of the shape {vectors.shape} for the {target.num_items} items of"
            f" {target.name}",
            where=file,
            remedy="generate them from the same items",
        )
    return vectors


def learned_embeddings(
    model: SequenceModel, items: pl.DataFrame, target: Domain
) -> npt.NDArray[np.float32]:
    """A model's embeddings of the target's items, (num_items, dim); NaN where it knows none."""
    assert model.item_embedding is not None  # it reads ids
    table = model.item_embedding.embeddings.numpy()
    rows = dict(zip(items["item_id"], range(1, items.height + 1), strict=True))
    found = np.array([rows.get(item, 0) for item in target.item_ids.external_ids])
    known: npt.NDArray[np.float32] = table[found]
    known[found == 0] = np.nan
    return known


def item_table(domain: Domain | MergedDomains) -> pl.DataFrame:
    """The items of a domain (``item_id``, ``title``), or of several (``domain`` besides)."""
    if isinstance(domain, Domain):
        return pl.DataFrame({"item_id": domain.item_ids.external_ids, "title": domain.titles})
    tables = [
        item_table(one).select(pl.lit(one.name).alias("domain"), "item_id", "title")
        for one in domain.domains
    ]
    return pl.concat(tables)


def extra_folder(version: Path, items: pl.DataFrame, training: Mapping[str, Any]) -> Path:
    """Begins what an exported version has besides; the folder for the rest of it."""
    extra = version / EXTRA
    extra.mkdir(parents=True)
    items.write_parquet(extra / ITEMS_FILE)
    write_json(extra / TRAINING_FILE, training)
    return extra


def place(version: Path, serving_model_dir: str | Path) -> None:
    """Moves an exported version to where the trainer is to leave it."""
    target = Path(serving_model_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        target.rmdir()  # TFX may have made it; what is not empty is not ours to remove
    shutil.move(os.fspath(version), target)
