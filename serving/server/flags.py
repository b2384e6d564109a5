"""The command line of ``idp-tf serve``: read as TF-Serving reads its own.

``--flag=value`` and, for what is true or false, ``--flag`` alone; here ``--flag value``
is understood, too. A flag of TF-Serving's that this server cannot honour is refused.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from importlib.metadata import version
from typing import Any, Final, Never

from idp_tf.errors import SettingsError
from serving.server.options import ServerOptions

_NO_TFLITE: Final = "this server runs TensorFlow models only"

REFUSED: Final = {
    "enable_per_model_batching_parameters": "batching_parameters_file holds for every model",
    "prefer_tflite_model": _NO_TFLITE,
    "num_tflite_pools": _NO_TFLITE,
    "num_tflite_interpreters_per_pool": _NO_TFLITE,
    "flush_filesystem_caches": "this server leaves the caches to the system",
    "tensorflow_session_config_file": "sessions take their threads from "
    "tensorflow_session_parallelism only",
    "platform_config_file": "the one platform is tensorflow",
    "use_alts_credentials": "ALTS is of Google's own machines; TLS is ssl_config_file",
    "per_process_gpu_memory_fraction": "this server is meant for a laptop's CPU",
    "remove_unused_fields_from_bundle_metagraph": "the whole graph is kept",
    "xla_cpu_compilation_enabled": "sessions are not compiled",
    "xla_gpu_compilation_enabled": "sessions are not compiled",
    "enable_profiler": "there is no profiler service",
    "thread_pool_factory_config_file": "threads are set by grpc_max_threads",
    "mixed_precision": "models run in the precision that they were saved in",
    "skip_initialize_tpu": "there is no TPU",
    "enable_serialization_as_tensor_content": "answers come in typed fields",
}
"""TF-Serving's flags that are not understood here, but for ``false`` -> why."""


def parse_flags(arguments: Sequence[str]) -> dict[str, Any]:
    """The flags that are given, by name.

    Args:
        arguments: What follows ``idp-tf serve``.

    Returns:
        Keyword arguments of ``ServerOptions``; what is not given is left out.

    Raises:
        SettingsError: for an unknown flag, a value of another type, or a flag of TF-Serving's
            that this server cannot honour.
        SystemExit: after ``--help``.

    Example:
        >>> parse_flags(["--port=9000", "--enable_model_warmup=false"])
        {'port': 9000, 'enable_model_warmup': False}
    """
    return vars(_parser().parse_args(list(arguments)))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Never:
        raise SettingsError(message, where="idp-tf serve", remedy="idp-tf serve --help")


class _Refuse(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        # What is off is honoured: a command of TF-Serving's may say so.
        if values == "false":
            return
        raise SettingsError(
            f"TF-Serving's --{self.dest} is not supported: {REFUSED[self.dest]}",
            where="idp-tf serve",
            remedy="leave it out",
        )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="idp-tf serve",
        description="A local server that answers as TF-Serving does, over gRPC and REST. "
        "Flags have TF-Serving's names. The real one takes the same, but for those that "
        "docs/serving.md marks as this server's own.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for flag in fields(ServerOptions):
        kind = type(flag.default)
        # argparse formats help by %: there is none in it.
        text = f"{flag.metadata['help']} [{flag.default!r}]"
        if kind is bool:
            parser.add_argument(
                f"--{flag.name}", type=_boolean, nargs="?", const=True, metavar="BOOL", help=text
            )
        else:
            parser.add_argument(
                f"--{flag.name}", type=kind, metavar=kind.__name__.upper(), help=text
            )
    # As there: the program tells its version, and ends.
    told = f"idp-tf {version('idp-tf')}, TensorFlow {version('tensorflow')}"
    parser.add_argument("--version", action="version", version=told, help="Tell versions, and end.")
    for name in REFUSED:
        parser.add_argument(f"--{name}", action=_Refuse, nargs="?", help=argparse.SUPPRESS)
    return parser


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in ("true", "1")
