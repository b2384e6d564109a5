"""The command line: bad input ends with exit code 2 and one clear message."""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tiny_world import NUM_ITEMS, OTHER_TARGET, SOURCES, TARGET, Invocation, command, invoke


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A finished workdir that a test may spoil."""
    return shutil.copytree(finished, tmp_path / "copy")


def assert_refused(done: Invocation, *words: str) -> None:
    assert done.code == 2, (done.code, done.err)
    assert done.err.count("Error: ") == 1 and done.err.startswith("Error: ")
    assert len(done.err) < 2000 and "Traceback" not in done.err + done.out
    for word in words:
        assert word in done.err, (word, done.err)


def run_arguments(data: Path, workdir: Path, /, **changed: str) -> list[str]:
    options = {
        "data": str(data),
        "sources": ",".join(SOURCES),
        "target": TARGET,
        "preset": "quick",
        "workdir": str(workdir),
        **changed,
    }
    return ["run", *(word for name, value in options.items() for word in (f"--{name}", value))]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"set": "pretrain.epoch=3"}, ["unknown setting", "did you mean 'pretrain.epochs'"]),
        ({"set": "pretrain.epochs=-1"}, ["pretrain.epochs", "-1", "greater than or equal to 1"]),
        ({"set": "pretrain.epochs"}, ["no key=value pair"]),
        ({"set": "systems=[idp, magic]"}, ["'magic'", "known:", "nearest-title"]),
        ({"set": "systems=[idp, idp]"}, ["'idp' is named twice"]),
        ({"set": "systems=[]"}, ["no systems", "known:", "sasrec"]),
        ({"target": "kitchen"}, ["'kitchen'", "source and the target too"]),
        ({"sources": "kitchen,kitchen"}, ["named twice"]),
        ({"sources": " , "}, ["no source domain", "--sources"]),
        ({"target": "bathroom"}, ["no domain 'bathroom'", *SOURCES, TARGET, OTHER_TARGET]),
        ({"sources": "kitchen,bathroom"}, ["no domain 'bathroom'", "domains found there"]),
        ({"config": "nowhere.yaml"}, ["nowhere.yaml", "cannot be read"]),
        ({"data": "nowhere"}, ["nowhere", "no such folder"]),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_a_run_that_cannot_be(
    changed: dict[str, str], words: list[str], world: Path, tmp_path: Path
) -> None:
    workdir = tmp_path / "w"
    assert_refused(invoke(*run_arguments(world, workdir, **changed)), *words)
    assert not workdir.exists(), "a refused run leaves nothing behind"


@pytest.mark.parametrize(
    ("changed", "word"),
    [({"systems": "magic"}, "'magic'"), ({"target": "bathroom"}, "no domain 'bathroom'")],
)
def test_a_wrong_name_is_told_before_tensorflow_is_imported(
    changed: dict[str, str], word: str, world: Path, tmp_path: Path
) -> None:
    """Which takes some seconds."""
    words = run_arguments(world, tmp_path / "w", **changed)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "idp_tf.cli", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and word in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "idp_tf.workflow.run" in imported
    assert not imported & {"tensorflow", "keras", "scann"}


@pytest.mark.parametrize(
    ("pairs", "grid"),
    [
        ([], [1e-3, 3e-4, 1e-4, 3e-5]),
        (["fine_tune.learning_rate_grid=[0.01, 0.1]"], [0.01, 0.1]),
    ],
)
def test_tune_asks_for_a_grid(
    pairs: list[str], grid: list[float], world: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    arguments = command(world, tmp_path / "w", tiny_bert, *pairs)[1:]
    done = invoke("prepare", *arguments, "--tune")
    assert done.code == 0, done.err
    config = yaml.safe_load((tmp_path / "w" / "config.yaml").read_text())
    assert config["settings"]["fine_tune"]["learning_rate_grid"] == grid


def test_tune_with_an_empty_grid(world: Path, tiny_bert: Path, tmp_path: Path) -> None:
    arguments = command(world, tmp_path / "w", tiny_bert, "fine_tune.learning_rate_grid=[]")
    assert_refused(invoke(*arguments, "--tune"), "fine_tune.learning_rate_grid", "nothing to tune")
    assert not (tmp_path / "w").exists()


def test_unknown_preset(world: Path, tmp_path: Path) -> None:
    done = invoke(*run_arguments(world, tmp_path / "w", preset="fast"))
    assert done.code == 2
    assert "--preset" in done.err and "fast" in done.err and "standard" in done.err


def test_a_config_that_is_no_mapping(world: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.yaml"
    file.write_text("- a\n")
    done = invoke(*run_arguments(world, tmp_path / "w", config=str(file)))
    assert_refused(done, "list.yaml", "expected keys and values, found a list")


def test_a_workdir_that_is_a_file(world: Path, tmp_path: Path) -> None:
    (tmp_path / "w").write_text("")
    assert_refused(invoke(*run_arguments(world, tmp_path / "w")), "--workdir")


def test_top_m_larger_than_the_sources(world: Path, tiny_bert: Path, tmp_path: Path) -> None:
    items = len(SOURCES) * NUM_ITEMS
    done = invoke(*command(world, tmp_path / "w", tiny_bert, f"transfer.top_m={items + 1}"))
    assert_refused(done, f"transfer.top_m is {items + 1}", f"at most {items}")
    assert not (tmp_path / "w" / "pretrain").exists(), "it is found before anything is trained"


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("matcher.encoder=/no/such/folder", ["matcher.encoder", "/no/such/folder"]),
        ("matcher.kept_layers=9", ["matcher.kept_layers", "9", "has 2 layers"]),
        ("matcher.title_length=4000", ["matcher.title_length", "4000"]),
    ],
)
def test_an_encoder_that_cannot_be_is_found_first(
    pair: str, words: list[str], world: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    assert_refused(invoke(*command(world, tmp_path / "w", tiny_bert, pair)), *words)
    assert not (tmp_path / "w").exists()


def test_a_rebuild_with_an_encoder_that_cannot_be_leaves_the_old_matcher(
    world: Path, tiny_bert: Path, copied: Path
) -> None:
    before = (copied / "config.yaml").read_text()
    arguments = command(world, copied, tiny_bert, "matcher.encoder=/no/such")
    assert_refused(invoke(*arguments, "--rebuild"), "matcher.encoder", "/no/such")
    assert (copied / "matcher" / "done.json").is_file()
    assert (copied / "config.yaml").read_text() == before


@pytest.mark.parametrize("stage", ["run", "prepare", "match"])
def test_a_workdir_where_another_process_is_at_work(
    stage: str, world: Path, tiny_bert: Path, copied: Path
) -> None:
    arguments = command(world, copied, tiny_bert)[1:] if stage != "match" else ["--workdir", copied]
    with (copied / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert_refused(invoke(stage, *arguments), "another process", str(copied), "--workdir")
    done = invoke(stage, *arguments)
    assert done.code == 0, done.err


def test_a_mended_domain_is_taken_though_the_broken_one_failed(
    world: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(world, tmp_path / "data")
    file = data / "kitchen" / "kitchen.inter"
    whole = file.read_text()
    file.write_text(whole + "u1\tkitchen-1\tyesterday\n")
    arguments = ["prepare", *command(data, tmp_path / "w", tiny_bert)[1:]]
    assert_refused(invoke(*arguments), "kitchen.inter", "timestamp", "'yesterday'")
    file.write_text(whole)
    done = invoke(*arguments)
    assert done.code == 0, done.err


class TestWorkdirOfOthers:
    """A workdir made by other settings or data is left as it is."""

    @pytest.mark.parametrize(
        ("pair", "words"),
        [
            ("model.embedding_dim=16", ["'pre-training'", "model.embedding_dim is 16", "was 8"]),
            ("matcher.steps=5", ["'matcher'", "matcher.steps is 5", "it was 4"]),
            ("transfer.top_m=2", ["'generated embeddings'", "transfer.top_m is 2", "it was 3"]),
            ("fine_tune.epochs=3", ["'sasrec, seed 0'", "fine_tune.epochs is 3", "it was 2"]),
            ("prepare.ties=id", ["'data of kitchen'", 'ties is "id"', 'it was "random"']),
            ("evaluation.negatives=9", ["negatives is 9", "it was 10"]),
        ],
    )
    def test_other_settings(
        self, pair: str, words: list[str], world: Path, tiny_bert: Path, copied: Path
    ) -> None:
        before = (copied / "config.yaml").read_text()
        done = invoke(*command(world, copied, tiny_bert, pair))
        assert_refused(done, *words, "--rebuild", "--workdir")
        assert (copied / "config.yaml").read_text() == before

    def test_prepare_refuses_them_too(self, world: Path, tiny_bert: Path, copied: Path) -> None:
        before = (copied / "config.yaml").read_text()
        arguments = command(world, copied, tiny_bert, "matcher.steps=5")
        assert_refused(invoke("prepare", *arguments[1:]), "matcher.steps is 5")
        assert (copied / "config.yaml").read_text() == before

    def test_other_data(self, world: Path, tiny_bert: Path, copied: Path, tmp_path: Path) -> None:
        data = shutil.copytree(world, tmp_path / "data")
        with (data / TARGET / f"{TARGET}.item").open("a") as file:
            file.write("office-new\tpaper desk\n")
        done = invoke(*command(data, copied, tiny_bert))
        assert_refused(done, "'data of office'", "files.office.item", "--rebuild")

    def test_other_order_of_sources(self, world: Path, tiny_bert: Path, copied: Path) -> None:
        arguments = command(world, copied, tiny_bert)
        arguments[arguments.index(",".join(SOURCES))] = ",".join(reversed(SOURCES))
        assert_refused(invoke(*arguments), "'pre-training'", "order")


STAGES = ("pretrain", "match", "transfer", "fine-tune", "evaluate", "export")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_without_a_run(stage: str, tmp_path: Path) -> None:
    done = invoke(stage, "--workdir", tmp_path / "w")
    assert_refused(done, "no config.yaml here", "idp-tf prepare")
    assert not (tmp_path / "w").exists()


def test_stages_before_their_predecessors(world: Path, tiny_bert: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "w"
    prepared = invoke("prepare", *command(world, workdir, tiny_bert)[1:])
    assert prepared.code == 0, prepared.err
    for stage in STAGES[1:]:
        done = invoke(stage, "--workdir", workdir)
        assert_refused(done, "has not been made yet", "run the stages before this one")
    # What a stage that failed has noted does not stand in the way of other settings.
    done = invoke("prepare", *command(world, workdir, tiny_bert, "matcher.steps=5")[1:])
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [1", "cannot be read"),
        (b"", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"- 1\n", "cannot be read"),
        (b"data: d\nsources: [a]\nsettings: {}\n", "'target' is missing"),
    ],
)
def test_a_damaged_config(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    for stage in ("pretrain", "evaluate"):
        assert_refused(invoke(stage, "--workdir", tmp_path), "config.yaml", words, "idp-tf prepare")


def test_a_config_with_an_unknown_setting(finished: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((finished / "config.yaml").read_text())
    config["settings"]["pretrain"]["epoch"] = 3
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    done = invoke("pretrain", "--workdir", tmp_path)
    assert_refused(done, "config.yaml", "settings.pretrain.epoch")


@pytest.mark.parametrize("name", ["sequences.npy", "items.parquet", "manifest.json"])
def test_a_truncated_prepared_file(name: str, copied: Path, world: Path, tiny_bert: Path) -> None:
    file = copied / "data" / TARGET / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    done = invoke(*command(world, copied, tiny_bert))
    assert_refused(done, str(file.parent), "remove that folder and prepare the domain again")
    shutil.rmtree(file.parent)  # as advised
    assert invoke("prepare", *command(world, copied, tiny_bert)[1:]).code == 0
    assert invoke("evaluate", "--workdir", copied).code == 0


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("evaluation/sasrec/seed-0/ranks.npz", "evaluation/sasrec/seed-0"),
        ("matches.parquet", "transfer"),
        ("evaluation/idp/seed-0/done.json", "evaluation/idp/seed-0"),
    ],
)
def test_other_damaged_files(name: str, folder: str, copied: Path) -> None:
    file = copied / "target" / TARGET / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    done = invoke("evaluate", "--workdir", copied)
    assert_refused(done, file.name, "delete", str(copied / "target" / TARGET / folder))


class TestQuery:
    """Questions that get no answer."""

    @pytest.fixture(scope="class")
    def address(self, finished: Path) -> Iterator[str]:
        from serving.server import ModelServer

        with ModelServer(
            finished / "export/models.config", port=0, tensorflow_session_parallelism=1
        ) as server:
            yield server.address

    def test_the_answer_has_titles(self, address: str, finished: Path) -> None:
        question = ("query", "--items", "office-1,office-5", "--k", 3, "--address", address)
        done = invoke(*question, "--titles", finished, "--json")
        assert done.code == 0, done.err
        answer = json.loads(done.out)
        assert answer["items"] == ["office-1", "office-5"]
        assert len(answer["recommendations"]) == 3
        assert all(row["title"] for row in answer["recommendations"])

    @pytest.mark.parametrize(
        ("k", "items", "words"),
        [
            (0, "office-1", "k must be between 1 and 40, got 0"),
            (41, "office-1", "k must be between 1 and 40, got 41"),
            (3, "nobody-knows", "no known item id"),
        ],
    )
    def test_impossible_questions(self, k: int, items: str, words: str, address: str) -> None:
        done = invoke("query", "--items", items, "--k", k, "--address", address)
        assert_refused(done, address, words)

    def test_no_item_is_refused_before_any_server_is_asked(self) -> None:
        done = invoke("query", "--items", " , ", "--address", "nowhere")
        assert_refused(done, "--items", "' , '", "names no item")
        assert "HOST:PORT" not in done.err

    def test_an_unknown_model(self, address: str) -> None:
        done = invoke("query", "--items", "office-1", "--address", address, "--model", "oracle")
        assert_refused(done, "oracle")

    def test_no_server(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            done = invoke("query", "--items", "a", "--address", address, "--timeout", 5)
        assert_refused(done, address, "no server answers here", "idp-tf serve")

    @pytest.mark.parametrize("address", ["nowhere", "host:port", ":1", "host:99999"])
    def test_no_address(self, address: str) -> None:
        assert_refused(invoke("query", "--items", "a", "--address", address), "HOST:PORT")

    def test_titles_that_are_not_there(self, tmp_path: Path) -> None:
        done = invoke("query", "--items", "a", "--titles", tmp_path / "none.parquet")
        assert_refused(done, "none.parquet", "not there")


def test_nothing_to_serve(tmp_path: Path) -> None:
    done = invoke(
        "serve",
        "--model_config_file",
        tmp_path / "models.config",
        "--port",
        0,
        "--rest_api_port",
        -1,
    )
    assert_refused(done, "models.config", "run the export stage")


def test_a_prepared_domain_without_its_manifest(copied: Path, world: Path, tiny_bert: Path) -> None:
    (copied / "data" / TARGET / "manifest.json").unlink()
    done = invoke(*command(world, copied, tiny_bert))
    assert_refused(done, "manifest.json is missing", "remove that folder first")


def test_tracing_each_model_is_no_warning(tmp_path: Path) -> None:
    invoke("pretrain", "--workdir", tmp_path)
    logger = logging.getLogger("tensorflow")
    for text, shown in (("5 calls triggered tf.function retracing.", False), ("lost", True)):
        record = logger.makeRecord("tensorflow", logging.WARNING, "f", 1, text, (), None)
        assert bool(logger.filter(record)) is shown


def test_version() -> None:
    from idp_tf import __version__

    assert invoke("--version").out.strip() == __version__
