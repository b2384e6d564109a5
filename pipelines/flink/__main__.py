"""``python -m pipelines.flink``: a cluster until Ctrl-C, and the options to run on it."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from idp_tf.errors import IdpError
from pipelines.flink.cluster import FlinkCluster
from pipelines.flink.configuration import ClusterSettings
from pipelines.flink.distribution import DEFAULT_HOME, find_distribution


def main(arguments: Sequence[str] | None = None) -> int:
    """Starts a cluster, prints Beam's options for it, and watches it."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.flink", description=__doc__)
    parser.add_argument("--home", type=Path, default=DEFAULT_HOME, help="what `make flink` made")
    parser.add_argument("--folder", type=Path, required=True, help="logs and spilled data")
    parser.add_argument("--task_managers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=2, help="tasks of one TaskManager at once")
    parser.add_argument("--parallelism", type=int, default=2, help="tasks of one step")
    parser.add_argument("--managed", type=int, default=256, help="MiB to sort in")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = ClusterSettings(
            given.task_managers, given.slots, given.parallelism, managed=given.managed
        )
        with FlinkCluster(find_distribution(given.home), given.folder, settings) as cluster:
            sys.stdout.write(shlex.join(cluster.beam_args) + "\n")
            sys.stdout.flush()
            _watch(cluster)
    except IdpError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


def _watch(cluster: FlinkCluster) -> None:
    """Returns never; raises if the JobManager or the job server ends."""
    while True:
        for process in (cluster.job_manager, cluster.job_server):
            if process is not None:
                process.check()
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
