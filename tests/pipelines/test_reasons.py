"""What differs, in words."""

from __future__ import annotations

import pytest

from pipelines.reasons import changed_settings, reasons, shortened

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (
            {"parameters": {"interactions": {"day=2/b.csv": A, "day=1/a.csv": A}}},
            {"parameters": {"interactions": {"day=2/b.csv": B, "day=3/c.parquet": A}}},
            ["day=1/a.csv is gone", "day=2/b.csv changed", "day=3/c.parquet is new"],
        ),
        (
            {"inputs": {"examples": {"ExampleGen.office": A}, "items": {"ExampleGen.office": A}}},
            {"inputs": {"examples": {"ExampleGen.office": B}, "items": {"ExampleGen.office": B}}},
            ["ExampleGen.office made something else"],
        ),
        (
            {"inputs": {"x": {"G.a": A}}, "order": {"x": ["G.a"]}},
            {"inputs": {"x": {"G.a": A, "G.b": A}}, "order": {"x": ["G.b", "G.a"]}},
            ["G.b is read now"],
        ),
        (
            {"inputs": {"x": {"G.a": A}}, "parameters": {"settings": {"fine_tune": {"lr": 1}}}},
            {"inputs": {"x": {"G.a": B}}, "parameters": {"settings": {"fine_tune": {"lr": 2}}}},
            ["settings.fine_tune.lr is 2, it was 1", "G.a made something else"],
        ),
        (
            {"parameters": {"module_digest": A}},
            {"parameters": {"module_digest": B}},
            ["module changed"],
        ),
        ({"parameters": {"k": None}}, {"parameters": {"k": ["x"]}}, ['k is ["x"], it was not set']),
    ],
)
def test_reasons(before: dict[str, object], now: dict[str, object], said: list[str]) -> None:
    assert reasons(before, now) == said


def test_settings_and_more_than_fit() -> None:
    changed = changed_settings({"pusher": {}}, {"pusher": {"keep": 5}})
    assert changed == ["pusher.keep is 5, it was not set"]
    assert shortened(list("abcde")) == "a; b; c; and 2 more"
