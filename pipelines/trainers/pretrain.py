"""Pre-trains SASRec on the merged source domains (section 2.3).

``custom_config`` (``idp_tf.workflow.trainer_modules.TrainerConfig``): ``domains`` (the sources, in
the order of the examples) and ``settings``, of which ``seed``, ``model``, ``pretrain`` and
``evaluation`` are read. ``base_model`` is refused: source models begin anew.
Leaves a recommender over ``domain:item`` ids. Checkpoints are kept in ``model_run_dir``: the same
call after a kill goes on at the last whole epoch.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from idp_tf.config import Settings
from idp_tf.data.domain import MergedDomains
from idp_tf.data.schema import IdMap
from idp_tf.models import SASRec, build_model, save_model
from idp_tf.workflow.trainer_modules import (
    MODEL,
    capped,
    extra_folder,
    item_table,
    place,
    read_config,
    read_domains,
    refuse_base_model,
)
from idp_tf.workflow.training import source_batches, train_on_sources
from serving.export import export_recommender


def run_fn(fn_args: Any) -> None:
    """Trains, and writes ``serving_model_dir``.

    Args:
        fn_args: TFX's ``FnArgs``. Users are read from ``eval_files``, one pattern a domain, since
            their last two items, which training leaves out, validate. ``train_steps``, if set, is
            the most steps, in whole epochs.

    Raises:
        SettingsError: if ``custom_config`` is wrong.
        DataError: if the files are not a domain's.
    """
    config = read_config(fn_args)
    refuse_base_model(fn_args)
    merged = MergedDomains.of(read_domains(fn_args, config))
    model = build_model(
        "sasrec",
        config.settings.model,
        merged.num_items,
        item_offsets=tuple(merged.item_offsets.tolist()),
        loss=config.settings.pretrain.loss,
        seed=config.settings.seed,
    )
    assert isinstance(model, SASRec)
    settings = _capped(config.settings, fn_args, merged, model)
    work = Path(fn_args.model_run_dir)
    state = train_on_sources(
        model,
        merged,
        settings,
        folder=work / "checkpoints",
        name="pre-training",
        tensorboard_dir=work / "logs",
    )
    version = export_recommender(
        model,
        IdMap(merged.external_ids),
        work / "export",
        about={"domains": merged.names, "system": "pre-trained sasrec"},
    )
    told = {**asdict(state), "items": merged.num_items}
    # Without titles: new ones would have to train it anew, which they do not change.
    items = item_table(merged).drop("title")
    save_model(model, extra_folder(version, items, told) / MODEL)
    place(version, fn_args.serving_model_dir)


def _capped(settings: Settings, fn_args: Any, merged: MergedDomains, model: SASRec) -> Settings:
    steps = source_batches(merged, settings, model).steps_per_epoch
    pretrain = settings.pretrain.model_copy(update=capped(settings.pretrain, fn_args, steps))
    return settings.model_copy(update={"pretrain": pretrain})
