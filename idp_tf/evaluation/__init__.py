"""The evaluation room: leave-one-out ranking, its two protocols, floors and significance."""

from __future__ import annotations

from idp_tf.evaluation.floors import nearest_title_scorer, popularity_scorer
from idp_tf.evaluation.models import model_scorer
from idp_tf.evaluation.negatives import sample_negatives
from idp_tf.evaluation.protocol import DEFAULT_PROTOCOLS, evaluate
from idp_tf.evaluation.ranking import Scorer
from idp_tf.evaluation.results import ResultRow, result_row
from idp_tf.evaluation.significance import Significance, compare_systems, paired_test

__all__ = [
    "DEFAULT_PROTOCOLS",
    "ResultRow",
    "Scorer",
    "Significance",
    "compare_systems",
    "evaluate",
    "model_scorer",
    "nearest_title_scorer",
    "paired_test",
    "popularity_scorer",
    "result_row",
    "sample_negatives",
]
