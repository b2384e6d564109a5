"""Options that are refused, runners, and what a pipeline counted and left."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import apache_beam as beam
import grpc
import pytest
from apache_beam.metrics.metric import Metrics
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.portability.portable_runner import PortableRunner

from idp_tf.errors import ClusterError, SettingsError
from pipelines.beam_options import build_options, build_pipeline, runs_in_memory
from pipelines.beam_results import read_counters, remove_leftovers


class EngineOptions(beam_job_api_pb2_grpc.JobServiceServicer):
    """A job server that only says which options its engine has."""

    def DescribePipelineOptions(self, request, context):  # noqa: N802
        answer = beam_job_api_pb2.DescribePipelineOptionsResponse()
        answer.options.add(name="execution_mode_for_batch")
        return answer


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(EngineOptions(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.mark.parametrize("args", [(), ("--runner=DirectRunner",), ("--runner=fnapi",)])
def test_beams_own_runner_is_never_prism(args: tuple[str, ...]) -> None:
    pipeline = build_pipeline(args)
    assert isinstance(pipeline.runner, FnApiRunner)
    assert runs_in_memory(build_options(args))


def test_another_runner_is_taken_as_it_is(endpoint: str) -> None:
    args = ["--runner=PortableRunner", f"--job_endpoint={endpoint}", "--environment_type=LOOPBACK"]
    assert isinstance(build_pipeline(args).runner, PortableRunner)
    assert not runs_in_memory(build_options(args))


def test_unknown_options_are_refused(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="no option --no_such_thing"):
        build_options(["--no_such_thing=1"])
    with pytest.raises(SettingsError, match="sources stands in the config file"):
        build_options(["--sources", "books"])
    of_flink = "--execution_mode_for_batch=BATCH"
    with pytest.raises(SettingsError, match="no option --execution_mode_for_batch"):
        build_options([of_flink])
    server = f"--job_endpoint={endpoint}"
    build_options([server, of_flink])
    with pytest.raises(SettingsError, match="no option --no_such_thing"):
        build_options([server, of_flink, "--no_such_thing=1"])


def test_a_job_server_that_is_not_there() -> None:
    args = ["--job_endpoint=127.0.0.1:9", "--execution_mode_for_batch=BATCH"]
    with pytest.raises(ClusterError, match="--job_endpoint=127.0.0.1:9"):
        build_options(args)


class CountWords(beam.DoFn):
    def __init__(self) -> None:
        self._words = Metrics.counter("words", "seen")
        Metrics.counter("others", "seen")

    def process(self, element: str) -> Iterator[str]:
        for word in element.split():
            self._words.inc()
            yield word


def test_a_counter_of_two_steps_stands_for_their_sum() -> None:
    pipeline = build_pipeline()
    words = pipeline | beam.Create(["a b", "c"]) | "First" >> beam.ParDo(CountWords())
    _ = words | "Second" >> beam.ParDo(CountWords())
    result = pipeline.run()
    result.wait_until_finish()
    assert read_counters(result, "words") == {"seen": 6}
    assert read_counters(result, "nothing") == {}


def test_leftovers_of_attempts_go_and_files_stay(tmp_path: Path) -> None:
    split = tmp_path / "Split-train"
    left = split / "beam-temp-data_tfrecord-0123"
    left.mkdir(parents=True)
    (left / "shard").touch()
    (split / "data_tfrecord-00000-of-00001.gz").touch()
    (split / "beam-temp-notes.txt").touch()
    remove_leftovers(tmp_path)
    found = sorted(path.name for path in split.iterdir())
    assert found == ["beam-temp-notes.txt", "data_tfrecord-00000-of-00001.gz"]
