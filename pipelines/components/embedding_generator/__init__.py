"""EmbeddingGenerator: ID embeddings of the target's items, blended from source items'."""

from pipelines.components.embedding_generator.component import (
    EmbeddingGenerator,
    EmbeddingGeneratorParameters,
)

__all__ = ["EmbeddingGenerator", "EmbeddingGeneratorParameters"]
