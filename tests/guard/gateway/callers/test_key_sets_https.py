"""Key sets over HTTPS: fetched beside the requests, within bounds, from nobody but who TLS proves."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from assay.guard.gateway.callers import build
from assay.guard.gateway.callers.directory import FAILED, UNAVAILABLE, Directory
from assay.guard.gateway.callers.key_sets import MAX_BYTES
from assay.guard.gateway.interface import Caller, Decision
from guard.gateway.callers.making import ISSUER, NOW, Provider, ask, settings
from small_ca import root


class Issuer(ThreadingHTTPServer):
    """An identity provider's web server, which answers what it is told to."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.status = 200
        self.headers: dict[str, str] = {}
        self.data = b""
        self.short = 0
        self.asked: list[Any] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not trust us is what some tests want."""


class Handler(BaseHTTPRequestHandler):
    server: Issuer

    def do_GET(self) -> None:
        issuer = self.server
        issuer.asked.append(self.headers)
        tag = issuer.headers.get("ETag")
        same = tag is not None and self.headers.get("If-None-Match") == tag
        self.send_response(304 if same else issuer.status)
        for name, value in issuer.headers.items():
            self.send_header(name, value)
        data = b"" if same else issuer.data
        if not same:
            self.send_header("Content-Length", str(len(data) + issuer.short))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Place:
    """A directory that follows such a server, with a clock of its own."""

    def __init__(self, folder: Path, issuer: Issuer, provider: Provider, **more: Any) -> None:
        self.now = NOW
        self.issuer = issuer
        self.provider = provider
        address = f"https://127.0.0.1:{issuer.server_address[1]}/jwks"
        one = {"issuer": ISSUER, "audience": ["gateway"], "jwks": address, "refresh": "300s", **more}
        self.directory: Directory = build(settings(folder, {"jwt": [one]}), clock=lambda: self.now)

    def refresh(self, after: float = 0) -> None:
        """Once, and wait until the fetch that it began has ended."""
        self.now += after
        self.directory.refresh()
        for thread in threading.enumerate():
            if thread.name == "assay-key-set":
                thread.join()

    def who(self, token: str) -> Caller | Decision:
        return self.directory.identify(ask(self.now, authorization=f"Bearer {token}"))

    @property
    def problem(self) -> str:
        return self.directory.figures().key_sets[0].problem


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture
def issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    authority = root("idp", start=_long_ago(), end=_far())
    leaf = authority.leaf(
        "idp",
        names=[x509.IPAddress(ip_address("127.0.0.1"))],
        purposes=[ExtendedKeyUsageOID.SERVER_AUTH],
        start=_long_ago(),
        end=_far(),
    )
    (tmp_path / "server.pem").write_bytes(leaf.chain_pem + leaf.key_pem)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    server = Issuer(context)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def place(tmp_path: Path, issuer: Issuer, provider: Provider) -> Place:
    issuer.data = provider.jwks("es")
    return Place(tmp_path, issuer, provider)


def _long_ago() -> Any:
    from datetime import UTC, datetime

    return datetime(2020, 1, 1, tzinfo=UTC)


def _far() -> Any:
    from datetime import UTC, datetime

    return datetime(2090, 1, 1, tzinfo=UTC)


def test_a_set_is_fetched_in_another_thread(place: Place) -> None:
    token = place.provider.token()
    assert place.who(token) is UNAVAILABLE and not place.issuer.asked, "a request never fetches"
    place.refresh()
    assert isinstance(place.who(token), Caller) and place.directory.ready()
    for _ in range(5):
        place.refresh(1)
    assert len(place.issuer.asked) == 1, "not before it is due"
    place.refresh(300)
    assert len(place.issuer.asked) == 2


def test_serving_may_wait_for_the_first_set(place: Place) -> None:
    assert not place.directory.wait(0)
    place.directory.refresh()
    assert place.directory.wait(60)
    assert isinstance(place.who(place.provider.token()), Caller)


def test_a_reload_goes_on_with_the_keys_but_proves_callers_anew(place: Place, tmp_path: Path) -> None:
    place.refresh()
    token = place.provider.token()
    first = place.who(token)
    assert isinstance(first, Caller) and first.plan == "default"
    place.issuer.status = 500
    before = place.directory
    after = Place(tmp_path, place.issuer, place.provider, plan="gold").directory
    after.take_over(before)
    place.directory = after
    second = place.who(token)
    assert isinstance(second, Caller) and second.plan == "gold"
    place.refresh(after=1)
    assert "answered 500" in place.problem and isinstance(place.who(token), Caller)
    other = Place(tmp_path, place.issuer, place.provider, algorithms=["RS256"]).directory
    other.take_over(before)
    assert other.identify(ask(place.now, authorization=f"Bearer {token}")) is UNAVAILABLE
    assert not other.ready(), "with other algorithms it is another set"


def test_an_unknown_key_asks_for_a_refresh_at_most_every_ten_seconds(place: Place) -> None:
    place.refresh()
    place.provider.keys["es9"] = Provider().keys["es"]
    new = place.provider.token("es9")
    for _ in range(9):
        assert place.who(new) is FAILED
        place.refresh(1)
    assert len(place.issuer.asked) == 1
    place.issuer.data = place.provider.jwks("es", "es9")
    assert place.who(new) is FAILED
    place.refresh(1)
    assert len(place.issuer.asked) == 2 and isinstance(place.who(new), Caller)


def test_a_tag_saves_the_transfer_and_extends_the_life(place: Place) -> None:
    place.issuer.headers["ETag"] = '"v1"'
    token = place.provider.token(exp=NOW + 100_000)
    place.refresh()
    for _ in range(20):
        place.refresh(301)
    assert place.issuer.asked[0].get("If-None-Match") is None
    assert all(headers["If-None-Match"] == '"v1"' for headers in place.issuer.asked[1:])
    assert isinstance(place.who(token), Caller) and place.problem == ""


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ({"status": 500}, "answered 500"),
        ({"status": 404}, "answered 404"),
        ({"status": 304}, "answered 304"),
        ({"data": b"x" * (MAX_BYTES + 1)}, "larger than"),
        ({"data": b"<html>"}, "not JSON"),
        ({"short": 10}, "broke off"),
        ({"status": 302, "headers": {"Location": "http://192.0.2.1/jwks"}}, "answered 302"),
        ({"status": 302, "headers": {"Location": "file:///etc/passwd"}}, "answered 302"),
        ({"status": 302, "headers": {"Location": "/jwks"}}, "answered 302"),
    ],
)
def test_what_goes_wrong_is_told_and_the_last_good_set_goes_on(place: Place, harm: dict[str, Any], said: str) -> None:
    place.refresh()
    good = dict(vars(place.issuer))
    for name, value in harm.items():
        setattr(place.issuer, name, value)
    place.refresh(301)
    assert said in place.problem, place.problem
    assert isinstance(place.who(place.provider.token(exp=NOW + 4000)), Caller)
    for name in harm:
        setattr(place.issuer, name, good[name])
    place.refresh(11)
    assert place.problem == "", "asked again soon"


def test_who_tls_does_not_prove_is_nobody(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.pem").write_bytes(root("other").pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
    place.refresh()
    assert "cannot be reached" in place.problem and not place.issuer.asked
    assert place.who(place.provider.token()) is UNAVAILABLE


def test_a_server_that_is_gone_closes_in_the_end(place: Place) -> None:
    token = place.provider.token(exp=NOW + 100_000)
    place.refresh()
    place.issuer.status = 503
    for _ in range(11):
        place.refresh(300)
        assert isinstance(place.who(token), Caller)
    place.refresh(600)
    assert place.who(token) is UNAVAILABLE
