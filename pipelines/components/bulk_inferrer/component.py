"""BulkInferrer: a vector for the title of each item of a domain.

Reads ``items`` of one domain and ``model``, an encoder whose SavedModel has a signature that
takes serialized Examples of items and gives ``embedding``; looks up ``previous``, the last
inference result of the domain. Writes ``inference_result``::

    vectors_tfrecord-00000-of-000NN.gz   Examples: item_id, vector, title_digest
    encoder.json                         the encoder's fingerprint, and the vectors' width

A vector has length 1; an item without a title has zeros. A title whose digest ``previous``
holds is not encoded again, if the same encoder made it; equal titles are encoded once. Records
are sorted by item id within a shard.

Titles are encoded by tfx-bsl's RunInference, shard by shard, in batches of about one length.
A finished shard lies in the execution's work folder: an execution that was killed goes on with
the others. Workers must reach that folder. A worker holds the encoder and one shard; on the
in-process runner also all titles of the domain.

The fingerprint is that of the encoder and of all ids and titles, not of the vectors' last
bits, which may differ with the machine and with the batches that titles came in.

Raises:
    MissingDataError: if the encoder or the items are not there.
    DataError: if the encoder has no such signature or gives no vectors of length 1, or if
        items cannot be read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import Field

from idp_tf.errors import DataError, MissingDataError, requires_extra
from pipelines.artifacts import INFERENCE_RESULT, ITEMS, MODEL, Artifact
from pipelines.component import Component, Execution, Parameters
from pipelines.components.bulk_inferrer.files import (
    ENCODER_FILE,
    choose_num_shards,
    read_encoder,
    read_shards,
    shard_files,
    shard_name,
)

SAVED_MODEL: Final = "Format-Serving"
_OUTPUT: Final = "embedding"
_BASE_BYTES: Final = 1200 * 2**20
_BYTES_PER_ITEM: Final = 1100
"""Measured between 20,000 and 220,000 titles of 60 characters on the in-process runner."""
_LOG = logging.getLogger("pipelines.BulkInferrer")


class BulkInferrerParameters(Parameters):
    """How titles are encoded; none changes what comes out but ``signature``."""

    signature: str = Field(
        "serving_default", description="Signature that takes Examples and gives `embedding`."
    )
    shard_items: int = Field(
        4096, ge=1, description="Items in a shard, about; what a killed execution loses at most."
    )
    batch_titles: int = Field(64, ge=1, description="Titles that are encoded together.")


class BulkInferrer(Component[BulkInferrerParameters]):
    """See the module."""

    name: ClassVar[str] = "BulkInferrer"
    inputs: ClassVar = {"items": ITEMS, "model": MODEL}
    resolved: ClassVar = {"previous": INFERENCE_RESULT}
    outputs: ClassVar = {"inference_result": INFERENCE_RESULT}
    parameters: ClassVar = BulkInferrerParameters

    def execute(self, execution: Execution[BulkInferrerParameters]) -> None:
        """Encodes what is new, and hands on all."""
        items, model = execution.one("items"), execution.one("model")
        given = execution.parameters
        width = _embedding_width(model.uri / SAVED_MODEL, given.signature)
        num_shards = choose_num_shards(_num_items(items), given.shard_items)
        folder = execution.work / f"shards-{num_shards}"
        folder.mkdir(parents=True, exist_ok=True)
        _infer(execution, folder, num_shards, width)
        output = execution.outputs["inference_result"]
        figures = _collect(folder, output.uri, num_shards, width)
        encoder = {"fingerprint": model.fingerprint, "signature": given.signature, "width": width}
        text = json.dumps(encoder, indent=1) + "\n"
        (output.uri / ENCODER_FILE).write_text(text, encoding="utf-8")
        output.fingerprint = _fingerprint(output.uri, encoder)
        domain = items.properties.get("domain")
        output.properties.update(domain=domain, width=width, **figures)
        execution.counters.update(figures)
        _LOG.debug("%s: %s", execution.node_id, figures)

    def cache_inputs(self, parameters: BulkInferrerParameters) -> dict[str, Any]:
        """The signature; the rest changes nothing that comes out."""
        return {"signature": parameters.signature}


def _infer(
    execution: Execution[BulkInferrerParameters], folder: Path, num_shards: int, width: int
) -> None:
    with requires_extra("pipelines", purpose="BulkInferrer"):
        from pipelines.beam_memory import check_memory
        from pipelines.components.bulk_inferrer.flow import infer
        from pipelines.components.bulk_inferrer.shards import PlanShards, read_figures

    num_items = _num_items(execution.one("items"))
    check_memory(
        execution.node_id,
        f"an encoder and the titles of {num_items:,} items",
        _BASE_BYTES + num_items * _BYTES_PER_ITEM,
        execution.beam_args,
    )
    finished = len(read_figures(folder, num_shards))
    if finished:
        _LOG.info("%s: %d of %d shards are done", execution.node_id, finished, num_shards)
    previous = [str(file) for file in _previous_shards(execution)]
    items, model = execution.one("items").uri, execution.one("model").uri / SAVED_MODEL
    given = execution.parameters
    plan = PlanShards(str(folder), num_shards, previous, given.batch_titles)
    infer(items, model, given.signature, plan, width, execution.beam_args)


def _previous_shards(execution: Execution[BulkInferrerParameters]) -> list[Path]:
    """Shards of the last result, if the same encoder made it."""
    previous = execution.maybe("previous")
    if previous is None:
        return []
    encoder = read_encoder(previous.uri)
    same = encoder.get("fingerprint") == execution.one("model").fingerprint
    if not same or encoder.get("signature") != execution.parameters.signature:
        _LOG.info("%s: another encoder made the last vectors; all is encoded", execution.node_id)
        return []
    return shard_files(previous.uri)


def _embedding_width(model: Path, signature: str) -> int:
    """The width of the signature's vectors, read from the SavedModel without loading it."""
    from tensorflow.core.protobuf import saved_model_pb2

    file = model / "saved_model.pb"
    if not file.is_file():
        raise MissingDataError("there is no SavedModel", where=model)
    (graph, *_) = saved_model_pb2.SavedModel.FromString(file.read_bytes()).meta_graphs
    found = graph.signature_def.get(signature)
    if found is None or len(found.inputs) != 1 or _OUTPUT not in found.outputs:
        names = ", ".join(sorted(name for name in graph.signature_def if name[:2] != "__"))
        raise DataError(
            f"no signature {signature!r} that takes Examples and gives {_OUTPUT!r}; "
            f"there are: {names or 'none'}",
            where=model,
            remedy="name another signature, or export an encoder",
        )
    dims = [dim.size for dim in found.outputs[_OUTPUT].tensor_shape.dim]
    if len(dims) != 2 or dims[1] < 1:
        raise DataError(f"{_OUTPUT!r} has the shape {dims}, expected (batch, width)", where=model)
    return int(dims[1])


