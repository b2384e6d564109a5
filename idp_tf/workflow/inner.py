"""Section 3.8: embeddings of a domain's cold items, generated from its other items.

The whole chain is run in ``target/<domain>/inner/``, a workdir of its own whose only source is the
domain without its cold items: they are in no training, validation, pre-training or neighbours.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.config import PretrainSettings
from idp_tf.data.cold import COLD_SHARE, choose_cold_items, users_tested_on, without_items
from idp_tf.data.domain import Domain
from idp_tf.models import SequenceModel, build_model, load_model, save_model
from idp_tf.retrieval import build_index
from idp_tf.systems import SASREC_BASE
from idp_tf.transfer.generate import find_untitled, generate_embeddings
from idp_tf.transfer.initializer import MatchedEmbeddings
from idp_tf.workflow.artifacts import Artifact
from idp_tf.workflow.match import load_matcher, match, matcher_artifact
from idp_tf.workflow.needs import titled_domains
from idp_tf.workflow.prepare import data_key, load_target, write_prepared
from idp_tf.workflow.pretrain import load_pretrained, pretrain, pretrain_artifact
from idp_tf.workflow.run import Run
from idp_tf.workflow.titles import titles_artifact

_WARM: Final = "warm"

# Raised when the same inputs would make something else.
_FORMAT = 1
_WARM_FORMAT = 1


def make_inner(run: Run) -> None:
    """Trains and matches within the target, and generates embeddings of its cold items."""
    artifact = inner_artifact(run)
    if artifact.open(rebuild=run.rebuild):
        return
    target, inner = load_target(run), _inner_run(run)
    cold = cold_items(run)
    _write_warm(inner, without_items(target, cold, _WARM))
    pretrain(inner)
    match(inner)
    model = _with_cold_items(inner, target, cold)
    save_model(model, artifact.folder / "model")
    artifact.finish(cold_items=len(cold), users=len(cold_users(run)))


def inner_artifact(run: Run) -> Artifact:
    """The artifact of the model that knows cold items by their titles alone."""
    inner = _inner_run(run)
    inputs: dict[str, Any] = {
        "format": _FORMAT,
        "matcher": matcher_artifact(inner).key,
        "transfer": run.settings.transfer.model_dump(mode="json"),
    }
    return run.artifact(run.target_dir / "systems" / "idp-inner", "idp-inner", inputs)


def check_inner(run: Run) -> None:
    """Checks what the inner chain has made so far, which is not among the run's own artifacts.

    Raises:
        WorkdirError: if other settings or data made one of them, unless a rebuild is asked for.
    """
    if not run.rebuild:
        for artifact in inner_chain(run):
            artifact.check()


def inner_chain(run: Run) -> list[Artifact]:
    """The artifacts of the inner chain: the other items, what is learned of them, the matcher."""
    inner = _inner_run(run)
    for name in titled_domains(inner):
        titles_artifact(inner, name)
    matcher_artifact(inner)
    return list(inner.artifacts.values())


def inner_training_artifact(run: Run) -> Artifact:
    """The artifact of what is learned of the other items, which is all that is trained."""
    return pretrain_artifact(_inner_run(run))


def load_inner_model(run: Run) -> SequenceModel:
    """The model over all of the target's items."""
    artifact = inner_artifact(run)
    artifact.require()
    return load_model(artifact.folder / "model")


def cold_items(run: Run) -> npt.NDArray[np.int32]:
    """The target's cold items, (n,), sorted."""
    return choose_cold_items(load_target(run).num_items, COLD_SHARE, run.settings.seed)


def cold_users(run: Run) -> npt.NDArray[np.int64]:
    """The target's users whose test item is cold, (n,)."""
    return users_tested_on(load_target(run).sequences, cold_items(run))


def _inner_run(run: Run) -> Run:
    """A run whose source is the target without its cold items, trained as the target is."""
    fine_tune = run.settings.fine_tune.model_dump(exclude={"learning_rate_grid"})
    settings = run.settings.model_copy(
        update={"pretrain": PretrainSettings(**fine_tune), "systems": ("idp",)}
    )
    config = run.config.model_copy(update={"sources": (_WARM,), "settings": settings})
    inner = Run(run.target_dir / "inner", config, rebuild=run.rebuild)
    inputs = {
        "format": _WARM_FORMAT,
        "target": data_key(run, run.config.target),
        "cold_share": COLD_SHARE,
        "seed": run.settings.seed,
    }
    inner.artifact(inner.workdir / "data" / _WARM, f"data of {run.config.target}, warm", inputs)
    return inner


def _write_warm(inner: Run, warm: Domain) -> None:
    artifact = inner.artifacts[inner.workdir / "data" / _WARM]
    if not artifact.open(rebuild=inner.rebuild):
        write_prepared(warm, artifact.folder)
        artifact.finish(**warm.manifest)


def _with_cold_items(inner: Run, target: Domain, cold: npt.NDArray[np.int32]) -> SequenceModel:
    """What was learned of warm items, and what is generated for the cold ones."""
    learned = load_pretrained(inner)
    embeddings = np.zeros((target.num_items, learned.embedding_dim), np.float32)
    is_cold = np.isin(np.arange(1, target.num_items + 1), cold)
    source_embeddings = learned.item_vectors().numpy()[1:]
    embeddings[~is_cold] = source_embeddings
    titles = [target.titles[item - 1] for item in cold]
    encoder, vectors = load_matcher(inner)
    settings = inner.settings.transfer
    embeddings[is_cold] = generate_embeddings(
        encoder.encode(titles, description="Cold titles"),
        build_index(np.asarray(vectors), settings.retrieval, k=settings.top_m),
        source_embeddings,
        top_m=settings.top_m,
        norm=settings.zero_shot_norm,
        untitled=find_untitled(titles),
    ).embeddings
    model = build_model(
        SASREC_BASE.model,
        inner.settings.model,
        target.num_items,
        embeddings_initializer=MatchedEmbeddings(embeddings),
        seed=inner.settings.seed,
    )
    model.take_over(learned)
    return model
