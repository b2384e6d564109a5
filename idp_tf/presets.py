"""What each preset sets apart from the defaults of ``idp_tf.config``."""

from __future__ import annotations

from typing import Any, Final

LEARNING_RATES: Final = (1e-3, 3e-4, 1e-4, 3e-5)
"""The grid of section 3.2."""

PRESETS: dict[str, dict[str, Any]] = {
    # Caps pre-training epochs, matcher steps and titles' length. Targets keep their patience: with
    # 8 epochs of it BERT4Rec stops on a plateau, and IDP on BERT4Rec on an earlier one.
    "quick": {
        "pretrain": {
            "epochs": 50,
            "patience": 5,
            "validation_users": 5_000,
        },
        "matcher": {"steps": 500, "title_length": 24},
    },
    "standard": {},
    # Section 3.2 for what it states; [CLS] is SimCSE's.
    "paper": {
        "pretrain": {"patience": 20, "epochs": 500},
        "fine_tune": {
            "patience": 20,
            "epochs": 500,
            "learning_rate_grid": LEARNING_RATES,
        },
        "matcher": {
            "pooling": "cls",
            "min_interactions": 0,
            "distillation": 0.0,
            "steps": 4_000,
            "learning_rate": 1e-4,
        },
        # Li et al. 2023, but for the 512 positions that a BERT has.
        "recformer": {
            "kept_layers": None,
            "pooling": "cls",
            "max_items": 50,
            "title_tokens": 32,
            "max_tokens": 512,
            "batch_size": 128,
            "pretrain_sequences": 1_000_000,
            "pretrain_steps": 50_000,
            "pretrain_learning_rate": 5e-5,
            "learning_rate": 5e-5,
            "stage_1_epochs": 128,
            "stage_1_patience": 15,
            "stage_2_epochs": 128,
            "stage_2_patience": 9,
            "validation_users": 10_000,
        },
        "transfer": {"zero_shot_norm": "none"},
    },
}
