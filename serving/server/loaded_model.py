"""One version of a model, run as TF-Serving runs it: a v1 Session over the SavedModel.

``tf.saved_model.load`` would be kinder than a server: it hides variables that a served
graph never initialises.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.saved_models import EXTRA_FOLDER, SERVE_TAG, SERVING_DEFAULT, WARMUP_FILE
from serving.server.request_checks import (
    RequestError,
    check_inputs,
    check_output_filter,
    check_types,
)
from serving.tensor_protos import typed_proto

_LOG = logging.getLogger(__name__)

MAX_WARMUP_RECORDS: Final = 1_000
_OP_MODULES: Final = ("scann", "tensorflow_text")
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


def load_custom_ops() -> None:
    """Loads the ops beyond TensorFlow's own that exports use, where they are installed."""
    for name in _OP_MODULES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            _LOG.warning("models that need ops of %s will not load: %s", name, error)


class LoadedModel:
    """A loaded SavedModel.

    Args:
        folder: The version's folder.
        threads: Threads of the session; 0 lets TensorFlow choose.

    Raises:
        tf.errors.OpError, OSError, RuntimeError: if it cannot be loaded, or fails on a
            warm-up request of its own.
    """

    def __init__(self, folder: str | Path, threads: int = 0):
        self._session = tf.compat.v1.Session(
            graph=tf.Graph(),
            config=tf.compat.v1.ConfigProto(
                intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
            ),
        )
        with self._session.graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(self._session, [SERVE_TAG], str(folder))
        self.signatures: Mapping[str, Any] = meta_graph.signature_def
        self._warm_up(Path(folder) / EXTRA_FOLDER / WARMUP_FILE)

    def predict(
        self, signature_name: str, inputs: Mapping[str, Any], output_filter: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Runs a signature.

        Args:
            signature_name: The signature's key; "" means ``serving_default``.
            inputs: Input name -> ``TensorProto``.
            output_filter: Outputs that are wanted; none means all.

        Returns:
            Output name -> ``TensorProto`` with typed fields.

        Raises:
            RequestError: as TF-Serving answers.
        """
        signature = self.find_signature(signature_name)
        arrays = check_inputs(inputs, signature.inputs)
        wanted = check_output_filter(output_filter, signature.outputs)
        check_types(arrays, signature.inputs)
        outputs = self._run(
            {name: signature.outputs[name].name for name in wanted},
            {signature.inputs[name].name: array for name, array in arrays.items()},
        )
        return {name: typed_proto(array) for name, array in outputs.items()}

    def find_signature(self, name: str) -> Any:
        """The signature of that key; "" means ``serving_default``."""
        key = name or SERVING_DEFAULT
        if key not in self.signatures:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{key}" not found.'
            )
        return self.signatures[key]

    def close(self) -> None:
        """Frees the session."""
        self._session.close()

    def _run(
        self, fetches: dict[str, str], feeds: dict[str, npt.NDArray[Any]]
    ) -> dict[str, npt.NDArray[Any]]:
        try:
            outputs = self._session.run(fetches, feeds)
        except tf.errors.OpError as error:
            raise run_error(error) from error
        return {name: np.asarray(output) for name, output in outputs.items()}

    def _warm_up(self, file: Path) -> None:
        if not file.exists():
            return
        for number, record in enumerate(tf.data.TFRecordDataset(str(file)).as_numpy_iterator()):
            if number >= MAX_WARMUP_RECORDS:
                raise RuntimeError(f"more than {MAX_WARMUP_RECORDS} warm-up records in {file}")
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            self._warm_up_once(request)

    def _warm_up_once(self, request: Any) -> None:
        try:
            self.predict(request.model_spec.signature_name, request.inputs)
        except RequestError as error:
            raise RuntimeError(f"a warm-up request fails: {error.message}") from error


def run_error(error: tf.errors.OpError) -> RequestError:
    """What a server says of an op's error: its own words, without Python's stack trace.

    ``Session.run`` raises a copy whose message tells where the op was built; the
    original is the copy's context.
    """
    original = error.__context__ if isinstance(error.__context__, tf.errors.OpError) else error
    return RequestError(_CODES[original.error_code], str(original.message))
