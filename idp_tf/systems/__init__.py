"""Every system that a run can train and evaluate, by the slug that names it everywhere.

A system is a few lines that say what is special about it; what it has in common with the
others, it shares: the trainer, the settings and the budget.
"""

from typing import Final

from idp_tf.systems.base import SASREC_BASE, Base, Embeddings, Items, System
from idp_tf.systems.floors import FLOORS, NEAREST_TITLE, POPULARITY
from idp_tf.systems.from_scratch import FROM_SCRATCH
from idp_tf.systems.idp import IDP, IDP_INNER
from idp_tf.systems.transfer import TRANSFER

__all__ = [
    "IDP_INNER",
    "NEAREST_TITLE",
    "POPULARITY",
    "SASREC_BASE",
    "SYSTEMS",
    "Base",
    "Embeddings",
    "Items",
    "System",
]

SYSTEMS: Final[dict[str, System]] = {
    system.slug: system for system in (*FLOORS, *FROM_SCRATCH, *TRANSFER, *IDP)
}
"""Every system by its slug, in the order of tables, floors first."""
