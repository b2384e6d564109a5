"""What the systems of a run need made before them: nothing else is made."""

from __future__ import annotations

from idp_tf.systems import SASREC_BASE, SYSTEMS, Base, System
from idp_tf.workflow.run import Run


def systems_of(run: Run) -> list[System]:
    """The run's systems, in their order."""
    return [SYSTEMS[slug] for slug in run.settings.systems]


def needs_matcher(run: Run) -> bool:
    """Whether any embeddings are to be generated from the sources'."""
    return any(system.is_matched for system in systems_of(run))


def needed_bases(run: Run) -> list[Base]:
    """The models to pre-train; first SASRec's, from which the matcher learns behaviour."""
    bases = [SASREC_BASE] if needs_matcher(run) else []
    for system in systems_of(run):
        if system.kind == "sequence" and system.base is not None and system.base not in bases:
            bases.append(system.base)
    return bases


def titled_domains(run: Run) -> list[str]:
    """The domains whose titles are encoded as they are, sources first."""
    systems = systems_of(run)
    sources = any(base.reads_titles for base in needed_bases(run)) or (
        needs_matcher(run) and run.settings.matcher.kept_layers is None
    )
    target = any(system.reads_titles for system in systems)
    return [*(run.config.sources if sources else ()), *([run.config.target] if target else ())]
