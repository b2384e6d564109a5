"""A local server that speaks TF-Serving's gRPC and REST, for when no TF-Serving is at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.server.options import DEFAULT_PORT, DEFAULT_REST_PORT, ServerOptions

if TYPE_CHECKING:
    from serving.server.model_server import ModelServer, serve

__all__ = ["DEFAULT_PORT", "DEFAULT_REST_PORT", "ModelServer", "ServerOptions", "serve"]


def __getattr__(name: str) -> Any:
    # TensorFlow takes seconds to import; the command line is read without it.
    if name not in ("ModelServer", "serve"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from serving.server import model_server

    return getattr(model_server, name)
