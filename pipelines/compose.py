"""The default pipeline: from raw domains to a pushed recommender.

For every domain: ExampleGen, StatisticsGen, SchemaGen, ExampleValidator. Then pre-training, the
matcher, vectors of all titles, the index of the sources' and the target's embeddings, the control
and the fine-tuned model, and whoever judges and pushes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from idp_tf.config import Settings
from idp_tf.errors import SettingsError
from idp_tf.setting_problems import refused
from pipelines.component import Component, Parameters
from pipelines.components.bulk_inferrer import BulkInferrer
from pipelines.components.embedding_generator import EmbeddingGenerator
from pipelines.components.evaluator import Evaluator
from pipelines.components.example_gen import ExampleGen
from pipelines.components.example_validator import ExampleValidator
from pipelines.components.index_builder import IndexBuilder
from pipelines.components.infra_validator import InfraValidator
from pipelines.components.pusher import Pusher
from pipelines.components.schema_gen import SchemaGen
from pipelines.components.statistics_gen import StatisticsGen
from pipelines.components.trainer import Trainer
from pipelines.dag import Channel, Latest, Node, Pipeline
from pipelines.settings import PipelineSettings

PUSHER: Final = "Pusher"
FINE_TUNE: Final = "Trainer.fine_tune"
_PRETRAIN: Final = "Trainer.pretrain"
_MATCHER: Final = "Trainer.matcher"
_CONTROL: Final = "Trainer.control"
_LAST_PUSHED: Final = Latest(FINE_TUNE, "model", (PUSHER, "pushed_model", "pushed"), needed=True)


def compose(settings: PipelineSettings) -> Pipeline:
    """The pipeline of some settings.

    Raises:
        SettingsError: for a component's setting that is unknown or impossible.
    """
    nodes = [node for domain in settings.domains for node in _domain_nodes(settings, domain)]
    return Pipeline([*nodes, *_source_nodes(settings), *_target_nodes(settings)])


def _domain_nodes(settings: PipelineSettings, domain: str) -> list[Node]:
    schema_gen = dict(settings.schema_gen)
    if domain in settings.curated_schemas:
        schema_gen["curated"] = settings.curated_schemas[domain]
    statistics = Channel(f"StatisticsGen.{domain}", "statistics")
    # Not the newest, which are those to be judged, but those that were last found good.
    accepted = (f"ExampleValidator.{domain}", "anomalies", "accepted")
    return [
        _node(f"ExampleGen.{domain}", ExampleGen(), _example_gen(settings, domain)),
        _node(
            f"StatisticsGen.{domain}",
            StatisticsGen(),
            settings.statistics_gen,
            {"examples": _examples(domain), "items": _items(domain)},
        ),
        _node(f"SchemaGen.{domain}", SchemaGen(), schema_gen, {"statistics": [statistics]}),
        _node(
            f"ExampleValidator.{domain}",
            ExampleValidator(),
            settings.example_validator,
            {
                "statistics": [statistics],
                "schema": [Channel(f"SchemaGen.{domain}", "schema")],
                "manifest": [Channel(f"ExampleGen.{domain}", "manifest")],
            },
            {"previous_statistics": Latest(statistics.node, statistics.output, accepted)},
        ),
    ]


def _source_nodes(settings: PipelineSettings) -> list[Node]:
    library, sources = settings.library, settings.sources
    data = {"examples": _examples(*sources), "items": _items(*sources)}
    gates = [f"ExampleValidator.{domain}" for domain in sources]
    pretrain = _only(library, "seed", "model", "pretrain", "evaluation")
    matcher = _only(library, "seed", "matcher")
    return [
        _node(_PRETRAIN, Trainer(), _trains("pretrain", pretrain, titles=False), data, gates=gates),
        _node(
            _MATCHER,
            Trainer(),
            _trains("tune_matcher", matcher),
            {**data, "model": [Channel(_PRETRAIN, "model")]},
        ),
        *(_inferrer(settings, domain) for domain in settings.domains),
        _node(
            "IndexBuilder",
            IndexBuilder(),
            {
                "retrieval": library.transfer.retrieval,
                "top_m": library.transfer.top_m,
                **settings.index_builder,
            },
            {"inference_result": _vectors(*sources), "items": _items(*sources)},
        ),
    ]


def _target_nodes(settings: PipelineSettings) -> list[Node]:
    library, target = settings.library, settings.target
    data = {"examples": _examples(target), "items": _items(target)}
    gates = [f"ExampleValidator.{target}"]
    scratch = _only(library, "seed", "model", "fine_tune", "evaluation")
    tuned = {**scratch, **_only(library, "transfer")}
    pretrained = {"model": [Channel(_PRETRAIN, "model")]}
    model = {"model": [Channel(FINE_TUNE, "model")]}
    embeddings = Latest("EmbeddingGenerator", "embeddings")
    return [
        _node(
            "EmbeddingGenerator",
            EmbeddingGenerator(),
            {"top_m": library.transfer.top_m, "norm": library.transfer.norm},
            {
                "index": [Channel("IndexBuilder", "index")],
                "inference_result": _vectors(target),
                "items": _items(target),
                **pretrained,
            },
            {"previous": embeddings},
        ),
        _node(
            _CONTROL,
            Trainer(),
            _trains("fine_tune", scratch, system="sasrec", titles=False),
            data,
            gates=gates,
        ),
        _node(
            FINE_TUNE,
            Trainer(),
            _trains("fine_tune", tuned, system=settings.system),
            {**data, **pretrained, "embeddings": [Channel("EmbeddingGenerator", "embeddings")]},
            {"base_model": _LAST_PUSHED},
            gates,
        ),
        _node(
            "Evaluator",
            Evaluator(),
            {
                "negatives": library.evaluation.negatives,
                "seed": library.seed,
                **settings.evaluator,
            },
            {**data, **model, "control": [Channel(_CONTROL, "model")]},
            {"baseline_model": _LAST_PUSHED},
        ),
        _node(
            "InfraValidator",
            InfraValidator(),
            {"model_name": settings.model_name, **settings.infra_validator},
            {**model, "examples": _examples(target)},
        ),
        _node(
            PUSHER,
            Pusher(),
            {**settings.pusher, "destination": settings.destination},
            {
                **model,
                "blessing": [Channel("Evaluator", "blessing")],
                "infra_blessing": [Channel("InfraValidator", "infra_blessing")],
            },
        ),
    ]


def _inferrer(settings: PipelineSettings, domain: str) -> Node:
    node_id = f"BulkInferrer.{domain}"
    return _node(
        node_id,
        BulkInferrer(),
        settings.bulk_inferrer,
        {"items": _items(domain), "model": [Channel(_MATCHER, "model")]},
        {"previous": Latest(node_id, "inference_result")},
        [f"ExampleValidator.{domain}"],
    )


def _example_gen(settings: PipelineSettings, domain: str) -> dict[str, Any]:
    library = settings.library
    prepare = library.prepare
    is_target = domain == settings.target
    inputs = settings.inputs.get(domain)
    return {
        "domain": domain,
        "data": settings.data,
        **(inputs.model_dump() if inputs else {}),
        "k_core": prepare.target_k_core if is_target else prepare.source_k_core,
        "ties": prepare.ties,
        "seed": library.seed,
        "unknown_items": prepare.unknown_items,
        "repeated_items": prepare.repeated_items,
        "columns": dict(prepare.columns),
        "digests": settings.root / "input_digests.json",
        **settings.example_gen,
    }


def _trains(
    module: str, settings: dict[str, Any], system: str | None = None, *, titles: bool = True
) -> dict[str, Any]:
    return {
        "module": f"pipelines.trainers.{module}",
        "settings": settings,
        "system": system,
        "reads_titles": titles,
    }


def _only(library: Settings, *names: str) -> dict[str, Any]:
    """What a trainer module reads of the settings: nothing else is to make it train again."""
    return {name: value for name, value in library.model_dump(mode="json").items() if name in names}


def _examples(*domains: str) -> list[Channel]:
    return [Channel(f"ExampleGen.{domain}", "examples") for domain in domains]


def _items(*domains: str) -> list[Channel]:
    return [Channel(f"ExampleGen.{domain}", "items") for domain in domains]


def _vectors(*domains: str) -> list[Channel]:
    return [Channel(f"BulkInferrer.{domain}", "inference_result") for domain in domains]


def _node(
    node_id: str,
    component: Component[Any],
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Sequence[Channel]] | None = None,
    resolved: Mapping[str, Latest] | None = None,
    gates: Sequence[str] = (),
) -> Node:
    return Node(
        node_id,
        component,
        _validated(node_id, component.parameters, parameters),
        inputs or {},
        resolved or {},
        gates,
    )


def _validated(node_id: str, kind: type[Parameters], given: Mapping[str, Any]) -> Parameters:
    # As the YAML file has it: ExampleGen's parameters stand under example_gen.
    section = re.sub(r"(?<!^)(?=[A-Z])", "_", node_id.partition(".")[0]).lower()
    within = f"{section}." if section in PipelineSettings.model_fields else ""
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        problem = refused(error, kind, within)
        raise SettingsError(problem.problem, where=node_id, remedy=problem.remedy) from error


def models_config(settings: PipelineSettings) -> Path:
    """The file by which a server finds what is pushed."""
    return settings.destination.parent / "models.config"
