"""The batching parameters file: read as TF-Serving reads it, refused where it refuses it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from idp_tf.errors import ServingError
from serving.server.batching_parameters import BatchingParameters, read_batching_parameters

WHOLE = """
# TF-Serving's own fields, in its own words
max_batch_size { value: 64 }
batch_timeout_micros { value: 2500 }
max_enqueued_batches { value: 7 }
num_batch_threads { value: 3 }
thread_pool_name { value: "shop" }
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 16 }
allowed_batch_sizes: 8
allowed_batch_sizes: [16, 64]
pad_variable_length_inputs: true
"""


def read(tmp_path: Path, text: str) -> BatchingParameters:
    file = tmp_path / "batching.txt"
    file.write_text(text, encoding="utf-8")
    return read_batching_parameters(file)


def test_every_field(tmp_path: Path) -> None:
    parameters = read(tmp_path, WHOLE)
    assert parameters == BatchingParameters(
        max_batch_size=64,
        batch_timeout_micros=2500,
        max_enqueued_batches=7,
        num_batch_threads=3,
        thread_pool_name="shop",
        enable_large_batch_splitting=True,
        max_execution_batch_size=16,
        allowed_batch_sizes=(8, 16, 64),
        pad_variable_length_inputs=True,
    )
    assert parameters.batch_limit == 16


def test_what_is_absent_has_tf_servings_default(tmp_path: Path) -> None:
    parameters = read(tmp_path, "")
    assert parameters.max_batch_size == parameters.batch_limit == 1000
    assert parameters.batch_timeout_micros == 0
    assert parameters.max_enqueued_batches == 10
    assert parameters.num_batch_threads == os.cpu_count()
    assert parameters.thread_pool_name == "batch_threads"
    assert not parameters.enable_large_batch_splitting
    assert not parameters.pad_variable_length_inputs
    assert parameters.allowed_batch_sizes == ()


@pytest.mark.parametrize(("rows", "size"), [(1, 2), (2, 2), (3, 8), (8, 8)])
def test_padded_size(rows: int, size: int) -> None:
    assert (
        BatchingParameters(max_batch_size=8, allowed_batch_sizes=(2, 8)).padded_size(rows) == size
    )
    assert BatchingParameters(max_batch_size=8).padded_size(rows) == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: 3", "no BatchingParameters in text format"),
        ("max_batch { value: 3 }", "no BatchingParameters in text format"),
        ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative; was -1"),
        ("max_enqueued_batches { value: -1 }", "max_enqueued_batches must be non-negative; was -1"),
        (
            "enable_large_batch_splitting { value: true } max_enqueued_batches { value: 0 }",
            "max_enqueued_batches must be positive; was 0",
        ),
        (
            "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 2000 }",
            "max_execution_batch_size must be within 1 and max_batch_size; was 2000",
        ),
        (
            "allowed_batch_sizes: [1, 2]",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 2; "
            "expected 1000",
        ),
        ("allowed_batch_sizes: [2, 1, 1000]", "allowed_batch_sizes must be positive and ascend"),
        ("allowed_batch_sizes: [0, 1000]", "allowed_batch_sizes must be positive and ascend"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value) and "batching.txt" in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="cannot be read"):
        read_batching_parameters(tmp_path / "none.txt")
