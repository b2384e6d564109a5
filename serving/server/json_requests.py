"""Requests of the REST API: JSON to the messages that come by gRPC.

Follows TF-Serving's ``util/json_tensor.cc``, in its words and order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.server.json_examples import fill_example
from serving.server.json_tensors import TensorValues, is_base64, read_tensor, utf8
from serving.server.json_text import parse_object, shown, value_error
from serving.server.request_checks import RequestError, invalid_argument

TensorInfos = Mapping[str, Any]
"""Input name -> ``TensorInfo``."""


def read_document(body: bytes, request: Any) -> dict[str, Any]:
    """The JSON object of a body, its ``signature_name`` written to a request.

    Raises:
        RequestError: as TF-Serving answers.
    """
    document = parse_object(body)
    if "signature_name" in document:
        name = document["signature_name"]
        if not isinstance(name, str):
            raise value_error(
                document, "not formatted correctly. 'signature_name' key must be a string value."
            )
        request.model_spec.signature_name = utf8(name).decode()
    return document


def fill_inputs(document: Mapping[str, Any], infos: TensorInfos, request: Any) -> bool:
    """Fills the inputs of a ``PredictRequest``.

    Args:
        document: ``{"instances": […]}``, a row for each instance, or ``{"inputs": …}`` with
            whole tensors.
        infos: The inputs of the signature that the request names.
        request: What is filled.

    Returns:
        Whether the answer is to be written by rows, too.

    Raises:
        RequestError: as TF-Serving answers.
    """
    if not infos:
        signature = request.model_spec.signature_name or "DEFAULT"
        raise invalid_argument(f"Failed to get input map for signature: {signature}")
    by_rows = "instances" in document
    if by_rows and "inputs" in document:
        raise value_error(
            document,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        )
    if by_rows:
        _fill_rows(document, infos, request.inputs)
    elif "inputs" in document:
        _fill_columns(document["inputs"], infos, request.inputs)
    else:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    return by_rows


def fill_example_request(body: bytes, request: Any) -> None:
    """Fills signature and examples of a ``ClassificationRequest`` or a ``RegressionRequest``.

    Args:
        body: ``{"signature_name": …, "context": {…}, "examples": [{feature: value or list}]}``.
        request: What is filled.

    Raises:
        RequestError: as TF-Serving answers.
    """
    document = read_document(body, request)
    target = request.input.example_list
    if "context" in document:
        target = request.input.example_list_with_context
        fill_example(document["context"], target.context)
    if "examples" not in document:
        raise value_error(
            document, "When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise value_error(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise value_error(document, "'examples' value is an empty array")
    for example in examples:
        fill_example(example, target.examples.add())


def _fill_columns(value: Any, infos: TensorInfos, tensors: Any) -> None:
    """Whole tensors, by their names or, where there is but one, alone."""
    if isinstance(value, dict) and not is_base64(value):
        for name in sorted(infos):
            if name not in value:
                raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
            read_tensor(value[name], infos[name].dtype).fill(tensors[name])
        return
    if len(infos) > 1:
        raise invalid_argument(
            "inputs is a plain value/list, but expecting an object as multiple "
            "input tensors required as per tensorinfo_map"
        )
    ((name, info),) = infos.items()
    read_tensor(value, info.dtype).fill(tensors[name])


def _fill_rows(document: Mapping[str, Any], infos: TensorInfos, tensors: Any) -> None:
    """A tensor of each instance, or an object of named ones; stacked, by name."""
    instances = document["instances"]
    if not isinstance(instances, list):
        raise value_error(document, "Expecting 'instances' to be an list/array")
    if not instances:
        raise value_error(document, "No values in 'instances' array")
    if not isinstance(instances[0], dict) and len(infos) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    named = _is_named(instances[0])
    rows = _Rows(infos)
    for number, instance in enumerate(instances):
        if named:
            rows.add_named(number, instance)
        else:
            rows.add_plain(number, instance)
    rows.fill(tensors, len(instances))


class _Rows:
    """The instances that have been read."""

    def __init__(self, infos: TensorInfos):
        self._infos = infos
        self._first = min(infos)
        self._stacks: dict[str, TensorValues] = {}
        self._sizes: dict[str, int] = {}

    def add_named(self, number: int, instance: Any) -> None:
        if not _is_named(instance):
            raise invalid_argument(f"Expecting object but got list at item {number} of input list")
        for name, value in instance.items():
            self._add(name, value, number, f" key: {name}")
        if instance.keys() != self._infos.keys():
            raise invalid_argument(
                f"Failed to process element: {number} of 'instances' list. JSON object: "
                f"{shown(instance)} keys must be equal to: {','.join(sorted(self._infos))}"
            )

    def add_plain(self, number: int, instance: Any) -> None:
        if _is_named(instance):
            raise invalid_argument(
                f"Expecting value/list but got object at item {number} of input list"
            )
        self._add(self._first, instance, number)

    def fill(self, tensors: Any, count: int) -> None:
        for name, stack in self._stacks.items():
            stack.fill(tensors[name], [count, *stack.shape])

    def _add(self, name: str, value: Any, number: int, key: str = "") -> None:
        try:
            self._stack(name, value)
        except RequestError as error:
            raise invalid_argument(
                f"Failed to process element: {number}{key} of 'instances' list. Error: {error}"
            ) from error

    def _stack(self, name: str, value: Any) -> None:
        if name not in self._infos:
            raise invalid_argument(f"JSON object: does not have named input: {name}")
        row = read_tensor(value, self._infos[name].dtype)
        first = self._stacks.setdefault(name, row)
        size = self._sizes.setdefault(name, len(row.values))
        if first is row:
            return
        if len(row.values) != size:
            raise invalid_argument(f"Expecting tensor size: {size} but got: {len(row.values)}")
        if row.shape != first.shape:
            raise invalid_argument(
                f"Expecting shape {_braced(first.shape)} but got: {_braced(row.shape)}"
            )
        first.values.extend(row.values)


def _is_named(instance: Any) -> bool:
    return isinstance(instance, dict) and not is_base64(instance)


def _braced(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
