"""RecBole's SASRec over sequences.npy and offsets.npy: what training takes, what evaluation takes.

Item i of the sequences is the token "i" here and user u the token "u", so both sides see the
same interactions in the same order.
"""

import json
import os
import sys
import time
from pathlib import Path

# RecBole loads its own files by pickle, which newer torch refuses unless told.
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.utils import create_samplers, get_dataloader
from recbole.model.sequential_recommender.sasrec import SASRec
from recbole.trainer import Trainer
from recbole.utils import init_seed

_DATASET = "bench"


def write_atomic(folder: Path) -> None:
    """Writes bench/bench.inter; the timestamp is the place in the user's sequence."""
    values, offsets = np.load(folder / "sequences.npy"), np.load(folder / "offsets.npy")
    lengths = np.diff(offsets)
    users = np.repeat(np.arange(len(lengths)), lengths)
    places = np.arange(len(values)) - np.repeat(offsets[:-1], lengths)
    target = folder / _DATASET
    target.mkdir(exist_ok=True)
    with (target / f"{_DATASET}.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for row in zip(users.tolist(), values.tolist(), places.tolist(), strict=True):
            file.write("\t".join(map(str, row)) + "\n")


def make_config(folder: Path, mode: str, **extra) -> Config:
    """The shape of the benchmark; all else is RecBole's default."""
    settings = {
        "data_path": str(folder),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "checkpoint_dir": str(folder / "saved"),
        "use_gpu": False,
        "show_progress": False,
        "hidden_size": 64,
        "inner_size": 64,
        "n_layers": 2,
        "n_heads": 2,
        "MAX_ITEM_LIST_LENGTH": 50,
        "eval_args": {
            "split": {"LS": "valid_and_test"},
            "order": "TO",
            "group_by": "user",
            "mode": mode,
        },
        **extra,
    }
    argv, sys.argv = sys.argv, sys.argv[:1]
    config = Config(model="SASRec", dataset=_DATASET, config_dict=settings)
    sys.argv = argv
    init_seed(config["seed"], config["reproducibility"])
    return config


def train(folder: str, epochs: int, loss: str) -> dict:
    """Trains some epochs and leaves users.npy and items.npy, in the ids of the sequences."""
    place = Path(folder)
    negatives = {} if loss == "BPR" else {"train_neg_sample_args": None}
    config = make_config(place, "full", loss_type=loss, **negatives)
    dataset = create_dataset(config)
    parts = dataset.build()
    train_sampler, _, _ = create_samplers(config, dataset, parts)
    loader = get_dataloader(config, "train")(config, parts[0], train_sampler, shuffle=True)
    model = SASRec(config, loader.dataset)
    trainer = Trainer(config, model)
    begun = time.process_time()
    for epoch in range(epochs):
        trainer._train_epoch(loader, epoch, show_progress=False)
    seconds = time.process_time() - begun
    save_vectors(place, model, dataset, parts[1].inter_feat)
    targets = epochs * len(parts[0].inter_feat)
    return {"seconds": seconds, "targets": targets, "targets a second": targets / seconds}


@torch.no_grad()
def save_vectors(place: Path, model: SASRec, dataset, held_out) -> None:
    """What the model makes of each user's validation input, and of each item."""
    model.eval()
    users = np.asarray(dataset.id2token("user_id", held_out["user_id"].numpy()), np.int64)
    inputs = held_out["item_id_list"], held_out["item_length"]
    vectors = [
        model.forward(inputs[0][i : i + 256], inputs[1][i : i + 256])
        for i in range(0, len(users), 256)
    ]
    by_row = np.zeros((len(users), model.hidden_size), np.float32)
    by_row[users] = torch.cat(vectors).numpy()
    tokens = np.arange(1, dataset.item_num)
    items = np.zeros((dataset.item_num, model.hidden_size), np.float32)
    places = np.asarray(dataset.id2token("item_id", tokens), np.int64)
    items[places] = model.item_embedding.weight.numpy()[1:]
    np.save(place / "users.npy", by_row)
    np.save(place / "items.npy", items)


def evaluate(folder: str, mode: str, users: int | None, rounds: int) -> dict:
    """CPU seconds that the trainer's evaluation of the test items takes, weights untrained."""
    config = make_config(Path(folder), mode, loss_type="CE", train_neg_sample_args=None)
    dataset = create_dataset(config)
    parts = dataset.build()
    *_, sampler = create_samplers(config, dataset, parts)
    if users is not None:
        parts[2].inter_feat = parts[2].inter_feat[:users]
    loader = get_dataloader(config, "test")(config, parts[2], sampler, shuffle=False)
    trainer = Trainer(config, SASRec(config, parts[0]))
    seconds = []
    for _ in range(rounds):
        begun = time.process_time()
        result = trainer.evaluate(loader, load_best_model=False, show_progress=False)
        seconds.append(time.process_time() - begun)
    count = len(parts[2].inter_feat)
    return {"users": count, "users a second": count / min(seconds), "ndcg@10": result["ndcg@10"]}


def main(arguments: dict) -> dict:
    """One step; RecBole leaves its logs in the working folder, so that is the temporary one."""
    place, step = Path(arguments["folder"]), arguments.pop("step")
    torch.set_num_threads(arguments.pop("threads"))
    os.chdir(place)
    if not (place / _DATASET).is_dir():
        write_atomic(place)
    return {"train": train, "evaluate": evaluate}[step](**arguments)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
