"""Beam's options and pipelines, built in one place, so that every component runs on every runner.

Without ``--runner`` a pipeline runs in this process, on ``FnApiRunner``: ``DirectRunner`` by name
would try Prism first, whose binary comes over the network; ``FnApiRunner`` is what it runs
batches on otherwise. It keeps what passes between two stages in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from idp_tf.errors import SettingsError, requires_extra

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

LOCAL_RUNNERS: Final = ("directrunner", "direct", "fnapirunner", "fnapi")


def build_options(beam_args: Sequence[str]) -> PipelineOptions:
    """Beam's options, refused where Beam would drop them silently.

    Args:
        beam_args: Options as on a command line, such as ``--direct_num_workers=2``.

    Raises:
        MissingDependencyError: if Beam is not installed.
        SettingsError: if Beam knows no such option.
    """
    with requires_extra("pipelines", purpose="a pipeline component"):
        from apache_beam.options.pipeline_options import PipelineOptions

    options = PipelineOptions(list(beam_args))
    known = set(options.get_all_options())
    unknown = sorted(set(options.get_all_options(retain_unknown_options=True)) - known)
    if unknown:
        raise SettingsError(
            f"Beam has no option --{unknown[0]}", where="Beam options", remedy="leave it out"
        )
    return options


def build_pipeline(beam_args: Sequence[str] = ()) -> beam.Pipeline:
    """A pipeline on the runner that the options name; see ``build_options`` for what is raised."""
    options = build_options(beam_args)
    import apache_beam as beam
    from apache_beam.options.pipeline_options import StandardOptions
    from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

    runner = options.view_as(StandardOptions).runner
    if runner is None or runner.lower() in LOCAL_RUNNERS:
        return beam.Pipeline(runner=FnApiRunner(), options=options)
    return beam.Pipeline(options=options)
