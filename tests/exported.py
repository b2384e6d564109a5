"""Answers of an exported recommender as a server would give them, and the same by NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.server.loaded_model import LoadedModel
from serving.tensor_protos import typed_proto

Histories = Sequence[Sequence[str]]
Answers = tuple[list[list[str]], np.ndarray]


class Session:
    """A version in a v1 Session, as servers have it, its requests read as theirs are."""

    def __init__(self, version: Path):
        self._model = LoadedModel(version, (1, 1))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self._model.close()

    def ask(self, signature: str = "serving_default", **inputs: Any) -> dict[str, np.ndarray]:
        """All outputs, by name."""
        protos = {name: typed_proto(np.asarray(value)) for name, value in inputs.items()}
        return self._model.run(signature, *self._model.read(signature, protos, ()))


def served(version: Path, histories: Histories, k: int) -> Answers:
    """The exported graph's ids and scores, (histories, k), run in a v1 Session."""
    width = max(map(len, histories))
    rows = [[*history, *[""] * (width - len(history))] for history in histories]
    with Session(version) as session:
        outputs = session.ask(item_ids=rows, k=np.int32(k))
    return [[name.decode() for name in row] for row in outputs["item_ids"]], outputs["scores"]


def in_process(model: Any, external_ids: Sequence[str], histories: Histories, k: int) -> Answers:
    """Each history by itself: all scores sorted, what was seen skipped, equal ones by id."""
    table = np.asarray(model.item_vectors())
    ids, scores = [], []
    for history in histories:
        known = [external_ids.index(name) + 1 for name in history if name in external_ids]
        window = ([0] * model.max_length + known)[-model.max_length :]
        user = np.asarray(model.encode_users(np.array([window], np.int32)))[0]
        products = (table @ user).tolist()
        unseen = [item for item in range(1, len(table)) if item not in known]
        # Equal vectors may differ in a last bit of a product; to six digits they tie.
        best = sorted(unseen, key=lambda item: (-round(products[item], 6), item))[:k]
        ids.append([external_ids[item - 1] for item in best])
        scores.append([products[item] for item in best])
    return ids, np.array(scores)
