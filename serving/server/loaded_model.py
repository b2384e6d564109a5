"""One version of a model, run as TF-Serving runs it: a v1 Session over the SavedModel.

``tf.saved_model.load`` would be kinder than a server: it hides variables that a served
graph never initialises.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving.saved_models import (
    EXTRA_FOLDER,
    SAVED_MODEL_FILE,
    SERVE_TAG,
    SERVING_DEFAULT,
    WARMUP_FILE,
)
from serving.server import examples
from serving.server.batching import run_alone
from serving.server.batching_parameters import BatchingParameters
from serving.server.request_checks import (
    RequestError,
    check_inputs,
    check_output_filter,
    check_types,
    invalid_argument,
)

_LOG = logging.getLogger(__name__)

MAX_WARMUP_RECORDS: Final = 1_000
_OP_MODULES: Final = ("scann", "tensorflow_text")
_OVER_EXAMPLES: Final[Mapping[str, Any]] = {
    "classify_log": examples.classify,
    "regress_log": examples.regress,
    "multi_inference_log": examples.multi_inference,
}
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


def load_custom_ops() -> None:
    """Loads the ops beyond TensorFlow's own that exports use, where they are installed."""
    for name in _OP_MODULES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            _LOG.warning("models that need ops of %s will not load: %s", name, error)


class Warmup(NamedTuple):
    """What warming up took."""

    records: int
    seconds: float


class LoadedModel:
    """A loaded SavedModel.

    Args:
        folder: The version's folder.
        threads: Intra-op and inter-op threads of the session; 0 lets TensorFlow choose.
        tags: Tags of the graph that is loaded.
        warmup_iterations: How often each of the version's own warm-up requests is run.
        batching: How requests are batched, so that they warm up what they will run, and a
            version fails that cannot be batched.

    Raises:
        RequestError: what TF-Serving says of a folder that is no SavedModel, or of a warm-up
            request that fails.
        tf.errors.OpError, OSError, ValueError: if it cannot be loaded.
    """

    def __init__(
        self,
        folder: str | Path,
        threads: tuple[int, int] = (0, 0),
        *,
        tags: Sequence[str] = (SERVE_TAG,),
        warmup_iterations: int = 1,
        batching: BatchingParameters | None = None,
    ):
        self._batching = batching
        self.folder = folder = Path(folder)
        _check_saved_model(folder, set(tags))
        self._runs = 0
        self._run_ended = threading.Condition()
        intra, inter = threads
        self._session = tf.compat.v1.Session(
            graph=tf.Graph(),
            config=tf.compat.v1.ConfigProto(
                intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter
            ),
        )
        try:
            with self._session.graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(self._session, list(tags), str(folder))
            self.signatures: Mapping[str, Any] = meta_graph.signature_def
            self.warmup: Warmup | None = None
            if warmup_iterations:
                self.warmup = self._warm_up(folder / EXTRA_FOLDER / WARMUP_FILE, warmup_iterations)
        except BaseException:
            self._session.close()
            raise

    def read(
        self, signature_name: str, inputs: Mapping[str, Any], output_filter: Sequence[str]
    ) -> tuple[dict[str, npt.NDArray[Any]], list[str]]:
        """The arrays and the names of outputs that a request asks to run, checked.

        Args:
            signature_name: The signature's key; "" means ``serving_default``.
            inputs: Input name -> ``TensorProto``.
            output_filter: Outputs that are wanted; none means all.

        Raises:
            RequestError: as TF-Serving answers.
        """
        signature = self.find_signature(signature_name)
        arrays = check_inputs(inputs, signature)
        wanted = check_output_filter(output_filter, signature.outputs)
        check_types(arrays, signature.inputs)
        return arrays, wanted

    def run(
        self,
        signature_name: str,
        arrays: Mapping[str, npt.NDArray[Any]],
        outputs: Iterable[str],
        timeout: float | None = None,
    ) -> dict[str, npt.NDArray[Any]]:
        """Runs a signature; several threads may at once.

        Args:
            signature_name: The signature's key; "" means ``serving_default``.
            arrays: Every input of the signature, its type checked: a Session would cast it.
            outputs: Names of outputs.
            timeout: Seconds that the session may run, or None; what runs longer is broken off.

        Returns:
            Output name -> array.

        Raises:
            RequestError: what an op says, or DEADLINE_EXCEEDED.
        """
        signature = self.find_signature(signature_name)
        fetches = {name: signature.outputs[name].name for name in outputs}
        feeds = {signature.inputs[name].name: array for name, array in arrays.items()}
        with self._counted():
            return self._run(fetches, feeds, timeout)

    def find_signature(self, name: str) -> Any:
        """The signature of that key; "" means ``serving_default``."""
        key = name or SERVING_DEFAULT
        if key not in self.signatures:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{key}" not found.'
            )
        return self.signatures[key]

    def wait_for_runs(self) -> None:
        """Blocks until nothing runs: a run goes on when the request that it is for was given up."""
        with self._run_ended:
            self._run_ended.wait_for(lambda: not self._runs)

    def close(self) -> None:
        """Frees the session; what runs in it still, for nobody, is broken off."""
        self._session.close()

    def _run(
        self,
        fetches: Mapping[str, str],
        feeds: Mapping[str, npt.NDArray[Any]],
        timeout: float | None,
    ) -> dict[str, npt.NDArray[Any]]:
        options = None
        if timeout is not None:
            # To TensorFlow 0 is no limit.
            options = tf.compat.v1.RunOptions(timeout_in_ms=max(1, int(timeout * 1_000)))
        try:
            found = self._session.run(fetches, feeds, options)
        except tf.errors.OpError as error:
            raise run_error(error) from error
        except UnicodeDecodeError as error:
            # An op that quotes bytes which are no text: TensorFlow's Python loses the code.
            raise invalid_argument(error.object.decode(errors="backslashreplace")) from error
        return {name: np.asarray(output) for name, output in found.items()}

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._run_ended:
            self._runs += 1
        try:
            yield
        finally:
            with self._run_ended:
                self._runs -= 1
                self._run_ended.notify_all()

    def _warm_up(self, file: Path, iterations: int) -> Warmup | None:
        if not file.exists():
            return None
        begin, number = time.perf_counter(), -1
        for number, record in enumerate(tf.data.TFRecordDataset(str(file)).as_numpy_iterator()):
            if number >= MAX_WARMUP_RECORDS:
                raise invalid_argument(
                    f"Number of warmup records exceeds the maximum ({MAX_WARMUP_RECORDS}) at {file}"
                )
            log = _parse_warmup(record, file)
            for _ in range(iterations):
                self._replay(log)
        return Warmup(number + 1, time.perf_counter() - begin)

    def _run_warmup(
        self, key: str, arrays: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str]
    ) -> dict[str, npt.NDArray[Any]]:
        if self._batching is None:
            return self.run(key, arrays, outputs)
        return run_alone(self._batching, self, key, arrays, outputs)

    def _replay(self, log: Any) -> None:
        """As ``servables/tensorflow/saved_model_warmup.cc`` runs a record."""
        kind = log.WhichOneof("log_type")
        if kind == "predict_log":
            request = log.predict_log.request
            key = request.model_spec.signature_name or SERVING_DEFAULT
            self._run_warmup(key, *self.read(key, request.inputs, request.output_filter))
        elif kind in _OVER_EXAMPLES:
            method = _OVER_EXAMPLES[kind]
            model = _InThisThread(self.signatures, self._run_warmup)
            asyncio.run(method(model, getattr(log, kind).request))
        elif kind is not None:
            number = log.DESCRIPTOR.fields_by_name[kind].number
            raise RequestError(
                grpc.StatusCode.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}"
            )


