"""`assay.gateway.Guard` under a real uvicorn: mistakes end the start, a kill loses little, what was decided lasts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest
from starlette.applications import Starlette

import assay.gateway
from assay.errors import AssayError
from gateway_making import BODY, PATIENCE, Gateway, attested_model, away_from_midnight, free_port, until

SERVICE = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
import assay.gateway

async def predict(request):
    body = await request.json()
    return JSONResponse({"predictions": [[0.25, 0.75] for _ in body["instances"]]})

app = Starlette(routes=[Route("/v1/models/m:predict", predict, methods=["POST"])])
app.add_middleware(assay.gateway.Guard, config="gateway.yaml")
"""


class Service(Gateway):
    """A service in Python with the gateway inside."""

    def __init__(self, folder, **changes):
        super().__init__(folder, "", **changes)
        (folder / "service.py").write_text(SERVICE)

    def start(self, *flags, wait=True):
        self.port = free_port()
        words = ["-m", "uvicorn", "service:app", "--port", str(self.port), "--no-proxy-headers", *flags]
        with open(self.said, "ab") as said:
            self.process = subprocess.Popen([sys.executable, *words], cwd=self.folder, stdout=said, stderr=said)
        if wait:
            until(lambda: self.status() or self.process.poll() is not None, self.words())
            assert self.process.poll() is None, self.words()
        return self


@pytest.fixture
def service(tmp_path):
    made = Service(tmp_path, admin=None)
    try:
        yield made
    finally:
        made.close()


def test_limits_and_log_are_whole_after_a_stop(service):
    away_from_midnight()
    service.write(plans={"default": {"requests": {"day": 6}}})
    service.start()  # which asks once
    assert [service.status() for _ in range(7)] == [200] * 5 + [429] * 2
    assert service.end() in (0, -signal.SIGTERM)
    assert len(service.lines()) == 8
    service.start()
    assert service.status() == 429, "quotas outlive the service"
    assert service.end(signal.SIGKILL)
    service.start()
    assert service.status() == 429
    assert service.end() in (0, -signal.SIGTERM)
    assert "Traceback" not in service.words()


def test_several_processes_share_limits(service):
    away_from_midnight()
    service.write(plans={"default": {"requests": {"day": 20}}})
    service.start("--workers", "2")
    statuses = [service.status() for _ in range(25)]
    assert statuses.count(200) == 19, "one was asked by whoever looked whether it listens"
    service.end()
    ids = [line["extendedRequestId"] for line in service.lines()]
    assert len(ids) == len(set(ids)) == 26


def test_an_unproved_model_is_not_served_and_one_that_is_restored_is(service, tmp_path):
    service.write(model=attested_model(tmp_path))
    weights = tmp_path / "model" / "weights.bin"
    good = weights.read_bytes()
    weights.write_bytes(b"another")
    service.start()
    until(lambda: "is not served" in service.words())
    assert service.status() == 503
    weights.write_bytes(good)
    until(lambda: service.status() == 200)
    weights.write_bytes(b"another")
    until(lambda: service.status() == 503)
    assert service.end() in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    "changes",
    [
        {"no-such-key": 1},
        {"callers": {"keys": "none.json"}},
        {"log": {"file": "none/a.log"}},
        {"capture": {"folder": "gateway.yaml/x"}},
        {"state": "gateway.yaml/x"},
        {"detect": {"mode": "enforce", "calibration": "none"}},
    ],
)
def test_a_mistake_ends_the_start(tmp_path, monkeypatch, changes):
    monkeypatch.chdir(tmp_path)
    Gateway(tmp_path, "", admin=None, **changes)
    with pytest.raises(AssayError) as raised:
        assay.gateway.Guard(Starlette(), config="gateway.yaml")
    assert "\n" not in raised.value.message
    assert set(os.listdir(tmp_path)) == {"gateway.yaml"}, "nothing was made"


def test_a_mistake_ends_the_servers_start_with_its_sentence(service):
    service.write(plans={}, callers={"anonymous": "gold"})
    service.start(wait=False)
    assert service.process.wait(PATIENCE) != 0
    assert "there is no plan 'gold'" in service.words()


def test_damaged_standings_end_the_start(service, tmp_path):
    service.write(detect={"mode": "count"})
    service.start()
    assert service.end() in (0, -signal.SIGTERM)
    place = tmp_path / "gateway-state" / "standings.json"
    assert json.loads(place.read_text())["version"] == 1
    place.write_text("{")
    service.start(wait=False)
    assert service.process.wait(PATIENCE) != 0
    assert "it says who is blocked" in service.words()


async def _asked(guard):
    """Status of one request to an ASGI application that nobody has started."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/models/m:predict", "raw_path": b"/v1/models/m:predict"}
    scope |= {"query_string": b"", "headers": [(b"content-type", b"application/json")], "http_version": "1.1"}
    await guard(scope | {"client": ("127.0.0.1", 1), "scheme": "http"}, receive, send)
    return sent[0]["status"]


def test_what_could_not_begin_lets_nobody_through_however_often_it_is_asked(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Gateway(tmp_path, "", admin=None)
    guard = assay.gateway.Guard(Starlette(), config="gateway.yaml")
    state = tmp_path / "gateway-state"
    state.mkdir(mode=0o700)
    (state / "standings.json").write_text("{")  # after the check
    assert [asyncio.run(_asked(guard)) for _ in range(3)] == [500] * 3
    said = capfd.readouterr().err
    assert said.count("lets nobody through") == 1 and "Traceback" not in said
    with pytest.raises(AssayError, match="who is blocked"):
        assay.gateway.Guard(Starlette(), config="gateway.yaml")


def test_without_requests_nothing_is_made_and_close_is_harmless(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Gateway(tmp_path, "", admin=None)
    guard = assay.gateway.Guard(Starlette(), config="gateway.yaml")
    guard.close()
    guard.close()
    assert os.listdir(tmp_path) == ["gateway.yaml"]
