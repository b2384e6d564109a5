"""The options that several commands of ``idp-tf`` share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Preset(StrEnum):
    """The presets of ``idp_tf.config.PRESETS``."""

    quick = "quick"
    standard = "standard"
    paper = "paper"


class Quantize(StrEnum):
    """What item tables can be stored as beside float32."""

    int8 = "int8"
    bfloat16 = "bfloat16"


class Strategy(StrEnum):
    """The strategies of ``idp_tf.strategy.STRATEGIES``."""

    none = "none"
    mirrored = "mirrored"
    multi_worker = "multi-worker"
    parameter_server = "parameter-server"


Data = Annotated[Path, typer.Option(help="Folder with one folder for each domain.")]
Sources = Annotated[str, typer.Option(help="Source domains, separated by commas.")]
Target = Annotated[str, typer.Option(help="Target domain.")]
Workdir = Annotated[Path, typer.Option(help="Folder for everything that a run makes.")]
PresetOption = Annotated[
    Preset, typer.Option(help="quick: 40 minutes on 2 cores; standard: meant for a night; paper.")
]
Seed = Annotated[int | None, typer.Option(help="Seed of the whole chain.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting, such as transfer.top_m=5; may be repeated."),
]
Systems = Annotated[
    str | None,
    typer.Option(help="What to train and evaluate, separated by commas: see idp-tf systems."),
]
Exported = Annotated[
    str | None,
    typer.Option(
        "--system",
        help="Whose recommender: any system of the run but a floor. Else idp, idp-wo-encoder, "
        "sasrec, or the first other that was trained.",
    ),
]
CheckOption = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Export nothing; ask what has been exported in TensorFlow's C library, without "
        "Python, and compare with the library. Needs cc.",
    ),
]
QuantizeOption = Annotated[
    Quantize | None,
    typer.Option("--quantize", help="Hold the recommender's items in fewer bytes."),
]
Rebuild = Annotated[
    bool, typer.Option("--rebuild", help="Make anew what other settings or data made.")
]
Tune = Annotated[
    bool,
    typer.Option(
        "--tune",
        help="Search for each target model's learning rate, over the paper's grid unless "
        "fine_tune.learning_rate_grid has another.",
    ),
]
StrategyOption = Annotated[
    Strategy,
    typer.Option(
        help="How sequence models are trained: in one process; on all GPUs of this machine; in "
        "step, on TF_CONFIG's machines; or on them each at its pace, tables on parameter servers."
    ),
]


def split_names(text: str) -> list[str]:
    """The names that an option lists with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]
