"""sentence-transformers over the same weights and titles."""

import json
import sys
import time
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer, models


def measure(folder: str, model: str, length: int) -> dict:
    """Encodes the titles and saves the vectors."""
    titles = json.loads((Path(folder) / "titles.json").read_text())
    transformer = models.Transformer(model, max_seq_length=length)
    pooling = models.Pooling(transformer.get_word_embedding_dimension(), "mean")
    encoder = SentenceTransformer(modules=[transformer, pooling, models.Normalize()], device="cpu")
    encoder.encode(titles[:200], show_progress_bar=False)
    begun = time.perf_counter()
    vectors = encoder.encode(titles, batch_size=64, show_progress_bar=False)
    seconds = time.perf_counter() - begun
    np.save(Path(folder) / "peer.npy", vectors)
    return {
        "encoder": "sentence-transformers",
        "titles": len(titles),
        "titles a second": len(titles) / seconds,
    }


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
