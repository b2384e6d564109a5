"""The REST bodies that each export tells of in its README, asked of a server, against gRPC."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rest_model import ask
from small_models import PATIENCE

from serving.client import ServingClient
from serving.saved_models import EXTRA_FOLDER, README_FILE
from serving.server import ModelServer

BODY = re.compile(r"`POST (/v1/models/\S+:(\w+))`\n\n```json\n(.*?)\n```", re.DOTALL)


@pytest.fixture(scope="module")
def served(exports: Path) -> Iterator[ModelServer]:
    config = exports / "models.config"
    with ModelServer(config, 0, rest_api_port=-1, enable_model_warmup=False) as server:
        yield server


def bodies(exports: Path, model: str) -> list[tuple[str, str, str]]:
    """Path, method and body of each signature."""
    readme = exports / model / "1" / EXTRA_FOLDER / README_FILE
    return BODY.findall(readme.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("model", "signatures"), [("recommender", 6), ("matcher", 1), ("cold_start", 1)]
)
@pytest.mark.parametrize("form", ["", "_scann"])
def test_each_body_of_its_readme(
    served: ModelServer, exports: Path, model: str, form: str, signatures: int
) -> None:
    found = bodies(exports, model + form)
    assert len(found) == signatures
    with ServingClient(served.address, timeout=PATIENCE) as client:
        for path, method, body in found:
            answer = ask(served.rest_url, path, body)
            assert answer.status == 200, (path, body, answer.body)
            told = json.loads(answer.body)
            if method == "predict":
                check_rows(told["predictions"], client, model + form, json.loads(body))
            else:
                assert len(told["results"]) == 1


def check_rows(rows: list[Any], client: ServingClient, model: str, asked: Any) -> None:
    (instance,) = asked["instances"]
    inputs = {name: array(value) for name, value in instance.items()}
    outputs = client.predict(model, inputs, asked["signature_name"])
    # A single output stands without its name.
    (row,) = rows if len(outputs) > 1 else [dict(zip(outputs, rows, strict=True))]
    assert row.keys() == outputs.keys()
    for name, output in outputs.items():
        if output.dtype == np.dtype(object):
            assert row[name] == [text.decode() for text in output[0]]
        else:
            np.testing.assert_allclose(row[name], output[0], rtol=1e-5, atol=1e-6)


def array(value: Any) -> Any:
    """A batch of one; whole numbers are int32 in every signature."""
    if isinstance(value, dict):
        value = base64.b64decode(value["b64"])
    return np.array([value], np.int32 if isinstance(value, int) else object)
