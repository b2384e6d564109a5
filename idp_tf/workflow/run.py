"""What a run is: where its data lies, which domains take part, and its settings."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from idp_tf.config import Settings
from idp_tf.data.readers import find_domain
from idp_tf.errors import SettingsError, WorkdirError
from idp_tf.setting_problems import first_problem
from idp_tf.systems import SYSTEMS, System
from idp_tf.workflow.artifacts import Artifact

if TYPE_CHECKING:
    import tensorflow as tf

CONFIG_FILE = "config.yaml"
_LOCK_FILE = ".lock"


class RunConfig(BaseModel):
    """A resolved run, as ``config.yaml`` holds it.

    Args:
        data: The folder of the raw domains.
        sources: Names of the source domains.
        target: Name of the target domain.
        settings: Everything else.
        demonstration: Whether this is the built-in catalogue, whose figures prove nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path
    sources: tuple[str, ...]
    target: str
    settings: Settings
    demonstration: bool = False

    def check(self) -> None:
        """Refuses domains and systems that cannot be a run's.

        Raises:
            SettingsError: for no source, one named twice, or a source that is the target; for no
                system, one that is unknown, named twice, or wants what is not there.
        """
        self._check_domains()
        slugs, known = self.settings.systems, f"known: {', '.join(SYSTEMS)}"
        if not slugs:
            raise SettingsError("no systems are named", where="systems", remedy=known)
        for slug in slugs:
            if slug not in SYSTEMS:
                raise SettingsError(f"unknown system {slug!r}", where="systems", remedy=known)
            if slugs.count(slug) > 1:
                raise SettingsError(f"{slug!r} is named twice", where="systems", remedy=known)
            self._check_needs(SYSTEMS[slug])

    def check_data(self) -> None:
        """Refuses domains that are not there.

        Raises:
            MissingDataError: naming those that are.
        """
        for name in (*self.sources, self.target):
            find_domain(self.data, name)

    def _check_domains(self) -> None:
        if not self.sources:
            raise SettingsError("no source domain is given", remedy="--sources a,b")
        if len(set(self.sources)) != len(self.sources):
            raise SettingsError(f"a source domain is named twice in {', '.join(self.sources)}")
        if self.target in self.sources:
            raise SettingsError(
                f"the domain {self.target!r} is a source and the target too",
                remedy="leave it out of --sources, or the test is no test of transfer",
            )

    def _check_needs(self, system: System) -> None:
        slug, twin = system.slug, system.twin
        if system.embeddings == "twin" and twin not in self.settings.systems:
            raise SettingsError(
                f"{slug!r} takes what {twin!r} has learned, which is not among them",
                where="systems",
                remedy=f"add {twin} to systems",
            )
        if system.base is not None and len(self.sources) < system.base.min_sources:
            alone = ", ".join(self.sources)
            raise SettingsError(
                f"{slug!r} learns what source domains share, and there is only {alone}",
                where="systems",
                remedy=f"name two sources, or leave {slug} out of --systems",
            )


@dataclass
class Run:
    """A run over its workdir, shared by all stages.

    Args:
        workdir: The folder that holds everything a run makes.
        config: What to do.
        rebuild: Make anew what other settings made, rather than refuse.
        strategy: How sequence models are trained (``build_strategy``); None for one process.
            It is no part of what an artifact is known by: it is another way to the same.
    """

    workdir: Path
    config: RunConfig
    rebuild: bool = False
    strategy: tf.distribute.Strategy | None = None
    artifacts: dict[Path, Artifact] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self.config.settings

    @property
    def target_dir(self) -> Path:
        """Where everything of the target domain lies."""
        return self.workdir / "target" / self.config.target

    @cached_property
    def logs_dir(self) -> Path:
        """Where TensorBoard looks."""
        return self.workdir / "logs"

    def artifact(self, folder: Path, name: str, inputs: dict[str, Any]) -> Artifact:
        """An artifact of this run, the same one each time it is asked for.

        Stages ``open`` their own and ``require`` those of earlier stages.
        """
        return self.artifacts.setdefault(folder, Artifact(folder, name, inputs))

    @property
    def is_chief(self) -> bool:
        """Whether this process makes and writes things, rather than help to train."""
        if self.strategy is None:
            return True
        from idp_tf.strategy import is_chief

        return is_chief(self.strategy)

    def scope(self) -> AbstractContextManager[Any]:
        """Where models are made that the strategy is to train."""
        return nullcontext() if self.strategy is None else self.strategy.scope()

    def open(self, artifact: Artifact) -> bool:
        """Opens an artifact that holds a training; True if nothing is left to do.

        The chief opens it; other workers wait until it has, and do as it does.
        """
        return bool(self.agreed(lambda: artifact.open(rebuild=self.rebuild)))

    def agreed(self, compute: Callable[[], float]) -> float:
        """The chief's number, in every process of the run; the chief alone computes it."""
        if self.strategy is None:
            return compute()
        from idp_tf.strategy import agreed

        return agreed(self.strategy, compute)

    def wait_for(self, make: Callable[[], None]) -> None:
        """Has the chief make something that every worker is going to read; the others wait."""
        if self.strategy is None:
            make()
            return
        from idp_tf.strategy import agreed

        def made() -> float:
            make()
            return 0.0

        agreed(self.strategy, made)

    def finish(self, artifact: Artifact, **summary: Any) -> None:
        """Declares such an artifact whole, by the chief; notes the strategy."""
        if self.is_chief:
            strategy = None if self.strategy is None else type(self.strategy).__name__
            artifact.finish(**summary, strategy=strategy)

    def save_config(self) -> None:
        """Writes ``config.yaml``.

        Raises:
            WorkdirError: if the workdir cannot be made.
        """
        self._make_workdir()
        text = yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False)
        partial = self.workdir / f".{CONFIG_FILE}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.workdir / CONFIG_FILE)

    @contextmanager
    def locked(self) -> Iterator[Run]:
        """Keeps other processes from working in the workdir; the end of this one frees it.

        Workers who help the chief to train do so under its lock.

        Raises:
            WorkdirError: if another process is at work there, or no workdir can be made.
        """
        if not self.is_chief:
            yield self
            return
        self._make_workdir()
        with (self.workdir / _LOCK_FILE).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WorkdirError(
                    "another process is at work in this workdir",
                    where=self.workdir,
                    remedy="wait until it has ended, or choose another --workdir",
                ) from error
            yield self

    def _make_workdir(self) -> None:
        try:
            self.workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkdirError(
                f"no folder can be made here: {error}",
                where=self.workdir,
                remedy="choose another --workdir",
            ) from error


def load_run(
    workdir: Path, *, rebuild: bool = False, strategy: tf.distribute.Strategy | None = None
) -> Run:
    """The run whose ``config.yaml`` a workdir holds.

    Raises:
        WorkdirError: if there is none, or it cannot be read.
    """
    path = workdir / CONFIG_FILE
    try:
        config = RunConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise WorkdirError(
            f"no {CONFIG_FILE} here",
            where=workdir,
            remedy="begin with: idp-tf prepare --data DIR --sources a,b --target t --workdir W",
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise WorkdirError(
            f"cannot be read: {problem}",
            where=path,
            remedy="mend it, or write it anew by the same idp-tf prepare or idp-tf run as before",
        ) from error
    return Run(workdir, config, rebuild=rebuild, strategy=strategy)


def items_file(place: Path) -> Path:
    """The table of items and titles of a workdir's target; any other path is itself."""
    if not (place / CONFIG_FILE).is_file():
        return place
    return place / "data" / load_run(place).config.target / "items.parquet"
