"""A BERT of a few thousand weights, so that tests need no download and no time."""

from __future__ import annotations

from pathlib import Path

import keras
import keras_hub

WORDS = """
green black white tea kettle pot cup guitar string strings acoustic steel violin bow book of
the night day star stars space war robot lamp desk chair pen ink paper
"""
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *WORDS.split(),
    *[f"##{w}" for w in "aeios"],
]


def write_tiny_bert(folder: Path, num_layers: int = 2, dropout: float = 0.1) -> Path:
    """Writes a randomly initialised BERT and its tokenizer as a KerasHub preset."""
    keras.utils.set_random_seed(7)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(VOCABULARY),
        num_layers=num_layers,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=32,
        dropout=dropout,
    )
    # The default initialisation makes all titles alike; spread them out.
    for weight in backbone.weights:
        if weight.path.endswith(("kernel", "embeddings")):
            weight.assign(weight * 10.0)
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=VOCABULARY, lowercase=True)
    backbone.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    return folder
