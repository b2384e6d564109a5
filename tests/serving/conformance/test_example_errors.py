"""Classify, Regress, MultiInference and GetModelMetadata: what is wrong with a request."""

from __future__ import annotations

import re
from typing import Any

from requests_of import (
    BAD,
    CLASSIFY_METHOD,
    EXAMPLES,
    PLAIN,
    REGRESS_METHOD,
    Case,
    classify,
    each,
    metadata,
    multi,
    regress,
    spec,
)
from target import Target
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    regression_pb2,
)

CLASSIFIER = "servables/tensorflow/classifier.cc"
REGRESSOR = "servables/tensorflow/regressor.cc"
MULTI = "servables/tensorflow/multi_inference.cc"
HELPER = "servables/tensorflow/multi_inference_helper.cc"
UTIL = "servables/tensorflow/util.cc"
CORE = "model_servers/server_core.cc"
MANAGER = "core/basic_manager.cc"
METADATA = "servables/tensorflow/get_model_metadata_impl.cc"

METHOD_CHECK = {"enable_signature_method_name_check": "true"}
PREDICT_METHOD = "tensorflow/serving/predict"
NO_NAME = (BAD, "ModelSpec has no name specified.")
MISSING = (BAD, "Missing ModelSpec")
EMPTY = (BAD, "Input is empty.")
HALF, LABEL = ("half", REGRESS_METHOD), ("", CLASSIFY_METHOD)


def not_found(what: str) -> tuple[str, str]:
    return "NOT_FOUND", f"Servable not found for request: {what}"


def case(
    source: str, method: str, name: str, request: Any, code: str, message: str | re.Pattern[str]
) -> Case:
    return Case(source, f"{method}, {name}", method, request, code, message)


def checked(source: str, method: str, name: str, request: Any, code: str, message: str) -> Case:
    return Case(source, f"{method}, {name}", method, request, code, message, METHOD_CHECK)


def classes(name: str, request: Any, message: str | re.Pattern[str]) -> Case:
    return case(CLASSIFIER, "Classify", name, request, BAD, message)


def values(name: str, request: Any, message: str | re.Pattern[str]) -> Case:
    return case(REGRESSOR, "Regress", name, request, BAD, message)


def tasks(name: str, request: Any, message: str | re.Pattern[str], code: str = BAD) -> Case:
    return case(MULTI, "MultiInference", name, request, code, message)


