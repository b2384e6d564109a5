"""What the client makes of the servers' answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serving import wire
from serving.tensors import array_of

Recommendations = list[tuple[str, float]]
"""(item id, score), best first."""


class Outputs(dict[str, npt.NDArray[Any]]):
    """Output name -> array, strings as ``bytes`` in an object array; and who answered.

    Args:
        response: A ``wire.PredictResponse``.

    Attributes:
        version: The version of the model that answered.
        signature: The signature that did.

    Raises:
        ValueError: if an output cannot be read.
    """

    def __init__(self, response: Any):
        super().__init__({name: array_of(proto) for name, proto in response.outputs.items()})
        self.version: int = response.model_spec.version.value
        self.signature: str = response.model_spec.signature_name

    def tables(self, *names: str) -> list[npt.NDArray[Any]]:
        """Outputs of two axes that must be there.

        Raises:
            ValueError: if one is not.
        """
        for name in names:
            if name not in self:
                raise ValueError(
                    f"the answer has no output {name!r}, only {', '.join(sorted(self)) or 'none'}: "
                    "is it the right model?"
                )
            if self[name].ndim != 2:
                raise ValueError(
                    f"the output {name!r} has the shape {self[name].shape}, not a row for each "
                    "question: is it the right model?"
                )
        return [self[name] for name in names]


@dataclass(frozen=True)
class TitleMatch:
    """What a matcher makes of one title.

    Args:
        embedding: The generated ID embedding, shape (dim,).
        source_item_ids: The matched source items as ``domain:item``, best first; none for
            a blank title.
        scores: Their similarities.
        weights: Their shares in the embedding.
        source_titles: Their titles; empty where an export tells none.
        source_domains: Their domains; empty where an export tells none.
    """

    embedding: npt.NDArray[np.float32]
    source_item_ids: list[str]
    scores: list[float]
    weights: list[float]
    source_titles: list[str]
    source_domains: list[str]


@dataclass(frozen=True)
class VersionStatus:
    """One version of a model on a server.

    Args:
        version: Its number.
        state: ``START``, ``LOADING``, ``AVAILABLE``, ``UNLOADING`` or ``END``.
        error: Why it is not served; "" if nothing is wrong.
    """

    version: int
    state: str
    error: str


def recommendations(response: Any) -> list[Recommendations]:
    """A recommender's answer; the padding of a row that has fewer items is left out."""
    ids, scores = Outputs(response).tables("item_ids", "scores")
    return [
        [(item, float(score)) for item, score in zip(_texts(row), values, strict=True) if item]
        for row, values in zip(ids, scores, strict=True)
    ]


def title_matches(response: Any) -> list[TitleMatch]:
    """A matcher's answer."""
    outputs = Outputs(response)
    told = outputs.tables("embedding", "source_item_ids", "scores", "weights")
    # Exports of earlier versions tell ids alone.
    texts = [
        outputs.get(name, np.full((len(told[0]), 0), b"", object))
        for name in ("source_titles", "source_domains")
    ]
    return [_title_match(*row) for row in zip(*told, *texts, strict=True)]


def candidate_scores(response: Any, lengths: Sequence[int]) -> list[list[float]]:
    """A ranker's answer, each row as long as its candidates were; in front is one of padding.

    Raises:
        ValueError: if there are fewer scores than candidates.
    """
    (scores,) = Outputs(response).tables("scores")
    if scores.shape[1] < 1 + max(lengths, default=0):
        raise ValueError(f"{scores.shape[1] - 1} scores for {max(lengths)} candidates")
    return [row[1 : 1 + length].tolist() for row, length in zip(scores, lengths, strict=True)]


def classifications(response: Any) -> list[Recommendations]:
    """Of each example the (label, score) pairs, in the server's order."""
    return [
        [(entry.label, entry.score) for entry in row.classes]
        for row in response.result.classifications
    ]


def regressions(response: Any) -> list[float]:
    """Of each example the value."""
    return [entry.value for entry in response.result.regressions]


def signatures(response: Any) -> dict[str, Any]:
    """Signature key -> inputs and outputs -> name -> dtype and shape.

    Raises:
        ValueError: if the answer holds none.
    """
    found = wire.SignatureDefMap()
    if not response.metadata["signature_def"].Unpack(found):
        raise ValueError("the answer holds no signatures")
    return {
        key: {"inputs": _describe(value.inputs), "outputs": _describe(value.outputs)}
        for key, value in sorted(found.signature_def.items())
    }


def version_states(response: Any) -> list[VersionStatus]:
    """The versions, in the server's order."""
    return [
        VersionStatus(
            entry.version,
            _name(wire.ModelVersionStatus.State, entry.state),
            entry.status.error_message,
        )
        for entry in response.model_version_status
    ]


def reloaded(response: Any) -> None:
    """Nothing, if the server took the configuration.

    Raises:
        ValueError: if it says otherwise.
    """
    if response.status.error_code:
        code = _name(wire.Code, response.status.error_code)
        raise ValueError(f"{code}: {response.status.error_message}")


def serving_status(response: Any) -> str:
    """``SERVING``, ``NOT_SERVING``, ``SERVICE_UNKNOWN`` or ``UNKNOWN``."""
    return _name(wire.HealthCheckResponse.ServingStatus, response.status)


def _name(enum: Any, number: int) -> str:
    """An enum is open: a newer server may send a number without a name."""
    return enum.Name(number) if number in enum.values() else str(number)


def _texts(values: npt.NDArray[Any]) -> list[str]:
    if values.dtype != object:
        raise ValueError(f"the answer has {values.dtype} where texts should be")
    return [value.decode() for value in values]


def _title_match(
    embedding: npt.NDArray[np.float32],
    ids: npt.NDArray[np.object_],
    scores: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
    titles: npt.NDArray[np.object_],
    domains: npt.NDArray[np.object_],
) -> TitleMatch:
    # Best first: what is no match stands behind.
    count = np.count_nonzero(ids != b"")
    return TitleMatch(
        embedding,
        _texts(ids[:count]),
        scores[:count].tolist(),
        weights[:count].tolist(),
        _texts(titles[:count]),
        _texts(domains[:count]),
    )


def _describe(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "dtype": _name(wire.DataType, info.dtype),
            "shape": [dim.size for dim in info.tensor_shape.dim],
        }
        for name, info in sorted(tensors.items())
    }
