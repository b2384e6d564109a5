"""RecTools' SASRec over the training part of sequences.npy: targets a CPU second."""

import json
import logging
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel


class _Clock(Callback):
    """CPU seconds of each epoch, all threads and what loads the batches included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *_) -> None:
        self.begun = time.process_time()

    def on_train_epoch_end(self, *_) -> None:
        self.seconds.append(time.process_time() - self.begun)


def read_training(folder: Path) -> Dataset:
    """Everything but the last two items of each user, as RecTools wants it."""
    values, offsets = np.load(folder / "sequences.npy"), np.load(folder / "offsets.npy")
    lengths = np.diff(offsets)
    places = np.arange(len(values)) - np.repeat(offsets[:-1], lengths)
    kept = places < np.repeat(lengths, lengths) - 2
    frame = pd.DataFrame(
        {
            Columns.User: np.repeat(np.arange(len(lengths)), lengths)[kept],
            Columns.Item: values[kept],
            Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(places[kept], unit="s"),
        }
    )
    return Dataset.construct(frame)


def train(folder: str, epochs: int, batch_size: int, threads: int) -> dict:
    """Trains the benchmark's shape with BCE and one negative; the first epoch is not counted."""
    torch.set_num_threads(threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    # RecTools' own trainer, with a clock.
    trainer = Trainer(
        max_epochs=epochs,
        min_epochs=epochs,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        enable_checkpointing=False,
        devices=1,
        accelerator="cpu",
        callbacks=[_Clock()],
    )
    model = SASRecModel(
        n_factors=64,
        n_blocks=2,
        n_heads=2,
        session_max_len=50,
        loss="BCE",
        n_negatives=1,
        batch_size=batch_size,
        get_trainer_func=lambda: trainer,
    )
    model.fit(read_training(Path(folder)))
    # It trains by a copy of the trainer, and so of the clock.
    clock = next(c for c in model.fit_trainer.callbacks if isinstance(c, _Clock))
    loader = model.data_preparator.get_dataloader_train()
    targets = sum(int((batch["y"] != 0).sum()) for batch in loader)
    seconds = float(np.median(clock.seconds[1:]))
    return {"seconds": seconds, "targets": targets, "targets a second": targets / seconds}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(train(**json.loads(sys.argv[1]))))
