"""One file that holds all that decides how a training goes on."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from idp_tf.errors import WorkdirError


class SavedState:
    """Variables and a few words about them, in a file that is replaced whole or not at all.

    Args:
        file: Where it is kept.
        variables: Keras variables, in an order that does not change.
        fingerprint: Stands for the data and settings; another's state is refused.
        what: What is trained, for messages.
    """

    def __init__(self, file: Path, variables: Sequence[Any], fingerprint: str, what: str):
        self._file = file
        self._variables = variables
        self._fingerprint = fingerprint
        self._what = what

    def write(self, about: dict[str, Any]) -> None:
        """Writes the variables as they are, and ``about``, which JSON must be able to hold."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"fingerprint": self._fingerprint, **about})
        arrays: dict[str, Any] = {f"v{i}": np.asarray(v) for i, v in enumerate(self._variables)}
        fresh = self._file.with_name(self._file.name + ".tmp")
        with fresh.open("wb") as stream:
            np.savez(stream, about=np.array(text), **arrays)
        os.replace(fresh, self._file)

    def restore(self) -> dict[str, Any] | None:
        """Gives the variables their stored values.

        Returns:
            What ``write`` was given, or ``None`` if nothing is stored.

        Raises:
            WorkdirError: if the file is damaged, or of other data or settings.
        """
        if not self._file.exists():
            return None
        try:
            with np.load(self._file) as stored:
                about: dict[str, Any] = json.loads(str(stored["about"]))
                arrays = [stored[f"v{i}"] for i in range(len(self._variables))]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise WorkdirError(
                f"the state of {self._what} cannot be read: {error}",
                where=self._file,
                remedy="delete the file to train from the start",
            ) from error
        if about.pop("fingerprint") != self._fingerprint:
            raise WorkdirError(
                f"the state of {self._what} belongs to other data or settings",
                where=self._file,
                remedy="delete the file, or use another workdir",
            )
        for variable, array in zip(self._variables, arrays, strict=True):
            variable.assign(array)
        return about
