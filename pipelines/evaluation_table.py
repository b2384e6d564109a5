"""The Evaluator's metrics.json as a table: each model, and the model's differences to others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

METRICS: Final = ("HR@5", "HR@10", "NDCG@5", "NDCG@10", "MRR")


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Args:
        name: Whose figures, and on what.
        users: Of how many users.
        values: One for each of ``METRICS``.
        intervals: Of a difference, where it lies with 95 % confidence; empty for a model.
    """

    name: str
    users: str
    values: Sequence[str]
    intervals: Sequence[str] = ()


def lines_of(content: Mapping[str, Any]) -> dict[str, list[Line]]:
    """The table's lines by protocol.

    Args:
        content: What ``metrics.json`` holds.
    """
    protocols = content["model"]["overall"]
    return {protocol: list(_lines(content, protocol)) for protocol in protocols}


def _lines(content: Mapping[str, Any], protocol: str) -> Iterator[Line]:
    whole = content["model"]
    yield _model("model", whole["overall"][protocol])
    for other in ("control", "baseline"):
        compared = (content["differences"].get(other) or {}).get("overall", {}).get(protocol)
        if not compared:
            continue
        # The baseline may not know all items; then both rank those that both know.
        shared = content["differences"][other]["items"] != whole["items"]
        on = ", on what both know" if shared else ""
        if shared:
            yield _side("model", on, compared)
        yield _side(other, on, compared)
        yield _difference(f"model − {other}{on}", compared)


def _model(name: str, found: Mapping[str, Any]) -> Line:
    return Line(name, f"{found['users']:,}", [f"{found['metrics'][m]:.4f}" for m in METRICS])


def _side(system: str, on: str, compared: Mapping[str, Any]) -> Line:
    values = {metric: found[system] for metric, found in compared["metrics"].items()}
    return _model(f"{system}{on}", {"users": compared["users"], "metrics": values})


def _difference(name: str, compared: Mapping[str, Any]) -> Line:
    found = [compared["metrics"][metric] for metric in METRICS]
    return Line(
        name,
        f"{compared['users']:,}",
        [_signed(one["mean"]) for one in found],
        ["" if one["ci95"] is None else " to ".join(map(_signed, one["ci95"])) for one in found],
    )


def _signed(number: float) -> str:
    return f"{number:+.4f}".replace("-", "−")
