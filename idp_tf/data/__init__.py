"""From raw logs and titles to prepared domains and training batches."""

from idp_tf.data.batches import TrainingBatches
from idp_tf.data.domain import Domain, MergedDomains
from idp_tf.data.prepare import prepare_domain
from idp_tf.data.readers import read_domain
from idp_tf.data.schema import PAD_ID, IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.data.store import load_domain, write_domain

__all__ = [
    "PAD_ID",
    "Domain",
    "IdMap",
    "MergedDomains",
    "Sequences",
    "TrainingBatches",
    "load_domain",
    "prepare_domain",
    "read_domain",
    "write_domain",
]
