"""The examples in docstrings run and give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import idp_tf
import serving

MODULES = sorted(
    module.name
    for package in (idp_tf, serving)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples():
    found = [
        example
        for name in MODULES
        for test in doctest.DocTestFinder().find(importlib.import_module(name))
        for example in test.examples
    ]
    assert len(found) > 50
