"""Findings and settings for the tests of alerts, a server that keeps what it gets, and other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import assay
from assay.alerts.finding import Alert, Finding, Severity, State
from assay.alerts.settings import Settings, parse

NOW = datetime(2026, 6, 1, 12, 0, 0, 123000, tzinfo=UTC)


def finding(key: str = "licence", severity: str = "high", **changes: Any) -> Finding:
    values: dict[str, Any] = {
        "title": f"Rule {key} does not pass",
        "message": "the licence is GPL-3.0, and only MIT is allowed",
        "source": "policy ml-baseline",
        "target_name": "my-model",
        "target_sha256": "ab" * 32,
        "mitigation": "choose a model with another licence",
        "frameworks": {"atlas": ("AML.T0010",)},
        "details": {"rule": key},
        "url": "https://example.com/rules/licence",
    }
    return Finding(key=key, severity=Severity(severity), **{**values, **changes})


def alert(state: str = "new", **changes: Any) -> Alert:
    return Alert("5f0c7f0e-6f59-4a1e-8a7e-000000000001", State(state), NOW, "verify my-model", finding(**changes))


def settings(folder: Path, *sinks: dict[str, Any], **more: Any) -> Settings:
    return parse({"sinks": list(sinks), **more}, str(folder / "assay.yaml"))


class Receiver:
    """A server on this machine: answers with ``status`` and keeps (path, headers, body)."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 204
        self.headers: dict[str, str] = {}
        self.before: Callable[[], None] = lambda: None
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                receiver.before()
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"


@contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


def run_python(code: str, *arguments: object, **variables: str) -> subprocess.Popen[bytes]:
    """Another process that can import assay and this module."""
    path = os.pathsep.join([str(Path(assay.__file__).parent.parent), str(Path(__file__).parent.parent)])
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> bytes:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    return out


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait for something that another process does; the limit only ends a test that has failed anyway."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
