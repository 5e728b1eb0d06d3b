"""A package index on loopback that speaks PEP 503, 691 and 700, and does whatever a test wants an index to do."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

OLD = "2024-01-01T00:00:00.000000Z"
JSON = "application/vnd.pypi.simple.v1+json"


def wheel(
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, bytes] | None = None,
    requires: tuple[str, ...] = (),
    licence: str | None = "MIT",
    metadata: str | None = None,
    record: str | None = None,
    unlisted: Mapping[str, bytes] | None = None,
    folder: str | None = None,
    compress: bool = False,
) -> bytes:
    """The bytes of a wheel. ``unlisted`` files are not in RECORD, ``record`` replaces all of it."""
    info = folder or f"{name}-{version}.dist-info"
    text = metadata or f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
    text += f"License-Expression: {licence}\n" if licence else ""
    text += "".join(f"Requires-Dist: {entry}\n" for entry in requires)
    content = dict(files if files is not None else {f"{name}/__init__.py": b"ANSWER = 42\n"})
    content[f"{info}/METADATA"] = text.encode()
    content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    rows = ""
    for path, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows += f"{path},sha256={digest},{len(data)}\n"
    content |= unlisted or {}
    content[f"{info}/RECORD"] = (record if record is not None else f"{rows}{info}/RECORD,,\n").encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        for path, data in content.items():
            archive.writestr(zipfile.ZipInfo(path, (2024, 1, 1, 0, 0, 0)), data, archive.compression)
    return made.getvalue()


@dataclass
class Index:
    """What the server serves."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    pages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    raw: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    """Path to a whole answer, before anything else."""
    login: str | None = None
    """``user:password`` that is demanded."""
    html: bool = False
    """Speak PEP 503 only."""
    asked: list[str] = field(default_factory=list)
    posted: list[dict[str, Any]] = field(default_factory=list)

    def add(self, filename: str, data: bytes, *, uploaded: str | None = OLD, **said: Any) -> str:
        """Serve a file; its SHA-256. ``said`` is what the page says beside or instead."""
        digest = hashlib.sha256(data).hexdigest()
        self.files[filename] = data
        entry: dict[str, Any] = {"filename": filename, "url": f"/files/{filename}", "hashes": {"sha256": digest}}
        if uploaded is not None:
            entry["upload-time"] = uploaded
        name = filename.partition("-")[0].replace("_", "-").replace(".", "-").lower()
        self.pages.setdefault(name, []).append(entry | said)
        return digest

    def wheel(self, name: str, version: str = "1.0", *, uploaded: str | None = OLD, **made: Any) -> str:
        """Serve a good wheel; its SHA-256."""
        return self.add(f"{name}-{version}-py3-none-any.whl", wheel(name, version, **made), uploaded=uploaded)

    def answer(self, path: str, accept: str) -> tuple[int, dict[str, str], bytes]:
        """What a GET gets."""
        if path in self.raw:
            return self.raw[path]
        if path.startswith("/files/") and path[7:] in self.files:
            return 200, {"Content-Type": "application/octet-stream"}, self.files[path[7:]]
        name = path.removeprefix("/simple/").rstrip("/")
        if not path.startswith("/simple/") or name not in self.pages:
            return 404, {}, b"no"
        entries = self.pages[name]
        if self.html or JSON not in accept:
            links = "".join(
                f'<a href="{entry["url"]}#sha256={entry["hashes"]["sha256"]}"'
                f"{' data-yanked=why' if entry.get('yanked') else ''}>{entry['filename']}</a>\n"
                for entry in entries
            )
            return 200, {"Content-Type": "text/html"}, f"<!doctype html><body>{links}</body>".encode()
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": entries}
        return 200, {"Content-Type": JSON}, json.dumps(page).encode()

    def set_pip(self, monkeypatch: pytest.MonkeyPatch, *extra: Index) -> None:
        """Make this the index of pip, and nothing else."""
        for name in [key for key in os.environ if key.startswith(("PIP_", "UV_"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("PIP_INDEX_URL", self.simple)
        if extra:
            monkeypatch.setenv("PIP_EXTRA_INDEX_URL", " ".join(index.simple for index in extra))

    @property
    def simple(self) -> str:
        """The index's address, with its login."""
        return self.url.replace("//", f"//{self.login}@" if self.login else "//") + "/simple"

    @property
    def place(self) -> str:
        """Host and path, as they are shown."""
        return self.url.partition("//")[2] + "/simple"


@contextmanager
def serving() -> Iterator[Index]:
    """An empty index, served."""
    index = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append(self.path)
            wanted = index.login and "Basic " + base64.b64encode(index.login.encode()).decode()
            if wanted and self.headers.get("Authorization") != wanted:
                self.send(401, {"WWW-Authenticate": "Basic"}, b"")
            else:
                self.send(*index.answer(self.path, self.headers.get("Accept", "")))

        do_HEAD = do_GET

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            index.posted.append(body)
            self.send(*index.raw.get(self.path, (404, {}, b"")))

        def send(self, code: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that stops reading is no news."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        index.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()
