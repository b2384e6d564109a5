"""Embeddings of items that training never met, blended from those that it has learned.

Whatever embedding such an item began with, training leaves it where nobody finds it: it is never
a positive, and often a negative. What was learned of the other items is of the same domain and
of the model as it is now, so that the item is matched with them by title, as section 3.8 has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from idp_tf.data.sequences import LEAVE_OUT_TRAIN
from idp_tf.errors import SettingsError
from idp_tf.retrieval import build_index
from idp_tf.transfer.generate import generate_embeddings

if TYPE_CHECKING:
    from idp_tf.config import TransferSettings
    from idp_tf.data.sequences import Sequences
    from idp_tf.models import SequenceModel


def regenerate_untrained(
    model: SequenceModel,
    sequences: Sequences,
    title_vectors: npt.ArrayLike,
    settings: TransferSettings,
) -> int:
    """Gives the items that no training batch has shown embeddings blended from the others'.

    They stand among no user's last ``max_length + 1`` training items, or only among those of
    users with one training item, who have nothing to predict (``TrainingBatches``). An item
    without a title keeps what it has, and is nobody's match.

    Args:
        model: A trained model that reads ids alone; its table is changed.
        sequences: Whole sequences; the two held-out items of each were not trained on.
        title_vectors: L2-normalised, (num_items, width), row ``i`` of item id ``i + 1``; zeros
            where there is no title.
        settings: ``top_m``, of which fewer serve where fewer are left, and ``zero_shot_norm``,
            as nothing is trained afterwards. Matches are exact.

    Returns:
        How many items got one.

    Raises:
        SettingsError: if the model reads more than ids, or vectors are of other items.

    Reference:
        ID-centric Pre-training, section 3.8 (inner-domain), here after each training.
    """
    if not model.reads_ids_alone:
        raise SettingsError(
            f"{type(model).__name__} reads more of an item than the vector of its id",
            where="model",
            remedy="take a system that reads ids alone, such as idp",
        )
    vectors = np.asarray(title_vectors, np.float32)
    if vectors.ndim != 2 or len(vectors) != model.num_items:
        raise SettingsError(
            f"title vectors of the shape {vectors.shape} for {model.num_items} items",
            where="title_vectors",
            remedy="leave out the padding row, and keep the order of the items",
        )
    titled = vectors.any(axis=1)
    trained = _shown(sequences, model)
    matched, wanted = np.flatnonzero(trained & titled), np.flatnonzero(~trained & titled)
    if not len(matched) or not len(wanted):
        return 0
    assert model.item_embedding is not None  # it reads ids
    table = model.item_embedding.embeddings.numpy()
    top_m = min(settings.top_m, len(matched))
    table[1 + wanted] = generate_embeddings(
        vectors[wanted],
        build_index(vectors[matched], "exact", top_m),
        table[1 + matched],
        top_m=top_m,
        norm=settings.zero_shot_norm,
        untitled=np.zeros(len(wanted), np.bool_),
    ).embeddings
    model.item_embedding.embeddings.assign(table)
    return len(wanted)


def _shown(sequences: Sequences, model: SequenceModel) -> npt.NDArray[np.bool_]:
    """Whether a training batch holds the item, (num_items,)."""
    training = sequences.truncated(LEAVE_OUT_TRAIN)
    users = np.flatnonzero(training.lengths >= 2)
    item_ids = training.left_padded(users, model.max_length + 1)
    return np.bincount(item_ids.ravel(), minlength=model.num_items + 1)[1:] > 0
