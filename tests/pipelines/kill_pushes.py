"""Kills a push, and a rollback, before each of its steps on the file system: ``FOLDER``.

A step is what Python tells audit hooks of: a file that is opened, copied, renamed or removed,
a folder made or removed. After each kill every version that a server sees must be whole, the
latest the old one or the new one, and the same call again must end as if nothing had happened.

A process of its own: it forks, which one that holds TensorFlow must not.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

from pipelines.artifacts import digest_of
from pipelines.versions import list_pushed, push_version, rollback, rollbacks

STEPS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.copyfile")
FILES = ("saved_model.pb", "variables/variables.index", "variables/variables.data", "a/b/c.txt")
OLD = (100, 200, 300)


def write_model(folder: Path, name: str) -> Path:
    for file in FILES:
        (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / file).write_text(f"{file} of {name}\n" * 200)
    return folder / name


def push(models: Path, place: Path, version: int, keep: int = 9) -> None:
    push_version(
        models / str(version), place, fingerprint=f"f{version}", keep=keep, now=lambda: version
    )


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Whether the work was killed before that step; otherwise it has ended."""
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if event in STEPS:
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def check_whole(place: Path, models: Path) -> None:
    for version in list_pushed(place):
        check_whole_of(place / str(version), models / str(version))


def check_whole_of(version: Path, model: Path) -> None:
    for file in FILES:
        assert (version / file).read_bytes() == (model / file).read_bytes()


def state(place: Path) -> tuple[object, ...]:
    """All that matters, the time of a rollback not being part of it."""
    records = [{**record, "when": ""} for record in rollbacks(place)]
    kept = sorted(p.name for p in (place / ".rolled_back").glob("*"))
    digests = [digest_of(place / str(version)) for version in list_pushed(place)]
    return list_pushed(place), digests, records, kept, sorted(p.name for p in place.iterdir())


def torture(
    name: str, folder: Path, work: Callable[[Path], object], latest: set[int], begin: Path
) -> int:
    models = folder / "models"
    undisturbed = folder / f"{name}-undisturbed"
    shutil.copytree(begin, undisturbed)
    work(undisturbed)
    expected = state(undisturbed)
    assert expected[0][-1] in latest
    for step in count(1):
        place = folder / f"{name}-{step}"
        shutil.copytree(begin, place)
        killed = killed_at(step, lambda at=place: work(at))
        check_whole(place, models)
        assert list_pushed(place)[-1] in latest, f"{name}, step {step}: {list_pushed(place)}"
        work(place)
        found = state(place)
        assert found == expected, f"{name}, killed before step {step}: {found} {expected}"
        shutil.rmtree(place)
        if not killed:
            return step - 1
    raise AssertionError


def main(folder: Path) -> None:
    models, begin = folder / "models", folder / "begin"
    for version in (*OLD, 400):
        write_model(models, str(version))
    for version in OLD:
        push(models, begin, version)
    steps = {
        "push": torture("push", folder, lambda at: push(models, at, 400, 2), {300, 400}, begin),
        "back": torture(
            "back", folder, lambda at: rollback(at, to=100, why="bad"), {300, 100}, begin
        ),
    }
    rollback(begin, to=100)
    steps["restore"] = torture(
        "restore", folder, lambda at: rollback(at, to=200), {100, 200}, begin
    )
    print(steps)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
