"""What TF-Serving's util/json_tensor.cc says of bodies that it refuses, read there by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from json_reading import read, refusal
from tensorflow_serving.apis import classification_pb2

from serving.server.json_requests import fill_example_request
from serving.server.request_checks import RequestError


@pytest.mark.parametrize(
    ("body", "types", "message"),
    [
        ("[1]", {"x": "float"}, "JSON Value: [1] Is not object"),
        ("{}", {"x": "float"}, "Missing 'inputs' or 'instances' key"),
        ('{"inputs": 1}', {}, "Failed to get input map for signature: DEFAULT"),
        (
            '{"signature_name": "s", "inputs": 1}',
            {},
            "Failed to get input map for signature: s",
        ),
        (
            '{"signature_name": 7, "inputs": 1}',
            {"x": "float"},
            'JSON Value: {\n    "signature_name": 7,\n    "inputs": 1\n} '
            "not formatted correctly. 'signature_name' key must be a string value.",
        ),
        (
            '{"inputs": 1, "instances": [true, null]}',
            {"x": "float"},
            'JSON Value: {\n    "inputs": 1,\n    "instances": [true, null]\n} '
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        ),
        (
            '{"instances": {}}',
            {"x": "float"},
            'JSON Value: {\n    "instances": {}\n} Expecting \'instances\' to be an list/array',
        ),
        (
            '{"instances": []}',
            {"x": "float"},
            'JSON Value: {\n    "instances": []\n} No values in \'instances\' array',
        ),
        (
            '{"instances": [1]}',
            {"x": "float", "y": "float"},
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map",
        ),
        (
            '{"inputs": [1]}',
            {"x": "float", "y": "float"},
            "inputs is a plain value/list, but expecting an object as multiple "
            "input tensors required as per tensorinfo_map",
        ),
        (
            '{"inputs": {"x": 1}}',
            {"x": "int32", "y": "bool"},
            "Missing named input: y in 'inputs' object.",
        ),
        (
            '{"inputs": [[1], 2]}',
            {"x": "int32"},
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        (
            '{"inputs": [1, [2]]}',
            {"x": "int32"},
            "Encountered list at unexpected level: 1 expected < 1",
        ),
        (
            '{"inputs": [[1, 2], [3]]}',
            {"x": "int32"},
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ),
        (
            '{"inputs": [1.5]}',
            {"x": "int32"},
            "JSON Value: 1.5 Type: Number is not of expected type: int32",
        ),
        (
            '{"inputs": [2147483648]}',
            {"x": "int32"},
            "JSON Value: 2147483648 Type: Number is not of expected type: int32",
        ),
        (
            '{"inputs": [-1]}',
            {"x": "uint64"},
            "JSON Value: -1 Type: Number is not of expected type: uint64",
        ),
        (
            '{"inputs": [true]}',
            {"x": "int64"},
            "JSON Value: true Type: True is not of expected type: int64",
        ),
        (
            '{"inputs": [1]}',
            {"x": "bool"},
            "JSON Value: 1 Type: Number is not of expected type: bool",
        ),
        (
            '{"inputs": [null]}',
            {"x": "float"},
            "JSON Value: null Type: Null is not of expected type: float",
        ),
        (
            '{"inputs": ["1"]}',
            {"x": "double"},
            'JSON Value: "1" Type: String is not of expected type: double',
        ),
        (
            '{"inputs": {"x": [{"a": 1}]}}',
            {"x": "uint32"},
            'JSON Value: {\n    "a": 1\n} Type: Object is not of expected type: uint32',
        ),
        (
            '{"inputs": {"x": [{"b64": 1}]}}',
            {"x": "string"},
            'JSON Value: {\n    "b64": 1\n} not formatted correctly for base64 data',
        ),
        ('{"inputs": [{"b64": "a"}]}', {"x": "string"}, "Unable to base64 decode"),
        (
            '{"instances": [1, "a"]}',
            {"x": "float"},
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "a" Type: String is not of expected type: float',
        ),
        (
            '{"instances": [[1, 2], [3]]}',
            {"x": "float"},
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting tensor size: 2 but got: 1",
        ),
        (
            '{"instances": [[[1, 2]], [[3], [4]]]}',
            {"x": "float"},
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting shape [1,2] but got: [2,1]",
        ),
        (
            '{"instances": [{"x": 1}, 2]}',
            {"x": "float"},
            "Expecting object but got list at item 1 of input list",
        ),
        (
            '{"instances": [1, {"x": 2}]}',
            {"x": "float"},
            "Expecting value/list but got object at item 1 of input list",
        ),
        (
            '{"instances": [{"z": 1}]}',
            {"x": "float"},
            "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: z",
        ),
        (
            '{"instances": [{"x": 1}]}',
            {"x": "float", "y": "float"},
            'Failed to process element: 0 of \'instances\' list. JSON object: {\n    "x": 1\n} '
            "keys must be equal to: x,y",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(body: str, types: Mapping[str, str], message: str) -> None:
    assert refusal(body, **types) == f"INVALID_ARGUMENT: {message}"


def test_a_type_that_json_is_not_turned_into() -> None:
    assert refusal('{"inputs": [1]}', x="half") == (
        "UNIMPLEMENTED: Conversion of JSON Value: 1 to type: half"
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "The document is empty"),
        (" \n", "The document is empty. at offset: 2"),
        ('{"é": }', "Invalid value. at offset: 7"),
        ("{1: 2}", "Missing a name for object member. at offset: 1"),
        ('{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        ('{"a": "\\x"}', "Invalid escape character in string. at offset: 7"),
        ('{"a": 1e999}', "Number too big to be stored in double."),
        (b'{"a": "\xff"}', "Invalid encoding in string. at offset: 7"),
        ('{"inputs": ["\\ud800"]}', "The surrogate pair in string is invalid."),
    ],
)
def test_what_is_no_json(body: str | bytes, words: str) -> None:
    assert refusal(body, x="string") == f"INVALID_ARGUMENT: JSON Parse error: {words}"


@pytest.mark.parametrize("digits", [400, 5_000])
def test_a_whole_number_without_end(digits: int) -> None:
    assert refusal(f'{{"inputs": [1{"0" * digits}]}}', x="float") == (
        "INVALID_ARGUMENT: JSON Parse error: Number too big to be stored in double."
    )


def test_whole_numbers_beyond_the_type_wrap_as_in_tensorflow() -> None:
    assert read('{"inputs": [300, -1]}', x="uint8")["x"].tolist() == [44, 255]


def test_values_that_errors_show_are_cut() -> None:
    text = f'"{"x" * 100}"'
    # RapidJSON looks before each value whether 256 bytes are written: at the third, 241 are.
    shown = f'{{\n    "instances": {{\n        "a": [{text}, {text}, {text}'
    assert refusal(f'{{"instances": {{"a": [{", ".join([text] * 9)}]}}}}', x="float") == (
        f"INVALID_ARGUMENT: JSON Value: {shown} Expecting 'instances' to be an list/array"
    )


def fill(body: str) -> Any:
    request = classification_pb2.ClassificationRequest()
    fill_example_request(body.encode(), request)
    return request


def test_examples() -> None:
    request = fill(
        '{"signature_name": "s", "examples": [{"i": [1, true], "f": 1.5, "b": ["é", '
        '{"b64": "/w=="}], "none": []}], "context": {"big": 1e30}}'
    )
    assert request.model_spec.signature_name == "s"
    examples = request.input.example_list_with_context
    assert list(examples.context.features.feature["big"].float_list.value) == [np.float32(1e30)]
    (features,) = [example.features.feature for example in examples.examples]
    assert list(features["i"].int64_list.value) == [1, 1]
    assert list(features["f"].float_list.value) == [1.5]
    assert list(features["b"].bytes_list.value) == ["é".encode(), b"\xff"]
    assert features["none"].WhichOneof("kind") is None and len(features) == 4


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ("[1]", "Example must be JSON object but got JSON Number"),
        ('[{"x": null}]', "Feature: x has element with unexpected JSON type: Null"),
        ('[{"x": [[1]]}]', "Feature: x has element with unexpected JSON type: Array"),
        ('[{"x": {"y": 1}}]', "Feature: x has element with unexpected JSON type: Object"),
        ('[{"x": [1.5, 1]}]', "Unexpected element type in feature: x expecting type: float"),
        ('[{"x": ["a", 1]}]', "Unexpected element type in feature: x expecting type: bytes"),
        ('[{"x": [1, "a"]}]', "Unexpected element type in feature: x expecting type: int64"),
        (
            '[{"x": 18446744073709551615}]',
            "Feature: x has uint64_t element. Only int64_t is supported.",
        ),
        (
            "7",
            "JSON Value: {\n    \"examples\": 7\n} Expecting 'examples' value to be an list/array",
        ),
    ],
)
def test_examples_that_are_refused(examples: str, message: str) -> None:
    with pytest.raises(RequestError) as error:
        fill(f'{{"examples": {examples}}}')
    assert error.value.message == message


def test_no_examples() -> None:
    with pytest.raises(RequestError) as error:
        fill("{}")
    assert error.value.message == (
        "JSON Value: {} When method is classify, key 'examples' is expected and was not found"
    )
