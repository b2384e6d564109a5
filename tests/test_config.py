"""Settings: presets, what wins over what, and refusals that name the setting."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from idp_tf.config import PRESETS, Settings, load_settings
from idp_tf.errors import SettingsError


def write(file: Path, content: object) -> Path:
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_load_and_name_themselves(preset: str) -> None:
    assert load_settings(preset).preset == preset


def test_paper_preset_holds_what_the_paper_states() -> None:
    """Section 3.2; the grid is the paper's."""
    settings = load_settings("paper")
    assert settings.model.embedding_dim == 64
    assert settings.pretrain.batch_size == settings.fine_tune.batch_size == 256
    assert settings.pretrain.patience == settings.fine_tune.patience == 20
    assert settings.prepare.source_k_core == 5
    assert settings.evaluation.negatives == 99
    assert settings.matcher.pooling == "cls"
    assert settings.transfer.norm == "none"
    assert len(settings.fine_tune.learning_rate_grid) > 1


def test_quick_caps_no_more_than_it_says() -> None:
    quick, standard = load_settings("quick"), load_settings("standard")
    assert quick.pretrain.epochs < standard.pretrain.epochs
    assert quick.matcher.steps < standard.matcher.steps
    assert quick.fine_tune.epochs == standard.fine_tune.epochs
    assert quick.model == standard.model and quick.evaluation == standard.evaluation


def test_later_ones_win(tmp_path: Path) -> None:
    file = write(tmp_path / "s.yaml", {"pretrain": {"epochs": 5, "patience": 4}, "seed": 1})
    assert load_settings("quick").pretrain.patience != 4
    from_file = load_settings("quick", file=file)
    assert (from_file.pretrain.epochs, from_file.pretrain.patience, from_file.seed) == (5, 4, 1)
    # What the file doesn't name stays the preset's.
    assert from_file.pretrain.validation_users == load_settings("quick").pretrain.validation_users
    pairs = ["pretrain.epochs=6", "seed=2", "pretrain.epochs=7"]
    from_pairs = load_settings("quick", file=file, overrides=pairs)
    assert (from_pairs.pretrain.epochs, from_pairs.pretrain.patience, from_pairs.seed) == (7, 4, 2)
    assert load_settings("quick", file=file, overrides=pairs, seed=3).seed == 3


def test_presets_are_not_changed_by_what_is_laid_over_them() -> None:
    before = load_settings("quick")
    load_settings("quick", overrides=["pretrain.epochs=1", "matcher.steps=0"])
    assert load_settings("quick") == before


def test_values_are_read_as_yaml(tmp_path: Path) -> None:
    settings = load_settings(
        overrides=[
            "fine_tune.learning_rate_grid=[0.001, 3.0e-4]",
            "matcher.kept_layers=null",
            "systems=[idp, sasrec]",
        ]
    )
    assert settings.fine_tune.learning_rate_grid == (0.001, 0.0003)
    assert settings.matcher.kept_layers is None
    assert settings.systems == ("idp", "sasrec")


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing\n")
    assert load_settings("quick", file=file) == load_settings("quick")


@given(
    st.sampled_from(list(PRESETS)),
    st.integers(0, 2**31),
    st.lists(st.floats(1e-6, 1.0), max_size=4),
)
def test_settings_survive_yaml(preset: str, seed: int, grid: list[float]) -> None:
    settings = load_settings(preset, seed=seed, fine_tune={"learning_rate_grid": grid})
    text = yaml.safe_dump(settings.model_dump(mode="json"))
    assert Settings.model_validate(yaml.safe_load(text)) == settings


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("pretrain.epoch=3", ["unknown setting 'pretrain.epoch'", "'pretrain.epochs'"]),
        ("pretrian.epochs=3", ["unknown setting 'pretrian'", "'pretrain'"]),
        ("zzz=1", ["unknown setting 'zzz'", "known here: preset, seed"]),
        ("model.embedding_dim=0", ["model.embedding_dim", "0", "greater than or equal to 1"]),
        ("pretrain.epochs=many", ["pretrain.epochs", "'many'", "valid integer"]),
        ("matcher.pooling=max", ["matcher.pooling", "'max'", "'cls' or 'mean'"]),
        ("model.num_heads=3", ["num_heads must divide embedding_dim", "3", "64"]),
        ("fine_tune.learning_rate_grid=[0.1, -1]", ["learning_rate_grid.1", "-1"]),
        ("systems=idp", ["systems", "'idp'"]),
        ("pretrain=3", ["'pretrain' holds 3", "expected keys and values"]),
        ("pretrain.epochs.more=3", ["pretrain.epochs"]),
        ("pretrain.epochs", ["'pretrain.epochs' is no key=value pair"]),
        ("=3", ["no key=value pair"]),
        ("systems=[idp", ["'systems=[idp'", "not valid YAML"]),
        ("preset=quick", ["'quick'", "'standard' was chosen"]),
        ("pretrain.loss=cross-entropy", ["items of all domains", "pretrain.negatives=all"]),
        ("prepare.columns={usr: a}", ["'prepare.columns' has no 'usr'", "'user_id', 'item_id'"]),
        ("prepare.columns={user_id:a}", ["has no 'user_id:a'", "a blank follows each colon"]),
    ],
)
def test_refusals_name_setting_value_and_rule(pair: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings("standard", overrides=[pair])
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_unknown_preset() -> None:
    with pytest.raises(SettingsError, match=r"unknown preset 'fast'") as caught:
        load_settings("fast")
    assert all(preset in str(caught.value) for preset in PRESETS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"- a\n- b\n", "expected keys and values, found a list"),
        (b"just words", "found a str"),
        (b"a: [1\n", "not valid YAML"),
        (b"\xff\xfe\x00a", "not valid YAML"),
        (b"1: 2\n", "unknown setting '1'"),
    ],
)
def test_files_that_are_no_settings(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="") as caught:
        load_settings(file=file)
    assert words in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read") as caught:
        load_settings(file=tmp_path / "none.yaml")
    assert "none.yaml" in str(caught.value)


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().model.embedding_dim = 3  # type: ignore[misc]