MATRIX = "Expected Tensor shape: [batch_size num_classes] but got [2]"
CASES = [
    case(
        "servables/tensorflow/classification_service.cc",
        "Classify",
        "no model_spec",
        classification_pb2.ClassificationRequest(),
        *MISSING,
    ),
    case(CORE, "Classify", "no name", classify(name=""), *NO_NAME),
    case(
        MANAGER,
        "Classify",
        "an unknown version",
        classify(version=7),
        *not_found(f"Specific({EXAMPLES}, 7)"),
    ),
    classes("an unknown signature", classify("s"), "No signature was found with the name: s"),
    classes("two inputs", classify("two"), "Expected one input Tensor."),
    classes("three outputs", classify("three"), "Expected one or two output Tensors, found 3"),
    classes(
        "an input of another name",
        classify("renamed"),
        re.compile("No classification inputs found in SignatureDef: "),
    ),
    classes(
        "outputs of other names",
        classify("other"),
        re.compile(
            "Expected classification signature outputs to contain at least one of "
            '"classes" or "scores". Signature was: '
        ),
    ),
    classes("the signature before the input", classify("two", ()), "Expected one input Tensor."),
    case(UTIL, "Classify", "no example", classify("", ()), *EMPTY),
    classes("a vector of classes", classify("flat"), MATRIX),
    classes(
        "classes that are numbers",
        classify("numbers"),
        "Expected classes Tensor of DT_STRING. Got: DT_INT64",
    ),
    classes(
        "scores that are doubles",
        classify("doubles"),
        "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE",
    ),
    classes(
        "classes of one example",
        classify("first"),
        "Expected classes output batch size of 2. Got: 1",
    ),
    classes(
        "fewer classes than scores",
        classify("uneven"),
        "Tensors class and score should match in dim_size(1). Got 1 vs. 2",
    ),
    checked(
        CLASSIFIER,
        "Classify",
        "another method's signature",
        classify("half"),
        BAD,
        f"Expected classification signature method_name to be {CLASSIFY_METHOD}. "
        f"Was: {REGRESS_METHOD}",
    ),
    case(
        "servables/tensorflow/regression_service.cc",
        "Regress",
        "no model_spec",
        regression_pb2.RegressionRequest(),
        *MISSING,
    ),
    case(MANAGER, "Regress", "an unknown model", regress(name="n"), *not_found("Latest(n)")),
    values("an unknown signature", regress("s"), "No signature was found with the name: s"),
    values("two inputs", regress("two"), "Expected one input Tensor."),
    values("two outputs", regress(""), "Expected one output Tensor."),
    values(
        "an input of another name",
        regress("renamed"),
        re.compile("No regression inputs found in SignatureDef: "),
    ),
    values(
        "an output of another name",
        regress("other"),
        re.compile("No regression outputs found in SignatureDef: "),
    ),
    case(UTIL, "Regress", "no example", regress("half", ()), *EMPTY),
    values(
        "two values of an example",
        regress("wide"),
        "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
    ),
    values(
        "a value of one example",
        regress("one"),
        "Input batch size did not match output batch size: 2 vs. 1",
    ),
    values("doubles", regress("double"), "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
    checked(
        REGRESSOR,
        "Regress",
        "another method's signature",
        regress("column"),
        BAD,
        f"Expected regression signature method_name to be {REGRESS_METHOD}. Was: {PREDICT_METHOD}",
    ),
    case(
        HELPER,
        "MultiInference",
        "no task",
        inference_pb2.MultiInferenceRequest(),
        *NO_NAME,
    ),
    case(
        MANAGER,
        "MultiInference",
        "an unknown model",
        multi(HALF, specs=[spec("n")]),
        *not_found("Latest(n)"),
    ),
    tasks(
        "a second task without a model",
        multi(HALF, LABEL, specs=[spec(EXAMPLES, "half"), spec("")]),
        "Found ModelSpec with an empty model name.",
    ),
    tasks(
        "a second task of another model",
        multi(HALF, LABEL, specs=[spec(EXAMPLES, "half"), spec(PLAIN)]),
        "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    ),
    tasks(
        "a signature twice",
        multi(LABEL, ("serving_default", CLASSIFY_METHOD)),
        "Duplicate evaluation of signature: serving_default",
    ),
    tasks(
        "an unknown signature",
        multi(("s", REGRESS_METHOD)),
        "Requested signature not found in model graph: s",
    ),
    tasks(
        "a method that is neither",
        multi(("half", PREDICT_METHOD)),
        f"Unsupported signature method_name: {PREDICT_METHOD}",
        "UNIMPLEMENTED",
    ),
    case(
        CLASSIFIER,
        "MultiInference",
        "a signature of the other method",
        multi(("two", CLASSIFY_METHOD)),
        BAD,
        "Expected one input Tensor.",
    ),
    tasks(
        "the tasks before the input",
        multi(LABEL, ("s", REGRESS_METHOD), examples=()),
        "Requested signature not found in model graph: s",
    ),
    case(UTIL, "MultiInference", "no example", multi(HALF, examples=()), *EMPTY),
    case(
        METADATA,
        "GetModelMetadata",
        "no model_spec",
        get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]),
        *MISSING,
    ),
    case(
        METADATA,
        "GetModelMetadata",
        "no field",
        metadata(),
        BAD,
        "GetModelMetadataRequest must specify at least one metadata_field",
    ),
    case(
        METADATA,
        "GetModelMetadata",
        "an unknown field",
        metadata("signature_def", "weights"),
        BAD,
        "Metadata field weights is not supported",
    ),
    case(
        METADATA,
        "GetModelMetadata",
        "the fields before the model",
        metadata("weights", name="n"),
        BAD,
        "Metadata field weights is not supported",
    ),
    case(CORE, "GetModelMetadata", "no name", metadata("signature_def", name=""), *NO_NAME),
    case(
        MANAGER,
        "GetModelMetadata",
        "an unknown model",
        metadata("signature_def", name="n"),
        *not_found("Latest(n)"),
    ),
]


@each(CASES)
def test_a_wrong_request(target: Target, case: Case) -> None:
    code, message = target.failure(case.method, case.request)
    assert code == case.code
    assert case.matches(message), message
