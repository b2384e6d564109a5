"""Stage 2: titles are encoded, and sequence models pre-trained on the merged sources.

In ``pretrain/`` SASRec, from which the matcher learns behaviour; other systems' bases, each in
``bases/<base>/``.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from idp_tf.data.domain import MergedDomains
from idp_tf.models import SequenceModel, build_model, load_model, save_model
from idp_tf.systems import SASREC_BASE, Base
from idp_tf.workflow.artifacts import Artifact
from idp_tf.workflow.needs import needed_bases
from idp_tf.workflow.prepare import data_key, load_sources
from idp_tf.workflow.run import Run
from idp_tf.workflow.titles import encode_titles, load_title_vectors, titles_artifact
from idp_tf.workflow.training import source_batches, train_on_sources

_MODEL = "model"
_IDLE = ("slug", "min_sources")
"""What of a base decides nothing about what is learned."""

# Raised when the same inputs would make something else.
_FORMAT = 4


def pretrain(run: Run) -> None:
    """Pre-trains each model that a system of the run starts from (section 2.3).

    Before that, the titles that systems read are encoded (``titles/``). Writes ``model/`` (the
    best epoch) and checkpoints; of several workers the chief.
    """
    encode_titles(run)
    for base in needed_bases(run):
        artifact = pretrain_artifact(run, base)
        if not run.open(artifact):
            _pretrain(run, base, artifact)


def pretrain_artifact(run: Run, base: Base = SASREC_BASE) -> Artifact:
    """The artifact of one pre-trained model."""
    sources = _sources(run, base)
    inputs: dict[str, Any] = {
        "format": _FORMAT,
        "base": {name: value for name, value in asdict(base).items() if name not in _IDLE},
        "sources": {name: data_key(run, name) for name in sources},
        # JSON objects have no order, but merging has one.
        "order": list(sources),
        "model": run.settings.model.model_dump(mode="json"),
        "pretrain": run.settings.pretrain.model_dump(mode="json"),
        "negatives": run.settings.evaluation.negatives,
        "seed": run.settings.seed,
    }
    if base.reads_titles:
        inputs["titles"] = [titles_artifact(run, name).key for name in sources]
    matched = base == SASREC_BASE
    folder = run.workdir / "pretrain" if matched else run.workdir / "bases" / base.slug
    return run.artifact(folder, "pre-training" if matched else f"base {base.slug}", inputs)


def load_pretrained(run: Run, base: Base = SASREC_BASE) -> SequenceModel:
    """A pre-trained model."""
    artifact = pretrain_artifact(run, base)
    artifact.require()
    return load_model(artifact.folder / _MODEL)


def _pretrain(run: Run, base: Base, artifact: Artifact) -> None:
    merged = load_sources(run, _sources(run, base))
    model = _build(run, base, merged)
    state = train_on_sources(
        model,
        merged,
        run.settings,
        folder=artifact.folder / "checkpoints",
        name=artifact.name,
        tensorboard_dir=run.logs_dir / artifact.folder.relative_to(run.workdir),
    )
    targets = source_batches(merged, run.settings, model).num_targets
    save_model(model, artifact.folder / _MODEL)
    run.finish(artifact, **asdict(state), targets_per_epoch=targets)


def _build(run: Run, base: Base, merged: MergedDomains) -> SequenceModel:
    titles = load_title_vectors(run, *merged.names) if base.reads_titles else None
    with run.scope():
        return build_model(
            base.model,
            run.settings.model,
            merged.num_items,
            items=base.items,
            adaptor=base.adaptor,
            title_vectors=titles,
            item_offsets=tuple(merged.item_offsets.tolist()),
            loss=run.settings.pretrain.loss,
            seed=run.settings.seed,
        )


def _sources(run: Run, base: Base) -> tuple[str, ...]:
    return run.config.sources[:1] if base.first_source_only else run.config.sources
