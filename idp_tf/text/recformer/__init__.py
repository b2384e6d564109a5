"""Recformer: histories read as text by a language model, on any BERT that the matcher takes.

Reference: Li et al. 2023, "Text Is All You Need: Learning Language Representations for
Sequential Recommendation", https://arxiv.org/abs/2305.13731, and its code,
https://github.com/AaronHeee/RecFormer.
"""

from idp_tf.text.recformer.encoder import RecformerEncoder, build_recformer_encoder
from idp_tf.text.recformer.fine_tuning import FineTuningState, fine_tune_recformer
from idp_tf.text.recformer.in_graph import GraphRecformer
from idp_tf.text.recformer.pretraining import PretrainingResult, pretrain_recformer
from idp_tf.text.recformer.recommender import Recformer

__all__ = [
    "FineTuningState",
    "GraphRecformer",
    "PretrainingResult",
    "Recformer",
    "RecformerEncoder",
    "build_recformer_encoder",
    "fine_tune_recformer",
    "pretrain_recformer",
]
