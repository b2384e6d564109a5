"""What decides what a node makes, and why an earlier execution does not serve."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.artifacts import Artifact
from pipelines.dag import Node
from pipelines.reasons import reasons, shortened
from pipelines.record import ExecutionRow


def key_of(node: Node, inputs: Mapping[str, Sequence[Artifact]]) -> dict[str, Any]:
    """All that decides what a node makes, as JSON.

    Args:
        node: The node.
        inputs: The artifacts of its inputs, resolved ones not among them.
    """
    component = node.component
    return {
        "component": component.name,
        "version": component.version,
        "parameters": json.loads(json.dumps(component.cache_inputs(node.parameters))),
        "inputs": {
            key: {
                artifact.producer: component.fingerprint_of(node.parameters, key, artifact)
                for artifact in artifacts
            }
            for key, artifacts in sorted(inputs.items())
        },
        # JSON objects have no order, but inputs may.
        "order": {key: [a.producer for a in inputs[key]] for key in sorted(inputs)},
    }


def hash_of(key: Mapping[str, Any]) -> str:
    """SHA-256 over a key."""
    text = json.dumps(key, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def reason_to_run(key: Mapping[str, Any], last: ExecutionRow | None) -> str:
    """Why a node has to run, in words.

    Args:
        key: Its key.
        last: The node's newest finished execution, if it has one.
    """
    if last is None:
        return "it has not run yet"
    found = reasons(last.properties["key"], key)
    return shortened(found) if found else "what it had made is gone"
