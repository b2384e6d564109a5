"""``make demo``: the main job on the built-in catalogue, served and asked over gRPC."""

from __future__ import annotations

from pathlib import Path

from idp_tf.config import load_settings
from idp_tf.data.sample import SOURCE_NAMES, TARGET_NAME, write_sample_catalogue
from idp_tf.workflow import run_all
from idp_tf.workflow.prepare import load_target
from idp_tf.workflow.report import REPORT_PAGE
from idp_tf.workflow.result_table import format_results
from idp_tf.workflow.run import Run, RunConfig
from serving.model_config import CONFIG_FILE
from serving.query import print_table, query
from serving.server import ModelServer

RECOMMENDATIONS = 3
_SHOWN = 3
"""Every user has at least this many items."""
_SEED = 0

# The catalogue is small; what is cut is cut to keep the demonstration within minutes.
_SETTINGS = (
    "pretrain.epochs=40",
    "pretrain.patience=5",
    "fine_tune.epochs=60",
    "matcher.steps=40",
    "matcher.min_interactions=5",
    "matcher.batch_size=32",
)


def run_demo(workdir: Path, *, rebuild: bool = False) -> None:
    """Runs all stages, then serves the result on a free port and asks for recommendations.

    Args:
        workdir: The folder for all of it; a second demonstration in it reuses what is there.
        rebuild: Make anew what other settings made.
    """
    catalogue = workdir / "catalogue"
    write_sample_catalogue(catalogue, seed=_SEED)
    config = RunConfig(
        data=catalogue.resolve(),
        sources=SOURCE_NAMES,
        target=TARGET_NAME,
        settings=load_settings("quick", overrides=_SETTINGS, seed=_SEED),
        demonstration=True,
    )
    run = Run(workdir, config, rebuild=rebuild)
    report = run_all(run)

    domain = load_target(run)
    titles = dict(zip(domain.item_ids.external_ids, domain.titles, strict=True))
    history = domain.item_ids.to_external(domain.sequences.left_padded([0], _SHOWN)[0])
    with ModelServer(workdir / "export" / CONFIG_FILE, port=0) as server:
        answer = query(server.address, history, RECOMMENDATIONS)
    print(format_results(report, TARGET_NAME))
    print(f"The whole report: {workdir / REPORT_PAGE}")
    print(f"\nA user of '{TARGET_NAME}' had these items:")
    for item in history:
        print(f"  {item}  {titles[item]}")
    print(f"The server's {RECOMMENDATIONS} recommendations, over gRPC:")
    print_table(answer, titles)
