"""StatisticsGen against NumPy, unicodedata and counting by hand."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from domain_artifacts import finished, run, titled, write_examples, write_items
from hypothesis import given
from hypothesis import strategies as st

from idp_tf.errors import DataError, EmptyDomainError, MissingDataError
from pipelines.artifacts import Artifact
from pipelines.component import Execution
from pipelines.components.statistics_gen import StatisticsGen
from pipelines.components.statistics_gen.files import read_known_items, read_statistics
from pipelines.components.statistics_gen.lengths import gini, quantiles, share_of_most_popular

RNG = np.random.default_rng(3)
ITEMS = [f"i{n:03d}" for n in range(120)]
HISTORIES = {
    f"user {u}": [ITEMS[i] for i in np.minimum(RNG.geometric(0.05, RNG.integers(3, 30)), 119)]
    for u in range(200)
} | {"ü": ["i000", "unseen", "unseen", "ж"]}
WORDS = ["Tea", "pot", "GREEN", "lamp", "desk", "ink", "star", "12", "kettle"]
TITLES = {item: " ".join(RNG.choice(WORDS, RNG.integers(2, 6))) + f" {item}" for item in ITEMS} | {
    "i001": "",
    "i002": " \t",
    "i003": "Same title",
    "i004": "Same title",
    "i005": "Same title",
    "i006": "Война и мир",
    "i007": "図書館 の ほん",
    "i008": "1984",
    "i009": "Tea for the night &amp; day",
    "i010": "Der Stift und das Papier für Kinder",
    "i011": "Café au lait et du thé",
    "i012": "the de und of und",  # as many English words as German ones
}
ROWS = [
    *titled(TITLES),
    {"item_id": "i000", "internal_id": 121, "title": "again", "colour": ["red", "blue"]},
    {"item_id": "bare", "internal_id": 122, "title": None},
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("inputs")
    return {
        "examples": write_examples(folder / "examples", HISTORIES),
        "items": write_items(folder / "items", ROWS),
    }


@pytest.fixture(scope="module")
def made(inputs: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Execution[Any]:
    return run(StatisticsGen(), tmp_path_factory.mktemp("made"), inputs)


@pytest.fixture(scope="module")
def domain(made: Execution[Any]) -> dict[str, Any]:
    return json.loads((made.outputs["statistics"].uri / "domain.json").read_text("utf-8"))


def features(made: Execution[Any], split: str) -> dict[tuple[str, ...], Any]:
    dataset = read_statistics(made.outputs["statistics"].uri, split)
    return {tuple(feature.path.step): feature for feature in dataset.features}


def filled() -> list[str]:
    titles = [str(row["title"] or "") for row in ROWS]
    return [title for title in titles if title.strip()]


@pytest.mark.parametrize("split", ["train", "eval"])
def test_features_of_users(made: Execution[Any], split: str) -> None:
    kept = {u: items[:-2] if split == "train" else items for u, items in HISTORIES.items()}
    lengths = np.array([len(items) for items in kept.values()])
    found = features(made, split)
    assert set(found) == {("user_id",), ("##SEQUENCE##",), ("##SEQUENCE##", "item_ids")}
    items = found["##SEQUENCE##", "item_ids"].string_stats
    common = items.common_stats
    assert (common.num_non_missing, common.num_missing) == (len(kept), 0)
    assert (common.min_num_values, common.max_num_values) == (lengths.min(), lengths.max())
    assert common.tot_num_values == lengths.sum()
    assert common.avg_num_values == pytest.approx(lengths.mean())
    steps = common.presence_and_valency_stats[1]
    assert (steps.num_non_missing, steps.min_num_values, steps.max_num_values) == (
        lengths.sum(),
        1,
        1,
    )
    borders = np.quantile(lengths, np.linspace(0, 1, 11), method="inverted_cdf")
    buckets = common.num_values_histogram.buckets
    assert [b.low_value for b in buckets] == borders[:-1].tolist()
    assert [b.high_value for b in buckets] == borders[1:].tolist()

    counts = Counter(item for history in kept.values() for item in history)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    assert items.unique == len(counts)
    assert [(v.value, v.frequency) for v in items.top_values] == ranked[:20]
    assert [(b.label, b.sample_count) for b in items.rank_histogram.buckets] == ranked
    total_bytes = sum(len(item.encode()) * n for item, n in counts.items())
    assert items.avg_length == pytest.approx(total_bytes / lengths.sum())
    assert found["user_id",].string_stats.unique == len(kept)


def test_features_of_items(made: Execution[Any]) -> None:
    found = features(made, "all")
    assert set(found) == {("item_id",), ("internal_id",), ("title",), ("colour",)}
    numbers = np.arange(1, 123)
    internal = found["internal_id",].num_stats
    assert (internal.min, internal.max, internal.num_zeros) == (1, 122, 0)
    assert internal.mean == pytest.approx(numbers.mean())
    assert internal.std_dev == pytest.approx(numbers.std())
    assert internal.median == pytest.approx(np.median(numbers), abs=1)
    by_rank, standard = internal.histograms
    assert sum(b.sample_count for b in by_rank.buckets) == pytest.approx(122)
    expected, edges = np.histogram(numbers, 10)
    assert [b.low_value for b in standard.buckets] == pytest.approx(edges[:-1].tolist())
    assert [b.sample_count for b in standard.buckets] == pytest.approx(expected.tolist(), abs=1.5)
    colour = found["colour",].string_stats
    assert (colour.common_stats.num_non_missing, colour.common_stats.num_missing) == (1, 121)
    assert (colour.common_stats.min_num_values, colour.common_stats.max_num_values) == (2, 2)
    assert sorted(v.value for v in colour.top_values) == ["blue", "red"]
    title = found["title",].string_stats
    assert title.common_stats.num_missing == 1
    assert (title.top_values[0].value, title.top_values[0].frequency) == ("Same title", 3)


def test_counts_of_the_domain(domain: dict[str, Any], made: Execution[Any]) -> None:
    interactions = sum(map(len, HISTORIES.values()))
    assert (domain["users"], domain["items"], domain["interactions"]) == (201, 122, interactions)
    assert domain["density"] == pytest.approx(interactions / (201 * 122))
    properties = made.outputs["statistics"].properties
    assert properties["domain"] == "shop" and properties["interactions"] == interactions
    assert json.loads(properties["split_names"]) == ["train", "eval", "all"]
    assert made.counters["users"] == 201

    lengths = [len(items) for items in HISTORIES.values()]
    kept = domain["splits"]["eval"]["sequence_length"]
    for share, value in kept["quantiles"].items():
        assert value == np.quantile(lengths, float(share), method="inverted_cdf")
    assert len(kept["quantiles"]) == 9 and kept["mean"] == pytest.approx(np.mean(lengths))
    assert domain["splits"]["train"]["interactions"] == interactions - 2 * 201


def test_popularity(domain: dict[str, Any]) -> None:
    counts = np.array(
        sorted(Counter(i for items in HISTORIES.values() for i in items).values()), float
    )
    popularity = domain["popularity"]
    differences = np.abs(counts[:, None] - counts[None, :]).mean()
    assert popularity["items_with_interactions"] == len(counts)
    assert popularity["gini"] == pytest.approx(differences / (2 * counts.mean()))
    top = counts[-math.ceil(len(counts) / 100) :].sum() / counts.sum()
    assert popularity["share_of_top_1_percent"] == pytest.approx(top)


def test_ids_of_logs_and_items(domain: dict[str, Any]) -> None:
    seen = {item for items in HISTORIES.values() for item in items}
    rows = {str(row["item_id"]) for row in ROWS}
    ids = domain["ids"]
    assert seen - rows == {"unseen", "ж"}
    assert (ids["unknown_items"], ids["unknown_interactions"]) == (2, 3)
    assert ids["unknown_examples"] == ["unseen", "ж"]
    assert ids["items_without_interactions"] == len(rows - seen)
    assert (ids["repeated_rows"], ids["repeated_examples"]) == (1, ["i000"])


def test_titles(domain: dict[str, Any]) -> None:
    titles, texts = domain["titles"], filled()
    assert (titles["rows"], titles["empty"]) == (122, 3)
    assert titles["empty_share"] == pytest.approx(3 / 122)
    assert titles["duplicate"] == 3 and titles["duplicate_examples"] == ["Same title"]
    assert titles["duplicate_share"] == pytest.approx(3 / len(texts))
    assert titles["distinct"] == len(set(texts))
    words = [re.findall(r"[^\W_]+", text.lower()) for text in texts]
    for key, lengths in (("characters", list(map(len, texts))), ("words", list(map(len, words)))):
        assert titles[key]["mean"] == pytest.approx(np.mean(lengths))
        values, counts = np.unique(lengths, return_counts=True)
        assert titles[key]["distribution"]["values"] == values.tolist()
        assert titles[key]["distribution"]["counts"] == counts.tolist()
    assert titles["non_ascii_share"] == pytest.approx(
        sum(not text.isascii() for text in texts) / len(texts)
    )
    assert titles["html_entity_share"] == pytest.approx(1 / len(texts))
    ranked = sorted(
        Counter(w for row in words for w in row).items(), key=lambda pair: (-pair[1], pair[0])
    )
    assert titles["vocabulary"]["distinct"] == len(ranked)
    assert titles["vocabulary"]["total"] == sum(map(len, words))
    assert [tuple(pair) for pair in titles["vocabulary"]["top"]] == ranked


def test_scripts_and_languages(domain: dict[str, Any]) -> None:
    texts = filled()
    letters = [c for text in texts for c in text if unicodedata.category(c).startswith("L")]
    first_words = Counter(unicodedata.name(c).split()[0] for c in letters)
    share = {name: n / len(letters) for name, n in first_words.items()}
    found = domain["titles"]["letters"]
    assert found["Latin"] == pytest.approx(share["LATIN"])
    assert found["Cyrillic"] == pytest.approx(share["CYRILLIC"])
    assert found["Han"] == pytest.approx(share["CJK"])
    assert found["Hiragana"] == pytest.approx(share["HIRAGANA"])
    assert domain["titles"]["scripts"] == pytest.approx(
        {"Latin": 1 - 3 / len(texts)} | dict.fromkeys(("Cyrillic", "Han", "none"), 1 / len(texts))
    )
    assert domain["titles"]["languages"] == pytest.approx(
        {"en": 1 / len(texts), "de": 1 / len(texts), "fr": 1 / len(texts)}
        | {"undecided": 1 - 3 / len(texts)}
    )


def test_known_items_are_kept(made: Execution[Any]) -> None:
    sketch = read_known_items(made.outputs["statistics"].uri)
    assert sketch.Estimate() == len({row["item_id"] for row in ROWS})


def test_same_however_work_is_divided(
    made: Execution[Any], inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    other = run(StatisticsGen(), tmp_path, inputs, batch_records=7, parts=3)
    first, second = (e.outputs["statistics"] for e in (made, other))
    assert first.fingerprint == second.fingerprint
    for file in ("domain.json", "item_ids.kmv", "Split-eval/FeatureStats.pb"):
        assert (first.uri / file).read_bytes() == (second.uri / file).read_bytes()
    component = StatisticsGen()
    assert component.cache_inputs(made.parameters) == component.cache_inputs(other.parameters)


@pytest.mark.slow
def test_same_from_several_processes(
    made: Execution[Any], inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    workers = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    other = run(StatisticsGen(), tmp_path, inputs, beam_args=workers)
    assert other.outputs["statistics"].fingerprint == made.outputs["statistics"].fingerprint


def test_sketches_stay_within_their_bounds(tmp_path: Path) -> None:
    users = {f"user {u}": ["a", "b", "c"] for u in range(5_000)}
    inputs = {
        "examples": write_examples(tmp_path / "examples", users),
        "items": write_items(tmp_path / "items", titled({"a": "A", "b": "B", "c": "C"})),
    }
    made = run(StatisticsGen(), tmp_path / "made", inputs, sketch_buckets=1024)
    found = features(made, "eval")["user_id",].string_stats
    assert abs(found.unique - 5_000) / 5_000 < 4 / math.sqrt(1022)
    assert not found.top_values  # all of them once: none is known to be frequent


def test_other_inputs_are_told(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    items = inputs["items"]
    other = Artifact(items.type, items.uri, items.fingerprint, {"domain": "toys"})
    with pytest.raises(DataError, match="'shop', the items of 'toys'"):
        run(StatisticsGen(), tmp_path / "1", inputs | {"items": other})
    missing = Artifact(items.type, tmp_path, "", {"domain": "shop"})
    with pytest.raises(MissingDataError, match="Split-all"):
        run(StatisticsGen(), tmp_path / "2", inputs | {"items": missing})
    with pytest.raises(EmptyDomainError):
        nobody = write_examples(tmp_path / "nobody", {})
        run(StatisticsGen(), tmp_path / "3", inputs | {"examples": nobody})


def test_damaged_records_are_told(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    items = write_items(tmp_path / "items", ROWS, shards=1)
    (file,) = items.uri.glob("*/*.gz")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="ExampleGen wrote 122 items|cannot be read"):
        run(StatisticsGen(), tmp_path / "made", inputs | {"items": items})


def test_odd_values_are_counted(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    """No UTF-8, no numbers, and a feature that has two types."""
    rows = [
        {"item_id": "a", "internal_id": 1, "title": b"caf\xe9", "price": [0.5, float("nan")]},
        {"item_id": "b", "internal_id": "two", "title": "tea", "price": 2.0},
    ]
    items = write_items(tmp_path / "items", rows)
    given = inputs | {"items": items}
    made = run(StatisticsGen(), tmp_path / "made", given, batch_records=1)
    found = features(made, "all")
    assert found["title",].string_stats.invalid_utf8_count == 1
    price = found["price",].num_stats
    assert (price.mean, price.std_dev, price.min, price.max) == (1.25, 0.75, 0.5, 2.0)
    assert [histogram.num_nan for histogram in price.histograms] == [1, 1]
    kinds = {kept.name: kept.num for kept in found["internal_id",].custom_stats}
    assert kinds == {"values of type bytes": 1, "values of type int": 1}
    assert finished(made, "statistics").properties["items"] == 2


@given(st.lists(st.integers(0, 50), min_size=1), st.floats(0, 1))
def test_quantiles_are_numpys(values: list[int], share: float) -> None:
    expected = np.quantile(values, round(share, 3), method="inverted_cdf")
    assert quantiles(Counter(values), [round(share, 3)]) == [expected]


@given(st.lists(st.integers(1, 50), min_size=1))
def test_gini_is_the_mean_difference(values: list[int]) -> None:
    array = np.array(values, float)
    expected = np.abs(array[:, None] - array).mean() / (2 * array.mean())
    assert gini(Counter(values)) == pytest.approx(expected)
    assert share_of_most_popular(Counter(values), 1.0) == 1.0
