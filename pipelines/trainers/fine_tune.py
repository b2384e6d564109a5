"""Trains a model for the target domain (section 2.6), or its control from scratch.

``custom_config`` (``idp_tf.workflow.trainer_modules.TrainerConfig``): ``domains`` (the target
alone), ``system``, and what the system begins with: ``pretrained`` (where ``pretrain`` left its
model) and ``embeddings`` (what EmbeddingGenerator made); of ``settings`` there are read ``seed``,
``model``, ``fine_tune``, ``evaluation`` and ``transfer``.

With ``base_model``, the last blessed model of this domain, training goes on from it: its encoder,
and its embeddings of the items that it knows; new items begin as they would without it. A base
model of another class or shape than ``settings.model`` says is left, with a warning.
With ``fine_tune.learning_rate_grid`` a model is trained with each rate, and the one that validates
best is left; of equal ones that of the larger rate.
Items without a training interaction, such as all that are new today, get embeddings blended from
those of the others in the end, if there are title vectors beside ``embeddings``: training has
pushed them down.
Checkpoints are kept in ``model_run_dir``: the same call after a kill goes on at the last whole
epoch. Leaves a recommender.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.data.batches import TrainingBatches
from idp_tf.data.domain import Domain
from idp_tf.errors import DataError, SettingsError
from idp_tf.models import SequenceModel, save_model
from idp_tf.models.training import TrainingState
from idp_tf.systems import SYSTEMS, System
from idp_tf.transfer import build_target_model, regenerate_untrained
from idp_tf.workflow.trainer_modules import (
    MODEL,
    TrainerConfig,
    capped,
    extra_folder,
    item_table,
    learned_embeddings,
    load_embeddings,
    load_title_vectors,
    load_trained,
    place,
    read_config,
    read_domains,
)
from idp_tf.workflow.training import train_on_target
from serving.export import export_recommender

_SHAPE: Final = ("embedding_dim", "num_layers", "num_heads", "max_length")

_log = logging.getLogger(__name__)


def run_fn(fn_args: Any) -> None:
    """Trains, and writes ``serving_model_dir``.

    Args:
        fn_args: TFX's ``FnArgs``. Users are read from ``eval_files``, since their last two items,
            which training leaves out, validate and test. ``train_steps``, if set, is the most
            steps, in whole epochs.

    Raises:
        SettingsError: if ``custom_config`` is wrong.
        MissingDataError: if what it names is not there.
        DataError: if the files are not a domain's, or embeddings or ``base_model`` are of others.
    """
    config = read_config(fn_args)
    system, settings = _system(config), config.settings
    target = _only(read_domains(fn_args, config))
    vectors = load_title_vectors(config.embeddings, target) if config.embeddings else None
    trained = _train(fn_args, config, system, target)
    model, work = trained.model, Path(fn_args.model_run_dir)
    regenerated = _regenerate(model, config, target, vectors)
    version = export_recommender(
        model,
        target.item_ids,
        work / "export",
        titles=target.titles,
        about={"domain": target.name, "system": system.slug, "seed": settings.seed},
    )
    told = {
        **asdict(trained.state),
        "learning_rate": trained.learning_rate,
        "items": target.num_items,
        "items_known_before": trained.known,
        "items_regenerated": regenerated,
    }
    save_model(model, extra_folder(version, item_table(target), told) / MODEL)
    place(version, fn_args.serving_model_dir)


@dataclass(frozen=True)
class _Trained:
    """A training that came to its end; ``known`` items began as the base model had them."""

    model: SequenceModel
    state: TrainingState
    learning_rate: float
    known: int


def _train(fn_args: Any, config: TrainerConfig, system: System, target: Domain) -> _Trained:
    """Trains with the one learning rate, or with each of a grid, and has the best."""
    settings = config.settings

    def attempt(rate: float) -> _Trained:
        model, known = initial_model(system, config, target, fn_args.base_model)
        steps = TrainingBatches(
            target.sequences,
            target.num_items,
            batch_size=settings.fine_tune.batch_size,
            max_length=model.max_length,
        ).steps_per_epoch
        changes = {"learning_rate": rate, **capped(settings.fine_tune, fn_args, steps)}
        place, name = Path(fn_args.model_run_dir), f"learning-rate-{rate:g}"
        state = train_on_target(
            model,
            target,
            settings.fine_tune.model_copy(update=changes),
            settings,
            settings.seed,
            folder=place / "checkpoints" / name,
            name=f"{system.slug}, {name}",
            tensorboard_dir=place / "logs" / name,
        )
        return _Trained(model, state, rate, known)

    rate, grid = settings.fine_tune.learning_rate, settings.fine_tune.learning_rate_grid
    if grid:
        values = {each: attempt(each).state.best_value for each in grid}
        rate = max(values, key=lambda each: (values[each], each))
    return attempt(rate)  # of a grid, this brings the best training back


def _regenerate(
    model: SequenceModel,
    config: TrainerConfig,
    target: Domain,
    vectors: npt.NDArray[np.float32] | None,
) -> int:
    """Gives items that training never met other embeddings; how many."""
    if vectors is None:
        return 0
    count = regenerate_untrained(model, target.sequences, vectors, config.settings.transfer)
    _log.info("embeddings of %d items without training interactions are blended anew", count)
    return count


def initial_model(
    system: System, config: TrainerConfig, target: Domain, base_model: str | None
) -> tuple[SequenceModel, int]:
    """The model before it is trained, and how many items it has from the base model."""
    model = build_target_model(
        system,
        config.settings.model,
        target.num_items,
        config.settings.seed,
        embeddings=load_embeddings(config.embeddings, target) if config.embeddings else None,
        pretrained=load_trained(config.pretrained)[0] if config.pretrained else None,
        loss=config.settings.fine_tune.loss,
    )
    return model, _go_on(model, target, base_model) if base_model else 0


def _go_on(model: SequenceModel, target: Domain, base_model: str) -> int:
    """Gives the model what the last one had learned; of how many items it had."""
    before, items = load_trained(base_model)
    if not _is_alike(before, model):
        _log.warning("begins anew: the base model is of another class or shape than this one")
        return 0
    known = learned_embeddings(before, items, target)
    is_known = np.isfinite(known[:, 0])
    if not is_known.any():
        raise DataError(
            f"it knows none of the {target.num_items} items of {target.name}",
            where=base_model,
            remedy="give a model of that domain, or none",
        )
    assert model.item_embedding is not None  # it reads ids
    table = model.item_embedding.embeddings.numpy()
    table[1 : target.num_items + 1][is_known] = known[is_known]
    model.item_embedding.embeddings.assign(table)
    model.take_over(before)
    _log.info("goes on from a model that knows %d of %d items", is_known.sum(), target.num_items)
    return int(is_known.sum())


def _is_alike(before: SequenceModel, model: SequenceModel) -> bool:
    had, has = before.get_config(), model.get_config()
    return type(before) is type(model) and all(had.get(n) == has.get(n) for n in _SHAPE)


def _system(config: TrainerConfig) -> System:
    usable = [slug for slug, system in SYSTEMS.items() if system.is_trained_on_ids]
    if config.system not in usable:
        raise SettingsError(
            f"{config.system!r} is no system that is trained on ids",
            where="custom_config.system",
            remedy=f"choose one of {', '.join(usable)}",
        )
    system = SYSTEMS[config.system]
    needed = {"embeddings": system.is_matched, "pretrained": system.takes_over}
    for name, is_needed in needed.items():
        if is_needed and getattr(config, name) is None:
            raise SettingsError(
                f"{system.slug} begins with it, and it is not given",
                where=f"custom_config.{name}",
                remedy="give its folder, or the system sasrec, which begins with nothing",
            )
    return system


def _only(domains: list[Domain]) -> Domain:
    if len(domains) != 1:
        raise SettingsError(
            f"expected one target domain, got {len(domains)}", where="custom_config.domains"
        )
    return domains[0]
