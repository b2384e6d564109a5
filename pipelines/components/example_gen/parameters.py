"""What ExampleGen is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from idp_tf.data.prepare import Ties
from pipelines.component import Parameters


class ExampleGenParameters(Parameters):
    """Which files, and how they are prepared: as ``idp_tf.data.prepare_domain`` does."""

    domain: str = Field(description="the domain's name")
    data: Path = Field(description="the folder of domains, in which patterns begin too")
    interactions: tuple[str, ...] = Field(
        (),
        description="glob patterns of the files of interactions below data, such as"
        " office/logs/day=*/part-*.csv.gz; by default files are found as idp-tf run finds them",
    )
    items: tuple[str, ...] = Field((), description="glob patterns of the files of items")
    form: str | None = Field(
        None,
        description="RecBole, MovieLens, tables, Amazon 2023, Amazon 2018 or Amazon 2014; by"
        " default it is told by the files' names",
    )
    k_core: int = Field(5, ge=1, description="least interactions of a user and of an item")
    ties: Ties = Field("random", description="the order of a user's interactions of one time")
    seed: int = Field(0, ge=0, description="the seed of that order")
    unknown_items: Literal["error", "drop", "untitled"] = Field(
        "error", description="about interactions whose item has no row"
    )
    repeated_items: Literal["error", "first"] = Field(
        "error", description="about items that have several rows"
    )
    columns: Mapping[str, str | None] = Field({}, description="what our columns are called")
    times: tuple[float, float] | None = Field(
        None,
        description="the first and the last timestamp that can be right, in the logs' unit; rows"
        " outside are bad; by default every number is right",
    )
    max_bad_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="the share of bad rows, in the logs or in the files of items, above which the"
        " run stops",
    )
    max_listed: int = Field(
        10_000, ge=0, description="how many bad rows of a file are listed; all are counted"
    )
    rows_per_bucket: int = Field(
        1_000_000, ge=1, description="interactions that a worker holds at a time; changes no result"
    )
    digests: Path | None = Field(
        None,
        description="a file in which the input files' checksums are kept by path, size and time of"
        " change, so that they need not be read to know that nothing has changed",
    )
