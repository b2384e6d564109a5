"""SchemaGen: what a domain's records should look like, inferred or curated."""

from pipelines.components.schema_gen.component import SchemaGen, SchemaGenParameters

__all__ = ["SchemaGen", "SchemaGenParameters"]
