"""What cannot come to its end is refused before anything is prepared or trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_world import SOURCES, TARGET, overrides

from idp_tf.config import load_settings
from idp_tf.errors import IdpError, SettingsError, WorkdirError
from idp_tf.systems import SYSTEMS
from idp_tf.workflow.artifacts import Artifact, write_json
from idp_tf.workflow.inner import inner_artifact, inner_chain
from idp_tf.workflow.preflight import check_run
from idp_tf.workflow.pretrain import pretrain_artifact
from idp_tf.workflow.recformer import recformer_artifact, recformer_base_artifact
from idp_tf.workflow.run import Run, RunConfig

MakeRun = Callable[..., Run]
POSITIONS = 32
"""Those of the tiny BERT."""


@pytest.fixture
def make_run(world: Path, tiny_bert: Path, tmp_path: Path) -> MakeRun:
    def make(*pairs: str, rebuild: bool = False) -> Run:
        settings = load_settings("quick", overrides=overrides(tiny_bert, *pairs))
        config = RunConfig(data=world, sources=SOURCES, target=TARGET, settings=settings)
        return Run(tmp_path / "w", config, rebuild=rebuild)

    return make


def write_artifact(artifact: Artifact) -> None:
    """Lets it be as if its stage had ended."""
    artifact.folder.mkdir(parents=True)
    write_json(artifact.folder / "inputs.json", artifact.inputs)
    artifact.finish()


@pytest.mark.parametrize("slug", ["recformer", "recformer-scratch"])
def test_recformers_positions(make_run: MakeRun, slug: str) -> None:
    systems = f"systems=[sasrec, {slug}]"
    check_run(make_run(systems, f"recformer.max_tokens={POSITIONS}"))
    run = make_run(systems, f"recformer.max_tokens={POSITIONS + 1}")
    with pytest.raises(SettingsError, match=f"encoder has {POSITIONS} positions"):
        check_run(run)
    assert not run.workdir.exists()


@pytest.mark.parametrize("slug", ["recformer", "recformer-scratch"])
def test_recformers_encoder_is_not_asked_for_again(make_run: MakeRun, slug: str) -> None:
    """What reads it once has been made: of one that is pre-trained, the base."""
    pairs = (f"systems=[sasrec, {slug}]", "matcher.encoder=/nowhere")
    run, system = make_run(*pairs), SYSTEMS[slug]
    with pytest.raises(IdpError, match="nowhere"):
        check_run(run)
    if system.takes_over:
        write_artifact(recformer_base_artifact(run))
    else:
        write_artifact(recformer_artifact(run, system))
    check_run(make_run(*pairs))


def test_recformers_base_of_other_settings(make_run: MakeRun) -> None:
    systems = "systems=[sasrec, recformer]"
    base = recformer_base_artifact(make_run(systems))
    write_artifact(base)
    (base.folder / "encoder").touch()
    check_run(make_run(systems))
    with pytest.raises(WorkdirError, match="'base recformer' was made by other settings"):
        check_run(make_run(systems, "recformer.pretrain_steps=3"))
    check_run(make_run(systems, "recformer.pretrain_steps=3", rebuild=True))


def test_recformers_trainings_hang_on_their_own_settings(make_run: MakeRun) -> None:
    def keys(*pairs: str) -> list[str]:
        run = make_run("systems=[sasrec, recformer, recformer-scratch]", *pairs)
        tuned = (recformer_artifact(run, SYSTEMS[x]) for x in ("recformer", "recformer-scratch"))
        return [artifact.key for artifact in (recformer_base_artifact(run), *tuned)]

    def changed(*pairs: str) -> list[bool]:
        return [new != old for new, old in zip(keys(*pairs), keys(), strict=True)]

    assert changed("recformer.stage_1_epochs=3") == [False, True, True]
    assert changed("recformer.batch_size=3") == [False, True, True]
    assert changed("recformer.pretrain_steps=3") == [True, True, False]
    assert changed("recformer.mlm_weight=3") == [True, True, False]
    assert changed("recformer.temperature=3") == [True, True, True]


def test_the_encoder_of_the_inner_chain(make_run: MakeRun) -> None:
    pairs = ("systems=[sasrec, idp-inner]", "matcher.encoder=/nowhere")
    run = make_run(*pairs)
    with pytest.raises(IdpError, match="nowhere"):
        check_run(run)
    write_artifact(inner_artifact(run))
    check_run(make_run(*pairs))


@pytest.mark.parametrize(
    ("place", "name", "changed"),
    [
        ("data/warm", f"data of {TARGET}, warm", "seed=1"),
        ("pretrain", "pre-training", "fine_tune.epochs=3"),
        ("titles/warm", "titles of warm", "matcher.title_length=7"),
        ("matcher", "matcher", "matcher.steps=5"),
    ],
)
def test_the_inner_chain_of_other_settings(
    make_run: MakeRun, place: str, name: str, changed: str
) -> None:
    """It was cut short: what comes of it holds nothing yet, and shows nothing."""
    pairs = ("systems=[sasrec, idp-inner]", "matcher.kept_layers=null")
    run = make_run(*pairs)
    check_run(run)
    folder = run.target_dir / "inner" / place
    found = [artifact for artifact in inner_chain(run) if artifact.folder == folder]
    assert [artifact.name for artifact in found] == [name]
    write_artifact(found[0])
    check_run(make_run(*pairs))
    with pytest.raises(WorkdirError, match=f"'{name}' was made by other settings") as caught:
        check_run(make_run(*pairs, changed))
    assert caught.value.where == folder
    check_run(make_run(*pairs, changed, rebuild=True))


def test_how_many_sources_a_base_wants_decides_nothing_of_it(make_run: MakeRun) -> None:
    base = SYSTEMS["dacdr"].base
    assert base is not None and base.min_sources == 2
    found = [
        pretrain_artifact(make_run(), changed).key
        for changed in (base, replace(base, min_sources=1), replace(base, items="titles"))
    ]
    assert found[0] == found[1] != found[2]
