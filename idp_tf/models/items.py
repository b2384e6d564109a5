"""Items that are represented by their titles too, by the names that systems give it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.data.schema import PAD_ID
from idp_tf.errors import SettingsError
from idp_tf.layers import (
    CentredDirection,
    FixedProjection,
    IdItems,
    ItemLayer,
    JoinedItems,
    MoEAdaptor,
    SummedItems,
    TitleItems,
    derive_seed,
    fit_pca,
)

ITEMS: Final = ("titles", "sum", "joined")
ADAPTORS: Final = ("dense", "pca", "centred", "moe")


def build_items(
    kind: str,
    adaptor: str,
    num_items: int,
    dim: int,
    title_vectors: npt.NDArray[np.float32] | None = None,
    *,
    embeddings_initializer: Any = None,
    seed: int = 0,
) -> ItemLayer:
    """The layer that makes vectors of items of their titles, alone or along with their ids.

    Args:
        kind: ``titles``, ``sum`` (of ids and titles) or ``joined`` (both side by side).
        adaptor: What makes vectors of titles: ``dense`` and ``moe`` (UniSRec's) are trained,
            ``pca`` keeps the directions in which these titles vary most, ``centred`` takes their
            mean away and keeps directions, of their own width.
        num_items: Items 1 … num_items.
        dim: Width of the vectors, of each half where they are joined; but for ``centred``.
        title_vectors: (num_items, width), all zeros for an item without a title.
        embeddings_initializer: Of the table of ids, such as ``MatchedEmbeddings``.
        seed: Seed of what is random.

    Raises:
        SettingsError: for an unknown name, or titles that are not there.

    Example:
        >>> titles = np.eye(3, 4, dtype=np.float32)
        >>> build_items("sum", "dense", 3, 2, titles).table().shape
        TensorShape([4, 2])
    """
    if kind not in ITEMS or adaptor not in ADAPTORS:
        raise SettingsError(
            f"unknown items {kind!r} by {adaptor!r}",
            where="items",
            remedy=f"items: {', '.join(ITEMS)}; adaptors: {', '.join(ADAPTORS)}",
        )
    titles = _title_items(adaptor, dim, title_vectors, seed)
    if kind == "titles":
        return titles
    ids = IdItems(
        num_items, dim, embeddings_initializer, derive_seed(seed, 0), name="item_embedding"
    )
    return SummedItems(ids, titles) if kind == "sum" else JoinedItems(ids, titles)


def _title_items(
    adaptor: str, dim: int, title_vectors: npt.NDArray[np.float32] | None, seed: int
) -> TitleItems:
    table = None
    if title_vectors is not None:
        table = np.zeros((len(title_vectors) + 1, title_vectors.shape[1]), np.float32)
        table[PAD_ID + 1 :] = title_vectors
    if adaptor in ("pca", "centred") and title_vectors is not None:
        titled = title_vectors[title_vectors.any(axis=1)]
        if adaptor == "pca":
            return TitleItems(table, dim, FixedProjection(*fit_pca(titled, dim)))
        return TitleItems(table, titled.shape[1], CentredDirection(titled.mean(axis=0)))
    moe = MoEAdaptor(dim, seed=derive_seed(seed, 3)) if adaptor == "moe" else None
    return TitleItems(table, dim, moe, seed=seed)


def checked_joined(items: JoinedItems | None, dim: int, model: str) -> JoinedItems:
    """Ids and titles side by side, each of a model's width.

    Args:
        items: What the model was given.
        dim: The width of either.
        model: What messages call it.

    Raises:
        SettingsError: if there are no titles, or a part is not as wide.
    """
    if not isinstance(items, JoinedItems):
        raise SettingsError(
            f"{model} reads titles beside ids, and none are given",
            where="items",
            remedy="give JoinedItems(IdItems(…), TitleItems(title_vectors, …)); data without "
            "titles takes a system that reads ids alone, such as SASRec",
        )
    if not items.ids.dim == items.titles.dim == dim:
        raise SettingsError(
            f"ids are {items.ids.dim} wide and titles {items.titles.dim}, not embedding_dim={dim}",
            where="items",
            remedy=f"make both with dim={dim}",
        )
    return items
