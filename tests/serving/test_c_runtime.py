"""All four exports answer in a C program against TensorFlow's C library, without Python.

The program is built with cc from the headers and libraries of the tensorflow wheel. Where
there is no cc the tests are skipped, but in CI (the variable CI is set) they fail.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from idp_tf.retrieval import Index
from idp_tf.text import TextEncoder
from idp_tf.transfer.generate import find_untitled, generate_embeddings
from serving.saved_models import describe_signature

Expect = Callable[[Sequence[str], int], list[tuple[str, float]]]
Runtime = Callable[..., dict[str, np.ndarray]]

SOURCE = Path(__file__).parent / "c_runtime" / "predict.c"
TEXT_LIBRARIES = ("_normalize_ops", "_regex_split_ops", "_fast_wordpiece_tokenizer")
HISTORIES = [["item-3", "", "nobody"], ["item-5", "item-9", "item-14"]]
TITLES = ["green tea", "", "Red guitar case"]
K = 7
TOP_M = 4


def package(name: str) -> Path:
    """The folder of an installed package."""
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built program."""
    compiler = shutil.which("cc")
    if compiler is None:
        if os.environ.get("CI"):
            pytest.fail("there is no cc, and CI is set: this check must not be skipped")
        pytest.skip("there is no cc to build the program with")
    target = tmp_path_factory.mktemp("c_runtime") / "predict"
    tensorflow = package("tensorflow")
    command = [
        *(compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", str(target), str(SOURCE)),
        *("-isystem", str(tensorflow / "include"), f"-L{tensorflow}"),
        *("-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"),
        f"-Wl,-rpath,{tensorflow}",
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return target


@pytest.fixture(scope="module")
def run_export(program: Path, exports: Path) -> Runtime:
    """Runs an export in the program: inputs by name -> outputs by name."""

    def run(model: str, libraries: Sequence[Path], **inputs: object) -> dict[str, np.ndarray]:
        folder = exports / model / "1"
        signature = describe_signature(folder)
        command = [str(program), str(folder)]
        for library in libraries:
            command += ["-l", str(library)]
        for name, value in inputs.items():
            command += feed(signature["inputs"][name]["tensor"], value)
        for info in signature["outputs"].values():
            command += ["-o", info["tensor"]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = [line.split("\t") for line in done.stdout.rstrip("\n").split("\n")]
        assert [line[0] for line in lines] == [i["tensor"] for i in signature["outputs"].values()]
        return {
            name: parse(line, info["dtype"])
            for line, (name, info) in zip(lines, signature["outputs"].items(), strict=True)
        }

    return run


def feed(tensor: str, value: object) -> list[str]:
    """The program's words for an input."""
    if isinstance(value, int):
        return ["-i", tensor, str(value)]
    array = np.array(value, dtype=object)
    return ["-s", tensor, ",".join(map(str, array.shape)), *array.ravel().tolist()]


def parse(line: list[str], dtype: str) -> np.ndarray:
    """One printed output."""
    shape = [int(size) for size in line[2].split(",")]
    values = np.array(line[3:], dtype=object)
    return (values if dtype == "string" else values.astype(dtype)).reshape(shape)


def scann_library() -> Path:
    return package("scann") / "scann_ops" / "cc" / "_scann_ops.so"


def text_libraries() -> list[Path]:
    folder = package("tensorflow_text") / "python" / "ops"
    return [folder / f"{name}.so" for name in TEXT_LIBRARIES]


@pytest.mark.parametrize("model", ["recommender", "recommender_scann"])
def test_recommender(run_export: Runtime, expect: Expect, model: str) -> None:
    libraries = [scann_library()] if model.endswith("scann") else []
    outputs = run_export(model, libraries, item_ids=HISTORIES, k=K)
    assert outputs["num_known"].tolist() == [1, 3]
    for row, history in enumerate(HISTORIES):
        expected = expect(history, K)
        assert outputs["item_ids"][row].tolist() == [item for item, _ in expected]
        np.testing.assert_allclose(
            outputs["scores"][row], [score for _, score in expected], atol=1e-5
        )


@pytest.mark.parametrize("model", ["matcher", "matcher_scann"])
def test_matcher(
    run_export: Runtime,
    encoder: TextEncoder,
    indexes: dict[str, Index],
    source_embeddings: np.ndarray,
    source_ids: list[str],
    model: str,
) -> None:
    libraries = [*text_libraries(), *([scann_library()] if model.endswith("scann") else [])]
    outputs = run_export(model, libraries, titles=TITLES)
    expected = generate_embeddings(
        encoder.encode(TITLES),
        indexes[model],
        source_embeddings,
        top_m=TOP_M,
        norm="matches",
        untitled=find_untitled(TITLES),
    )
    names = np.array(["", *source_ids], dtype=object)[expected.rows + 1]
    assert outputs["source_item_ids"].tolist() == names.tolist()
    np.testing.assert_allclose(outputs["scores"], expected.scores, atol=1e-5)
    np.testing.assert_allclose(outputs["weights"], expected.weights, atol=1e-5)
    np.testing.assert_allclose(outputs["embedding"], expected.embeddings, atol=1e-5)


def test_the_exact_recommender_needs_no_other_ops(program: Path, exports: Path) -> None:
    """And the ScaNN form does: a server without its ops refuses it as a whole."""
    done = subprocess.run(
        [str(program), str(exports / "recommender_scann" / "1")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Scann>" in done.stderr
