"""``idp-tf export --check``: what was exported, in TensorFlow's C library, against the library."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from idp_tf.data.schema import PAD_ID
from idp_tf.errors import ServingError
from idp_tf.retrieval import Method
from idp_tf.systems import SYSTEMS, System
from idp_tf.transfer.generate import find_untitled, generate_embeddings
from idp_tf.workflow.export import recommender_key, require_serving
from idp_tf.workflow.export_titles import cold_start_key, load_matching, matching_key, source_items
from idp_tf.workflow.export_versions import noted_versions
from idp_tf.workflow.making import load_recommender
from idp_tf.workflow.prepare import load_target
from idp_tf.workflow.run import Run

if TYPE_CHECKING:
    from serving.export.c_runtime import Call
    from serving.export.check import Checked

Answer = Mapping[str, npt.NDArray[Any]]

_USERS: Final = 3
_K: Final = 10
_TITLES: Final = 4


class _Export(NamedTuple):
    run: Run
    name: str
    noted: Mapping[str, Any]
    program: Path

    @property
    def folder(self) -> Path:
        return self.run.workdir / "export" / self.name / str(self.noted["version"])

    @property
    def system(self) -> System:
        return SYSTEMS[self.noted["system"]]

    def ask(self, calls: Sequence[Call]) -> list[dict[str, npt.NDArray[Any]]]:
        from serving.export.c_runtime import run_calls

        return run_calls(self.program, self.folder, calls)

    def judged(self, signature: str, rows: Sequence[tuple[float, float]]) -> Checked:
        from serving.export.check import judged

        return judged(self.name, str(self.noted["version"]), signature, rows)


def check_exports(run: Run) -> list[Checked]:
    """Asks the latest version of every export, and the library the same. Nothing is written.

    Each is loaded in a process that has no Python (``serving.export.c_runtime``).

    Raises:
        MissingDependencyError: if the extra ``serving`` is not installed.
        ServingError: if nothing was exported, a version was made of something else than what
            the run now has, there is no C compiler, or the C runtime fails.
    """
    require_serving()
    from serving.export.c_runtime import build_program

    noted = noted_versions(run.workdir / "export")
    if not noted:
        raise ServingError(
            "nothing has been exported", where=run.workdir / "export", remedy="idp-tf export first"
        )
    checks: list[Checked] = []
    with tempfile.TemporaryDirectory() as place:
        program = build_program(place)
        for name, what in sorted(noted.items()):
            export = _Export(run, name, what, program)
            _check_current(export)
            checks += _CHECKS[name.removesuffix("_scann")](export)
    return checks


def _check_current(export: _Export) -> None:
    keys = {
        "recommender": lambda: recommender_key(export.run, export.system, export.noted["table"]),
        "matcher": lambda: matching_key(export.run),
        "cold_start": lambda: cold_start_key(export.run, export.system),
    }
    if keys[export.name.removesuffix("_scann")]() != export.noted["key"]:
        raise ServingError(
            "it was made of other settings, data or models than the run has now",
            where=export.folder,
            remedy="idp-tf export, which writes a new version",
        )


def _check_recommender(export: _Export) -> list[Checked]:
    from serving.export.c_runtime import Call
    from serving.export.check import compare_ranking, difference

    target = load_target(export.run)
    names, k = target.item_ids.external_ids, min(_K, target.num_items)
    users = np.linspace(0, target.sequences.num_users - 1, _USERS).astype(int)
    known = [_items(target.sequences.left_padded([user], 100)[0]) for user in users]
    histories = _padded([["nobody", *(names[i - 1] for i in row), ""] for row in known])
    scores = _scores(export, known)
    stock = names[:: max(len(names) // 50, 1)]
    excluded = [[max(row, key=lambda item: row[item])] for row in scores]
    candidates = [[names[0], "nobody", names[-1]]] * len(users)
    history = {"item_ids": histories}
    answers = export.ask(
        [
            Call("serving_default", {**history, "k": np.int32(k)}),
            Call(
                "recommend",
                {
                    **history,
                    "k": np.full(len(users), k, np.int32),
                    "exclude_item_ids": excluded,
                    "allowed_item_ids": [stock],
                },
            ),
            Call("score", {**history, "candidate_item_ids": candidates}),
            *_example_calls(histories, k, names[0]),
        ]
    )
    unseen = [
        {item: row[item] for item in row if target.item_ids.to_internal([item])[0] not in seen}
        for row, seen in zip(scores, known, strict=True)
    ]
    in_stock = [
        {item: row[item] for item in stock if item in row and item not in left_out}
        for row, left_out in zip(unseen, excluded, strict=True)
    ]

    def ranked(answer: Answer, what: str, library: list[dict[str, float]]) -> list[Any]:
        rows = zip(answer[what], answer["scores"], library, strict=True)
        return [compare_ranking(ids, given, best, k) for ids, given, best in rows]

    of_candidates = [
        (1.0, difference(given, [row.get(name, -np.inf) for name in candidates[0]]))
        for given, row in zip(answers[2]["scores"], scores, strict=True)
    ]
    of_first = [
        (1.0, difference(given, row[names[0]]))
        for given, row in zip(answers[4]["outputs"], scores, strict=True)
    ]
    return [
        export.judged("serving_default", ranked(answers[0], "item_ids", unseen)),
        export.judged("recommend", ranked(answers[1], "item_ids", in_stock)),
        export.judged("score", of_candidates),
        export.judged("classify", ranked(answers[3], "classes", unseen)),
        export.judged("regress", of_first),
    ]


def _example_calls(histories: Sequence[Sequence[str]], k: int, candidate: str) -> list[Call]:
    from serving.export.c_runtime import Call
    from serving.export.examples import serialized_example

    examples = [
        serialized_example({"item_ids": row, "k": k, "candidate_item_id": candidate})
        for row in histories
    ]
    return [Call(key, {"inputs": examples}) for key in ("classify", "regress")]


def _scores(export: _Export, known: Sequence[Sequence[int]]) -> list[dict[str, float]]:
    """For each history the score of every item, by the model as it is in process."""
    from serving.export.item_table import ItemTable

    target = load_target(export.run)
    model: Any = load_recommender(export.run, export.system, export.run.settings.seed)
    table = ItemTable(np.asarray(model.item_vectors(), np.float32)[1:], export.noted["table"])
    vectors = np.asarray(table.rows(np.arange(table.num_items)))
    if export.noted["table"] != "float32" and getattr(model, "reads_ids_alone", False):
        model.item_embedding.set_weights([np.pad(vectors, [(1, 0), (0, 0)])])
    found = []
    for row in known:
        window = ([PAD_ID] * model.max_length + list(row))[-model.max_length :]
        user = np.asarray(model.encode_users(np.array([window], np.int32)))[0]
        scores = (vectors @ user).tolist()
        found.append(dict(zip(target.item_ids.external_ids, scores, strict=True)))
    return found


def _check_matcher(export: _Export) -> list[Checked]:
    from serving.export.c_runtime import Call
    from serving.export.check import compare_ranking, difference

    titles = [*_titles(export.run), " "]
    (answer,) = export.ask([Call("serving_default", {"titles": titles})])
    matching = load_matching(export.run, None, "exact")
    top_m, names = export.run.settings.transfer.top_m, source_items(export.run).ids
    vectors = matching.encoder.encode(titles)
    similarities = vectors @ matching.index.vectors.T
    expected = generate_embeddings(
        vectors,
        matching.index,
        matching.source_embeddings,
        top_m=top_m,
        norm=matching.norm,
        untitled=find_untitled(titles),
    )
    rows = []
    for row, embedding in enumerate(expected.embeddings):
        found, far = answer["source_item_ids"][row], difference(answer["embedding"][row], embedding)
        if expected.untitled[row]:
            rows.append((float(not any(found)), far))
            continue
        library = dict(zip(names, similarities[row].tolist(), strict=True))
        shared, scores_far = compare_ranking(found, answer["scores"][row], library, top_m)
        # Other matches make another embedding.
        rows.append((shared, max(scores_far, far if shared == 1 else 0.0)))
    return [export.judged("serving_default", rows)]


def _check_cold_start(export: _Export) -> list[Checked]:
    from serving.export.c_runtime import Call
    from serving.export.check import compare_ranking

    run, method = export.run, _method(export.name)
    target, titles = load_target(run), _titles(run)
    k = min(_K, target.num_items)
    histories = [titles, titles[:1]]
    given = _padded([["", *row] for row in histories])
    call = Call("serving_default", {"titles": given, "k": np.array([k, k], np.int32)})
    (answer,) = export.ask([call])
    matching = load_matching(run, export.system, method)
    model: Any = load_recommender(run, export.system, run.settings.seed)
    rows = []
    for row, history in enumerate(histories):
        made = generate_embeddings(
            matching.encoder.encode(history),
            matching.index,
            matching.source_embeddings,
            top_m=run.settings.transfer.top_m,
            norm=matching.norm,
            untitled=find_untitled(history),
        ).embeddings[-model.max_length :]
        user = model.encode_vectors(made[None], np.ones((1, len(made)), bool)).numpy()[0]
        scores = (model.item_vectors().numpy()[1:] @ user).tolist()
        library = dict(zip(target.item_ids.external_ids, scores, strict=True))
        rows.append(compare_ranking(answer["item_ids"][row], answer["scores"][row], library, k))
    return [export.judged("serving_default", rows)]


_CHECKS: Final = {
    "recommender": _check_recommender,
    "matcher": _check_matcher,
    "cold_start": _check_cold_start,
}


def _method(name: str) -> Method:
    return "scann" if name.endswith("_scann") else "exact"


def _titles(run: Run) -> list[str]:
    """A few titles of the target's items."""
    titles = [title for title in load_target(run).titles if title.strip()]
    return titles[:: max(len(titles) // _TITLES, 1)][:_TITLES]


def _items(window: npt.NDArray[np.int32]) -> list[int]:
    return [int(item) for item in window if item != PAD_ID]


def _padded(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    width = max(map(len, rows))
    return [[*row, *[""] * (width - len(row))] for row in rows]
