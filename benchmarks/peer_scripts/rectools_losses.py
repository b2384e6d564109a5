"""RecTools' SASRec by its softmax loss: the test NDCG@10 of its best round on validation."""

import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path

# Before torch is imported: where cores are shared, waiting by spinning takes most of the time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel


def read_all_but(folder: Path, last: int) -> tuple[Dataset, dict[int, int]]:
    """Interactions without the last ones of each user, and the first of these: user -> item."""
    values, offsets = np.load(folder / "sequences.npy"), np.load(folder / "offsets.npy")
    lengths = np.diff(offsets)
    users = np.repeat(np.arange(len(lengths)), lengths)
    places = np.arange(len(values)) - np.repeat(offsets[:-1], lengths)
    kept = places < lengths[users] - last
    frame = pd.DataFrame(
        {
            Columns.User: users[kept],
            Columns.Item: values[kept],
            Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(places[kept], unit="s"),
        }
    )
    targets = values[offsets[1:] - last]
    return Dataset.construct(frame), dict(enumerate(targets.tolist()))


def ndcg(model: SASRecModel, dataset: Dataset, targets: dict[int, int]) -> float:
    """NDCG@10 over all users, of all items but those that the user has viewed."""
    users = np.fromiter(targets, int)
    found = model.recommend(users, dataset, k=10, filter_viewed=True)
    hits = found[found[Columns.Item] == found[Columns.User].map(targets)]
    return float((1 / np.log2(1 + hits[Columns.Rank])).sum() / len(users))


def train(
    folder: str,
    embedding_dim: int,
    max_length: int,
    epochs_a_round: int,
    most_rounds: int,
    patience: int,
    threads: int,
) -> dict:
    """Trains in rounds until validation has not risen for ``patience`` rounds."""
    torch.set_num_threads(threads)
    seed_everything(0)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    validation, validation_targets = read_all_but(Path(folder), 2)
    test, test_targets = read_all_but(Path(folder), 1)
    model = SASRecModel(
        n_factors=embedding_dim,
        n_blocks=2,
        n_heads=2,
        session_max_len=max_length,
        loss="softmax",
        batch_size=128,
        get_trainer_func=lambda: Trainer(
            max_epochs=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=False,
            enable_checkpointing=False,
            devices=1,
            accelerator="cpu",
        ),
    )
    best, seconds = {"best epoch": 0, "validation ndcg@10": -1.0}, 0.0
    for number in range(1, most_rounds + 1):
        begun = time.perf_counter()
        model.fit_partial(validation, min_epochs=epochs_a_round, max_epochs=epochs_a_round)
        seconds += time.perf_counter() - begun
        epoch, value = number * epochs_a_round, ndcg(model, validation, validation_targets)
        print(f"  epoch {epoch}: validation NDCG@10 {value:.4f}", file=sys.stderr, flush=True)
        if value > best["validation ndcg@10"]:
            best = {"best epoch": epoch, "validation ndcg@10": value}
            best["test ndcg@10"] = ndcg(model, test, test_targets)
        elif epoch - best["best epoch"] >= patience * epochs_a_round:
            break
    return {**best, "epochs": epoch, "minutes": seconds / 60}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(train(**json.loads(sys.argv[1]))))
