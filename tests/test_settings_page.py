"""docs/settings.md names every setting with the values that the presets give it."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from idp_tf.config import PRESETS, Settings, load_settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
NOT_IN_THE_TABLE = {"preset", "systems"}


def leaves(settings: BaseModel, prefix=""):
    for name, value in settings:
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        elif name not in NOT_IN_THE_TABLE:
            yield prefix + name, value


def rows():
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            yield name.strip("`"), cells


def test_every_setting_has_a_row():
    assert [name for name, _ in rows()] == [name for name, _ in leaves(Settings())]


@pytest.mark.parametrize("preset", list(PRESETS))
def test_values_are_the_presets(preset):
    column = list(PRESETS).index(preset)
    values = dict(leaves(load_settings(preset)))
    for name, cells in rows():
        value = values[name]
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert cells[column] == (shown or "–"), name
