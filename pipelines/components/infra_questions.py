"""What a recommender is asked before users are, and whether its answers are right."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from idp_tf.data.examples import ITEM_IDS, USER_ID
from idp_tf.data.schema import PAD_ID
from idp_tf.data.sequences import LEAVE_OUT_TEST
from idp_tf.errors import MissingDataError
from pipelines.artifacts import Artifact
from pipelines.components.verdict import Check
from pipelines.examples import split_pattern
from pipelines.model_files import ModelFiles

Answer = Mapping[str, npt.NDArray[Any]]
Histories = Sequence[Sequence[str]]

UNKNOWN: Final = "no such item \N{SNOWMAN}"
"""An id that no catalogue should hold."""

_SIGNATURES: Final = ("serving_default", "recommend", "score")
_BATCH: Final = 512


@dataclass(frozen=True)
class Question:
    """One request, and what a right answer is made of.

    Args:
        name: What it tries.
        histories: Item ids, oldest first.
        wanted: How many items each row is to get.
        inputs: Of the request.
        signature: The signature's key.
        left_out: Items that a row may not be given besides its history.
    """

    name: str
    histories: Histories
    wanted: Sequence[int]
    inputs: Mapping[str, npt.NDArray[Any]]
    signature: str = "serving_default"
    left_out: Sequence[Sequence[str]] = ()


class Library:
    """The model as the library has it.

    Args:
        files: The Model artifact.

    Attributes:
        ids: Its items.
    """

    def __init__(self, files: ModelFiles):
        from idp_tf.models import load_model

        self._items = files.read_items()
        self.ids = self._items.external_ids
        self._model = load_model(files.library)
        self._vectors = np.asarray(self._model.item_vectors(), np.float32)[1:]

    def scores(self, history: Sequence[str]) -> dict[str, float]:
        """Of every item, for a history; nothing where no item of it is known."""
        known = [int(i) for i in self._items.to_internal(history) if i != PAD_ID]
        if not known:
            return {}
        length = self._model.max_length
        window = ([PAD_ID] * length + known)[-length:]
        user = np.asarray(self._model.encode_users(np.array([window], np.int32)))[0]
        return dict(zip(self.ids, (self._vectors @ user).tolist(), strict=True))


def draw_histories(examples: Artifact, count: int, seed: int) -> list[list[str]]:
    """Histories of some users of the split ``eval``, each without its test item.

    Whom does not hang on the order of records: those whose ids have the smallest hashes. One
    batch of users is held, and those that were chosen.

    Raises:
        MissingDataError: if there are no examples.
    """
    users = heapq.nsmallest(count, _hashed_users(examples, seed), key=lambda found: found[:2])
    if not users:
        raise MissingDataError("there are no examples", where=split_pattern(examples, "eval"))
    return [items[:-LEAVE_OUT_TEST] for _, _, items in users]


def _hashed_users(examples: Artifact, seed: int) -> Iterator[tuple[bytes, bytes, list[str]]]:
    import tensorflow as tf

    files = sorted(tf.io.gfile.glob(split_pattern(examples, "eval")))
    if not files:
        return
    for batch in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_BATCH):
        context, steps, _ = tf.io.parse_sequence_example(
            batch,
            {USER_ID: tf.io.FixedLenFeature([], tf.string)},
            {ITEM_IDS: tf.io.RaggedFeature(tf.string)},
        )
        rows = steps[ITEM_IDS].merge_dims(1, -1).to_list()
        for user, items in zip(context[USER_ID].numpy().tolist(), rows, strict=True):
            digest = hashlib.sha256(f"{seed} ".encode() + user).digest()
            yield digest, user, [item.decode() for item in items]


def build_questions(
    library: Library, histories: Histories, ks: Sequence[int], signatures: Sequence[str]
) -> list[Question]:
    """Every request that is tried, as far as the model has the signature.

    Args:
        library: Tells the best items, and the ids.
        histories: Of real users.
        ks: How many items are asked for, in turn.
        signatures: Keys that the SavedModel has.
    """
    k, total = min(max(ks), len(library.ids)), len(histories)
    turns = [ks[row % len(ks)] for row in range(total)]
    strangers = [[UNKNOWN, *row[:1], UNKNOWN, *row[1:], UNKNOWN] for row in histories]
    nobody: Histories = [[], [UNKNOWN], [], [UNKNOWN, UNKNOWN]]
    questions = [
        _recommend("users' histories, k in turn", histories, turns),
        _recommend("users' histories, one k for all", histories, [k] * total, scalar=True),
        _recommend("more items than there are", histories[:1], [len(library.ids) + 7]),
        _recommend("ids that nobody knows among others", strangers, [k] * total),
        _recommend("empty histories, and ids that nobody knows alone", nobody, [k] * 4),
    ]
    best = [_best(library.scores(history)) for history in histories]
    questions += [_excluding(histories, k, best), _scoring(histories, library.ids)]
    return [question for question in questions if question.signature in signatures]


def _best(scores: Mapping[str, float]) -> list[str]:
    return [max(scores, key=lambda item: scores[item])] if scores else []


def _recommend(
    name: str, histories: Histories, wanted: Sequence[int], *, scalar: bool = False
) -> Question:
    k = np.int32(wanted[0]) if scalar else np.array(wanted, np.int32)
    return Question(name, histories, wanted, {"item_ids": _padded(histories), "k": np.asarray(k)})


def _excluding(histories: Histories, k: int, excluded: Sequence[Sequence[str]]) -> Question:
    inputs = {
        "item_ids": _padded(histories),
        "k": np.full(len(histories), k, np.int32),
        "exclude_item_ids": _padded(excluded),
        "allowed_item_ids": _padded([[]]),
    }
    wanted = [k] * len(histories)
    return Question("the best item excluded", histories, wanted, inputs, "recommend", excluded)


def _scoring(histories: Histories, ids: Sequence[str]) -> Question:
    candidates = [[ids[0], UNKNOWN, ids[-1], ids[row % len(ids)]] for row in range(len(histories))]
    inputs = {"item_ids": _padded(histories), "candidate_item_ids": _padded(candidates)}
    return Question("scores of candidates", histories, [], inputs, "score", candidates)


def judge_answer(
    question: Question,
    answer: Answer,
    in_process: Answer,
    library: Library | None,
    tolerance: float,
) -> list[Check]:
    """The server's answer against the SavedModel's in this process, and the library's.

    Args:
        question: What was asked.
        answer: What the server said.
        in_process: What the SavedModel says when it is run here.
        library: What the library says; None where it cannot be compared.
        tolerance: Most that a score may be off, of the greatest of its row or of 1.
    """
    found = [("the SavedModel in process", _against_rows(question, answer, in_process))]
    if library is not None:
        found.append(("the library", _against_library(question, answer, library)))
    return [_check(question, whom, rows, tolerance) for whom, rows in found]


def _against_rows(
    question: Question, answer: Answer, expected: Answer
) -> Iterator[tuple[float, float]]:
    from serving.export.check import compare_ranking, difference

    for row in range(len(question.histories)):
        if question.signature == "score":
            yield 1.0, difference(answer["scores"][row], expected["scores"][row])
            continue
        there = [item.decode() for item in expected["item_ids"][row] if item]
        own = dict(zip(there, expected["scores"][row].tolist(), strict=False))
        yield compare_ranking(answer["item_ids"][row], answer["scores"][row], own, len(there))


def _against_library(
    question: Question, answer: Answer, library: Library
) -> Iterator[tuple[float, float]]:
    from serving.export.check import compare_ranking, difference

    for row, history in enumerate(question.histories):
        scores = library.scores(history)
        if question.signature == "score":
            padded = ["", *question.left_out[row]]
            expected = [scores.get(item, -np.inf) for item in padded]
            yield 1.0, difference(answer["scores"][row], expected)
            continue
        gone = {*history, *(question.left_out[row] if question.left_out else ())}
        allowed = {item: score for item, score in scores.items() if item not in gone}
        ids, given = answer["item_ids"][row], answer["scores"][row]
        yield compare_ranking(ids, given, allowed, question.wanted[row])


def _check(
    question: Question, whom: str, rows: Iterator[tuple[float, float]], tolerance: float
) -> Check:
    pairs = list(rows)
    shared, far = min(pair[0] for pair in pairs), max(pair[1] for pair in pairs)
    passed = shared == 1.0 and far <= tolerance
    words = (
        f"{question.name} ({question.signature}, {len(pairs)} rows): against {whom} scores are "
        f"off by {far:.1e} at most, {tolerance:g} is allowed; "
        + (
            "every item is right."
            if shared == 1.0
            else f"a row has only {shared:.0%} of its items."
        )
    )
    # Strict JSON has no infinity, which an item that must not be there counts as.
    value = far if np.isfinite(far) else None
    return Check(f"{question.name}, against {whom}", value, tolerance, passed, words)


def in_process_answers(model: Path) -> Callable[[Question], Answer]:
    """The SavedModel, run here by ``tf.saved_model.load``: another loader than the server's."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model))

    def ask(question: Question) -> Answer:
        inputs = {name: tf.constant(value) for name, value in question.inputs.items()}
        outputs = loaded.signatures[question.signature](**inputs)
        return {name: value.numpy() for name, value in outputs.items()}

    return ask


def served_signatures(model: Path) -> list[str]:
    """The signatures of ours that a SavedModel has.

    Raises:
        ServingError: if there is no SavedModel.
    """
    from serving.saved_models import describe_signatures

    return [key for key in describe_signatures(model) if key in _SIGNATURES]


def is_exact(model: Path) -> bool:
    """Whether the table of item vectors is the library's, and not one of fewer bits."""
    file = model / "assets.extra" / "signature.json"
    return not file.is_file() or json.loads(file.read_text()).get("table") in (None, "float32")


def _padded(rows: Sequence[Sequence[str]]) -> npt.NDArray[np.object_]:
    """Texts with "" in front, as the client sends them, and after the end of a row."""
    padded = np.full((len(rows), 1 + max(map(len, rows))), "", object)
    for place, row in enumerate(rows):
        padded[place, 1 : 1 + len(row)] = row
    return padded
