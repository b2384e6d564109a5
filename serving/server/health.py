"""grpc.health.v1.Health, as gRPC's own service in TF-Serving answers.

Follows ``model_servers/server.cc`` (which names are known) and gRPC's health checking
protocol (https://github.com/grpc/grpc/blob/master/doc/health-checking.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from serving.server.private_protos import HealthCheckRequest, HealthCheckResponse

SERVING: Final = 1
NOT_SERVING: Final = 2
SERVICE_UNKNOWN: Final = 3

_NAMES: Final = ("", "ModelService", "PredictionService")


class HealthService:
    """Tells SERVING until the server drains."""

    def __init__(self) -> None:
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """From now on NOT_SERVING; those who watch are told, and their calls end."""
        self._draining.set()

    def handler(self) -> Any:
        """What is added to a ``grpc.aio.Server``."""
        codec = {
            "request_deserializer": HealthCheckRequest.FromString,
            "response_serializer": HealthCheckResponse.SerializeToString,
        }
        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check, **codec),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch, **codec),
            },
        )

    async def _check(self, request: Any, context: Any) -> Any:
        if request.service not in _NAMES:
            await context.abort(grpc.StatusCode.NOT_FOUND, "service name unknown")
        return self._answer(request.service)

    async def _watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        told = self._answer(request.service)
        yield told
        await self._draining.wait()
        if (now := self._answer(request.service)) != told:
            yield now

    def _answer(self, name: str) -> Any:
        if name not in _NAMES:
            return HealthCheckResponse(status=SERVICE_UNKNOWN)
        return HealthCheckResponse(status=NOT_SERVING if self._draining.is_set() else SERVING)
