"""The graph of a pipeline: which component's output is which other's input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from idp_tf.errors import SettingsError
from pipelines.component import Component, Parameters


@dataclass(frozen=True)
class Channel:
    """An output of a node, to be another's input.

    Args:
        node: The node's id.
        output: The key of its output.
    """

    node: str
    output: str


@dataclass(frozen=True)
class Latest:
    """A look into the record: the newest artifact of an output.

    Args:
        node: The id of the node that makes it.
        output: The key of its output.
        accepted_by: The node, the output and the property of it that says whether it was
            accepted, such as ``("Pusher", "pushed_model", "pushed")``: of that node's executions
            which read the artifact, the newest one counts whose output has the property. None
            takes the newest of all. What was rolled back is passed over.
        needed: Whether nothing runs if it was removed from the disk. Otherwise the one before it
            that is still there is taken, or none.
    """

    node: str
    output: str
    accepted_by: tuple[str, str, str] | None = None
    needed: bool = False


@dataclass(frozen=True)
class Node:
    """A component at its place.

    Args:
        id: Its name, unique in the pipeline, such as ``ExampleGen.office``.
        component: What it does.
        parameters: With which parameters.
        inputs: The channels of each input, in an order that may matter.
        resolved: What is looked up in the record when the node runs.
        gates: Ids of nodes that must have succeeded first, though nothing of them is read.
    """

    id: str
    component: Component[Any]
    parameters: Parameters
    inputs: Mapping[str, Sequence[Channel]] = field(default_factory=dict)
    resolved: Mapping[str, Latest] = field(default_factory=dict)
    gates: Sequence[str] = ()

    @property
    def upstream(self) -> set[str]:
        """The ids of all nodes that come before it."""
        return {channel.node for wired in self.inputs.values() for channel in wired} | {*self.gates}


class Pipeline:
    """Nodes, checked against each other.

    Args:
        nodes: In any order.

    Raises:
        SettingsError: for an id that stands twice, an input that is not wired or not known, a
            channel that leads nowhere or has another type than the input, or a circle.

    Attributes:
        nodes: The nodes, each after all that it reads; otherwise in the order given.
    """

    def __init__(self, nodes: Sequence[Node]):
        self._by_id = _unique(nodes)
        for node in nodes:
            self._check(node)
        self.nodes: tuple[Node, ...] = tuple(self._sorted())

    def __getitem__(self, node_id: str) -> Node:
        """The node of an id; KeyError if there is none."""
        return self._by_id[node_id]

    def __iter__(self) -> Iterator[Node]:
        """The nodes, in the order of ``nodes``."""
        return iter(self.nodes)

    def _check(self, node: Node) -> None:
        component = node.component
        for wired, known, what in (
            (node.inputs, component.inputs, "input"),
            (node.resolved, component.resolved, "resolved input"),
        ):
            if unknown := sorted({*wired} - {*known}):
                raise SettingsError(
                    f"{component.name} has no {what} {unknown[0]!r}",
                    where=node.id,
                    remedy=f"its {what}s are {', '.join(known) or 'none'}",
                )
        if missing := sorted({*component.inputs} - {*component.optional} - {*node.inputs}):
            raise SettingsError(
                f"the input {missing[0]!r} is not wired",
                where=node.id,
                remedy=f"wire an output of the type {component.inputs[missing[0]]}",
            )
        for key, channels in node.inputs.items():
            if len({channel.node for channel in channels}) < len(channels):
                # The cache key knows the artifacts of an input by their makers.
                raise SettingsError(
                    f"its input {key!r} is wired to one node twice",
                    where=node.id,
                    remedy="wire one output of a node to one input",
                )
            for channel in channels:
                self._check_channel(node, key, component.inputs[key], channel)
        for key, query in node.resolved.items():
            channel = Channel(query.node, query.output)
            self._check_channel(node, key, component.resolved[key], channel)
        for gate in node.gates:
            if gate not in self._by_id:
                raise SettingsError(f"there is no node {gate!r} to wait for", where=node.id)

    def _check_channel(self, node: Node, key: str, wanted: str, channel: Channel) -> None:
        maker = self._by_id.get(channel.node)
        found = maker.component.outputs.get(channel.output) if maker else None
        if found is None:
            outputs = ", ".join(maker.component.outputs) if maker else ""
            raise SettingsError(
                f"its input {key!r} is wired to {channel.node}.{channel.output}, which isn't there",
                where=node.id,
                remedy=f"{channel.node} makes {outputs}"
                if maker
                else "name a node of the pipeline",
            )
        if found != wanted:
            raise SettingsError(
                f"its input {key!r} takes {wanted}, {channel.node}.{channel.output} is {found}",
                where=node.id,
            )

    def _sorted(self) -> list[Node]:
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for node in self._by_id.values():
            sorter.add(node.id, *sorted(node.upstream))
        place = {node_id: number for number, node_id in enumerate(self._by_id)}
        try:
            sorter.prepare()
        except CycleError as error:
            raise SettingsError(
                f"nodes wait for each other: {' -> '.join(error.args[1])}"
            ) from error
        ordered: list[Node] = []
        ready = list(sorter.get_ready())
        while ready:
            ready.sort(key=lambda node_id: place[node_id])
            node_id = ready.pop(0)
            ordered.append(self._by_id[node_id])
            sorter.done(node_id)
            ready += sorter.get_ready()
        return ordered


def _unique(nodes: Sequence[Node]) -> dict[str, Node]:
    by_id: dict[str, Node] = {}
    for node in nodes:
        if node.id in by_id:
            raise SettingsError("two nodes have this id", where=node.id)
        by_id[node.id] = node
    return by_id
