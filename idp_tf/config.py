"""Typed settings: one definition for Python, the command line and a YAML file.

``load_settings`` starts from a preset, lays a YAML file over it, then
``key=value`` pairs; an unknown key is refused with the nearest known one. What
the paper leaves open (docs/settings.md lists it) has our value here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from idp_tf.errors import SettingsError
from idp_tf.presets import LEARNING_RATES as LEARNING_RATES
from idp_tf.presets import PRESETS as PRESETS
from idp_tf.setting_problems import first_problem, unknown_setting


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class PrepareSettings(_Settings):
    """How raw interactions become sequences (section 3.1)."""

    source_k_core: int = Field(5, ge=1, description="least interactions a source user or item has")
    target_k_core: int = Field(5, ge=1, description="the same for targets; users have 3 at least")
    ties: Literal["random", "id", "source"] = Field(
        "random", description="order of equal timestamps: seeded random, by item id, as in the file"
    )
    unknown_items: Literal["error", "drop", "untitled"] = Field(
        "error", description="interactions whose item has no row: refuse, drop, or go untitled"
    )
    repeated_items: Literal["error", "first"] = Field(
        "error", description="an item id with two rows: refuse, or take the first"
    )
    columns: dict[Literal["user_id", "item_id", "timestamp", "title"], str | None] = Field(
        {},
        description="what columns are called in tables of all domains; timestamp: null if none",
    )

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: dict[str, str | None]) -> dict[str, str | None]:
        if any(theirs is None and ours != "timestamp" for ours, theirs in columns.items()):
            raise ValueError("only timestamp may be null")
        return columns


class ModelSettings(_Settings):
    """The SASRec encoder (eq. 2)."""

    embedding_dim: int = Field(64, ge=1, description="width of item embeddings")
    num_layers: int = Field(2, ge=1, description="transformer layers")
    num_heads: int = Field(2, ge=1, description="attention heads; divides embedding_dim")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout rate")
    max_length: int = Field(50, ge=1, description="most recent items of a user that are read")

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.embedding_dim % self.num_heads:
            raise ValueError(
                f"num_heads must divide embedding_dim, got {self.num_heads} for "
                f"{self.embedding_dim}"
            )
        return self


LossName = Literal["bpr", "bce", "cross-entropy", "sampled-softmax", "gbce"]


class TrainSettings(_Settings):
    """One call of ``model.fit`` with early stopping on validation NDCG@10 (section 3.2)."""

    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate")
    loss: LossName = Field(
        "bpr", description="what it is trained by; eq. 3 has bpr (idp_tf.losses)"
    )
    num_negatives: int = Field(
        256, ge=1, description="items drawn for each user by sampled-softmax and gbce"
    )
    batch_size: int = Field(256, ge=1, description="users in a batch")
    epochs: int = Field(200, ge=1, description="most epochs")
    patience: int = Field(20, ge=1, description="epochs without a better NDCG before it stops")
    validation_users: int = Field(
        10_000, ge=1, description="a seeded sample of this many users is validated on"
    )


class PretrainSettings(TrainSettings):
    """Training on the merged source domains (section 2.3)."""

    negatives: Literal["domain", "all"] = Field(
        "domain", description="training negatives from the item's own domain, or from all"
    )

    @model_validator(mode="after")
    def _check_negatives(self) -> Self:
        if self.loss == "cross-entropy" and self.negatives == "domain":
            raise ValueError(
                "cross-entropy takes the items of all domains as negatives; set "
                "pretrain.negatives=all with it, or choose another pretrain.loss"
            )
        return self


class FineTuneSettings(TrainSettings):
    """Training on the target, the same for every system."""

    learning_rate_grid: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (), description="train with each and keep the best on validation; empty: learning_rate"
    )


class MatcherSettings(_Settings):
    """The Cross-domain ID Matcher (sections 2.4.1 and 2.4.2)."""

    encoder: str = Field(
        "minilm",
        description="'minilm' (the lock's), a folder in Hugging Face format, or a KerasHub preset",
    )
    pooling: Literal["cls", "mean"] = Field(
        "mean", description="what of the last layer is the title's vector"
    )
    title_length: int = Field(64, ge=4, description="most word pieces of a title that are read")
    kept_layers: int | None = Field(None, ge=1, description="encoder layers kept; None keeps all")
    temperature: float = Field(0.05, gt=0, description="tau of eq. 5 and 6")
    distillation: float = Field(
        10.0, ge=0, description="weight of staying near the untuned vectors; eq. 7 has 0"
    )
    neighbours: int = Field(10, ge=1, description="k behaviour neighbours of an item (eq. 6)")
    neighbour_scope: Literal["domain", "all"] = Field(
        "domain", description="where behaviour neighbours are looked for"
    )
    min_interactions: int = Field(
        20,
        ge=0,
        description="items with fewer training interactions are no behaviour neighbours",
    )
    held_out: float = Field(0.1, gt=0, lt=0.9, description="share of source items not tuned on")
    batch_size: int = Field(64, ge=2, description="items in a batch")
    steps: int = Field(2000, ge=0, description="tuning steps; 0 leaves the encoder untuned")
    max_items: int | None = Field(None, ge=2, description="tune on a sample of this many items")
    learning_rate: float = Field(3e-4, gt=0, description="AdamW's, after warm-up")


class RecformerSettings(_Settings):
    """Recformer, a language model over histories, with caps that 2 cores can carry."""

    kept_layers: int | None = Field(
        2, ge=1, description="layers kept of matcher.encoder; None keeps all"
    )
    pooling: Literal["cls", "mean"] = Field(
        "mean", description="what of the last layer is a user's or an item's vector"
    )
    max_items: int = Field(10, ge=1, description="most recent items of a user that are read")
    title_tokens: int = Field(16, ge=2, description="most word pieces of an item, its key's too")
    max_tokens: int = Field(128, ge=3, description="most word pieces of a history")
    window: int = Field(
        64, ge=2, multiple_of=2, description="positions that a position sees, half to either side"
    )
    temperature: float = Field(0.05, gt=0, description="cosines are divided by it in both losses")
    mlm_weight: float = Field(0.1, ge=0, description="weight of masked language modelling")
    batch_size: int = Field(32, ge=1, description="histories in a batch of fine-tuning")
    pretrain_batch_size: int = Field(64, ge=2, description="histories in a batch of pre-training")
    pretrain_sequences: int = Field(
        20_000, ge=1, description="a seeded sample of this many source users is pre-trained on"
    )
    pretrain_steps: int = Field(300, ge=0, description="steps of pre-training; 0 leaves it out")
    pretrain_learning_rate: float = Field(3e-4, gt=0, description="Adam's, after warm-up")
    learning_rate: float = Field(3e-4, gt=0, description="Adam's in fine-tuning, after warm-up")
    stage_1_epochs: int = Field(8, ge=1, description="most epochs that encode all items anew")
    stage_1_patience: int = Field(2, ge=1, description="epochs of it without a better NDCG")
    stage_2_epochs: int = Field(4, ge=0, description="most epochs on the best encoded items")
    stage_2_patience: int = Field(2, ge=1, description="epochs of it without a better NDCG")
    validation_users: int = Field(
        1_000, ge=1, description="a seeded sample of this many users is validated on"
    )

    def of_pretraining(self) -> dict[str, Any]:
        """All that decides how pre-training goes."""
        fine_tuning = {"batch_size", "learning_rate", "validation_users"}
        stages = {name for name in type(self).model_fields if name.startswith("stage_")}
        return self.model_dump(mode="json", exclude=fine_tuning | stages)

    def of_fine_tuning(self) -> dict[str, Any]:
        """All that decides how fine-tuning goes, from whatever encoder it takes up."""
        pretraining = {name for name in type(self).model_fields if name.startswith("pretrain_")}
        return self.model_dump(mode="json", exclude={"mlm_weight"} | pretraining)


class TransferSettings(_Settings):
    """How matches become embeddings (eq. 8 and 9)."""

    top_m: int = Field(10, ge=1, description="m source items for each target item")
    norm: Literal["none", "matches"] = Field(
        "none",
        description="'none' is eq. 9; 'matches' stretches a blend to its matches' mean norm",
    )
    zero_shot_norm: Literal["none", "matches"] = Field(
        "matches", description="the same where nothing is trained afterwards"
    )
    retrieval: Literal["exact", "scann"] = Field(
        "exact", description="how matches are found; ScaNN's builds differ a little each time"
    )


class EvaluationSettings(_Settings):
    """The two protocols of section 3.2."""

    negatives: int = Field(99, ge=1, description="sampled negatives of the sampled protocol")


class Settings(_Settings):
    """Everything that decides a run, apart from the data.

    Example:
        >>> Settings().model.embedding_dim
        64
    """

    preset: Literal["quick", "standard", "paper"] = "standard"
    seed: int = Field(0, ge=0, description="seed of the whole chain")
    fine_tune_seeds: int = Field(
        1, ge=1, description="target models are trained with seeds seed, seed+1, …"
    )
    systems: tuple[str, ...] = Field(
        (
            "popularity",
            "nearest-title",
            "sasrec",
            "idp-zero-shot",
            "idp",
            "idp-wo-encoder",
            "idp-wo-matcher",
            "idp-wo-bcl",
        ),
        description="systems to train and evaluate on the target",
    )
    prepare: PrepareSettings = PrepareSettings()
    model: ModelSettings = ModelSettings()
    pretrain: PretrainSettings = PretrainSettings()
    fine_tune: FineTuneSettings = FineTuneSettings()
    matcher: MatcherSettings = MatcherSettings()
    recformer: RecformerSettings = RecformerSettings()
    transfer: TransferSettings = TransferSettings()
    evaluation: EvaluationSettings = EvaluationSettings()


def load_settings(
    preset: str = "standard",
    *,
    file: str | Path | None = None,
    overrides: Iterable[str] = (),
    tune: bool = False,
    within: str = "",
    **top_level: Any,
) -> Settings:
    """Builds settings from a preset, a YAML file and ``key=value`` pairs, later ones winning.

    Args:
        preset: ``quick``, ``standard`` or ``paper``.
        file: A YAML file with the same keys as ``Settings``.
        overrides: Pairs such as ``"pretrain.epochs=3"``; values are read as YAML.
        tune: Whether to search for the target models' learning rate, over ``LEARNING_RATES``
            unless file or overrides give a grid.
        within: What messages put before a key, where settings are a part of something else.
        **top_level: Values of top-level keys, such as ``seed=1``; they win over all.

    Raises:
        SettingsError: for an unknown preset or key, a value that breaks its rule, or nothing to
            tune over where that is asked for.

    Example:
        >>> load_settings("quick", overrides=["transfer.top_m=5"]).transfer.top_m
        5
    """
    if preset not in PRESETS:
        raise SettingsError(
            f"unknown preset {preset!r}", remedy=f"choose one of {', '.join(PRESETS)}"
        )
    values: dict[str, Any] = {"preset": preset}
    _merge(values, PRESETS[preset])
    if tune:
        _merge(values, {"fine_tune": {"learning_rate_grid": LEARNING_RATES}})
    if file is not None:
        _merge(values, _read_yaml(Path(file)))
    for pair in overrides:
        _merge(values, _parse_pair(pair))
    _merge(values, top_level)
    if values["preset"] != preset:
        raise SettingsError(
            f"the settings name the preset {values['preset']!r}, but {preset!r} was chosen",
            where="preset",
            remedy="choose that preset, or leave the key out of file and overrides",
        )
    _check_keys(Settings, values, within)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(first_problem(error, within)) from error
    if tune and not settings.fine_tune.learning_rate_grid:
        raise SettingsError(
            "there is nothing to tune over",
            where="fine_tune.learning_rate_grid",
            remedy="give it rates, or leave it out for those of section 3.2",
        )
    return settings


def _merge(base: dict[str, Any], extra: Mapping[str, Any]) -> None:
    for key, value in extra.items():
        if isinstance(value, Mapping):
            inner = base.setdefault(key, {})
            base[key] = dict(inner) if isinstance(inner, Mapping) else {}
            _merge(base[key], value)
        else:
            base[key] = value


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError("the settings file cannot be read", where=file) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"not valid YAML: {error}", where=file) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(
            f"expected keys and values, found a {type(content).__name__}", where=file
        )
    return content


def _parse_pair(pair: str) -> dict[str, Any]:
    key, equals, text = pair.partition("=")
    if not equals or not key.strip():
        raise SettingsError(
            f"{pair!r} is no key=value pair", remedy="write for example pretrain.epochs=3"
        )
    try:
        nested: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{pair!r} holds a value that is not valid YAML") from error
    for part in reversed(key.strip().split(".")):
        nested = {part: nested}
    assert isinstance(nested, dict)
    return nested


def _check_keys(model: type[BaseModel], values: Mapping[str, Any], prefix: str) -> None:
    known = model.model_fields
    for key, value in values.items():
        if key not in known:
            raise unknown_setting(prefix, str(key), known)
        inner = known[key].annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            if not isinstance(value, Mapping | BaseModel):
                raise SettingsError(
                    f"setting '{prefix}{key}' holds {value!r}, expected keys and values"
                )
            if isinstance(value, Mapping):
                _check_keys(inner, value, f"{prefix}{key}.")
