"""Every model by the name that settings and systems give it."""

from __future__ import annotations

import inspect
from typing import Any, Final

from idp_tf.config import ModelSettings
from idp_tf.models.base import SequenceModel
from idp_tf.models.bert4rec import BERT4Rec
from idp_tf.models.gru4rec import GRU4Rec
from idp_tf.models.sasrec import SASRec

MODELS: Final[dict[str, type[SequenceModel]]] = {
    "sasrec": SASRec,
    "gru4rec": GRU4Rec,
    "bert4rec": BERT4Rec,
}


def build_model(name: str, settings: ModelSettings, num_items: int, **rest: Any) -> SequenceModel:
    """A model of the settings' shape.

    Args:
        name: One of ``MODELS``.
        settings: Width, layers, heads, dropout, length; a model takes those that it has.
        num_items: Items 1 … num_items.
        **rest: What else its constructor takes, such as ``loss``, ``seed`` and
            ``embeddings_initializer``.

    Example:
        >>> build_model("sasrec", ModelSettings(embedding_dim=8), num_items=3).embedding_dim
        8
    """
    model = MODELS[name]
    taken = inspect.signature(model).parameters
    shape = {key: value for key, value in settings.model_dump().items() if key in taken}
    return model(num_items, **shape, **rest)
