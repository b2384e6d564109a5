"""A local server that speaks TF-Serving's gRPC, for when no TF-Serving is at hand."""

from serving.server.model_server import DEFAULT_PORT, ModelServer, serve

__all__ = ["DEFAULT_PORT", "ModelServer", "serve"]
