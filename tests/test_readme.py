"""The README's Python runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def python_block():
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return block


@pytest.mark.timeout(280)
def test_the_python_way_runs_verbatim(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", python_block()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = done.stdout.splitlines()[-1]
    hit_rate = float(re.search(r"'HR@10': ([0-9.]+)", metrics)[1])
    # Better than chance, which is 10 of about 350 items.
    assert hit_rate > 3 * 10 / 350


def test_it_is_as_long_as_promised():
    code = [line for line in python_block().splitlines() if line.strip()]
    imports = [line for line in code if line.startswith("from")]
    assert len(code) - len(imports) <= 30
