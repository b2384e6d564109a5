"""Every model by the name that settings and systems give it."""

from __future__ import annotations

import inspect
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.config import ModelSettings
from idp_tf.models.base import SequenceModel
from idp_tf.models.bert4rec import BERT4Rec
from idp_tf.models.dacdr import DACDR
from idp_tf.models.dacdr_pretraining import DACDRPretraining
from idp_tf.models.fdsa import FDSA
from idp_tf.models.gru4rec import GRU4Rec
from idp_tf.models.items import build_items
from idp_tf.models.peterrec import PeterRec
from idp_tf.models.profiled_sasrec import ProfiledSASRec
from idp_tf.models.sasrec import SASRec
from idp_tf.models.unisrec import UniSRec
from idp_tf.models.unisrec_pretraining import UniSRecPretraining

MODELS: Final[dict[str, type[SequenceModel]]] = {
    "sasrec": SASRec,
    "gru4rec": GRU4Rec,
    "bert4rec": BERT4Rec,
    "fdsa": FDSA,
    "peterrec": PeterRec,
    "profiled-sasrec": ProfiledSASRec,
    "dacdr": DACDR,
    "dacdr-pretraining": DACDRPretraining,
    "unisrec": UniSRec,
    "unisrec-pretraining": UniSRecPretraining,
}


def build_model(
    name: str,
    settings: ModelSettings,
    num_items: int,
    *,
    items: str = "ids",
    adaptor: str = "dense",
    title_vectors: npt.NDArray[np.float32] | None = None,
    embeddings_initializer: Any = None,
    item_offsets: tuple[int, ...] | None = None,
    seed: int = 0,
    **options: Any,
) -> SequenceModel:
    """A model of the settings' shape.

    Args:
        name: One of ``MODELS``.
        settings: Width, layers, heads, dropout, length; a model takes those that it has.
        num_items: Items 1 … num_items.
        items: ``ids``, or what ``build_items`` makes of ids and titles.
        adaptor: What makes vectors of titles; see ``build_items``.
        title_vectors: (num_items, width), where titles are read.
        embeddings_initializer: Of the table of ids, such as ``MatchedEmbeddings``.
        item_offsets: Where each domain's ids end, (num_domains + 1,); for models that ask.
        seed: Seed of whatever is fresh, and of dropout.
        **options: What else its constructor takes, such as ``loss``.

    Raises:
        SettingsError: for titles that are needed and not there, or anything else that the
            model refuses.

    Example:
        >>> build_model("sasrec", ModelSettings(embedding_dim=8), num_items=3).embedding_dim
        8
    """
    model = MODELS[name]
    offered = {**settings.model_dump(), "item_offsets": item_offsets}
    taken = inspect.signature(model).parameters
    # What is given by name wins.
    options = {key: offered[key] for key in offered if key in taken} | options
    if items == "ids":
        return model(num_items, embeddings_initializer=embeddings_initializer, seed=seed, **options)
    layer = build_items(
        items,
        adaptor,
        num_items,
        settings.embedding_dim,
        title_vectors,
        embeddings_initializer=embeddings_initializer,
        seed=seed,
    )
    return model(num_items, items=layer, seed=seed, **options)
