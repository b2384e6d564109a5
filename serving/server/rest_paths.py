"""What the paths of the REST API say; follows TF-Serving's ``http_rest_api_util.cc``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from serving.server.request_checks import invalid_argument

_FLAGS: Final = re.ASCII | re.IGNORECASE
API: Final = re.compile("/v1/.*", _FLAGS)
"""Every path that the API answers, if only by an error."""

_VERSION: Final = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICTION: Final = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", _FLAGS
)
_STATUS: Final = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<resource>metadata))?", _FLAGS
)
_MAX_VERSION: Final = (1 << 63) - 1
_MAX_DIGITS: Final = len(str(_MAX_VERSION))


@dataclass
class Call:
    """What a path says, as far as it has been understood.

    Example:
        >>> call = Call()
        >>> call.read("POST", "/v1/models/m/labels/stable:predict")
        >>> call.name, call.label, call.method
        ('m', 'stable', 'predict')
    """

    name: str = ""
    method: str = ""
    resource: str = ""
    version: int | None = None
    label: str = ""

    def fill(self, request: Any) -> Any:
        """Writes the model_spec of a request, and returns that."""
        request.model_spec.name = self.name
        if self.version is not None:
            request.model_spec.version.value = self.version
        if self.label:
            request.model_spec.version_label = self.label
        return request

    def read(self, http_method: str, path: str) -> None:
        """Understands a path, or as much of it as can be.

        Raises:
            RequestError: INVALID_ARGUMENT, if it is none of the API.
        """
        patterns = {"POST": _PREDICTION, "GET": _STATUS}
        found = patterns[http_method].fullmatch(path) if http_method in patterns else None
        # Capitals match, but no method is called so.
        if found is None or (http_method == "POST" and not found["method"].islower()):
            raise invalid_argument(f"Malformed request: {http_method} {path}")
        self.name = unquote(found["name"] or "")
        self.label = unquote(found["label"] or "")
        self.method = found.groupdict().get("method", "")
        self.resource = found.groupdict().get("resource") or ""
        if found["version"] is not None:
            digits = found["version"].lstrip("0") or "0"
            # Python refuses to read thousands of digits.
            if len(digits) > _MAX_DIGITS or int(digits) > _MAX_VERSION:
                raise invalid_argument(f"Failed to convert version: {found['version']} to numeric.")
            self.version = int(digits)
