"""From pre-trained source domains to a new one (sections 2.5 and 2.6)."""

from idp_tf.transfer.fine_tune import build_target_model
from idp_tf.transfer.generate import GeneratedEmbeddings, generate_embeddings, write_matches
from idp_tf.transfer.initializer import MatchedEmbeddings
from idp_tf.transfer.untrained import regenerate_untrained

__all__ = [
    "GeneratedEmbeddings",
    "MatchedEmbeddings",
    "build_target_model",
    "generate_embeddings",
    "regenerate_untrained",
    "write_matches",
]
