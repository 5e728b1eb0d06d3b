"""The front door with all real rooms: `assay.gateway.Guard` in front of a FastAPI application under uvicorn."""

from __future__ import annotations

import http.client
import json
from contextlib import contextmanager

from fastapi import FastAPI

import assay.gateway
from asgi_making import served
from assay.cli import main
from gateway_making import PATIENCE

GATEWAY = """
assay-gateway: 1
callers: {keys: keys.json}
plans: {default: {rate: 5/d, burst: 5}}
routes: [{protocol: json, path: /predict}, {protocol: json, path: /labels, harden: label-only}]
log: {file: access.log}
detect: {mode: count}
capture: {folder: captured, format: [jsonl], roll: 1s}
"""


@contextmanager
def service(folder):
    """Where it is served, and the key of somebody who may ask five times a day."""
    (folder / "gateway.yaml").write_text(GATEWAY)
    assert main.main(["gateway", "keys", "create", "-O", "key", "-f", "keys.json", "--owner", "ann"]) == 0
    app = FastAPI()

    @app.post("/predict")
    @app.post("/labels")
    async def predict(body: dict) -> dict:
        return {"predictions": [[0.125, 0.875] for _ in body["instances"]]}

    @app.get("/internal")
    async def internal() -> dict:
        raise AssertionError("nobody reaches what is not listed")

    app.add_middleware(assay.gateway.Guard, config="gateway.yaml")
    with served(app) as where:
        yield where, (folder / "key").read_text().strip()


def asked(place, path, key=None, method="POST", body=b'{"instances": [[1.5, 2], [3, 4]]}'):
    connection = http.client.HTTPConnection(place, timeout=PATIENCE)
    headers = {"content-type": "application/json"} | ({"x-api-key": key} if key else {})
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    data = json.loads(answer.read())
    connection.close()
    return answer, data


def test_all_rooms_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with service(tmp_path) as (where, key):
        _ask(where, key)
    lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
    assert [int(line["status"]) for line in lines] == [200, 200, 401, 401, 404, 404, 405, 400, 200, 200, 200, 429, 429]
    assert key not in (tmp_path / "access.log").read_text()
    kept = [line for path in (tmp_path / "captured").rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert len(kept) == 5, "each answer, and no refusal"
    assert all("0.875" in line for line in kept), "the model's own answers, the hardened one too"


def _ask(where, key):
    assert asked(where, "/predict", key)[1] == {"predictions": [[0.125, 0.875]] * 2}
    hardened = asked(where, "/labels", key)[1]
    assert "0.875" not in json.dumps(hardened) and len(hardened["predictions"]) == 2
    for path, given, method, status in (
        ("/predict", None, "POST", 401),
        ("/predict", key[:-1] + ("a" if key[-1] != "a" else "b"), "POST", 401),
        ("/internal", key, "GET", 404),
        ("/docs", key, "GET", 404),
        ("/predict", key, "GET", 405),
        ("/predict/../internal", key, "GET", 400),
    ):
        answer, data = asked(where, path, given, method)
        assert (answer.status, data["error"]["code"]) == (status, status), path
    codes = [asked(where, "/predict", key)[0].status for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429], "two were asked before, and five a day are allowed"
