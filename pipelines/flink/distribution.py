"""What a cluster is started from: Java, the jars of Flink, and those of Beam's job server.

``make flink`` puts them into ``.flink/``: Flink's jars, which come in the package
apache-flink-libraries, and one with Beam's runner for Flink and all that it needs.
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

_FLINK_JARS: Final = tuple(
    f"{jar}-*.jar" for jar in ("flink-dist", "log4j-api", "log4j-core", "log4j-slf4j-impl")
)
_BEAM_JAR: Final = "beam-*.jar"


@dataclass(frozen=True)
class Distribution:
    """A Java and a class path, the same for every process of a cluster.

    Beam's classes are on the class path of Flink itself, so that its classes are loaded once, and
    not again with every job.

    Args:
        java: The command.
        class_path: Flink's jars, and Beam's.
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
    flink = [_one(home.glob(jar), jar, FLINK, home) for jar in _FLINK_JARS]
    return Distribution(Path(java), (*flink, _one(home.glob(_BEAM_JAR), _BEAM_JAR, BEAM, home)))


def _one(found: Iterable[Path], jar: str, coordinates: str, home: Path) -> Path:
    paths = sorted(found)
    if len(paths) == 1:
        return paths[0]
    raise MissingDataError(
        f"expected one {jar}, which comes with {coordinates}, found {len(paths)}",
        where=home,
        remedy="fetch it by `make flink`",
    )
