"""Two models as they are served, made once a session."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from judged_world import histories, item_ids, sasrec, write_examples, write_model

from idp_tf.models import SASRec
from pipelines.artifacts import MODEL, Artifact, digest_of


class ServedWorld(NamedTuple):
    """Artifacts, and the models that they hold."""

    examples: Artifact
    artifacts: list[Artifact]
    models: list[SASRec]


def served_world(tmp_path_factory: pytest.TempPathFactory) -> ServedWorld:
    """Of the first test that asks, for all that follow in the process."""
    place = tmp_path_factory.getbasetemp() / "served-world"
    models = [sasrec(seed=seed) for seed in (1, 2)]
    if not place.exists():
        write_examples(place / "examples", histories())
        for number, model in enumerate(models):
            write_model(place / str(number), model, item_ids(), served=True)
    artifacts = [
        Artifact(MODEL, place / str(n), digest_of(place / str(n))) for n in range(len(models))
    ]
    examples = Artifact("Examples", place / "examples", "e", {"domain": "shop"})
    return ServedWorld(examples, artifacts, models)


def verdict(folder: Path, mark: str) -> Artifact:
    """A verdict, with reasons where it is none in favour."""
    folder.mkdir(parents=True)
    (folder / mark).touch()
    if "NOT" in mark:
        (folder / "reasons.json").write_text(
            '{"checks": [{"passed": true, "words": "Fine."}, {"passed": false, "words": "Bad."}]}'
        )
    return Artifact("Verdict", folder, mark)


@contextmanager
def running_server(log: Path, **flags: object) -> Iterator[str]:
    """The server of ``idp-tf serve`` in a process of its own; its address, once it answers."""
    options = [f"--{name}={value}" for name, value in {"port": 0, **flags}.items()]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.serve_until_eof", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        with process:
            try:
                found = re.search(r" on (\S+:\d+)", process.stdout.readline())
                assert found, log.read_text()[-2000:]
                yield found[1]
            finally:
                process.kill()
