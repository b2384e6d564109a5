"""The page shows what the report holds, escapes it, and needs nothing from elsewhere."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from idp_tf.workflow.report_page import render_report, write_report_page

METRICS = {"HR@1": 0.1, "HR@5": 0.3, "NDCG@1": 0.1, "NDCG@5": 0.2, "MRR": 0.15}


def row(system: str, ndcg: float, *, protocol: str = "sampled-99", seed: int = 0) -> dict[str, Any]:
    return {
        "system": system,
        "domain": "tea",
        "protocol": protocol,
        "seed": seed,
        "users": 1234,
        "metrics": {**METRICS, "NDCG@5": ndcg},
        "ci95": {"NDCG@5": [ndcg - 0.01, ndcg + 0.01]},
        "seconds": 1.0,
    }


REPORT: dict[str, Any] = {
    "config": {"seed": 0, "model": {"embedding_dim": 64}},
    "domains": {
        "tea": {
            "before": {"users": 2000, "items": 90, "interactions": 9999},
            "after": {"users": 1234, "items": 80, "interactions": 7404},
            "dropped_by_reading": {"rows without a title": 7},
            "filters": [
                {"filter": "k-core", "dropped": {"users": 766, "items": 1, "interactions": 0}}
            ],
            "untitled_items": 3,
        },
        "flat": {"users": 10, "items": 5, "interactions": 40},
    },
    "results": [
        row("idp", 0.2358),
        row("sasrec", 0.2185),
        row("idp", 0.0311, protocol="full"),
        row("sasrec", 0.0285, protocol="full"),
    ],
    "significance": [
        {
            "better": "idp", "than": "sasrec", "metric": "NDCG@5", "p": 0.0004,
            "mean_difference": 0.0173, "ci95": [0.009, 0.026], "domain": "tea",
            "protocol": "sampled-99", "users": 1234, "seeds": {"idp": 3, "sasrec": 3},
        },
        {
            "better": "idp", "than": "sasrec", "metric": "NDCG@5", "p": 0.31,
            "mean_difference": 0.0026, "ci95": [-0.002, 0.007], "domain": "tea",
            "protocol": "full", "users": 1234, "seeds": {"idp": 3, "sasrec": 3},
        },
    ],
    "twins": [
        {
            "domain": "tea", "system": "idp", "twin": "sasrec",
            "comparisons": [
                {"protocol": "full", "metric": "NDCG@10", "mean_difference": -0.0104,
                 "ci95": [-0.0151, -0.0057], "p": 0.0002, "users": 1234,
                 "seeds": {"idp": 3, "sasrec": 3}, "verdict": "loss"},
            ],
        },
        {"domain": "tea", "system": "idp-wo-bcl", "twin": "bert4rec", "comparisons": []},
    ],
    "tuning": {
        "tea": [
            {
                "system": system, "seed": seed, "chosen": 3e-4,
                "trials": [
                    {"learning_rate": 3e-4, "value": value, "best_epoch": 4, "epochs": 12,
                     "seconds": 75.0},
                    {"learning_rate": 1e-3, "value": value - 0.1, "best_epoch": 2, "epochs": 9,
                     "seconds": 3.2},
                ],
            }
            for system, seed, value in (("idp", 0, 0.31), ("idp", 1, 0.33), ("sasrec", 0, 0.2))
        ],
        "flat": [],
    },
    "curves": {
        "pretrain": {"epoch": [1, 2, 3], "loss": [0.7, 0.5, 0.4], "val_ndcg@10": [0.1, 0.3, 0.2]},
        "matcher": {"epoch": [1, 2], "loss": [3.0, None]},
        "empty": {"epoch": [], "loss": []},
    },
    "matches": {
        "tea": [
            {
                "target_title": "Green tea tin",
                "matches": [
                    {"source_title": "Tea kettle", "source_domain": "home", "score": 0.7,
                     "weight": 0.61},
                ],
            }
        ]
    },
    "matcher": {
        "recall_untuned": 0.142,
        "recall_tuned": 0.219,
        "recall_at": 20,
        "held_out_items": 77,
        "known_items": 8123,
        "min_interactions": 20,
        "neighbours_across_domains": 0.034,
        "examples": [{"title": "Oolong", "before": ["Mug"], "after": ["Teapot"]}],
    },
    "transfer": {"tea": {"items": 1200, "share_by_source": {"home": 0.75, "toys": 0.25}}},
    "stages": [
        {"name": "prepare", "seconds": 2.0, "reused": False},
        {"name": "pretrain", "seconds": 75.0, "reused": True},
    ],
    "test_openings": {"idp": 1, "sasrec": 1},
    "notes": ["Stamps are ordinal."],
    "demonstration": True,
}  # fmt: skip


class Reader(HTMLParser):
    """Keeps the tags, their attributes and the text, and checks that tags close."""

    VOID = frozenset({"meta", "br", "link", "img", "path", "use", "rect", "circle"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(REPORT)


def test_every_part_is_there(page: str) -> None:
    text = Reader(page).text
    for part in (
        "IDP reaches NDCG@5 0.2358 over 99 sampled negatives; SASRec trained from scratch "
        "reaches 0.2185 (+7.9 %, p < 0.001)",
        "A demonstration.",
        "opened 2 times, once for each system and seed shown",
        "1,200 items got an embedding.", "home 75 %", "neighbour recall@20, on 77 source items",
        "Only the 8,123 source items with at least 20 training interactions are judged",
        "Of all neighbours, 3.4% are of another domain than their item.",
        "IDP, fine-tuned is better than SASRec, from scratch",
        "IDP, fine-tuned is not clearly different from SASRec, from scratch",
        "+0.0090 to +0.0260",
        "IDP, fine-tuned SASRec, from scratch NDCG@10 -0.0104 -0.0151 to -0.0057 p < 0.001 loss",
        "On tea, BERT4Rec, from scratch was not run beside IDP, text encoder untuned",
        "IDP, fine-tuned 1 0.2300 epoch 2 of 9, 3.2 s 0.3300 epoch 4 of 12, 1 min 15 s",
        "Green tea tin", "Tea kettle", "home · 61 %",
        "before tuning 0.142", "after tuning 0.219", "Oolong", "Teapot",
        "rows without a title: 7 ; k-core: 766 users, 1 item",
        "9,999", "6.0",
        "1 min 15 s (reused)",
        "Stamps are ordinal.",
        "embedding_dim: 64",
    ):  # fmt: skip
        assert re.sub(r"\s+", "", part) in text.replace(" ", ""), part


def test_best_is_bold_and_second_underlined(page: str) -> None:
    assert '<td class="best"><span>0.2358</span>' in page
    assert '<td class="second"><span>0.2185</span>' in page
    assert '<td class="best"><span>0.0311</span>' in page


def test_tags_close_and_ids_are_unique(page: str) -> None:
    reader = Reader(page)
    assert reader.open == []
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {
        value[1:] for _, attrs in reader.tags if (value := attrs.get("href") or "").startswith("#")
    }
    assert targets <= set(ids)


def test_nothing_is_fetched_from_elsewhere(page: str) -> None:
    assert "http:" not in page and "https:" not in page and "//" not in page
    assert "@import" not in page
    tags = Reader(page).tags
    assert not [tag for tag, _ in tags if tag in ("script", "link", "img", "iframe", "object")]
    assert not [attrs for _, attrs in tags if "src" in attrs]


def test_plots_have_text_and_follow_the_colours_of_the_page(page: str) -> None:
    plots = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(plots) == 4
    assert "NDCG@5 of 2 systems; the highest is IDP, fine-tuned." in plots[0]
    assert ">0.2358<" in plots[0] and ">0.0311<" in plots[0]
    assert "Validation NDCG@10 of 2 systems by learning rate." in plots[1]
    # As text, once each, the higher line's name above the lower one's.
    assert plots[1].count(">IDP, fine-tuned<") == plots[1].count(">SASRec, from scratch<") == 1
    assert all(f">{rate}<" in plots[1] for rate in ("0.0003", "0.001"))
    assert label_height(plots[1], "IDP, fine-tuned") < label_height(plots[1], "SASRec, from")
    assert "0.3000 at 2" in plots[2]
    assert all("#0a0b0" not in plot and "var(--ink)" in plot for plot in plots)


def label_height(plot: str, words: str) -> float:
    """Where a text stands, from the top."""
    (found,) = re.findall(rf'<text[^>]*?y="([\d.]+)"[^>]*>{words}', plot) or re.findall(
        rf"<text[^>]*?translate\([\d.]+ ([\d.]+)\)[^>]*>{words}", plot
    )
    return float(found)


def test_a_loss_is_marked_as_plainly_as_a_gain(page: str) -> None:
    assert '<span class="verdict loss">loss</span>' in page
    rules = dict(re.findall(r"\.verdict\.(gain|loss) \{ (.*?) \}", page))
    assert all("background:" in rule and "font-weight: 600" in rule for rule in rules.values())
    assert set(rules) == {"gain", "loss"}


def test_the_rate_that_was_kept_is_bold(page: str) -> None:
    assert re.findall(r'<td class="best"><span>([\d.]+)</span><small>epoch', page) == [
        "0.3100", "0.3300", "0.2000",
    ]  # fmt: skip


def test_spread_over_seeds() -> None:
    rows = [row("idp", 0.20, seed=0), row("idp", 0.22, seed=1), row("sasrec", 0.19)]
    text = render_report({"results": rows})
    assert "<span>0.2100</span><small>± 0.0141</small>" in text
    assert "mean ± standard deviation over 1 or 2 seeds" in text


def test_titles_and_names_are_escaped() -> None:
    evil = "<script>alert('x')</script>\"&<img src=x onerror=y>"
    report = copy.deepcopy(REPORT)
    for result in report["results"]:
        result["domain"] = evil
    report["results"].append({**row(evil, 0.3), "domain": evil})
    report["significance"][0]["better"] = evil
    report["matches"] = {
        evil: [
            {
                "target_title": evil,
                "matches": [
                    {"source_title": evil, "source_domain": evil, "score": 1.0, "weight": 1.0}
                ],
            }
        ]
    }
    report["matcher"]["examples"] = [{"title": evil, "before": [evil], "after": [evil]}]
    report["domains"] = {evil: {"users": 1, "items": 1, "interactions": 1}}
    report["curves"] = {evil: {"epoch": [1], "loss": [1.0], evil: [2.0]}}
    report["stages"] = [{"name": evil, "seconds": 1, "reused": False}]
    report["notes"], report["config"] = [evil], {evil: evil}
    report["test_openings"] = {evil: 2}
    report["twins"][0].update(domain=evil, system=evil, twin=evil)
    report["twins"][1].update(domain=evil, system=evil, twin=evil)
    report["tuning"]["tea"][0]["system"] = evil
    report["tuning"][evil] = report["tuning"]["tea"]
    report["transfer"] = {evil: {"share_by_source": {evil: 1.0}}}
    page = render_report(report)
    tags = Reader(page).tags
    assert not [tag for tag, _ in tags if tag in ("script", "img")]
    assert not [attrs for _, attrs in tags if "onerror" in attrs]
    assert "<script" not in page


@pytest.mark.parametrize("missing", [*REPORT, "all"])
def test_a_report_with_parts_missing(missing: str) -> None:
    report = {} if missing == "all" else {k: v for k, v in REPORT.items() if k != missing}
    reader = Reader(render_report(report))
    assert reader.open == []
    assert "None" not in reader.text and "undefined" not in reader.text.lower()


def test_more_openings_than_are_shown_are_named() -> None:
    report = {**REPORT, "test_openings": {"tea": {"idp": 3, "sasrec": 1}}}
    text = Reader(render_report(report)).text
    assert (
        "opened 4 times, more often than is shown here for IDP, fine-tuned (3 for 1 shown)" in text
    )


def test_matcher_with_half_its_fields() -> None:
    text = Reader(render_report({"matcher": {"recall_untuned": 0.1, "recall_tuned": None}})).text
    assert "before tuning" in text and "after tuning" not in text


def test_matcher_with_nothing_to_judge_by() -> None:
    report = {"matcher": {**REPORT["matcher"], "recall_untuned": None, "recall_tuned": None}}
    text = Reader(render_report(report)).text
    assert "there is nothing to judge tuning by" in text and "at least 20 training" in text
    assert "before tuning 0" not in text and "neighbour recall" not in text


def test_written_whole_and_the_same_twice(tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_report_page(REPORT, tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]
