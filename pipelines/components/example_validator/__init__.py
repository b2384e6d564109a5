"""ExampleValidator: what is wrong with a domain's records, or not as it was."""

from pipelines.components.example_validator.component import (
    ExampleValidator,
    ExampleValidatorParameters,
)

__all__ = ["ExampleValidator", "ExampleValidatorParameters"]
