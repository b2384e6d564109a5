"""sentence-transformers over the same weights and titles."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer, models
from shared import timed


def measure(folder: str, model: str, length: int, dtype: str) -> dict:
    """Encodes the titles and saves the vectors."""
    titles = json.loads((Path(folder) / "titles.json").read_text())
    transformer = models.Transformer(model, max_seq_length=length)
    pooling = models.Pooling(transformer.get_word_embedding_dimension(), "mean")
    encoder = SentenceTransformer(modules=[transformer, pooling, models.Normalize()], device="cpu")
    encoder = encoder.to(getattr(torch, dtype))
    encoder.encode(titles[:200], show_progress_bar=False)
    vectors, wall, cpu = timed(
        lambda: encoder.encode(titles, batch_size=64, show_progress_bar=False)
    )
    # Normalised in bfloat16, its vectors' lengths are only about 1.
    vectors = vectors.astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(Path(folder) / f"peer-{dtype}.npy", vectors)
    return {
        "encoder": "sentence-transformers",
        "dtype": dtype,
        "titles": len(titles),
        "titles a second": len(titles) / wall,
        "titles a CPU second": len(titles) / cpu,
    }


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
