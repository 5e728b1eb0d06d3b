"""A real gateway as a process of its own, in front of a small model server, on loopback and in a temporary folder."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from ports import free_port as free_port

BODY = b'{"instances": [[1.0, 2.0], [3.0, 4.0]]}'
PATIENCE = 60.0
"""Seconds that a condition may take on a busy machine; nothing waits longer than it has to."""


def until(condition: Callable[[], Any], what: str = "") -> Any:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"it never came to be: {what}")


class _Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    held: threading.Event
    entered: threading.Semaphore

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.headers.get("x-wait"):
            self.entered.release()
            self.held.wait(PATIENCE)
        rows = body.get("instances", [])
        data = json.dumps({"predictions": [[0.25, 0.75] for _ in rows]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


class _Models(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *_: Any) -> None: ...


class ModelServer:
    """Answers KServe's first protocol; requests with ``x-wait`` are held until `let_go`."""

    def __init__(self) -> None:
        handler = type("Handler", (_Model,), {"held": threading.Event(), "entered": threading.Semaphore(0)})
        self.handler: Any = handler
        self.server = _Models(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def let_go(self) -> None:
        self.handler.held.set()

    def close(self) -> None:
        self.let_go()
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def model_server() -> Iterator[ModelServer]:
    made = ModelServer()
    try:
        yield made
    finally:
        made.close()


class Gateway:
    """A gateway file and the process that serves by it."""

    def __init__(self, folder: Path, upstream: str, **changes: Any) -> None:
        self.folder = folder
        self.port = free_port()
        self.file = folder / "gateway.yaml"
        self.settings: dict[str, Any] = {
            "assay-gateway": 1,
            "upstream": upstream,
            "listen": [f"127.0.0.1:{self.port}"],
            "callers": {"anonymous": "default"},
            "routes": [{"protocol": "kserve-v1"}],
            "log": {"file": "access.log"},
            "detect": {"mode": "off"},
            "admin": {},
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.said = folder / "said.txt"
        """What it wrote to standard error, all starts together."""
        self.write(**changes)

    def write(self, **changes: Any) -> None:
        """The file, with keys changed; None takes one away."""
        self.settings |= changes
        self.settings = {key: value for key, value in self.settings.items() if value is not None}
        temporary = self.file.with_suffix(".new")
        temporary.write_text(yaml.safe_dump(self.settings))
        temporary.rename(self.file)

    @property
    def log(self) -> Path:
        return self.folder / "access.log"

    def start(self, *flags: str, wait: bool = True) -> Gateway:
        """Start it, and wait until it says that it listens."""
        before = self.words()
        command = [sys.executable, "-m", "assay", "gateway", "--config", str(self.file), *flags]
        with open(self.said, "ab") as said:
            self.process = subprocess.Popen(command, cwd=self.folder, stderr=said, stdout=said)
        if wait:
            until(lambda: "the gateway listens on" in self.words()[len(before) :] or self.process.poll() is not None)
            assert self.process.poll() is None, self.words()
        return self

    def words(self) -> str:
        return self.said.read_text() if self.said.exists() else ""

    def end(self, number: int = signal.SIGTERM) -> int:
        """Stop it; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()  # what is left of it ends by itself
            self.process.wait(PATIENCE)

    def children(self) -> list[int]:
        """Process ids: the keeper's first, then the workers'."""
        assert self.process is not None
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(pid) for pid in Path(path).read_text().split()]

    def ask(self, body: bytes = BODY, path: str = "/v1/models/m:predict", **headers: str) -> tuple[int, Any]:
        """One request on a connection of its own: status and document."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("POST", path, body, {"content-type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def status(self, **headers: str) -> int:
        """Of one prediction; 0 where nobody answers."""
        try:
            return self.ask(**headers)[0]
        except (OSError, http.client.HTTPException):
            return 0

    def administer(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`assay gateway WORDS` for this gateway."""
        command = [sys.executable, "-m", "assay", "gateway", *words, "--config", str(self.file)]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def lines(self) -> list[dict[str, Any]]:
        """The access log, without a last line that is being written."""
        whole = self.log.read_bytes().rpartition(b"\n")[0] if self.log.exists() else b""
        return [json.loads(line) for line in whole.splitlines()]


class Load:
    """Callers who ask again and again, each on a new connection, until they are told to stop."""

    def __init__(self, made: Gateway, threads: int = 4) -> None:
        self.made, self.over = made, threading.Event()
        self.statuses: list[int] = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._ask) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def _ask(self) -> None:
        while not self.over.is_set():
            status = self.made.status()
            with self.lock:
                self.statuses.append(status)

    def good(self) -> int:
        """Answers so far."""
        return self.statuses.count(200)

    def stop(self) -> list[int]:
        """Status of each request; 0: nobody answered."""
        self.over.set()
        for thread in self.threads:
            thread.join()
        return self.statuses


def away_from_midnight() -> None:
    """Wait out the last minutes of a UTC day: quotas of the day begin anew with the next."""
    while (left := 86_400 - time.time() % 86_400) < 180:
        time.sleep(left)


def gone(pids: list[int]) -> bool:
    """Whether none of these processes is there any more."""
    return not any(map(alive, pids))


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def gateway(folder: Path, upstream: str, *flags: str, start: bool = True, **changes: Any) -> Iterator[Gateway]:
    """A gateway that serves, and is ended whatever happens."""
    made = Gateway(folder, upstream, **changes)
    try:
        yield made.start(*flags) if start else made
    finally:
        made.close()


def assay(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own."""
    command = [sys.executable, "-m", "assay", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)


def one_sentence(said: str) -> str:
    """What a command said on standard error: one sentence of ours, and perhaps a hint."""
    lines = said.splitlines()
    assert lines and lines[0].startswith("assay: ") and "Traceback" not in said, said
    assert all(line.startswith("  ") for line in lines[1:]) and len(lines) <= 2, said
    return lines[0]


def attested_model(folder: Path) -> dict[str, Any]:
    """A signed model below ``folder``, and the `model` section of a gateway that serves it."""
    from assay.cli.main import main

    model = folder / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(bytes(range(256)) * 40)
    here = os.getcwd()
    os.chdir(folder)
    try:
        assert main(["keys", "generate", "-O", "keys/a.pem"]) == 0
        assert main(["sign", "model", "--key", "keys/a.pem", "-d", "evidence"]) == 0
    finally:
        os.chdir(here)
    return {"target": "model", "keys": ["keys/a.pub"], "evidence": "evidence", "every": "1s"}
