"""Graphs of nodes, and what is wrong with some."""

from __future__ import annotations

from pathlib import Path

import pytest

from idp_tf.errors import SettingsError
from pipelines.dag import Channel, Latest, Node, Pipeline
from tests.pipelines.small_pipeline import Add, AddParameters, Source, SourceParameters, build

FILE = SourceParameters(file=Path("a.txt"))


def source(name: str = "Source.a", gates: tuple[str, ...] = ()) -> Node:
    return Node(name, Source(), FILE, gates=gates)


def add(**inputs: list[Channel]) -> Node:
    return Node("Add", Add(Path("calls")), AddParameters(), inputs)


def test_nodes_come_after_what_they_read_and_otherwise_as_given() -> None:
    assert [node.id for node in build(Path())] == ["Source.a", "Source.b", "Add"]
    assert [node.id for node in build(Path(), sources="ba")] == ["Source.b", "Source.a", "Add"]


def test_a_gate_comes_first_though_nothing_of_it_is_read() -> None:
    pipeline = Pipeline([source("late", gates=("early",)), source("early")])
    assert [node.id for node in pipeline] == ["early", "late"]


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([source(), source()], "Source.a: two nodes have this id"),
        ([add()], "Add: the input 'numbers' is not wired"),
        ([add(words=[])], "Add: Add has no input 'words'"),
        (
            [add(numbers=[Channel("Source.x", "number")])],
            r"wired to Source\.x\.number, which isn't there",
        ),
        (
            [source(), add(numbers=[Channel("Source.a", "letter")])],
            r"Source\.a\.letter, which isn't there\s+-> Source\.a makes number",
        ),
        (
            [add(numbers=[Channel("Add", "sum")])],
            "'numbers' takes Examples, Add.sum is Model",
        ),
        (
            [source(), add(numbers=[Channel("Source.a", "number")] * 2)],
            "'numbers' is wired to one node twice",
        ),
        ([source(gates=("nobody",))], "no node 'nobody' to wait for"),
        (
            [source("a", gates=("b",)), source("b", gates=("a",))],
            "nodes wait for each other: ",
        ),
        (
            [
                source(),
                Node(
                    "Add",
                    Add(Path("calls")),
                    AddParameters(),
                    {"numbers": [Channel("Source.a", "number")]},
                    {"first": Latest("Add", "sum")},
                ),
            ],
            "Add has no resolved input 'first'",
        ),
    ],
)
def test_what_cannot_be_a_pipeline(nodes: list[Node], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Pipeline(nodes)
