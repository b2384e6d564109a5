"""A Python worker as a TaskManager starts it: what the boot program of Beam's container does.

Beam's own boot program is a binary that only the container has. This one takes the same
arguments, asks the TaskManager for the pipeline's options, and becomes Beam's worker. It installs
nothing: packages that a pipeline asks to be staged are refused, since every machine has the same
environment.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Final

from idp_tf.errors import SettingsError

_HARMLESS: Final = "submission_environment_dependencies.txt"
"""A list of what the submitting machine has installed, which Beam always sends along."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a worker until its TaskManager is done with it, or gone."""
    import grpc
    from apache_beam.runners.worker import sdk_worker_main

    given = _parse(arguments)
    with grpc.insecure_channel(given.provision_endpoint) as channel:
        info = _provision(channel, given.id)
    refuse_staged(info)
    os.environ.update(environment(given.id, info))
    logging.basicConfig(level=logging.INFO)
    code = 1
    try:
        sdk_worker_main.main([])
        code = 0
    except grpc.RpcError as error:  # whom to tell is gone, but for the log
        sys.stderr.write(f"the worker {given.id} has lost its TaskManager: {error}\n")
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)  # threads of a step that was cut off would wait for ever


def environment(worker_id: str, info: Any) -> dict[str, str]:
    """What Beam's worker expects to find in its environment."""
    from google.protobuf import json_format

    found = {
        "WORKER_ID": worker_id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "LOGGING_API_SERVICE_DESCRIPTOR": f'url: "{info.logging_endpoint.url}"',
        "CONTROL_API_SERVICE_DESCRIPTOR": f'url: "{info.control_endpoint.url}"',
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.status_endpoint.url:
        found["STATUS_API_SERVICE_DESCRIPTOR"] = f'url: "{info.status_endpoint.url}"'
    return found


def refuse_staged(info: Any) -> None:
    """Raises SettingsError if the pipeline asks for packages to be installed here."""
    from apache_beam.portability.api import beam_runner_api_pb2

    for artifact in info.dependencies:
        role = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload)
        if role.staged_name != _HARMLESS:
            raise SettingsError(
                f"the pipeline stages {role.staged_name!r}, and workers install nothing",
                where="Beam options",
                remedy="leave out --requirements_file, --setup_file, --extra_package and"
                " --save_main_session; install the packages on every machine",
            )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.flink.sdk_worker")
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    return parser.parse_known_args(arguments)[0]  # others repeat what can be asked for there


def _provision(channel: Any, worker_id: str) -> Any:
    from apache_beam.portability.api import (
        beam_provision_api_pb2,
        beam_provision_api_pb2_grpc,
    )

    stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
    request = beam_provision_api_pb2.GetProvisionInfoRequest()
    return stub.GetProvisionInfo(request, metadata=[("worker_id", worker_id)], timeout=60).info


if __name__ == "__main__":
    main()
