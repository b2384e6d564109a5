"""A client of any TF-Serving address. It imports nothing of idp_tf.

The messages come from tensorflow-serving-api, whose wheel needs TensorFlow: the
first import takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import grpc
import numpy as np
import numpy.typing as npt
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.tensor_protos import array_of, typed_proto

DEFAULT_TIMEOUT: Final = 10.0
"""Seconds that a request may take, connecting included."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


class ServingClientError(Exception):
    """A request that could not be sent, or that the server answered by an error.

    Args:
        message: What is wrong; of a server's error, its own words.
        address: The server's address.
        code: The gRPC code's name, such as ``NOT_FOUND``; "" if nothing was sent.
        remedy: What the user can do.
    """

    def __init__(self, message: str, *, address: str, code: str = "", remedy: str = ""):
        self.message = message
        self.address = address
        self.code = code
        self.remedy = remedy
        answer = f"{code}: {message}" if code else message
        super().__init__(f"{address}: {answer}" + (f"\n  -> {remedy}" if remedy else ""))


@dataclass(frozen=True)
class TitleMatch:
    """What a matcher makes of one title.

    Args:
        embedding: The generated ID embedding, shape (dim,).
        source_item_ids: The matched source items as ``domain:item``, best first; none for
            a blank title.
        scores: Their similarities.
        weights: Their shares in the embedding.
    """

    embedding: npt.NDArray[np.float32]
    source_item_ids: list[str]
    scores: list[float]
    weights: list[float]


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


class ServingClient:
    """Asks a TF-Serving, or the server of this package, over gRPC.

    Args:
        address: ``HOST:PORT`` of the gRPC port.
        timeout: Seconds that each request may take.

    Raises:
        ServingClientError: if the address has another form.

    Example:
        >>> with ServingClient("localhost:8500") as client:  # doctest: +SKIP
        ...     client.recommend([["B0001", "B0002"]], k=3)
        [[('B0007', 1.93), ('B0004', 1.21), ('B0009', 0.98)]]
    """

    def __init__(self, address: str, timeout: float = DEFAULT_TIMEOUT):
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ServingClientError(
                "not an address", address=address, remedy="write HOST:PORT, such as localhost:8500"
            )
        self.address = address
        self.timeout = timeout
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def recommend(
        self, item_ids: Sequence[Sequence[str]], k: int = 10, model: str = "recommender"
    ) -> list[list[tuple[str, float]]]:
        """The best unseen items for each history.

        Args:
            item_ids: Histories, oldest item first; they need not be of one length.
            k: How many; a history for which fewer are left gets fewer.
            model: ``recommender`` or ``recommender_scann``.

        Returns:
            For each history (item id, score), best first.

        Raises:
            ServingClientError: if there is no answer, or it is an error.
        """
        length = max((len(history) for history in item_ids), default=0)
        padded = np.full((len(item_ids), length), "", dtype=object)
        for row, history in enumerate(item_ids):
            padded[row, : len(history)] = list(history)
        outputs = self.predict(model, {"item_ids": padded, "k": self._int32("k", k)})
        return [
            [(item.decode(), float(score)) for item, score in zip(ids, scores, strict=True) if item]
            for ids, scores in zip(outputs["item_ids"], outputs["scores"], strict=True)
        ]

    def match(self, titles: Sequence[str], model: str = "matcher") -> list[TitleMatch]:
        """The generated ID embedding of each title, and the source items that made it.

        Args:
            titles: Titles of target items.
            model: ``matcher`` or ``matcher_scann``.

        Raises:
            ServingClientError: if there is no answer, or it is an error.
        """
        outputs = self.predict(model, {"titles": np.array(list(titles), dtype=object)})
        return [
            _title_match(*row)
            for row in zip(
                outputs["embedding"],
                outputs["source_item_ids"],
                outputs["scores"],
                outputs["weights"],
                strict=True,
            )
        ]

    def predict(
        self, model: str, inputs: Mapping[str, npt.ArrayLike], signature: str = ""
    ) -> dict[str, npt.NDArray[Any]]:
        """Any signature of any model.

        Args:
            model: The model's name.
            inputs: Input name -> array; mind the dtype (``np.int32(10)``, not ``10``).
            signature: The signature's key; "" means ``serving_default``.

        Returns:
            Output name -> array; strings as ``bytes`` in an object array.

        Raises:
            ServingClientError: if there is no answer, or it is an error.
        """
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            try:
                request.inputs[name].CopyFrom(typed_proto(value))
            except ValueError as error:
                raise ServingClientError(f"input {name}: {error}", address=self.address) from error
        response = self._call(self._predictions.Predict, request)
        return {name: array_of(proto) for name, proto in response.outputs.items()}

    def metadata(self, model: str) -> dict[str, Any]:
        """The signatures of a model: key -> inputs and outputs with dtype and shape.

        Raises:
            ServingClientError: if there is no answer, or it is an error.
        """
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = model
        response = self._call(self._predictions.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return {
            key: {"inputs": _describe(value.inputs), "outputs": _describe(value.outputs)}
            for key, value in sorted(signatures.signature_def.items())
        }

    def status(self, model: str) -> list[VersionStatus]:
        """The versions of a model that the server knows.

        Raises:
            ServingClientError: if there is no answer, or it is an error.
        """
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        response = self._call(self._models.GetModelStatus, request)
        states = get_model_status_pb2.ModelVersionStatus.State
        return [
            VersionStatus(entry.version, states.Name(entry.state), entry.status.error_message)
            for entry in response.model_version_status
        ]

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self) -> ServingClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise self._error(error) from error

    def _error(self, error: Any) -> ServingClientError:
        code, details = error.code().name, str(error.details())
        if code == "UNAVAILABLE":
            message, remedy = (
                f"no server answers here ({details})",
                "start one (idp-tf serve --model_config_file …), or mend the address",
            )
        elif code == "DEADLINE_EXCEEDED":
            message, remedy = (
                f"no answer within {self.timeout:g} seconds",
                "look whether a gRPC server listens there, or give it a longer timeout",
            )
        else:
            message, remedy = details, ""
        return ServingClientError(message, address=self.address, code=code, remedy=remedy)

    def _int32(self, name: str, value: int) -> np.int32:
        try:
            return np.int32(value)
        except OverflowError as error:
            raise ServingClientError(
                f"{name} is {value}, which is no 32-bit number", address=self.address
            ) from error


def _title_match(embedding: Any, ids: Any, scores: Any, weights: Any) -> TitleMatch:
    matched = [place for place, item in enumerate(ids) if item]
    return TitleMatch(
        embedding,
        [ids[place].decode() for place in matched],
        [float(scores[place]) for place in matched],
        [float(weights[place]) for place in matched],
    )


def _describe(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "dtype": types_pb2.DataType.Name(info.dtype),
            "shape": [dim.size for dim in info.tensor_shape.dim],
        }
        for name, info in sorted(tensors.items())
    }
