"""losses: what SASRec reaches by each loss on ml-1m, beside RecTools by its softmax loss.

Both train in rounds of a few epochs, two threads, until validation NDCG@10 (full ranking) has
not risen for some rounds; the test is that of the best round, where the validation item is
part of the history. RecTools by its softmax, then ours by cross-entropy, which is the same, and by
the losses that gSASRec's authors compare it with. Takes an hour or two: rows that are done are
kept in ``.bench-workdir`` until all are, and a run that was cut off goes on with the next one. Kept
rows are of the same data and settings, and say when they were measured: empty
``.bench-workdir/losses`` after a change of the code. Needs ``make bench-peers`` and the data.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from benchmarks.base import ROOT, BenchResult, Goal, announced, run_worker
from benchmarks.domains import Prepared, require_data, write_domains
from benchmarks.peers import require_peers, run_peer

THREADS: Final = 2
KEPT: Final = ROOT / ".bench-workdir" / "losses"
_DOMAIN: Final = "ml-1m"
_SHAPE: Final = {"embedding_dim": 64, "max_length": 50}
_ROUNDS: Final = {"epochs_a_round": 5, "most_rounds": 40, "patience": 4}
_SMOKE_ROUNDS: Final = {"epochs_a_round": 1, "most_rounds": 2, "patience": 1}
_LOSSES: Final = ("cross-entropy", "bce", "gbce")

Row = dict[str, Any]


def bench(smoke: bool, data: Path | None) -> BenchResult:
    """Trains by cross-entropy on both sides, and by two more losses on ours."""
    require_data(data, smoke)
    if not smoke:
        require_peers("rectools")
    arguments = {**(_SMOKE_ROUNDS if smoke else _ROUNDS), **_SHAPE}
    with tempfile.TemporaryDirectory() as name:
        write_domains(data, (_DOMAIN,), Path(name))
        if smoke:
            return BenchResult([_train_ours({**arguments, "loss": _LOSSES[0]}, name, here=True)])
        theirs = _once("rectools", _train_theirs, {**arguments, "threads": THREADS}, name)
        ours = {
            loss: _once(loss, _train_ours, {**arguments, "loss": loss}, name) for loss in _LOSSES
        }
    shutil.rmtree(KEPT)
    reached = {loss: row["test ndcg@10"] for loss, row in ours.items()}
    goals = [_beside(ours["cross-entropy"], theirs), *_in_order(reached)]
    return BenchResult([theirs, *ours.values()], goals)


def _once(name: str, measure: Callable[[Row, str], Row], arguments: Row, folder: str) -> Row:
    """A row, unless a run that was cut off later has measured it; it says when."""
    file, made_of = KEPT / f"{name}.json", {"arguments": arguments, "data": _content(folder)}
    if file.is_file():
        kept: Row = json.loads(file.read_text(encoding="utf-8"))
        if kept["made_of"] == made_of:
            print(f"{name}: kept from a run that was cut off, {file}", file=sys.stderr, flush=True)
            return dict(kept["row"])
    row = {**measure(arguments, folder), "measured": time.strftime("%Y-%m-%d %H:%M")}
    KEPT.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps({"made_of": made_of, "row": row}), encoding="utf-8")
    partial.replace(file)
    return row


def _content(folder: str) -> str:
    digest = hashlib.sha256()
    for file in sorted(Path(folder).iterdir()):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _train_theirs(arguments: Row, folder: str) -> Row:
    with announced("RecTools, softmax"):
        found = run_peer("rectools_losses", {**arguments, "folder": folder}, threads=THREADS)
    return {"trainer": "RecTools", "loss": "softmax", **_SHAPE, **found}


def _train_ours(arguments: Row, folder: str, here: bool = False) -> Row:
    with announced(f"ours, {arguments['loss']}, {arguments['embedding_dim']} wide"):
        found = run_worker(
            "benchmarks.losses", {**arguments, "folder": folder}, threads=THREADS, here=here
        )
    shape = {name: arguments[name] for name in ("loss", "embedding_dim", "max_length")}
    return {"trainer": "ours", **shape, **found}


def _beside(ours: Row, theirs: Row) -> Goal:
    ratio = ours["test ndcg@10"] / theirs["test ndcg@10"]
    name = "test NDCG@10 by cross-entropy, divided by RecTools' by softmax"
    return Goal(name, "at least 0.97", ratio, ratio >= 0.97)


def _in_order(reached: dict[str, float]) -> Iterable[Goal]:
    gain = reached["gbce"] - reached["bce"]
    yield Goal("test NDCG@10 by gbce less that by bce", "above 0", gain, gain > 0)
    # gSASRec's authors have them about equal.
    ratio = reached["cross-entropy"] / reached["gbce"]
    name = "test NDCG@10 by cross-entropy, divided by that by gbce"
    yield Goal(name, "at least 0.97", ratio, ratio >= 0.97)


def measure(
    folder: str,
    loss: str,
    embedding_dim: int,
    max_length: int,
    epochs_a_round: int,
    most_rounds: int,
    patience: int,
) -> Row:
    """Trains one model; the test NDCG@10 of its best round."""
    from idp_tf.config import TrainSettings
    from idp_tf.data.batches import TrainingBatches
    from idp_tf.models import SASRec
    from idp_tf.models.training import compile_model

    prepared = Prepared.load(folder)
    model = SASRec(prepared.num_items, embedding_dim, max_length=max_length, loss=loss)
    batches = TrainingBatches(
        prepared.sequences,
        prepared.num_items,
        batch_size=128,
        max_length=max_length,
        negatives=model.item_loss.negatives,
    )
    compile_model(model, TrainSettings())
    best: Row = {"best epoch": 0, "validation ndcg@10": -1.0}
    seconds = 0.0
    for number in range(1, most_rounds + 1):
        begun = time.perf_counter()
        model.fit(
            # Of an iterator fit would lose what it has fetched ahead, from round to round.
            batches.dataset((number - 1) * epochs_a_round),
            steps_per_epoch=batches.steps_per_epoch,
            epochs=epochs_a_round,
            verbose=0,
        )
        seconds += time.perf_counter() - begun
        epoch = number * epochs_a_round
        validation = _ndcg(prepared, model, "validation")
        print(f"  epoch {epoch}: validation NDCG@10 {validation:.4f}", file=sys.stderr, flush=True)
        if validation > best["validation ndcg@10"]:
            best = {"best epoch": epoch, "validation ndcg@10": validation}
            best["test ndcg@10"] = _ndcg(prepared, model, "test")
        elif epoch - best["best epoch"] >= patience * epochs_a_round:
            break
    return {**best, "epochs": epoch, "minutes": seconds / 60}


def _ndcg(prepared: Prepared, model: Any, split: Any) -> float:
    from idp_tf.evaluation.models import model_scorer
    from idp_tf.evaluation.protocol import FULL, evaluate
    from idp_tf.metrics import ndcg

    ranks = evaluate(
        model_scorer(model, "ours"),
        prepared.sequences,
        split=split,
        num_items=prepared.num_items,
        protocols=(FULL,),
    )
    return float(ndcg(ranks[FULL], 10))


def main(arguments: Row) -> Row:
    """The measurement, as ``run_worker`` calls it."""
    return measure(**arguments)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
