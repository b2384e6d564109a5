"""ExampleGen: what lies where, what is in it, a second run, and errors."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from idp_tf.data.domain import Domain
from idp_tf.data.prepare import load_domain, prepare_domain, write_domain
from idp_tf.data.readers import RawDomain
from idp_tf.data.schema import IdMap
from idp_tf.data.sequences import Sequences
from idp_tf.data.store import content_hash
from idp_tf.errors import (
    DataError,
    MissingDataError,
    MissingDependencyError,
    SettingsError,
    WorkdirError,
)
from pipelines.example_gen import generate_examples, main, read_sequences

# The users' items, oldest first. "ж" and a space must survive; "last" is held out everywhere.
HISTORIES = {
    "u10": ["b", "a", "c", "last"],
    "u2": ["c", "b", "ж d"],
    "ü": ["a", "b", "c", "a", "last"],
    "u1": ["a", "c", "b"],
    "u3": ["b", "c", "ж d", "a"],
}
TRAIN = Path("Split-train", "data_tfrecord-00000-of-00001.gz")
EVAL = Path("Split-eval", "data_tfrecord-00000-of-00001.gz")


def prepared(histories: dict[str, list[str]], folder: Path) -> Path:
    rows = [(u, i, float(t)) for u, items in histories.items() for t, i in enumerate(items)]
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    items = sorted({item for history in histories.values() for item in history})
    titles = pl.DataFrame({"item_id": items, "title": items})
    write_domain(prepare_domain(RawDomain("shop", table, titles), k_core=1), folder)
    return folder


def many_histories() -> dict[str, list[str]]:
    rng = np.random.default_rng(0)
    return {
        f"user {u}": [f"item {i}" for i in rng.integers(0, 50, rng.integers(3, 12))]
        for u in range(300)
    }


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(HISTORIES, tmp_path_factory.mktemp("data") / "shop")


@pytest.fixture(scope="module")
def execution(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two users a block, so that users cross the blocks' borders."""
    return generate_examples(shop, tmp_path_factory.mktemp("root"), block_users=2)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def records(file: Path) -> list[tuple[str, list[str]]]:
    """Parsed by TensorFlow alone."""
    import tensorflow as tf

    found = []
    for raw in tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator():
        record = tf.train.SequenceExample.FromString(raw)
        user = record.context.feature["user_id"].bytes_list.value
        steps = record.feature_lists.feature_list["item_ids"].feature
        found.append((user[0].decode(), [s.bytes_list.value[0].decode() for s in steps]))
    return found


def external(domain: Domain) -> dict[str, list[str]]:
    flat, offsets = domain.sequences.values, domain.sequences.offsets
    names = ["", *domain.item_ids.external_ids]
    return {
        user: [names[i] for i in flat[offsets[u] : offsets[u + 1]]]
        for u, user in enumerate(domain.user_ids)
    }


def test_layout(execution: Path) -> None:
    assert execution.parent.name == "examples" and execution.parent.parent.name == "ExampleGen"
    assert set(contents(execution)) == {str(TRAIN), str(EVAL), "schema.pbtxt", "counts.json"}
    assert list(execution.parent.iterdir()) == [execution]
    assert {path.name for path in execution.rglob("*") if path.is_dir()} == {
        "Split-train",
        "Split-eval",
    }


def test_records_hold_each_user_once(shop: Path, execution: Path) -> None:
    histories = external(load_domain(shop))
    assert histories == HISTORIES
    in_order = [(user, HISTORIES[user]) for user in sorted(HISTORIES)]
    assert records(execution / EVAL) == in_order
    assert records(execution / TRAIN) == [(user, items[:-2]) for user, items in in_order]


def test_counts(shop: Path, execution: Path) -> None:
    counts = json.loads((execution / "counts.json").read_text(encoding="utf-8"))
    assert counts["splits"] == {
        "train": {"records": 5, "interactions": 19 - 2 * 5},
        "eval": {"records": 5, "interactions": 19},
    }
    assert counts["domain"] == "shop"
    assert counts["domain_hash"] == load_domain(shop).manifest["hash"]


