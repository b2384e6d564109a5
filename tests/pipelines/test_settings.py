"""What a YAML file of a pipeline may hold, and what its refusals say."""

from __future__ import annotations

from pathlib import Path

import pytest

from idp_tf.errors import SettingsError
from pipelines.compose import compose
from pipelines.settings import load_pipeline_settings
from tests.pipelines.tiny_pipeline import write_config
from tests.tiny_world import TARGET


def refusal(config: Path) -> str:
    with pytest.raises(SettingsError) as raised:
        compose(load_pipeline_settings(config))
    return str(raised.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sources": [TARGET]}, "{file}: office is a source and the target too"),
        ({"sources": ["music", "music"]}, "{file}: a source is named twice"),
        (
            {"sources": "music"},
            "{file}: setting 'sources' holds 'music': expected a list, such as [music]",
        ),
        (
            {"evaluater": {"min_users": 3}},
            "{file}: unknown setting 'evaluater'\n  -> did you mean 'evaluator'?",
        ),
        (
            {"inputs": {TARGET: {"form": "tables", "interactions": ["a"], "itmes": ["b"]}}},
            "{file}: unknown setting 'inputs.office.itmes'\n"
            "  -> did you mean 'inputs.office.items'?",
        ),
        (
            {"evaluator": {"min_usrs": 3}},
            "Evaluator: unknown setting 'evaluator.min_usrs'\n"
            "  -> did you mean 'evaluator.min_users'?",
        ),
        (
            {"evaluator": {"differences": [{"against": "control", "relativ": True}]}},
            "Evaluator: unknown setting 'evaluator.differences.0.relativ'\n"
            "  -> did you mean 'evaluator.differences.0.relative'?",
        ),
        (
            {"settings": {"pretrain": {"epochs": 0}}},
            "{file}: setting 'settings.pretrain.epochs' holds 0: ",
        ),
        (
            {"settings": {"model": {"embedding_dim": 3, "num_heads": 2}}},
            "{file}: setting 'settings.model': num_heads must divide embedding_dim, got 2 for 3",
        ),
        (
            {"settings": {"matcher": {"stepz": 3}}},
            "{file}: unknown setting 'settings.matcher.stepz'\n"
            "  -> did you mean 'settings.matcher.steps'?",
        ),
    ],
)
def test_a_refusal_names_the_key_and_the_rule(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    config = write_config(tmp_path, tmp_path, **changes)
    told = refusal(config)
    assert told.startswith(said.format(file=config))
    assert len(told) < 400


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    config = write_config(tmp_path, tmp_path)
    lines = len(config.read_text().splitlines())
    with config.open("a") as file:
        file.write("target: music\n")
    assert f"the key 'target' stands twice, again in line {lines + 1}" in refusal(config)
