"""IndexBuilder: the vectors of all source items, ready to be asked."""

from pipelines.components.index_builder.component import IndexBuilder, IndexBuilderParameters

__all__ = ["IndexBuilder", "IndexBuilderParameters"]
