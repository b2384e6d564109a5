"""BulkInferrer: a vector for each item's title, by the exported text encoder."""

from pipelines.components.bulk_inferrer.component import BulkInferrer, BulkInferrerParameters

__all__ = ["BulkInferrer", "BulkInferrerParameters"]
