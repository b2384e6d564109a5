"""What trainer modules share: what they are told, what they read, and what they leave behind.

A Model lies in ``serving_model_dir`` as a SavedModel; beside what is served it has, below
``assets.extra/idp_tf/``, what goes on being trained: ``model/`` (``save_model``) or ``encoder/``
(``TextEncoder.save``), and ``items.parquet``, whose row ``i`` is internal id ``i + 1``.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from idp_tf.config import Settings, TrainSettings, first_problem
from idp_tf.data.domain import Domain, MergedDomains
from idp_tf.data.examples import read_domain
from idp_tf.errors import MissingDataError, SettingsError

if TYPE_CHECKING:
    from idp_tf.models import SequenceModel

EXTRA: Final = "assets.extra/idp_tf"
"""Below a SavedModel; TensorFlow leaves ``assets.extra`` alone."""
MODEL: Final = "model"
ENCODER: Final = "encoder"
ITEMS_FILE: Final = "items.parquet"


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
        embeddings: A folder with generated embeddings, where they are needed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: Settings = Settings()
    domains: tuple[DomainFiles, ...]
    system: str = "idp"
    pretrained: Path | None = None
    embeddings: Path | None = None


def read_config(fn_args: Any) -> TrainerConfig:
    """``custom_config``, checked.

    Args:
        fn_args: TFX's ``FnArgs``, or anything with its attributes.

    Raises:
        SettingsError: naming the first key that is wrong, or ``eval_files`` that don't fit.
    """
    given = fn_args.custom_config or {}
    if not isinstance(given, Mapping):
        raise SettingsError(f"expected a mapping, got {given!r}", where="custom_config")
    try:
        config = TrainerConfig.model_validate(dict(given))
    except ValidationError as error:
        raise SettingsError(first_problem(error), where="custom_config") from error
    if len(config.domains) != len(fn_args.eval_files):
        raise SettingsError(
            f"{len(fn_args.eval_files)} eval_files for {len(config.domains)} domains",
            where="custom_config.domains",
            remedy="name the domains in the order of the examples, one for each pattern",
        )
    return config


def read_domains(fn_args: Any, config: TrainerConfig) -> list[Domain]:
    """The domains, whole histories: what validates is in the split ``eval`` alone."""
    return [
        read_domain(domain.name, [users], [domain.items])
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
    if not (folder / ITEMS_FILE).is_file():
        raise MissingDataError(
            "this is no model of idp_tf's trainers",
            where=serving_model_dir,
            remedy="give the serving_model_dir of pretrain or fine_tune",
        )
    return load_model(folder / MODEL), pl.read_parquet(folder / ITEMS_FILE)


def item_table(domain: Domain | MergedDomains) -> pl.DataFrame:
    """The items of a domain (``item_id``, ``title``), or of several (``domain`` besides)."""
    if isinstance(domain, Domain):
        return pl.DataFrame({"item_id": domain.item_ids.external_ids, "title": domain.titles})
    tables = [
        item_table(one).select(pl.lit(one.name).alias("domain"), "item_id", "title")
        for one in domain.domains
    ]
    return pl.concat(tables)


def place(version: Path, serving_model_dir: str | Path) -> Path:
    """Moves an exported version to where the trainer is to leave it; its extra folder."""
    target = Path(serving_model_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        target.rmdir()  # TFX may have made it; what is not empty is not ours to remove
    shutil.move(os.fspath(version), target)
    extra = target / EXTRA
    extra.mkdir(parents=True)
    return extra
