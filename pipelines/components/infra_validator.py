"""The component InfraValidator."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import Field

from idp_tf.errors import IdpError, ServingError
from pipelines import artifacts
from pipelines.component import Component, Execution, Parameters
from pipelines.components.infra_questions import (
    Answer,
    Library,
    Question,
    build_questions,
    draw_histories,
    in_process_answers,
    is_exact,
    judge_answer,
    served_signatures,
)
from pipelines.components.verdict import INFRA_BLESSED, INFRA_NOT_BLESSED, Check, write_verdict
from pipelines.model_files import ModelFiles
from pipelines.model_servers import Address, serve_by_tf_serving, serve_locally

if TYPE_CHECKING:
    from serving.client import ModelSpec, ServingClient

_LOG = logging.getLogger("pipelines.InfraValidator")

_LOADS: Final = "loads and answers, by number of tries"
_PATIENCE: Final = {"num_tries", "max_loading_time_seconds", "request_timeout_seconds"}
_BAD_REQUEST: Final = "INVALID_ARGUMENT"


class TfServing(Parameters):
    """A TF-Serving for trials, which runs already."""

    address: str = Field(description="HOST:PORT of its gRPC port.")
    base_path: Path = Field(
        description="The model's folder that it watches, as seen from here; versions are put "
        "into it, and the two newest stay."
    )


class InfraValidatorParameters(Parameters):
    """How a model is tried; names are TFX's where TFX has them."""

    model_name: str = Field("recommender", description="The model's name on the server.")
    num_tries: int = Field(
        3, ge=1, description="Servers started, one after the other, until one has answered."
    )
    max_loading_time_seconds: float = Field(
        300.0, gt=0, description="How long a server may take until the model answers."
    )
    request_timeout_seconds: float = Field(30.0, gt=0, description="How long an answer may take.")
    histories: int = Field(
        20, ge=1, description="Users of the split eval whose histories are asked."
    )
    ks: tuple[int, ...] = Field(
        (10, 1, 100), min_length=1, description="How many items are asked for, in turn."
    )
    seed: int = Field(0, ge=0, description="Of the choice of users.")
    tolerance: float = Field(
        1e-4, gt=0, description="Most that a score may be off, of the greatest of its row or of 1."
    )
    tf_serving: TfServing | None = Field(
        None, description="Ask this TF-Serving; none starts the server of `idp-tf serve`."
    )


class InfraValidator(Component[InfraValidatorParameters]):
    """Has a model answer real requests from a server before users do.

    The SavedModel is loaded in a server process of its own, on 127.0.0.1 and a free port, which
    ends with the execution, however that ends; or in a TF-Serving that runs already. It is
    asked histories of users of the split ``eval``, by k in turn, by one k for all, by more items
    than there are, with unknown ids, empty histories, excluded items and candidates to be
    scored, and one request that must be refused. Answers must be those of the same SavedModel
    run in this process (by another loader than the server's), and those of the library's
    model: the same items, and scores within a tolerance.

    A server that does not start, does not answer in time or breaks off is tried again,
    ``num_tries`` times in all; a wrong answer is not, it would be wrong again.

    Inputs: ``model``, a recommender, and ``examples`` of the target.

    Outputs::

        infra_blessing/INFRA_BLESSED    or INFRA_NOT_BLESSED, an empty file
        infra_blessing/reasons.json     every check: name, value, threshold, passed, in words

    A model that cannot be served is no error: it is not blessed.

    Raises:
        MissingDataError: if there are no examples, or the model does not tell its items.
    """

    name = "InfraValidator"
    inputs: ClassVar[Mapping[str, str]] = {
        "model": artifacts.MODEL,
        "examples": artifacts.EXAMPLES,
    }
    outputs: ClassVar[Mapping[str, str]] = {"infra_blessing": artifacts.INFRA_BLESSING}
    parameters = InfraValidatorParameters

    def execute(self, execution: Execution[InfraValidatorParameters]) -> None:
        """Tries the model."""
        told = execution.parameters
        files = ModelFiles("model", str(execution.one("model").uri))
        histories = draw_histories(execution.one("examples"), told.histories, told.seed)
        checks = _checked(execution, files, histories)
        output = execution.outputs["infra_blessing"]
        blessed = write_verdict(output.uri, checks, (INFRA_BLESSED, INFRA_NOT_BLESSED))
        output.properties.update(accepted=blessed, checks=len(checks))
        for check in checks:
            log = _LOG.debug if check.passed else _LOG.warning
            log("%s: %s", "passed" if check.passed else "failed", check.words)

    def cache_inputs(self, parameters: InfraValidatorParameters) -> Mapping[str, Any]:
        """The parameters but those of patience, which make nothing else."""
        return parameters.model_dump(mode="json", exclude=_PATIENCE)


