"""HTTP on loopback in front of a deployment, with faults that a test can switch on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature

from sigstore_double.ct import CertificateLog
from sigstore_double.deployment import Deployment
from sigstore_double.fulcio import Refused
from sigstore_double.rekor import Rekor
from sigstore_double.timestamp import TimestampAuthority


@dataclass
class Faults:
    """What is wrong with the services; nothing by default."""

    broken: set[str] = field(default_factory=set)
    """Of ``fulcio``, ``rekor``, ``tsa``: answer 503."""
    ct: CertificateLog | None = None
    """A log that nobody trusts promises the certificates."""
    rekor: Rekor | None = None
    """A log that nobody trusts takes the entries."""
    tsa: TimestampAuthority | None = None
    """An authority that nobody trusts stamps."""


@dataclass
class Server:
    """A running deployment."""

    deployment: Deployment
    trust_config: Path
    """Client trust configuration, as a file."""
    trusted_root: Path
    """``trusted_root.json``."""
    faults: Faults = field(default_factory=Faults)
    requests: list[str] = field(default_factory=list)
    """Paths asked for, in order."""

    @property
    def issuer(self) -> str:
        """The identity provider."""
        return self.deployment.url

    def token(self, email: str = "alice@example.com", **options: Any) -> str:
        """An identity token."""
        return self.deployment.provider.token(email, **options)

    @contextmanager
    def failing(self, **faults: Any) -> Iterator[None]:
        """Faults for the length of a block."""
        self.faults = Faults(**faults)
        self.deployment.fulcio.log = self.faults.ct or self.deployment.ct
        try:
            yield
        finally:
            self.faults = Faults()
            self.deployment.fulcio.log = self.deployment.ct

    def get(self, path: str) -> tuple[str, bytes]:
        """The answer to a GET: its media type and body, or ``redirect`` and an address."""
        provider = self.deployment.provider
        parts = urlsplit(path)
        if parts.path == "/auth":
            return "redirect", provider.authorize(parts.query).encode()
        answers: dict[str, Callable[[], Any]] = {
            "/.well-known/openid-configuration": provider.configuration,
            "/keys": provider.keys,
            "/job-token": lambda: provider.for_job(path),
        }
        return "application/json", json.dumps(answers[parts.path]()).encode()

    def post(self, path: str, body: bytes, authorization: str) -> tuple[str, bytes]:
        """The answer to a POST: its media type and body."""
        double = self.deployment
        if path == "/api/v1/timestamp":
            return "application/timestamp-reply", (self.faults.tsa or double.tsa).answer(body)
        answers: dict[str, Callable[[], Any]] = {
            "/api/v2/signingCert": lambda: double.fulcio.answer(json.loads(body), authorization),
            "/api/v2/log/entries": lambda: (self.faults.rekor or double.rekor).answer(json.loads(body)),
            "/token": lambda: double.provider.exchange(body.decode()),
        }
        return "application/json", json.dumps(answers[path]()).encode()


SERVICES = {"/api/v2/signingCert": "fulcio", "/api/v2/log/entries": "rekor", "/api/v1/timestamp": "tsa"}


def _handler(served: Callable[[], Server]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            return

        def do_GET(self) -> None:
            self.respond(lambda: served().get(self.path), 200)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.respond(lambda: served().post(self.path, body, self.headers.get("Authorization", "")), 201)

        def respond(self, answer: Callable[[], tuple[str, bytes]], status: int) -> None:
            server, kind, headers = served(), "application/json", {}
            server.requests.append(urlsplit(self.path).path)
            try:
                if SERVICES.get(self.path) in server.faults.broken:
                    status, out = 503, b'{"code": 14, "message": "out of order"}'
                else:
                    kind, out = answer()
                if kind == "redirect":
                    status, headers, out = 302, {"Location": out.decode()}, b""
            except Refused as error:
                status, out = 401, json.dumps({"code": 16, "message": str(error)}).encode()
            except (ValueError, KeyError, InvalidSignature) as error:
                status, out = 400, json.dumps({"code": 3, "message": repr(error)}).encode()
            self.send_response(status)
            for name, value in ({"Content-Type": kind, "Content-Length": str(len(out))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(out)

    return Handler


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A deployment that answers on a free port of 127.0.0.1; ``folder`` gets its configuration files."""
    made: list[Server] = []
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(lambda: made[0]))
    deployment = Deployment(f"http://127.0.0.1:{http.server_port}")
    config, root = folder / "trust_config.json", folder / "trusted_root.json"
    config.write_text(json.dumps(deployment.client_trust_config()))
    root.write_text(json.dumps(deployment.trusted_root()))
    made.append(Server(deployment, config, root))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made[0]
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
