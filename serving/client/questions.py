"""Questions of many rows, which are split into requests of a few."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from serving.client import answers
from serving.client.calls import Call, predict
from serving.client.models import ModelSpec

T = TypeVar("T")

Texts = Sequence[str]
Ids = Texts | Sequence[Texts]
"""Item ids that hold for every history, or a list of them for each."""

K = int | Sequence[int]
"""How many items for every history, or for each."""

_RECOMMEND: Final = "recommend"
_SCORE: Final = "score"


@dataclass(frozen=True)
class Question(Generic[T]):
    """Rows that are answered each by itself.

    Args:
        total: How many.
        call: The request for some of them.
    """

    total: int
    call: Callable[[slice], Call[list[T]]]

    def parts(self, batch_size: int) -> list[slice]:
        """The rows of each request, in order."""
        return [slice(row, row + batch_size) for row in range(0, self.total, batch_size)]


def recommend(
    histories: Sequence[Texts],
    k: K,
    model: str | ModelSpec,
    exclude: Ids | None,
    allowed: Ids | None,
) -> Question[answers.Recommendations]:
    """What ``ServingClient.recommend`` asks.

    Raises:
        ValueError: for arguments that cannot be sent.
    """
    total = len(_lists("item_ids", histories))
    how_many = _how_many(k, total)
    if exclude is None and allowed is None:
        return Question(
            total,
            lambda rows: predict(
                model,
                {"item_ids": _padded(histories[rows]), "k": how_many(rows)},
                "",
                answers.recommendations,
            ),
        )
    excluded = _for_each("exclude", () if exclude is None else exclude, total)
    stock = _stock(allowed, total, for_each=isinstance(k, Sequence))

    def ask(rows: slice) -> Call[list[answers.Recommendations]]:
        inputs = {
            "item_ids": _padded(histories[rows]),
            "k": how_many(rows),
            "exclude_item_ids": _padded(excluded[rows]),
            "allowed_item_ids": _padded(stock(rows)),
        }
        return predict(model, inputs, _RECOMMEND, answers.recommendations)

    return Question(total, ask)


def match(titles: Texts, model: str | ModelSpec) -> Question[answers.TitleMatch]:
    """What ``ServingClient.match`` asks.

    Raises:
        ValueError: if the titles are one text.
    """
    texts = np.array(list(_list("titles", titles)), dtype=object)
    return Question(
        len(texts),
        lambda rows: predict(model, {"titles": texts[rows]}, "", answers.title_matches),
    )


def score(
    histories: Sequence[Texts], candidates: Ids, model: str | ModelSpec
) -> Question[list[float]]:
    """What ``ServingClient.score`` asks.

    Raises:
        ValueError: for arguments that cannot be sent.
    """
    total = len(_lists("item_ids", histories))
    ranked = _for_each("candidates", candidates, total)

    def ask(rows: slice) -> Call[list[list[float]]]:
        lengths = [len(row) for row in ranked[rows]]
        inputs = {
            "item_ids": _padded(histories[rows]),
            "candidate_item_ids": _padded(ranked[rows]),
        }
        return predict(
            model, inputs, _SCORE, lambda response: answers.candidate_scores(response, lengths)
        )

    return Question(total, ask)


def cold_start(
    titles: Sequence[Texts], k: K, model: str | ModelSpec
) -> Question[answers.Recommendations]:
    """What ``ServingClient.cold_start`` asks.

    Raises:
        ValueError: for arguments that cannot be sent.
    """
    total = len(_lists("titles", titles))
    how_many = _how_many(k, total)
    return Question(
        total,
        lambda rows: predict(
            model,
            {"titles": _padded(titles[rows]), "k": how_many(rows)},
            "",
            answers.recommendations,
        ),
    )


def _list(name: str, texts: Any) -> Any:
    # A str is a sequence of str: its letters would be taken for ids.
    if isinstance(texts, str | bytes):
        raise ValueError(f"{name}: {texts!r} is one text, not a list of them")
    return texts


def _lists(name: str, rows: Any) -> Any:
    for place, row in enumerate(_list(name, rows)):
        _list(f"row {place} of {name}", row)
    return rows


def _for_each(name: str, values: Ids, total: int) -> Sequence[Texts]:
    """A list of ids for each history."""
    if all(isinstance(value, str) for value in _list(name, values)):
        return [values] * total  # type: ignore[list-item]
    if len(_lists(name, values)) != total:
        raise ValueError(f"{name} has {len(values)} lists for {total} histories")
    return values


def _stock(
    allowed: Ids | None, total: int, *, for_each: bool
) -> Callable[[slice], Sequence[Texts]]:
    """What may be recommended: one row where that is enough, since a stock is long."""
    lists = _for_each("allowed", () if allowed is None else allowed, total)
    # The server takes a row without ids for "all".
    if allowed is not None and any(not any(row) for row in lists):
        raise ValueError("allowed names no item for a history; leave it out to allow all")
    one = allowed is None or all(isinstance(value, str) for value in allowed)
    return lambda rows: lists[rows] if for_each or not one else lists[:1]


def _how_many(k: K, total: int) -> Callable[[slice], npt.NDArray[np.int32] | np.int32]:
    """One number for all, or the numbers of some rows."""
    if not isinstance(k, Sequence):
        number = _int32(k)
        return lambda rows: number
    if len(k) != total:
        raise ValueError(f"k has {len(k)} numbers for {total} histories")
    numbers = np.array([_int32(single) for single in k], np.int32)
    return lambda rows: numbers[rows]


def _int32(value: int) -> np.int32:
    try:
        number = operator.index(value)
    except TypeError as error:
        raise ValueError(f"k is {value!r}, which is no whole number") from error
    if not -(2**31) <= number < 2**31:
        raise ValueError(f"k is {value}, which is no 32-bit number")
    return np.int32(number)


def _padded(rows: Sequence[Texts]) -> npt.NDArray[np.object_]:
    """(rows, 1 + longest) of texts, "" in front and after the end of a row.

    In front, as a server that batches with ``pad_variable_length_inputs`` fills requests of
    fewer columns up with their first element: with a first item, a history would be another.
    """
    longest = max((len(row) for row in rows), default=0)
    padded = np.full((len(rows), 1 + longest), "", dtype=object)
    for place, row in enumerate(rows):
        padded[place, 1 : 1 + len(row)] = list(row)
    return padded
