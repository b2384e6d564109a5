"""A text encoder as the matcher's trainer leaves it."""

from __future__ import annotations

from pathlib import Path

from idp_tf.text import TextEncoder
from pipelines.artifacts import MODEL, Artifact
from pipelines.trainers.tune_matcher import export_encoder


def export(encoder: TextEncoder, folder: Path, fingerprint: str = "encoder") -> Artifact:
    """The encoder's SavedModel as a Model artifact."""
    version = export_encoder(encoder, folder / "exported")
    model = folder / "model"
    model.mkdir()
    version.rename(model / "Format-Serving")
    return Artifact(MODEL, model, fingerprint, {})