@dataclass(frozen=True)
class _InThisThread:
    """A model as ``examples`` takes it, which runs at once."""

    signatures: Mapping[str, Any]
    run_now: Callable[..., dict[str, npt.NDArray[Any]]]

    async def run(
        self, signature_key: str, arrays: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str], /
    ) -> dict[str, npt.NDArray[Any]]:
        return self.run_now(signature_key, arrays, outputs)


def load_error(error: Exception) -> RequestError:
    """Why a version could not be loaded, as ``GetModelStatus`` tells it."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, tf.errors.OpError):
        return run_error(error)
    return RequestError(grpc.StatusCode.UNKNOWN, str(error))


def run_error(error: tf.errors.OpError) -> RequestError:
    """What a server says of an op's error: its own words, without Python's stack trace.

    ``Session.run`` raises a copy whose message tells where the op was built; the
    original is the copy's context.
    """
    original = error.__context__ if isinstance(error.__context__, tf.errors.OpError) else error
    return RequestError(_CODES[original.error_code], str(original.message))


def _check_saved_model(folder: Path, tags: set[str]) -> None:
    """What TF-Serving's loader (``cc/saved_model/reader.cc``) finds before it builds a graph."""
    file = folder / SAVED_MODEL_FILE
    if not file.exists():
        raise RequestError(
            grpc.StatusCode.NOT_FOUND,
            f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {folder}. "
            "Check that the directory exists and that you have the right permissions for accessing "
            "it.",
        )
    try:
        saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    except DecodeError as error:
        raise RequestError(
            grpc.StatusCode.DATA_LOSS, f"Can't parse {file} as binary proto"
        ) from error
    if not any(set(graph.meta_info_def.tags) == tags for graph in saved_model.meta_graphs):
        raise RequestError(
            grpc.StatusCode.NOT_FOUND,
            "Could not find meta graph def matching supplied tags: "
            f"{{ {' '.join(sorted(tags))} }}. To inspect available tag-sets in the SavedModel, "
            "please use the SavedModel CLI: `saved_model_cli`",
        )


def _parse_warmup(record: bytes, file: Path) -> Any:
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:
        raise invalid_argument(f"Failed to parse warmup record: {record!r} from {file}") from error
