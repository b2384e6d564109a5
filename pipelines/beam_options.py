"""Beam's options and pipelines, built in one place, so that every component runs on every runner.

Without ``--runner`` a pipeline runs in this process, on ``FnApiRunner``: ``DirectRunner`` by name
would try Prism first, whose binary comes over the network; ``FnApiRunner`` is what it runs
batches on otherwise. It keeps what passes between two stages in memory (``check_memory``), in
this process even when ``--direct_running_mode=multi_processing`` divides the work.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from idp_tf.errors import ClusterError, SettingsError, requires_extra
from pipelines.settings import PipelineSettings

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

_WORKERS_LOGGER: Final = "apache_beam.runners.portability.local_job_service"
LOCAL_RUNNERS: Final = ("directrunner", "direct", "fnapirunner", "fnapi")


def build_options(beam_args: Sequence[str], others: Sequence[str] = ()) -> PipelineOptions:
    """Beam's options, refused where Beam would drop them silently.

    Args:
        beam_args: Options as on a command line, such as
            ``--direct_running_mode=multi_processing``. With ``--job_endpoint`` those of that job
            server are options too, such as Flink's ``--execution_mode_for_batch``.
        others: Names of the command's own options, of which an unknown one may be a misspelling.

    Raises:
        MissingDependencyError: if Beam is not installed.
        SettingsError: if Beam knows no such option, or for a word that belongs to none.
        ClusterError: if the job server must be asked, and does not answer.
    """
    with requires_extra("pipelines", purpose="a pipeline component"):
        from apache_beam.options.pipeline_options import PipelineOptions

    options = PipelineOptions(list(beam_args))
    # Of no options at all: of unknown ones it would warn, and they are refused below.
    known = set(PipelineOptions([]).get_all_options())
    unknown = set(options.get_all_options(retain_unknown_options=True)) - known
    if unknown:
        unknown -= _job_server_options(options)
    if unknown:
        name = min(unknown)
        near = difflib.get_close_matches(name, [*others, *sorted(known)], n=1)
        remedy = f"did you mean --{near[0]}?" if near else "leave it out"
        if name in PipelineSettings.model_fields:
            remedy = f"{name} stands in the config file"
        raise SettingsError(
            f"Beam has no option --{name}",
            where="Beam options",
            remedy=remedy,
        )
    _refuse_stray_words(beam_args)
    return options


def _refuse_stray_words(beam_args: Sequence[str]) -> None:
    """Beam would drop them silently, as it does options with one dash."""
    for before, word in zip(("", *beam_args), beam_args, strict=False):
        is_value = before.startswith("--") and "=" not in before
        if not word.startswith("--") and not is_value:
            raise SettingsError(
                f"{word!r} belongs to no option", where="Beam options", remedy="leave it out"
            )


def check_options(beam_args: Sequence[str], others: Sequence[str] = ()) -> None:
    """Refuses options and runners that Beam does not know, before anything is run.

    Args:
        beam_args: Options as on a command line.
        others: Names of the command's own options, of which an unknown one may be a misspelling.

    Raises:
        SettingsError: for an unknown option, a word that belongs to none, or an unknown runner.
        MissingDependencyError, ClusterError: see ``build_options``.
    """
    options = build_options(beam_args, others)
    from apache_beam.options.pipeline_options import StandardOptions
    from apache_beam.runners.runner import create_runner

    if runs_in_memory(options):
        return
    runner = options.view_as(StandardOptions).runner
    try:
        create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise SettingsError(
            f"there is no runner {runner!r}: {error}",
            where="--runner",
            remedy=f"choose one of {', '.join(StandardOptions.KNOWN_RUNNER_NAMES)}",
        ) from error


def build_pipeline(beam_args: Sequence[str] = ()) -> beam.Pipeline:
    """A pipeline on the runner that the options name; see ``build_options`` for what is raised."""
    options = build_options(beam_args)
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

    if runs_in_memory(options):
        logging.getLogger(_WORKERS_LOGGER).addFilter(_is_worth_telling)
        return beam.Pipeline(runner=FnApiRunner(), options=options)
    return beam.Pipeline(options=options)


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """Not that a worker process has no folder for a pickled main session: none is ever used."""
    return "No semi_persistent_directory found" not in record.getMessage()


def runs_in_memory(options: PipelineOptions) -> bool:
    """Whether the runner is Beam's own, which keeps what passes between stages in this process."""
    from apache_beam.options.pipeline_options import StandardOptions

    runner = options.view_as(StandardOptions).runner
    return runner is None or runner.lower() in LOCAL_RUNNERS


def _job_server_options(options: PipelineOptions) -> set[str]:
    """The options that a job server adds to Beam's: those of its own engine."""
    from apache_beam.options.pipeline_options import PortableOptions

    portable = options.view_as(PortableOptions)
    if not portable.job_endpoint or portable.job_endpoint == "embed":
        return set()
    import grpc
    from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

    request = beam_job_api_pb2.DescribePipelineOptionsRequest()
    try:
        with grpc.insecure_channel(portable.job_endpoint) as channel:
            service = beam_job_api_pb2_grpc.JobServiceStub(channel)
            answer = service.DescribePipelineOptions(request, timeout=portable.job_server_timeout)
    except grpc.RpcError as error:
        raise ClusterError(
            f"no job server answers: {error.details()}",
            where=f"--job_endpoint={portable.job_endpoint}",
            remedy="start it, or correct the address",
        ) from error
    return {option.name for option in answer.options}
