"""ExampleGen, the first component of a pipeline."""

from pipelines.components.example_gen.component import ExampleGen
from pipelines.components.example_gen.parameters import ExampleGenParameters

__all__ = ["ExampleGen", "ExampleGenParameters"]
