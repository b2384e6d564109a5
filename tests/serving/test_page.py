"""The page of ``--ui`` in a real browser, over small exports; answers are the client's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import open_browser
from rest_model import ask
from small_models import PATIENCE, config_text

from idp_tf.data.schema import IdMap
from idp_tf.errors import ServingError
from idp_tf.models import SASRec
from serving.client import ServingClient
from serving.export import export_recommender
from serving.server import ModelServer
from serving.server.page import Catalogue, Item

NASTY = "<img src=x onerror=\"document.title='broken'\"> & Co"


@pytest.fixture(scope="module")
def titles(item_ids: IdMap) -> list[str]:
    """By item: one that is HTML, one that is empty, the others with their number."""
    return [NASTY, "", *(f"Guitar {number}" for number in range(2, item_ids.size))]


@pytest.fixture(scope="module")
def served(
    exports: Path,
    sequence_model: SASRec,
    item_ids: IdMap,
    titles: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ModelServer]:
    folder = tmp_path_factory.mktemp("page")
    export_recommender(sequence_model, item_ids, folder, titles=titles)
    names = ("matcher", "cold_start")
    models = [("recommender", folder / "recommender"), *((name, exports / name) for name in names)]
    (folder / "models.config").write_text(config_text(*models))
    with ModelServer(
        folder / "models.config",
        0,
        rest_api_port=-1,
        ui=True,
        enable_model_warmup=False,
        tensorflow_session_parallelism=1,
    ) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as browser:
        yield browser


class Page:
    """The page, and all that it has asked for or complained of."""

    def __init__(self, browser: Any, server: ModelServer):
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page = browser.new_page()
        self.page.set_default_timeout(PATIENCE * 1e3)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.goto(f"{server.rest_url}/ui/")
        self.page.get_by_text("Served here:").wait_for()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def answer(self) -> list[tuple[str, str, str]]:
        """Title, id and score of each recommendation, once they are there."""
        self.page.locator("#answer:not([hidden])").wait_for()
        return [tuple(row) for row in self.cells("#items tr")]

    def matches(self) -> list[tuple[str, list[list[str]]]]:
        """Each title of the history with the source items that it is matched with."""
        self.page.locator("#why:not([hidden])").wait_for()
        titles = self.page.locator("#matches h3").all_inner_texts()
        tables = range(1, len(titles) + 1)
        rows = [self.cells(f"#matches table:nth-of-type({number}) tr") for number in tables]
        return list(zip(titles, rows, strict=True))

    def cells(self, rows: str) -> list[list[str]]:
        return [row.locator("td").all_inner_texts() for row in self.page.locator(rows).all()]


@pytest.fixture
def page(browser: Any, served: ModelServer) -> Iterator[Page]:
    opened = Page(browser, served)
    yield opened
    # It asks nobody but its server, and nothing went wrong that is not shown.
    assert {url.split("/")[2] for url in opened.asked} == {f"127.0.0.1:{served.rest_port}"}
    assert opened.complaints == []
    opened.page.close()


@pytest.fixture(scope="module")
def client(served: ModelServer) -> Iterator[ServingClient]:
    with ServingClient(served.address, timeout=PATIENCE) as client:
        yield client


def test_items_are_picked_by_the_keyboard(
    page: Page, client: ServingClient, item_ids: IdMap, titles: list[str]
) -> None:
    page.type("2 GUI")
    found = page.page.get_by_role("option")
    found.first.wait_for()
    # All whose titles hold "2" and "gui", those of the catalogue's beginning first.
    expected = [title for title in titles if "2" in title]
    assert found.all_inner_texts() == expected
    page.press("ArrowDown", "ArrowDown", "ArrowUp", "ArrowDown", "Enter")
    picked = item_ids.external_ids[titles.index(expected[1])]
    by_id = dict(zip(item_ids.external_ids, titles, strict=True))
    assert page.answer() == [
        (by_id[item_id] or item_id, item_id, f"{score:.3f}")
        for item_id, score in client.recommend([[picked]], k=10)[0]
    ]
    page.page.get_by_text("By their titles the items that were picked are like these").wait_for()
    assert page.matches() == [(expected[1], matched_with(client, expected[1]))]
    assert page.page.get_by_role("list", name="History").inner_text() == f"{expected[1]}×"


def matched_with(client: ServingClient, title: str) -> list[list[str]]:
    """Title, domain and share of each source item."""
    (match,) = client.match([title])
    shares = [f"{100 * weight:.1f} %" for weight in match.weights]
    return [
        list(row) for row in zip(match.source_titles, match.source_domains, shares, strict=True)
    ]


def test_an_item_without_a_title_is_matched_with_nothing(page: Page, item_ids: IdMap) -> None:
    """An export may lack titles; what it is called then is no title."""
    assert page.page.evaluate("id => { add({ id, title: '' }); }", item_ids.external_ids[1]) is None
    page.answer()
    assert page.page.locator("#why").is_hidden()


def test_a_title_that_was_never_seen(page: Page, client: ServingClient) -> None:
    page.type("  Green tea cup ")
    page.press("Enter")
    answer = [(item_id, score) for _, item_id, score in page.answer()]
    expected = client.cold_start([["Green tea cup"]], k=10)[0]
    assert answer == [(item_id, f"{score:.3f}") for item_id, score in expected]
    page.page.get_by_text("Each title stands for a blend of these items").wait_for()
    rows = matched_with(client, "Green tea cup")
    assert len(rows) > 1
    assert page.matches() == [("Green tea cup", rows)]


def test_whatever_is_typed_or_served_is_text(
    page: Page, client: ServingClient, item_ids: IdMap
) -> None:
    page.type("onerror")
    page.page.get_by_role("option").wait_for()
    assert page.page.get_by_role("option").all_inner_texts() == [NASTY]
    page.press("ArrowDown", "Enter")
    page.answer()
    page.type("<b onclick=1>tea</b>")
    page.press("Enter")
    titles = [NASTY, "<b onclick=1>tea</b>"]
    page.page.locator("#matches h3").nth(1).wait_for()
    assert page.page.locator("#matches h3").all_inner_texts() == titles
    history = page.page.locator("#history li").all_inner_texts()
    assert history == [f"{NASTY}×", "<b onclick=1>tea</b> (a title)×"]
    assert page.page.locator("main img, main b").count() == 0
    assert page.page.title() == "Recommendations"
    ids = [item_id for _, item_id, _ in page.answer()]
    assert ids == [item_id for item_id, _ in client.cold_start([titles], k=10)[0]]


def test_a_history_is_taken_back(page: Page) -> None:
    for title in ("red tea", "black pot"):
        page.type(title)
        page.press("Enter")
    assert page.page.locator("#history li").count() == 2
    page.page.get_by_role("button", name="Remove red tea").press("Enter")
    page.answer()
    assert page.page.locator("#history li").all_inner_texts() == ["black pot (a title)×"]
    assert page.page.locator("#text").evaluate("field => field === document.activeElement")
    page.page.get_by_role("button", name="Start again").press("Space")
    assert page.page.locator("#history li").count() == 0
    assert page.page.locator("#answer").is_hidden()


def test_suggestions_go_by_escape(page: Page) -> None:
    page.type("guitar 1")
    page.page.get_by_role("option").first.wait_for()
    page.press("ArrowDown", "Escape")
    assert page.page.get_by_role("listbox").is_hidden()
    page.press("Enter")
    assert page.page.locator("#history li").all_inner_texts() == ["guitar 1 (a title)×"]


def test_an_error_is_shown(browser: Any, launch: Any) -> None:
    server = launch(rest_api_port=-1, ui=True).server
    page = Page(browser, server)
    assert page.page.locator("#models").inner_text() == "Served here: no model of this page."
    page.type("tea")
    page.press("Enter")
    page.page.get_by_text("No model for titles (cold_start) is served.").wait_for()
    page.page.close()


def test_what_the_page_is_told(served: ModelServer, item_ids: IdMap) -> None:
    def tell(path: str) -> Any:
        answer = ask(served.rest_url, path)
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        return json.loads(answer.body)

    assert tell("/ui/models") == {
        "recommender": "recommender",
        "matcher": "matcher",
        "cold_start": "cold_start",
    }
    _, second, third = item_ids.external_ids[:3]
    assert tell(f"/ui/items?id={third}&id=none&id={second}") == [
        {"id": third, "title": "Guitar 2"},
        {"id": second, "title": ""},
    ]
    assert tell("/ui/items?q=%20") == []
    assert len(tell("/ui/items?q=guitar")) == 20
    assert ask(served.rest_url, "/ui").status == 302
    for path in ("/ui/page.py", "/ui/..%2fpage.py", "/ui/none"):
        assert ask(served.rest_url, path).status == 404


def test_without_the_flag_there_is_no_page(launch: Any) -> None:
    assert ask(launch(rest_api_port=-1).server.rest_url, "/ui/").status == 404


def test_search() -> None:
    catalogue = Catalogue([Item("1", "Pot for tea"), Item("2", "TEA pot"), Item("3", "")])
    assert catalogue.search("tea  po", 5) == [Item("2", "TEA pot"), Item("1", "Pot for tea")]
    assert catalogue.search("tea", 1) == [Item("2", "TEA pot")]
    assert catalogue.search(" ", 5) == []


def test_titles_that_do_not_fit(sequence_model: SASRec, item_ids: IdMap, tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="1 titles for 60 items"):
        export_recommender(sequence_model, item_ids, tmp_path, titles=["a"])
