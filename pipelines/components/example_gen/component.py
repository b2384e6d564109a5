"""ExampleGen: a domain's raw logs and titles as TFRecords, prepared as in memory, in any size."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from idp_tf.data.filters import FilterRecord
from idp_tf.data.prepare import build_manifest
from idp_tf.data.readers.files import SourceFile
from idp_tf.data.readers.raw import dropped_by_reading, known_as
from idp_tf.data.readers.shards import Shards, find_shards
from idp_tf.data.sequences import LEAVE_OUT_TRAIN
from idp_tf.data.store import MANIFEST as MANIFEST_FILE
from pipelines.artifacts import EXAMPLES, ITEMS, MANIFEST
from pipelines.component import Component, Execution
from pipelines.components.example_gen.digests import digests_of
from pipelines.components.example_gen.parameters import ExampleGenParameters

DATA_FILE: Final = "data_tfrecord"
COUNTS: Final = "counts.json"
_NOT_IN_KEY: Final = {"data", "interactions", "items", "rows_per_bucket", "digests"}
_log = logging.getLogger("pipelines.ExampleGen")


class ExampleGen(Component[ExampleGenParameters]):
    """Raw logs and titles of a domain -> users and items as TFRecords, and the manifest.

    What is kept, its order and its numbers are those of ``idp_tf.data.prepare_domain`` on the
    same files: the manifests are equal, the hash in them too. Rows that cannot be parsed are set
    aside and counted; too many of them end the run.

    Every step is a Beam pipeline of tasks over Arrow files in ``Execution.work``, which all
    workers have to see, as they do the input and the outputs. A worker holds one block of a file
    or one bucket of users, about ``rows_per_bucket`` interactions; nothing grows with the domain
    but the names of folders, a sample of the ids and, in a round of the k-core, a bit for each
    item. A run that was killed goes on with the tasks that had not been finished.

    Outputs:
        examples: ``Split-train/`` and ``Split-eval/`` with ``data_tfrecord-00000-of-00003.gz`` and
            so on, a SequenceExample a user (``idp_tf.data.examples``); train is without the last
            two items. ``counts.json``.
        items: ``Split-all/``, an Example an item.
        manifest: ``manifest.json``, and ``quarantine.jsonl`` with file, line, field, value and
            reason of rows that were set aside.

    Parameters: ``ExampleGenParameters``.

    Raises:
        MissingDataError: if there is no such file, folder or column.
        SettingsError: if a parameter cannot be used, or workers would run out of memory.
        DataError: if a file is broken, too much is bad, items are repeated or unknown and that is
            not allowed, or one bucket does not fit into memory.
        EmptyDomainError: if nothing is left.
    """

    name: ClassVar[str] = "ExampleGen"
    version = 2  # since then the order of ties hangs on ids alone
    outputs: ClassVar[Mapping[str, str]] = {
        "examples": EXAMPLES,
        "items": ITEMS,
        "manifest": MANIFEST,
    }
    parameters = ExampleGenParameters

    def cache_inputs(self, parameters: ExampleGenParameters) -> Mapping[str, Any]:
        """The files by name and checksum, wherever they lie, and what decides the outcome."""
        shards = _shards(parameters)
        files = [*shards.interactions, *shards.items]
        digests = dict(zip(files, digests_of(files, parameters.digests), strict=True))
        return {
            **parameters.model_dump(mode="json", exclude=_NOT_IN_KEY),
            "form": shards.layout.form,
            "interactions": _by_name(shards.interactions, digests),
            "items": _by_name(shards.items, digests),
        }

    def check(self, parameters: ExampleGenParameters) -> None:
        """The files must be there."""
        _shards(parameters)

    def execute(self, execution: Execution[ExampleGenParameters]) -> None:
        """Runs the steps, and puts what they made into the outputs."""
        from pipelines.components.example_gen.steps import Steps

        parameters = execution.parameters
        steps = Steps(parameters, _shards(parameters), execution.work, execution.beam_args)
        read = steps.read()
        items, blocks, repeated, unknown = steps.code_items(read)
        users = steps.code_users(read, blocks)
        found = steps.gather(blocks, users, items)
        first = _first_filters(found.counted(), found.rows, sum(items.sizes))
        left, filters = steps.filter(found, items)
        tasks, stats = steps.write(left, users, items)
        bad = _added([s["bad"] for s in (*read.logs, *read.items)])
        *written, hashed = stats
        totals = {name: sum(s.get(name, 0) for s in written) for name in _TOTALS}
        manifest = build_manifest(
            parameters.domain,
            sources=[SourceFile(**s["source"]) for s in (*read.logs, *read.items)],
            dropped=dropped_by_reading(repeated, unknown, bad),
            before={
                **found.counted(),
                "interactions": found.rows,
                "items": sum(items.sizes),
            },
            filters=[*first, *filters],
            after={name: totals[name] for name in ("users", "items", "interactions")},
            untitled=totals["untitled"],
            tied=(totals["tied"], totals["tied last"]),
            content=hashed["hash"],
            parameters=(parameters.k_core, parameters.ties, parameters.seed),
        )
        _publish(execution, [task.folder for task in tasks], totals, manifest, hashed)
        _quarantine(execution, steps.reading, [*read.logs, *read.items])
        execution.counters.update(_counters(read.logs, read.items, manifest))
        _log.debug("%s: %s", execution.node_id, manifest["after"])


_TOTALS: Final = ("users", "items", "interactions", "untitled", "tied", "tied last")


def _shards(parameters: ExampleGenParameters) -> Shards:
    return find_shards(
        parameters.data,
        parameters.domain,
        parameters.interactions,
        parameters.items,
        parameters.form,
    )


def _by_name(files: Sequence[Path], digests: Mapping[Path, str]) -> dict[str, str]:
    return {known_as(file, files): digests[file] for file in files}


def _first_filters(found: Mapping[str, int], rows: int, listed: int) -> list[FilterRecord]:
    """What was dropped before the k-core."""
    counts = {**found, "interactions": rows}
    return [
        FilterRecord.between("items without interactions", {}, {**counts, "items": listed}, counts),
        FilterRecord.between("repeated rows", {}, counts, dict(found)),
    ]


def _publish(
    execution: Execution[ExampleGenParameters],
    folders: Sequence[Path],
    totals: Mapping[str, int],
    manifest: dict[str, Any],
    hashed: Mapping[str, str],
) -> None:
    examples, items = execution.outputs["examples"], execution.outputs["items"]
    for split, kind, output in (
        ("train", "users", examples),
        ("eval", "users", examples),
        ("all", "items", items),
    ):
        files = [folder / f"{split}.gz" for folder in folders if folder.parent.name == kind]
        _place(files, output.uri / f"Split-{split}")
    held_out = LEAVE_OUT_TRAIN * totals["users"]
    users, interactions = totals["users"], totals["interactions"]
    splits = {
        "train": {"records": users, "interactions": interactions - held_out},
        "eval": {"records": users, "interactions": interactions},
    }
    domain = execution.parameters.domain
    counts = {"domain": domain, "domain_hash": manifest["hash"], "splits": splits}
    _write_json(examples.uri / COUNTS, counts)
    _write_json(execution.outputs["manifest"].uri / MANIFEST_FILE, manifest)
    examples.fingerprint, items.fingerprint = hashed["examples"], hashed["items"]
    examples.properties |= {"domain": domain, **manifest["after"]}
    examples.properties["split_names"] = '["train","eval"]'
    items.properties |= {"domain": domain, "items": totals["items"], "ids": hashed["ids"]}
    execution.outputs["manifest"].properties |= {"domain": domain, "hash": manifest["hash"]}


def _place(files: Sequence[Path], folder: Path) -> None:
    """Gives files their names in the output; by links, since a killed run needs them again."""
    folder.mkdir()
    for number, file in enumerate(files):
        name = folder / f"{DATA_FILE}-{number:05d}-of-{len(files):05d}.gz"
        try:
            os.link(file, name)
        except OSError:  # not every file system has links
            shutil.copyfile(file, name)


def _quarantine(
    execution: Execution[ExampleGenParameters], reading: Path, stats: Sequence[Mapping[str, Any]]
) -> None:
    from pipelines.components.example_gen.reading import QUARANTINE

    target = execution.outputs["manifest"].uri / QUARANTINE
    with target.open("wb") as stream:
        for kind in ("interactions", "items"):
            for file in sorted((reading / kind).glob(f"*/{QUARANTINE}")):
                stream.write(file.read_bytes())
    listed = sum(s["listed"] for s in stats)
    bad = sum(sum(s["bad"].values()) for s in stats)
    execution.outputs["manifest"].properties |= {"bad_rows": bad, "listed": listed}
    if bad:
        _log.warning("%s: %d bad rows were set aside; see quarantine.jsonl", execution.node_id, bad)


def _counters(
    logs: Sequence[Mapping[str, Any]], items: Sequence[Mapping[str, Any]], manifest: dict[str, Any]
) -> dict[str, int]:
    """As Beam counted them, but also in a run that goes on after a kill."""
    dropped = {f"rows dropped: {why}": n for why, n in manifest["dropped_by_reading"].items()}
    for record in manifest["filters"]:
        if count := record["dropped"]["interactions"]:
            dropped[f"rows dropped: {record['filter']}"] = count
    return {
        **_added([s["counters"] for s in (*logs, *items)]),
        **dropped,
        **manifest["after"],
    }


def _added(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return total


def _write_json(file: Path, content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    file.write_text(text, encoding="utf-8")
