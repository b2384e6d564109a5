"""Artifacts are written, and components run, by what the components' own tests have for it."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "components"))
