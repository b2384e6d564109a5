"""The component Pusher, and the way back."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import Field

from idp_tf.errors import WorkdirError
from idp_tf.workflow.artifacts import read_json, write_json
from pipelines import artifacts
from pipelines.artifacts import Artifact
from pipelines.component import Component, Execution, Parameters
from pipelines.components.trainer import SERVING
from pipelines.components.verdict import BLESSED, INFRA_BLESSED, read_failures
from pipelines.versions import (
    MIN_KEPT,
    Pushed,
    RolledBack,
    list_pushed,
    push_version,
    pushed_fingerprint,
    rollback,
)

PUSHED_FILE: Final = "pushed.json"

_LOG = logging.getLogger("pipelines.Pusher")

__all__ = ["Pusher", "PusherParameters", "RolledBack", "rollback"]


class PusherParameters(Parameters):
    """Where models are pushed to."""

    destination: Path = Field(
        description="The folder of the model's versions, such as ROOT/serving/recommender; the "
        "folder around it gets models.config."
    )
    keep: int = Field(
        3,
        ge=MIN_KEPT,
        description="Versions that stay, the newest and the one before it at least: a server may "
        "still be reading that one.",
    )


class Pusher(Component[PusherParameters]):
    """Puts a blessed model where servers look for it, as the latest version.

    A version is named by the seconds since the epoch. It is copied beside the others under a
    hidden name, ``saved_model.pb`` last, and gets its own name by one rename: a server never
    sees half of it, and a kill or a full disk leaves what was pushed before. A model that is
    the latest already is kept; one that was rolled back is refused. ``rollback`` undoes a push.

    Inputs: ``model``, its ``blessing`` and its ``infra_blessing``.

    Outputs::

        pushed_model/pushed.json    {"pushed": bool, "outcome": "pushed" | "kept" | "refused",
                                    "why": [...], "rolled_back": bool, "destination", "version",
                                    "versions", "removed", "fingerprint", "models_config"}

    and outside of the record, under ``destination`` and beside it::

        <destination>/<version>/    see pipelines.versions
        models.config               of every model there, for TF-Serving's --model_config_file

    A model that is not blessed is no error: ``pushed.json`` says why it went nowhere, and what
    was pushed before stays.

    Raises:
        WorkdirError: if a verdict cannot be read, or the model cannot be copied.
    """

    name = "Pusher"
    inputs: ClassVar[Mapping[str, str]] = {
        "model": artifacts.MODEL,
        "blessing": artifacts.BLESSING,
        "infra_blessing": artifacts.INFRA_BLESSING,
    }
    outputs: ClassVar[Mapping[str, str]] = {"pushed_model": artifacts.PUSHED_MODEL}
    parameters = PusherParameters

    def undone(self, parameters: PusherParameters, outputs: Mapping[str, Artifact]) -> str:
        """What servers find now, if it is not what the earlier execution has left or refused."""
        content = read_json(outputs["pushed_model"].uri / PUSHED_FILE)
        destination = parameters.destination.resolve()
        is_latest = _latest_fingerprint(destination) == content["fingerprint"]
        if content["pushed"] and not is_latest:
            return f"version {content['version']} is not the latest in {destination} any more"
        if content.get("rolled_back") and is_latest:
            return f"the model that was rolled back is the latest in {destination} again"
        return ""

    def execute(self, execution: Execution[PusherParameters]) -> None:
        """Pushes, or says why not."""
        why = [
            *_objections(execution.one("blessing"), BLESSED),
            *_objections(execution.one("infra_blessing"), INFRA_BLESSED),
        ]
        told, model = execution.parameters, execution.one("model")
        destination = told.destination.resolve()
        pushed = Pushed(None)
        if not why:
            pushed = push_version(
                model.uri / SERVING, destination, fingerprint=model.fingerprint, keep=told.keep
            )
            why = [pushed.refused] if pushed.refused else []
        _write(execution, pushed, why, destination)


def _latest_fingerprint(destination: Path) -> str | None:
    versions = list_pushed(destination)
    return pushed_fingerprint(destination / str(versions[-1])) if versions else None


def _objections(verdict: Artifact, mark: str) -> list[str]:
    """Why a verdict is none in favour; nothing if it is."""
    if (verdict.uri / mark).is_file():
        return []
    try:
        failures = read_failures(verdict.uri)
    except WorkdirError:
        failures = []
    return failures or [f"There is no file {mark} in {verdict.uri}."]


def _write(
    execution: Execution[PusherParameters], pushed: Pushed, why: list[str], destination: Path
) -> None:
    outcome = "refused" if why else "pushed" if pushed.is_new else "kept"
    versions = list_pushed(destination)
    content: dict[str, Any] = {
        "pushed": not why,
        "outcome": outcome,
        "why": why or [_reason(pushed)],
        "rolled_back": bool(pushed.refused),
        "destination": str(destination),
        "version": pushed.version,
        "versions": versions,
        "removed": list(pushed.removed),
        "fingerprint": execution.one("model").fingerprint,
        "models_config": _models_config(destination) if versions else None,
    }
    output = execution.outputs["pushed_model"]
    write_json(output.uri / PUSHED_FILE, content)
    output.properties.update(
        pushed=not why, outcome=outcome, version=pushed.version, destination=str(destination)
    )
    _LOG.debug("%s: %s", outcome, json.dumps(content["why"], ensure_ascii=False))


def _reason(pushed: Pushed) -> str:
    if pushed.is_new:
        return f"It is blessed, and is version {pushed.version} now."
    return f"It is version {pushed.version}, the latest, already; nothing was copied."


def _models_config(destination: Path) -> str:
    # Imports TensorFlow, which a rollback can do without.
    from serving.model_config import write_models_config

    try:
        return str(write_models_config(destination.parent))
    except OSError as error:
        raise WorkdirError(
            f"models.config could not be written: {error}",
            where=destination.parent,
            remedy="make room or mend the folder, and run again; the model itself is pushed",
        ) from error
