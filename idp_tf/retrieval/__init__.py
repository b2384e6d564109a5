"""Exact and approximate top-k by inner product behind one small interface (eq. 8).

Example:
    >>> import numpy as np
    >>> index = build_index(np.eye(3, dtype=np.float32), method="exact", k=2)
    >>> index.query(np.array([[0.1, 0.9, 0.0]], np.float32), k=2).rows
    array([[1, 0]], dtype=int32)
"""

from idp_tf.retrieval.index import Index, Matches, Method, build_index
from idp_tf.retrieval.recall import estimate_recall
from idp_tf.retrieval.scann import MIN_VECTORS, ScannSettings, choose_scann_settings

__all__ = [
    "MIN_VECTORS",
    "Index",
    "Matches",
    "Method",
    "ScannSettings",
    "build_index",
    "choose_scann_settings",
    "estimate_recall",
]
