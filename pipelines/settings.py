"""Settings of a pipeline, from a YAML file: what to run on, and what differs from the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from idp_tf.config import Settings, load_settings
from idp_tf.errors import SettingsError
from idp_tf.setting_problems import refused
from idp_tf.systems import SYSTEMS

_LIBRARY: Final = "settings"


class Inputs(BaseModel):
    """Where a domain's raw files lie, if not where ``idp-tf run`` would find them.

    Args:
        interactions: Glob patterns of logs, below ``data``.
        items: Glob patterns of titles, below ``data``.
        form: Their format.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    interactions: tuple[str, ...]
    items: tuple[str, ...]
    form: Literal["RecBole", "MovieLens", "tables", "Amazon 2014", "Amazon 2018", "Amazon 2023"]


class PipelineSettings(BaseModel):
    """All settings. Components' own stand under their names, as their ``Parameters`` have them.

    Example:
        >>> PipelineSettings(data="data", root="root", sources=["books"], target="office").system
        'idp'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path = Field(description="folder of domains, or of what `inputs` names")
    root: Path = Field(description="folder of everything that the pipeline makes")
    sources: tuple[str, ...] = Field(min_length=1, description="source domains, in their order")
    target: str = Field(description="the target domain")
    model_name: str = Field("recommender", pattern=r"^[A-Za-z0-9_.-]+$", description="as served")
    system: str = Field("idp", description="the system that is fine-tuned and pushed")
    preset: Literal["quick", "standard", "paper"] = Field("standard", description="of `settings`")
    settings: Mapping[str, Any] = Field({}, description="as `idp-tf run --config`, nested")
    inputs: Mapping[str, Inputs] = Field({}, description="domain -> where its raw files lie")
    curated_schemas: Mapping[str, Path] = Field({}, description="domain -> a schema to keep")
    example_gen: Mapping[str, Any] = {}
    statistics_gen: Mapping[str, Any] = {}
    schema_gen: Mapping[str, Any] = {}
    example_validator: Mapping[str, Any] = {}
    bulk_inferrer: Mapping[str, Any] = {}
    index_builder: Mapping[str, Any] = {}
    evaluator: Mapping[str, Any] = {}
    infra_validator: Mapping[str, Any] = {}
    pusher: Mapping[str, Any] = {}
    beam_args: tuple[str, ...] = Field((), description="Beam's options, such as --runner")

    @field_validator("data", "root")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        """The record, and workers elsewhere, know artifacts by their paths."""
        return folder.absolute()

    @model_validator(mode="after")
    def _check(self) -> PipelineSettings:
        if self.target in self.sources:
            raise ValueError(f"{self.target} is a source and the target too")
        if len(set(self.sources)) != len(self.sources):
            raise ValueError("a source is named twice")
        usable = [slug for slug, system in SYSTEMS.items() if system.is_trained_on_ids]
        if self.system not in usable:  # before hours of training, not after them
            raise ValueError(
                f"{self.system} is no system that is trained on ids; choose of {', '.join(usable)}"
            )
        unknown = ({*self.inputs} | {*self.curated_schemas}) - {*self.sources, self.target}
        if unknown:
            raise ValueError(f"{min(unknown)} is neither a source nor the target")
        return self

    @property
    def library(self) -> Settings:
        """The library's settings: the preset with ``settings`` laid over it.

        Raises:
            SettingsError: for an unknown key, or a value that breaks its rule.
        """
        pairs = [f"{key}={value}" for key, value in _flat(self.settings)]
        return load_settings(self.preset, overrides=pairs, within=f"{_LIBRARY}.")

    @property
    def domains(self) -> tuple[str, ...]:
        """The sources and the target."""
        return (*self.sources, self.target)

    @property
    def destination(self) -> Path:
        """Where versions of the model are pushed."""
        return Path(self.pusher.get("destination", self.root / "serving" / self.model_name))


def load_pipeline_settings(
    file: Path, *, data: Path | None = None, root: Path | None = None
) -> PipelineSettings:
    """Reads a YAML file.

    Args:
        file: The file; paths in it are relative to where the command runs.
        data: Wins over the file's.
        root: Wins over the file's.

    Raises:
        SettingsError: if it cannot be read, or for an unknown key or an impossible value.
    """
    given = _read(file)
    given |= {"data": data} if data else {}
    given |= {"root": root} if root else {}
    try:
        settings = PipelineSettings.model_validate(given)
        _ = settings.library  # what is wrong in it is to be told now
    except ValidationError as error:
        raise _in_file(refused(error, PipelineSettings), file) from error
    except SettingsError as error:
        raise _in_file(error, file) from error
    return settings


def _in_file(error: SettingsError, file: Path) -> SettingsError:
    return SettingsError(error.problem, where=file, remedy=error.remedy)


def _read(file: Path) -> dict[str, Any]:
    try:
        # It is a SafeLoader.
        given = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"cannot be read: {error}", where=file) from error
    if not isinstance(given, dict):
        raise SettingsError("it holds no settings", where=file, remedy="begin with: data: FOLDER")
    return given


class _Loader(yaml.SafeLoader):
    """YAML without a key that stands twice, of which PyYAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.YAMLError(
                    f"the key '{key.value}' stands twice, again in line {key.start_mark.line + 1}"
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _flat(nested: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as ``key.key=value`` pairs, values as YAML."""
    pairs: list[tuple[str, str]] = []
    for key, value in nested.items():
        if isinstance(value, Mapping) and value and key != "columns":
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=10**6)
            pairs.append((f"{prefix}{key}", text.removesuffix("\n...\n").strip()))
    return pairs
