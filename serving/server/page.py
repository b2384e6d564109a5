"""``--ui``: a page on which a person asks the models that are served, by titles or items.

The page is three files without a framework; it asks the REST API that it comes from. What
that does not tell, which models are there and which titles items have, is told here.
"""

from __future__ import annotations

import asyncio
import heapq
import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from aiohttp import web
from tensorflow_serving.apis import model_pb2

from serving.saved_models import EXTRA_FOLDER, TITLES_FILE
from serving.server.inference import ServerCore
from serving.server.loaded_model import LoadedModel
from serving.server.request_checks import RequestError

FOLDER: Final = Path(__file__).parent / "ui"
PATH: Final = "/ui/"
"""Where the page is."""

MOST_FOUND: Final = 20
MOST_IDS: Final = 100

_RECOMMENDER: Final = "recommender"
_ROLES: Final = (_RECOMMENDER, "matcher", "cold_start")
# The exact form first: it is the one that is always there.
_FORMS: Final = ("", "_scann")
_FILES: Final = {
    "": ("index.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Item(NamedTuple):
    """An item of the catalogue."""

    item_id: str
    title: str


class Catalogue:
    """The titles of one version's items.

    Args:
        items: All of them, in the order of the export.

    Example:
        >>> catalogue = Catalogue([Item("1", "Green tea"), Item("2", "Tea pot, green")])
        >>> [item.item_id for item in catalogue.search("GREEN te", 5)]
        ['1', '2']
    """

    def __init__(self, items: list[Item]):
        self._items = {item.item_id: item for item in items}
        self._folded = [(item.title.casefold(), item) for item in items if item.title]

    def search(self, text: str, most: int) -> list[Item]:
        """Items whose titles hold every word; those that begin with the text come first."""
        text = " ".join(text.casefold().split())
        words = text.split()
        found = (
            (not title.startswith(text), place, item)
            for place, (title, item) in enumerate(self._folded)
            if all(word in title for word in words)
        )
        return [item for *_, item in heapq.nsmallest(most, found)] if words else []

    def named(self, item_ids: list[str]) -> list[Item]:
        """The items of these ids; ids that are not there are left out."""
        return [self._items[item_id] for item_id in item_ids if item_id in self._items]


class Page:
    """Answers what is asked below ``/ui/``.

    Args:
        core: The models.
    """

    def __init__(self, core: ServerCore):
        self._core = core
        self._folder: Path | None = None
        self._catalogue = Catalogue([])
        self._lock = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """What is added to the application."""
        return [
            web.get("/ui", _to_page),
            web.get(PATH + "models", self._tell_models),
            web.get(PATH + "items", self._tell_items),
            web.get(PATH + "{name:[a-z.]*}", _send_file),
        ]

    async def _tell_models(self, _: web.Request) -> web.Response:
        return _json({role: self._find(role)[0] or None for role in _ROLES})

    async def _tell_items(self, request: web.Request) -> web.Response:
        catalogue = await self._current()
        if "q" in request.query:
            text = request.query["q"]
            # Of 100,000 titles, 50 ms: not in the event loop.
            found = await asyncio.to_thread(catalogue.search, text, MOST_FOUND)
        else:
            found = catalogue.named(request.query.getall("id", [])[:MOST_IDS])
        return _json([{"id": item.item_id, "title": item.title} for item in found])

    async def _current(self) -> Catalogue:
        """The titles of the recommender that is served now."""
        name, model = self._find(_RECOMMENDER)
        async with self._lock:
            if name and model is not None and model.folder != self._folder:
                self._catalogue = await asyncio.to_thread(read_catalogue, model.folder)
                self._folder = model.folder
            return self._catalogue

    def _find(self, role: str) -> tuple[str, LoadedModel | None]:
        """The name of the model for a role that answers, "" for none, and its latest version."""
        for form in _FORMS:
            try:
                with self._core.manager.acquire(model_pb2.ModelSpec(name=role + form)) as found:
                    return role + form, found[1]
            except RequestError:
                continue
        return "", None


def read_catalogue(version: Path) -> Catalogue:
    """The titles that an export holds; none, if it was written without."""
    try:
        text = (version / EXTRA_FOLDER / TITLES_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return Catalogue([])
    return Catalogue([Item(*pair) for pair in json.loads(text)])


async def _to_page(_: web.Request) -> web.Response:
    raise web.HTTPFound(PATH)


async def _send_file(request: web.Request) -> web.Response:
    if request.match_info["name"] not in _FILES:
        raise web.HTTPNotFound
    name, kind = _FILES[request.match_info["name"]]
    content = await asyncio.to_thread((FOLDER / name).read_bytes)
    return web.Response(body=content, content_type=kind, charset="utf-8", headers=_HEADERS)


def _json(value: Any) -> web.Response:
    return web.json_response(value, headers=_HEADERS)
