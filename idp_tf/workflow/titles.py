"""Title vectors of whole domains, in ``titles/<domain>/``: encoded once, shared, memory-mapped.

They are the text encoder's as it is, with all of its layers: what text systems read, and the
nearest-title floor. The matcher's are its own, but for what is the same.
"""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import numpy.typing as npt

from idp_tf.text import build_text_encoder
from idp_tf.transfer.generate import find_untitled
from idp_tf.workflow.artifacts import Artifact
from idp_tf.workflow.needs import titled_domains
from idp_tf.workflow.prepare import data_key, load_domain_of
from idp_tf.workflow.run import Run

Float32Array = npt.NDArray[np.float32]

# Raised when the same inputs would make something else.
_FORMAT = 1
_FILE = "vectors.npy"


def encode_titles(run: Run) -> None:
    """Encodes the titles of every domain of which a system wants them; of workers the chief."""
    run.wait_for(lambda: _encode_all(run))


def load_title_vectors(run: Run, *names: str) -> Float32Array:
    """Title vectors of domains, one after the other, (num_items, width), float32.

    All zeros for items without a title.
    """
    parts = []
    for name in names:
        artifact = titles_artifact(run, name)
        artifact.require()
        with artifact.reading(artifact.folder / _FILE):
            parts.append(np.load(artifact.folder / _FILE, mmap_mode="r"))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def titles_artifact(run: Run, name: str) -> Artifact:
    """The artifact of one domain's title vectors."""
    settings = run.settings.matcher
    inputs: dict[str, Any] = {
        "format": _FORMAT,
        "data": data_key(run, name),
        "encoder": settings.encoder,
        "pooling": settings.pooling,
        "title_length": settings.title_length,
    }
    return run.artifact(run.workdir / "titles" / name, f"titles of {name}", inputs)


def _encode_all(run: Run) -> None:
    for name in titled_domains(run):
        _encode(run, name, titles_artifact(run, name))


def _encode(run: Run, name: str, artifact: Artifact) -> None:
    if artifact.open(rebuild=run.rebuild):
        return
    settings = run.settings.matcher
    titles = load_domain_of(run, name).titles
    whole = build_text_encoder(settings.encoder, settings.pooling, settings.title_length)
    parts = artifact.folder / "parts"
    vectors = whole.encode(titles, resume_dir=parts, description=f"Titles of {name}")
    vectors[find_untitled(titles)] = 0
    partial = artifact.folder / "vectors.partial.npy"
    np.save(partial, vectors)
    partial.replace(artifact.folder / _FILE)
    shutil.rmtree(parts, ignore_errors=True)
    artifact.finish(items=len(titles))
