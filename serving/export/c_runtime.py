"""Exports in TensorFlow's C library, in a process that has no Python.

What answers there answers in any runtime that links TensorFlow and has the same ops, as
TF-Serving does. ``predict.c`` is built with cc from the headers and libraries of the
tensorflow wheel.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.errors import ServingError
from serving.saved_models import describe_signatures, read_meta_graph
from serving.tensors import sendable_array

SOURCE: Final = Path(__file__).parent / "predict.c"

_TEXT_LIBRARIES: Final = ("_normalize_ops", "_regex_split_ops", "_fast_wordpiece_tokenizer")
_TEXT_OPS: Final = ("TFText>", "CaseFoldUTF8", "NormalizeUTF8", "RegexSplit")
_SCANN_OPS: Final = "Scann>"
_FLAGS: Final = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1")


@dataclass(frozen=True)
class Call:
    """A request.

    Args:
        signature: The signature's key.
        inputs: By name: int32 numbers, or strings (``str`` or ``bytes``), of any shape.
    """

    signature: str
    inputs: Mapping[str, npt.ArrayLike]


def build_program(folder: str | Path) -> Path:
    """Builds the program into a folder.

    Returns:
        The program.

    Raises:
        ServingError: if there is no C compiler, or it does not build.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise ServingError(
            "there is no C compiler to build the check with",
            where="cc",
            remedy="install gcc or clang so that 'cc' is found, or check on another machine",
        )
    program, tensorflow = Path(folder) / "predict", _package("tensorflow")
    command = [
        *(compiler, *_FLAGS, "-o", str(program), str(SOURCE)),
        *("-isystem", str(tensorflow / "include"), f"-L{tensorflow}"),
        *("-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"),
        f"-Wl,-rpath,{tensorflow}",
    ]
    built = _run(command)
    if built.returncode != 0:
        raise ServingError(f"it does not build: {built.stderr.strip()}", where=SOURCE)
    return program


def op_libraries(version: str | Path) -> list[Path]:
    """The libraries of ops beyond TensorFlow's own that a SavedModel's graph wants."""
    graph = read_meta_graph(version).graph_def
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    ops = {node.op for node in nodes}
    found: list[Path] = []
    if any(op.startswith(_TEXT_OPS) for op in ops):
        folder = _package("tensorflow_text") / "python" / "ops"
        found += [folder / f"{name}.so" for name in _TEXT_LIBRARIES]
    if any(op.startswith(_SCANN_OPS) for op in ops):
        found.append(_package("scann") / "scann_ops" / "cc" / "_scann_ops.so")
    return found


def run_calls(
    program: Path,
    version: str | Path,
    calls: Sequence[Call],
    libraries: Sequence[Path] | None = None,
) -> list[dict[str, npt.NDArray[Any]]]:
    """The answers of a SavedModel to requests, by name; strings come as ``bytes``.

    Args:
        program: What ``build_program`` made.
        version: The version's folder.
        calls: The requests.
        libraries: Of ops; those that the graph wants if not given.

    Raises:
        ServingError: if the program fails, with its own words.
    """
    described = describe_signatures(version)
    command = [str(program), str(version)]
    for library in op_libraries(version) if libraries is None else libraries:
        command += ["-l", str(library)]
    for call in calls:
        signature = described[call.signature]
        for name, value in call.inputs.items():
            command += _feed(signature["inputs"][name]["tensor"], value)
        for info in signature["outputs"].values():
            command += ["-o", info["tensor"]]
        command.append("-r")
    done = _run(command)
    if done.returncode != 0:
        raise ServingError(f"the C runtime says: {done.stderr.strip()}", where=Path(version))
    lines = iter(done.stdout.rstrip("\n").split("\n"))
    return [
        {
            name: _parse(next(lines), info["dtype"])
            for name, info in described[call.signature]["outputs"].items()
        }
        for call in calls
    ]


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # An op's error may quote bytes that are no text.
    return subprocess.run(
        command, capture_output=True, check=False, encoding="utf-8", errors="replace"
    )


def _package(name: str) -> Path:
    """The folder of an installed package."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ServingError(f"{name} is not installed", where="check", remedy=f"install {name}")
    return Path(spec.submodule_search_locations[0])


def _feed(tensor: str, value: npt.ArrayLike) -> list[str]:
    """The program's words for an input."""
    array = sendable_array(value)
    dims = ",".join(map(str, array.shape))
    if array.dtype.kind in "iu":
        return ["-i", tensor, dims, *map(str, array.ravel().tolist())]
    texts = array.ravel().tolist()
    coded = [(text.encode() if isinstance(text, str) else text).hex() for text in texts]
    return ["-s", tensor, dims, *coded]


def _parse(line: str, dtype: str) -> npt.NDArray[Any]:
    """One printed output."""
    _, _, dims, *words = line.split("\t")
    shape = [int(size) for size in dims.split(",") if size]
    values = np.array(words, dtype=object)
    if dtype == "string":
        values = np.array([bytes.fromhex(word) for word in words], dtype=object)
    return (values if dtype == "string" else values.astype(dtype)).reshape(shape)
