"""`assay gateway status`, `block`, `deny` and so on, against a real admin API."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.cli.main import main
from assay.guard.gateway import settings
from assay.guard.gateway.admin import AdminServer, places
from assay.guard.gateway.admin.redaction import shown
from assay.guard.gateway.interface import Level, Standing
from guard.gateway.admin.memory import Memory


class Place:
    """A gateway file, and its admin API at work."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.operations = Memory()
        (folder / "gateway.yaml").write_text("assay-gateway: 1\nadmin: {listen: 'unix:a.sock', token: a.token}\n")
        listen, token = places.configured(settings.load(str(folder / "gateway.yaml")))
        self.token = token
        self.server = AdminServer(self.operations, listen, token)
        self.server.start()
        self._capsys = capsys

    def run(self, *words: str, code: int = 0) -> tuple[str, str]:
        assert main(["gateway", *words]) == code
        return self._capsys.readouterr()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    made = Place(tmp_path, capsys)
    yield made
    made.server.stop()


def test_an_operators_day(place: Place) -> None:
    operations = place.operations
    assert "serving, 2 workers\nmodel abab" in place.run("status")[0]
    assert json.loads(place.run("status", "--json")[0])["proof"]["verdict"] == "pass"
    out, _ = place.run("callers")
    assert "harden   key:a (team)  5 requests (1 refused), 9 rows" in out and "ood 0.50" in out
    assert "block, until a person ends it" in place.run("block", "key:a", "--why", "scraping")[0]
    assert operations.standing["key:a"] == Standing(Level.BLOCK, math.inf, "scraping")
    assert "until 1970" in place.run("block", "key:a", "--why", "x", "--level", "approve", "--for", "1h")[0]
    assert operations.standing["key:a"].until == 4600.0
    assert "approved key:a" in place.run("approve", "key:a", "--why", "asked them")[0]
    assert "nothing stands against" in place.run("release", "key:a", "--why", "x", code=2)[1]
    place.run("block", "key:a", "--why", "x", "--json")
    assert "released" in place.run("release", "key:a", "--why", "mistake")[0]
    assert operations.did[-1] == ("release", "key:a", "mistake")
    assert "nothing has changed" in place.run("reload")[0]
    assert "192.0.2.0/24 is refused" in place.run("deny", "192.0.2.7/24", "--why", "scan", "--for", "7d")[0]
    assert "192.0.2.0/24  until 1970-01-08" in place.run("deny")[0]
    assert "no longer" in place.run("deny", "192.0.2.0/24", "--remove")[0]
    assert "no address" in place.run("deny")[0]


def test_another_place_by_flags(place: Place, tmp_path: Path) -> None:
    other = AdminServer(Memory(), "127.0.0.1:0", str(tmp_path / "other.token"))
    other.start()
    try:
        where = ("--admin", other.address, "--token", "other.token")
        assert "serving" in place.run("status", *where)[0]
        _, told = place.run("status", "--admin", other.address, code=2)
        assert "token is missing or wrong" in told
    finally:
        other.stop()


def test_what_is_wrong_is_a_sentence(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--why is needed" in place.run("deny", "192.0.2.1", code=2)[1]
    assert "no IPv4 or IPv6" in place.run("deny", "nowhere", "--why", "x", code=2)[1]
    assert "no span of time" in place.run("deny", "192.0.2.1", "--why", "x", "--for", "soon", code=2)[1]
    assert "no address to do" in place.run("deny", "--remove", code=2)[1]
    place.operations.bad_file = True
    assert "no plan 'x'" in place.run("reload", code=2)[1]
    place.operations.ready = False
    out, _ = place.run("status", code=1)
    assert "not serving" in out and "the model is not proved" in out
    place.server.stop()
    assert "no gateway answers" in place.run("status", code=3)[1]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "which gateway?" in place.run("status", code=2)[1]


def test_the_configuration_is_shown_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("""\
assay-gateway: 1
upstream: https://model.example
plans: {default: {rate: 100/60s}}
redis: {url: 'rediss://:hunter4@cache.example:6379/0'}
otlp: {endpoint: 'https://collector.example/v1/metrics?key=hunter5'}
callers: {jwt: [{issuer: 'https://idp.example', audience: [a], jwks: 'https://idp.example/k?token=hunter6'}]}
alerts: {sinks: {chat: {url: 'https://chat.example/hunter7', token: hunter8}}}
""")
    text = json.dumps(shown(settings.load(str(tmp_path / "gateway.yaml"))))
    assert "hunter" not in text
    for part in ("model.example", "cache.example:6379", "100/60s", "https://idp.example", "chat"):
        assert part in text