def _num_items(items: Artifact) -> int:
    number = items.properties.get("items")
    if not isinstance(number, int):
        raise DataError(
            "the artifact does not say how many items it has",
            where=items.uri,
            remedy="run ExampleGen again",
        )
    return number


def _collect(folder: Path, output: Path, num_shards: int, width: int) -> dict[str, int]:
    """Hands on all shards; one that got no title is written here, empty."""
    from pipelines.components.bulk_inferrer.files import Vectors, write_shard
    from pipelines.components.bulk_inferrer.shards import read_figures

    done, total = read_figures(folder, num_shards), Counter[str]()
    for shard in range(num_shards):
        name = shard_name(shard, num_shards)
        if shard in done:
            _link(folder / name, output / name)
            total.update(done[shard])
        else:
            import numpy as np

            write_shard(output / name, Vectors([], np.zeros((0, width), np.float32), []))
    return {name: total[name] for name in ("items", "encoded", "reused", "untitled", "titles")}


def _link(file: Path, to: Path) -> None:
    """The work folder keeps its own until the execution is recorded as done."""
    try:
        os.link(file, to)
    except OSError:
        shutil.copyfile(file, to)


def _fingerprint(folder: Path, encoder: dict[str, Any]) -> str:
    rows: list[str] = []
    for file in shard_files(folder):
        found = read_shards([file])
        rows += [f"{i}\0{d}" for i, d in zip(found.item_ids, found.digests, strict=True)]
    digest = hashlib.sha256(json.dumps(encoder, sort_keys=True).encode())
    digest.update("\n".join(sorted(rows)).encode())
    return digest.hexdigest()