def test_the_schema_parses_the_records(execution: Path) -> None:
    """By tfx-bsl as tensors, which asks more of the schema than Arrow does."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tfx_bsl.tfxio.dataset_options import TensorFlowDatasetOptions
    from tfx_bsl.tfxio.tf_sequence_example_record import TFSequenceExampleRecord

    text = (execution / "schema.pbtxt").read_text(encoding="utf-8")
    schema = text_format.Parse(text, schema_pb2.Schema())
    tfxio = TFSequenceExampleRecord(str(execution / EVAL), ["test"], schema=schema)
    options = TensorFlowDatasetOptions(batch_size=5, num_epochs=1, shuffle=False)
    (batch,) = tfxio.TensorFlowDataset(options)
    users = [user.decode() for user in batch["user_id"].numpy().ravel()]
    assert users == sorted(HISTORIES)
    (items,) = (tensor for name, tensor in batch.items() if name != "user_id")
    flat = [item.decode() for item in items.values.numpy().ravel()]
    assert flat == [item for user in users for item in HISTORIES[user]]


@pytest.mark.parametrize("leave_out", [0, 2])
def test_round_trip(tmp_path: Path, leave_out: int) -> None:
    domain = load_domain(prepared(many_histories(), tmp_path / "shop"))
    folder = generate_examples(tmp_path / "shop", tmp_path, block_users=64)
    file = folder / (TRAIN if leave_out else EVAL)
    found = read_sequences(str(file), domain.item_ids)
    assert found.user_ids == domain.user_ids
    flat, offsets = domain.sequences.values, domain.sequences.offsets
    for u in range(len(domain.user_ids)):
        expected = flat[offsets[u] : offsets[u + 1] - leave_out]
        begin, end = found.sequences.offsets[u : u + 2]
        np.testing.assert_array_equal(found.sequences.values[begin:end], expected)
    assert found.sequences.values.dtype == np.int32


def test_without_items_given_ids_are_those_found_sorted(execution: Path) -> None:
    found = read_sequences(str(execution / "Split-train" / "*.gz"))
    assert found.item_ids.external_ids == ["a", "b", "c"]  # the others are held out only
    assert found.user_ids == ["u1", "u10", "u2", "u3", "ü"]
    np.testing.assert_array_equal(found.sequences.values, [1, 2, 1, 3, 2, 3, 1, 2, 3])
    np.testing.assert_array_equal(found.sequences.offsets, [0, 1, 3, 4, 6, 9])


def test_a_second_run_writes_nothing(shop: Path, execution: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in execution.rglob("*")}
    assert generate_examples(shop, execution.parents[2]) == execution
    assert {path: path.stat().st_mtime_ns for path in execution.rglob("*")} == before


def test_the_same_domain_gives_the_same_bytes(shop: Path, execution: Path, tmp_path: Path) -> None:
    again = generate_examples(shop, tmp_path, block_users=3)
    assert again.name == execution.name
    assert contents(again) == contents(execution)


def test_an_execution_of_another_domain_is_refused(
    shop: Path, execution: Path, tmp_path: Path
) -> None:
    shutil.copytree(execution, tmp_path / "ExampleGen" / "examples" / "7")
    assert generate_examples(shop, tmp_path, execution_id="7").name == "7"
    other = prepared({"u": ["a", "b", "c"]}, tmp_path / "other")
    with pytest.raises(WorkdirError, match="another domain"):
        generate_examples(other, tmp_path, execution_id="7")


@pytest.mark.parametrize("lost", ["counts.json", str(EVAL)])
def test_an_execution_that_is_not_whole_is_refused(
    shop: Path, execution: Path, tmp_path: Path, lost: str
) -> None:
    copy = tmp_path / "ExampleGen" / "examples" / execution.name
    shutil.copytree(execution, copy)
    (copy / lost).unlink()
    with pytest.raises(WorkdirError, match="not whole"):
        generate_examples(shop, tmp_path)


def test_a_run_that_fails_leaves_nothing(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise RuntimeError("no power")

    monkeypatch.setattr("pipelines.sequence_examples.encode", fail)
    with pytest.raises(RuntimeError, match="no power"):
        generate_examples(shop, tmp_path)
    assert list((tmp_path / "ExampleGen" / "examples").iterdir()) == []


def test_settings_that_cannot_be_used(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="execution_id"):
        generate_examples(shop, tmp_path, execution_id="../7")
    with pytest.raises(SettingsError, match="block_users"):
        generate_examples(shop, tmp_path, block_users=0)
    with pytest.raises(SettingsError, match="--no_such_thing"):
        generate_examples(shop, tmp_path, beam_args=["--no_such_thing=1"])
    with pytest.raises(SettingsError, match="FlinkRunner"):
        generate_examples(shop, tmp_path, beam_args=["--runner=FlinkRunner"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("num_users", "why"), [(1, "'long' has fewer than 3 items"), (0, "no users")]
)
def test_a_domain_that_cannot_be_split(tmp_path: Path, num_users: int, why: str) -> None:
    """Preparation writes no such domain; something else might."""
    whole = load_domain(prepared({"long": ["a", "b", "c"]}, tmp_path / "whole"))
    sequences = Sequences(
        whole.sequences.values[: 2 * num_users], np.array([0, 2])[: num_users + 1]
    )
    users, ids = whole.user_ids[:num_users], whole.item_ids
    digest = content_hash(sequences, ids.external_ids, whole.titles, users)
    manifest = {**whole.manifest, "hash": digest}
    broken = Domain("shop", ids, whole.titles, users, sequences, manifest)
    write_domain(broken, tmp_path / "shop")
    with pytest.raises(DataError, match=why):
        generate_examples(tmp_path / "shop", tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_reading_what_is_not_there(tmp_path: Path, execution: Path) -> None:
    with pytest.raises(MissingDataError, match="no file matches"):
        read_sequences(str(tmp_path / "*.gz"))
    with pytest.raises(DataError, match="'last' is not among the 3 items"):
        read_sequences(str(execution / EVAL), IdMap(["a", "b", "c"]))


def test_both_splits_at_once_are_refused(execution: Path) -> None:
    with pytest.raises(DataError, match="'u1' stands there twice"):
        read_sequences(str(execution / "Split-*" / "*.gz"))


def record(user: list[bytes], steps: list[list[bytes]]) -> bytes:
    import tensorflow as tf

    made = tf.train.SequenceExample()
    made.context.feature["user_id"].bytes_list.value.extend(user)
    for step in steps:
        feature = made.feature_lists.feature_list["item_ids"].feature.add()
        feature.bytes_list.value.extend(step)
    return bytes(made.SerializeToString())


def test_users_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    """Files of others, in an order that no preparation gives."""
    import tensorflow as tf

    for name, users in (("1.gz", [b"w", b"u"]), ("2.gz", [b"v", b"a"])):
        with tf.io.TFRecordWriter(str(tmp_path / name), "GZIP") as writer:
            for user in users:
                writer.write(record([user], [[b"item of " + user], [b"tea"]]))
    found = read_sequences(str(tmp_path / "*.gz"))
    assert found.user_ids == ["a", "u", "v", "w"]
    assert found.item_ids.external_ids == [f"item of {u}" for u in "auvw"] + ["tea"]
    np.testing.assert_array_equal(found.sequences.values, [1, 5, 2, 5, 3, 5, 4, 5])


EMPTY_LIST = b"\n\x12\n\x10\n\x07user_id\x12\x05\n\x03\n\x01v\x12\x0c\n\n\n\x08item_ids\x12\x00"
"""The user v, whose item_ids are there, but hold no step."""


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "no record"),
        ([b"\xff\xff not a record"], "parse"),
        ([record([], [[b"a"]])], "user_id is not one"),
        ([record([b"u", b"v"], [[b"a"]])], "user_id is not one"),
        ([record([b"u"], [[b"a", b"b"]])], "item_ids is not one"),
        ([record([b"u"], [])], "no item_ids"),
        ([record([b"u"], [[b"a"], []])], "item_ids is not one"),
        ([record([b"u"], [[b"a"]]), EMPTY_LIST], "no item_ids"),
        ([record([b"\xff"], [[b"a"]])], "UTF8"),
    ],
)
def test_files_that_hold_something_else(
    tmp_path: Path, content: list[bytes] | None, why: str
) -> None:
    import tensorflow as tf

    file = tmp_path / "data.gz"
    with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
        for one in content or []:
            writer.write(one)
    with pytest.raises(DataError, match=why):
        read_sequences(str(file))


def test_a_file_that_was_cut_off(execution: Path, tmp_path: Path) -> None:
    copy = tmp_path / "7"
    shutil.copytree(execution, copy)
    whole = gzip.decompress((copy / EVAL).read_bytes())
    first = 12 + int.from_bytes(whole[:8], "little") + 4  # a TFRecord's frame
    for cut, why in ((first + 5, "TFRecord"), (first, "5 records, 1 are there")):
        (copy / EVAL).write_bytes(gzip.compress(whole[:cut]))
        with pytest.raises(DataError, match=why):
            read_sequences(str(copy / EVAL))


@pytest.mark.parametrize("module", ["apache_beam", "tfx_bsl.tfxio.tf_sequence_example_record"])
def test_a_missing_dependency_names_the_remedy(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.delitem(sys.modules, "pipelines.sequence_examples", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"pip install --no-deps tfx-bsl=="):
        generate_examples(shop, tmp_path)
    with pytest.raises(MissingDependencyError, match=module.partition(".")[0]):
        read_sequences(str(tmp_path / "*.gz"))


def test_command(
    shop: Path, execution: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--domain", str(shop), "--root", str(tmp_path), "--execution_id", "7"]
    assert main([*options, "--direct_num_workers=1"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert folder == tmp_path / "ExampleGen" / "examples" / "7"
    assert (folder / EVAL).read_bytes() == (execution / EVAL).read_bytes()
    assert main(["--domain", str(tmp_path), "--root", str(tmp_path)]) == 2
    assert "no prepared domain" in capsys.readouterr().err


def test_command_as_a_module(shop: Path, execution: Path) -> None:
    """The second run of the same, in a process of its own."""
    options = ["--domain", str(shop), "--root", str(execution.parents[2])]
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.example_gen", *options],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(execution)
    assert f"reused {execution}" in done.stderr
