"""Trains a model for the target domain (section 2.6), or its control from scratch.

``custom_config``: ``domains`` (the target alone), ``system``, and what the system begins with:
``pretrained`` (where ``pretrain`` left its model) and ``embeddings`` (what EmbeddingGenerator
made); of ``settings`` there are read ``seed``, ``model``, ``fine_tune`` and ``evaluation``.

With ``base_model``, the last blessed model of this domain, training goes on from it: its encoder,
and its embeddings of the items that it knows; new items begin with their generated embeddings.
Checkpoints are kept in ``model_run_dir``. Leaves a recommender.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from idp_tf.config import ModelSettings
from idp_tf.data.batches import TrainingBatches
from idp_tf.data.domain import Domain
from idp_tf.errors import DataError, SettingsError
from idp_tf.models import SequenceModel, save_model
from idp_tf.systems import SYSTEMS, System
from idp_tf.transfer.fine_tune import build_target_model
from idp_tf.workflow.trainer_modules import (
    ITEMS_FILE,
    MODEL,
    TrainerConfig,
    capped,
    item_table,
    load_trained,
    place,
    read_config,
    read_domains,
)
from idp_tf.workflow.training import train_on_target
from serving.export import export_recommender

_log = logging.getLogger(__name__)


def run_fn(fn_args: Any) -> None:
    """Trains, and writes ``serving_model_dir``.

    Args:
        fn_args: TFX's ``FnArgs``. Users are read from ``eval_files``, since their last two items,
            which training leaves out, validate and test.

    Raises:
        SettingsError: if ``custom_config`` is wrong.
        DataError: if the files are not a domain's, or embeddings are of other items.
    """
    config = read_config(fn_args)
    target = _only(read_domains(fn_args, config))
    system = _system(config)
    model = initial_model(system, config, target, fn_args.base_model)
    settings, work = config.settings, Path(fn_args.model_run_dir)
    steps = TrainingBatches(
        target.sequences,
        target.num_items,
        batch_size=settings.fine_tune.batch_size,
        max_length=model.max_length,
    ).steps_per_epoch
    train_on_target(
        model,
        target,
        settings.fine_tune.model_copy(update=capped(settings.fine_tune, fn_args, steps)),
        settings,
        settings.seed,
        folder=work / "checkpoints",
        name=system.slug,
        tensorboard_dir=work / "logs",
    )
    version = export_recommender(
        model,
        target.item_ids,
        work / "export",
        titles=target.titles,
        about={"domain": target.name, "system": system.slug, "seed": settings.seed},
    )
    extra = place(version, fn_args.serving_model_dir)
    save_model(model, extra / MODEL)
    item_table(target).write_parquet(extra / ITEMS_FILE)


def initial_model(
    system: System, config: TrainerConfig, target: Domain, base_model: str | None
) -> SequenceModel:
    """The model before it is trained; see the module."""
    embeddings = None
    if system.is_matched:
        embeddings = _generated(config, target)
    pretrained = load_trained(config.pretrained)[0] if config.pretrained else None
    if base_model:
        before, items = load_trained(base_model)
        if _has_shape(before, config.settings.model):
            known = _learned(before, items, target)
            embeddings = _joined(_build(system, config, target, embeddings, pretrained), known)
            # Which takes over encoder and embeddings, wherever they come from.
            system, pretrained = SYSTEMS["idp"], before
            shared = int(np.isfinite(known[:, 0]).sum())
            _log.info("goes on from a model that knows %d of %d items", shared, target.num_items)
        else:
            _log.warning("begins anew: the last model is not of the shape that settings.model has")
    return _build(system, config, target, embeddings, pretrained)


def _build(
    system: System,
    config: TrainerConfig,
    target: Domain,
    embeddings: npt.NDArray[np.float32] | None,
    pretrained: SequenceModel | None,
) -> SequenceModel:
    return build_target_model(
        system,
        config.settings.model,
        target.num_items,
        config.settings.seed,
        embeddings=embeddings,
        pretrained=pretrained,
        loss=config.settings.fine_tune.loss,
    )


def _has_shape(model: SequenceModel, settings: ModelSettings) -> bool:
    shape, wanted = model.get_config(), settings.model_dump()
    return all(shape.get(name) == value for name, value in wanted.items())


def _learned(model: SequenceModel, items: pl.DataFrame, target: Domain) -> npt.NDArray[np.float32]:
    """A model's embeddings of the target's items, (num_items, dim); NaN where it knows none."""
    assert model.item_embedding is not None  # it reads ids
    table = model.item_embedding.embeddings.numpy()
    rows = dict(zip(items["item_id"], range(1, items.height + 1), strict=True))
    found = np.array([rows.get(item, 0) for item in target.item_ids.external_ids])
    known: npt.NDArray[np.float32] = table[found]
    known[found == 0] = np.nan
    return known


def _joined(fresh: SequenceModel, known: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Known embeddings where there are any, else those that the model would begin with."""
    assert fresh.item_embedding is not None
    begun = fresh.item_embedding.embeddings.numpy()[1:]
    return np.where(np.isfinite(known), known, begun).astype(np.float32)


def _generated(config: TrainerConfig, target: Domain) -> npt.NDArray[np.float32]:
    if config.embeddings is None:
        raise SettingsError(
            f"{config.system} begins with generated embeddings, and they are not given",
            where="custom_config.embeddings",
            remedy="give the folder that EmbeddingGenerator made, or the system sasrec",
        )
    items = pl.read_parquet(config.embeddings / ITEMS_FILE)["item_id"].to_list()
    if items != target.item_ids.external_ids:
        raise DataError(
            f"they are of {len(items)} items, which are not the {target.num_items} of"
            f" {target.name}",
            where=config.embeddings,
            remedy="generate them from the same items",
        )
    embeddings: npt.NDArray[np.float32] = np.load(config.embeddings / "embeddings.npy")
    return embeddings


def _system(config: TrainerConfig) -> System:
    usable = [
        slug
        for slug, system in SYSTEMS.items()
        if system.kind == "sequence"
        and system.trained
        and system.items == "ids"
        and system.embeddings in ("fresh", "generated")
        and (system.base is None or system.base.model == "sasrec")
    ]
    if config.system not in usable:
        raise SettingsError(
            f"{config.system!r} is no system that is trained on ids",
            where="custom_config.system",
            remedy=f"choose one of {', '.join(usable)}",
        )
    return SYSTEMS[config.system]


def _only(domains: list[Domain]) -> Domain:
    if len(domains) != 1:
        raise SettingsError(
            f"expected one target domain, got {len(domains)}", where="custom_config.domains"
        )
    return domains[0]
