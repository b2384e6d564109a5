"""A picture of the page: ``python tests/serving/screenshot.py EXPORT_FOLDER FILE.png TITLE...``.

It serves what a run has exported, types the titles, and waits for the answer.
"""

from __future__ import annotations

import sys
from pathlib import Path

from browser import open_browser

from serving.model_config import CONFIG_FILE
from serving.server import ModelServer

SIZE = {"width": 900, "height": 1000}


def main(folder: str, file: str, *titles: str) -> None:
    """Takes the picture."""
    config = Path(folder) / CONFIG_FILE
    with ModelServer(config, 0, rest_api_port=-1, ui=True) as server, open_browser() as browser:
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(f"{server.rest_url}/ui/")
        for title in titles:
            page.fill("#text", title)
            page.keyboard.press("Enter")
        page.locator("#why:not([hidden])").wait_for()
        page.screenshot(path=file, full_page=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
