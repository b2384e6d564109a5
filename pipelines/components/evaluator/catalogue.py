"""The items of a domain, as ExampleGen leaves them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from idp_tf.errors import DataError, MissingDataError


def read_item_ids(uri: Path) -> list[str]:
    """External ids in the order of the internal ones.

    Args:
        uri: An Items artifact.

    Raises:
        MissingDataError: if there is no file.
        DataError: if internal ids are not 1 … n.
    """
    import tensorflow as tf

    files = sorted(map(str, (uri / "Split-all").glob("*.gz")))
    if not files:
        raise MissingDataError("there are no items", where=uri / "Split-all")
    features = {
        "item_id": tf.io.FixedLenFeature([], tf.string),
        "internal_id": tf.io.FixedLenFeature([], tf.int64),
    }
    rows = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(1024)
    try:
        parsed = [tf.io.parse_example(batch, features) for batch in rows]
    except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
        raise DataError(f"these are no items: {error.message}", where=uri) from error
    ids = np.concatenate([row["item_id"].numpy() for row in parsed])
    internal = np.concatenate([row["internal_id"].numpy() for row in parsed])
    order = np.argsort(internal, kind="stable")
    if not np.array_equal(internal[order], np.arange(1, len(ids) + 1)):
        raise DataError(
            f"the internal ids of {len(ids)} items are not 1 to {len(ids)}",
            where=uri,
            remedy="let ExampleGen make them again",
        )
    return [item.decode() for item in ids[order]]
