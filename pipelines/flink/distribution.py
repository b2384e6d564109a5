"""What a cluster is started from: Java, the jars of Flink, and those of Beam's job server.

``make flink`` puts them there::

    .flink/flink/    Flink's jars, which come in the package apache-flink-libraries
    .flink/beam/     Beam's runner for Flink, and what it needs

Their names have lost the suffix ``.jar``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from idp_tf.errors import MissingDataError

FLINK: Final = "apache-flink-libraries==1.19.3"
BEAM: Final = "org.apache.beam:beam-runners-flink-1.19:2.62.0"
DEFAULT_HOME: Final = Path(".flink")

_FLINK_JARS: Final = ("flink-dist-*", "log4j-api-*", "log4j-core-*", "log4j-slf4j-impl-*")
_RUNNER: Final = "beam-runners-flink-*"


@dataclass(frozen=True)
class Distribution:
    """A Java and a class path, the same for every process of a cluster.

    Beam's classes are on the class path of Flink itself, so that no job has to bring them. The
    job server would send every file of its class path that ends in ``.jar``: 270 MB, and 20 s,
    for each job; that is why they lose that ending.

    Args:
        java: The command.
        class_path: Beam's jars and Flink's.
    """

    java: Path
    class_path: tuple[Path, ...]


def find_distribution(home: Path = DEFAULT_HOME) -> Distribution:
    """Finds what ``make flink`` has fetched.

    Args:
        home: The folder that it was fetched to.

    Raises:
        MissingDataError: if there is no Java, or a jar is missing.
    """
    java = shutil.which("java")
    if java is None:
        raise MissingDataError(
            "a Flink cluster needs Java 17, and there is no command java",
            where="PATH",
            remedy="install a Java 17 runtime (openjdk-17-jre-headless)",
        )
    home = home.resolve()
    for jar in _FLINK_JARS:
        _one(home.glob(f"flink/{jar}"), jar, FLINK, home)
    _one(home.glob(f"beam/{_RUNNER}"), _RUNNER, BEAM, home)
    return Distribution(Path(java), tuple(sorted(home.glob("*/*"))))


def _one(found: Iterable[Path], jar: str, coordinates: str, home: Path) -> Path:
    paths = sorted(found)
    if len(paths) == 1:
        return paths[0]
    raise MissingDataError(
        f"expected one {jar}, which comes with {coordinates}, found {len(paths)}",
        where=home,
        remedy="fetch it by `make flink`",
    )