def _checked(
    execution: Execution[InfraValidatorParameters],
    files: ModelFiles,
    histories: Sequence[Sequence[str]],
) -> list[Check]:
    told, library = execution.parameters, Library(files)
    try:
        signatures = served_signatures(files.serving)
    except ServingError as error:
        return [Check("the SavedModel is whole", None, None, False, str(error))]
    questions = build_questions(library, histories, told.ks, signatures)
    tried, answers = _served_answers(execution, files, questions)
    execution.counters["requests"] = len(answers)
    execution.counters["histories"] = len(histories)
    if not tried.passed:
        return [tried]
    in_process = in_process_answers(files.serving)
    reference = library if is_exact(files.serving) else None
    checks = [tried]
    for question, answer in zip(questions, answers, strict=True):
        expected = in_process(question)
        checks += judge_answer(question, answer, expected, reference, told.tolerance)
    return checks


def _served_answers(
    execution: Execution[InfraValidatorParameters],
    files: ModelFiles,
    questions: Sequence[Question],
) -> tuple[Check, list[Answer]]:
    """Whether a server has answered, and its answers; as many tries as there may be."""
    from serving.client import ServingClientError

    told, failures = execution.parameters, list[str]()
    for number in range(1, told.num_tries + 1):
        began = time.monotonic()
        try:
            with _server(execution, files) as where:
                _LOG.debug("a server answers after %.1f s", time.monotonic() - began)
                answers = _ask(where, questions, told.request_timeout_seconds)
        except (IdpError, ServingClientError) as error:
            _LOG.warning("try %d of %d: %s", number, told.num_tries, error)
            failures.append(f"Try {number}: {error}")
            continue
        words = ["A server loaded the model and answered every request.", *failures]
        return Check(_LOADS, number, told.num_tries, True, " ".join(words)), answers
    words = [f"No server answered by this model, in {told.num_tries} tries.", *failures]
    return Check(_LOADS, None, told.num_tries, False, " ".join(words)), []


def _server(
    execution: Execution[InfraValidatorParameters], files: ModelFiles
) -> AbstractContextManager[Address]:
    told = execution.parameters
    if told.tf_serving is None:
        return serve_locally(
            files.serving,
            told.model_name,
            execution.work / "server",
            seconds=told.max_loading_time_seconds,
        )
    return serve_by_tf_serving(
        files.serving,
        told.tf_serving.address,
        told.model_name,
        told.tf_serving.base_path,
        fingerprint=execution.one("model").fingerprint,
        seconds=told.max_loading_time_seconds,
    )


def _ask(where: Address, questions: Sequence[Question], timeout: float) -> list[Answer]:
    from serving.client import ModelSpec, ServingClient

    spec = ModelSpec(where.model, where.version)
    with ServingClient(where.address, timeout) as client:
        _refuses_nonsense(client, spec, questions[0])
        return [client.predict(spec, q.inputs, q.signature) for q in questions]


def _refuses_nonsense(client: ServingClient, spec: ModelSpec, question: Question) -> None:
    """A request that cannot be answered must be refused, and the server must live on."""
    from serving.client import ServingClientError

    inputs = {name: value for name, value in question.inputs.items() if name != "k"}
    try:
        client.predict(spec, inputs)
    except ServingClientError as error:
        if error.code == _BAD_REQUEST:
            return
        raise
    raise ServingError("a request without k was answered", where=client.address)
