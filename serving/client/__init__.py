"""A client of any TF-Serving address, for threads and for asyncio.

It needs grpcio, protobuf and NumPy, and imports neither TensorFlow nor anything of idp_tf.
"""

from __future__ import annotations

from serving.client.aio import AsyncServingClient
from serving.client.answers import Outputs, TitleMatch, VersionStatus
from serving.client.base import DEFAULT_TIMEOUT
from serving.client.blocking import ServingClient
from serving.client.errors import ServingClientError
from serving.client.models import COLD_START, MATCHER, RECOMMENDER, ModelSpec
from serving.client.retries import Retries
from serving.client.tls import Tls

__all__ = [
    "COLD_START",
    "DEFAULT_TIMEOUT",
    "MATCHER",
    "RECOMMENDER",
    "AsyncServingClient",
    "ModelSpec",
    "Outputs",
    "Retries",
    "ServingClient",
    "ServingClientError",
    "TitleMatch",
    "Tls",
    "VersionStatus",
]
