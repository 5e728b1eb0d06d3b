"""Artifacts in the OCI format as ORAS, KitOps and ModelPack write them, layouts of them, and a registry."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
TITLE = "org.opencontainers.image.title"
REF_NAME = "org.opencontainers.image.ref.name"
FILE = "application/vnd.oci.image.layer.v1.tar"  # what ORAS calls a file unless told otherwise
TAR = "application/vnd.kitops.modelkit.model.v1.tar"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar(files: Mapping[str, bytes], *, compress: bool = False, format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of files, by the standard library; a name that ends in a slash is a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0) if compress else out.getvalue()


class Artifact:
    """Blobs by digest, and descriptors to change before `manifest` is called."""

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.config = self.blob(b"{}", "application/vnd.oci.empty.v1+json")
        self.layers: list[dict[str, Any]] = []
        for name, data in (files or {}).items():
            self.layer(data, FILE, {TITLE: name})

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        self.blobs[digest(data)] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    def layer(self, data: bytes, media_type: str = TAR, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        self.layers.append(self.blob(data, media_type) | ({"annotations": dict(annotations)} if annotations else {}))
        return self.layers[-1]

    def manifest(self, **changes: Any) -> dict[str, Any]:
        """The manifest's descriptor; the manifest itself becomes a blob."""
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": self.config, "layers": self.layers}
        return self.blob(json.dumps(document | changes).encode(), MANIFEST)

    def index(self, *manifests: dict[str, Any]) -> dict[str, Any]:
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)}
        return self.blob(json.dumps(document).encode(), INDEX)

    def layout(self, folder: Path, *manifests: dict[str, Any]) -> Path:
        """An image layout whose index lists ``manifests`` (default: the artifact's own)."""
        listed = list(manifests) or [self.manifest()]
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": listed}))
        for name, data in self.blobs.items():
            (folder / "blobs" / "sha256" / name.removeprefix("sha256:")).write_bytes(data)
        return folder


def tar_of(folder: Path, path: Path) -> Path:
    """A layout's folder as a tar, with folders in it, as other tools write it."""
    with tarfile.open(path, "w") as archive:
        for item in sorted(folder.rglob("*")):
            archive.add(item, item.relative_to(folder).as_posix(), recursive=False)
    return path


class Registry(BaseHTTPRequestHandler):
    """The distribution API for pulling. Class attributes say how it behaves."""

    protocol_version = "HTTP/1.1"
    blobs: dict[str, bytes]
    tags: dict[str, str]
    types: dict[str, str]
    """Media type by digest of a manifest."""
    auth: str
    """``""`` for everybody, ``basic``, or ``bearer``."""
    login: str
    """``user:password``."""
    seen: list[tuple[str, str | None]]
    """Path and Authorization of each request."""
    realm: str | None
    elsewhere: str | None
    """URL of a server that blobs are redirected to."""
    answers: dict[str, tuple[int, bytes, dict[str, str]]]
    """By path: an answer in place of the right one. A Content-Length in it is kept."""
    tokens: int
    url: str

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        authorization = self.headers.get("Authorization")
        self.seen.append((self.path, authorization))
        if parts.path in self.answers:
            status, data, headers = self.answers[parts.path]
            return self._answer(status, data, **headers)
        if parts.path == "/token":
            return self._token(parse_qs(parts.query), authorization)
        if not self._allowed(authorization):
            realm = self.realm or f"{self.url}/token"
            challenge = f'Bearer realm="{realm}",service="here",scope="repository:org/bundle:pull,push"'
            if self.auth == "basic":
                challenge = 'Basic realm="here"'
            return self._answer(401, b"{}", **{"WWW-Authenticate": challenge})
        _, _, *name, kind, what = unquote(parts.path).split("/")
        if name != ["org", "bundle"]:
            return self._answer(404, b"{}")
        found = self.tags.get(what, what) if kind == "manifests" else what
        if found not in self.blobs:
            return self._answer(404, b"{}")
        if kind == "blobs" and self.elsewhere:
            return self._answer(307, b"", Location=f"{self.elsewhere}{self.path}")
        headers = {"Content-Type": "application/octet-stream"}
        if kind == "manifests":
            headers = {"Content-Type": self.types.get(found, MANIFEST), "Docker-Content-Digest": found}
        return self._answer(200, self.blobs[found], **headers)

    def _allowed(self, authorization: str | None) -> bool:
        if self.auth == "bearer":
            return authorization == f"Bearer token-{self.tokens}"
        return not self.auth or authorization == f"Basic {base64.b64encode(self.login.encode()).decode()}"

    def _token(self, query: dict[str, list[str]], authorization: str | None) -> None:
        assert query["scope"] == ["repository:org/bundle:pull"] and query["service"] == ["here"]
        if self.login and authorization != f"Basic {base64.b64encode(self.login.encode()).decode()}":
            return self._answer(401, b"{}")
        type(self).tokens += 1
        return self._answer(200, json.dumps({"token": f"token-{self.tokens}"}).encode())

    def _answer(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name, value)
        if int(headers.get("Content-Length", len(data))) != len(data):
            self.close_connection = True
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass

    @classmethod
    def push(cls, artifact: Artifact, tag: str, descriptor: dict[str, Any] | None = None) -> str:
        """Take an artifact in; the digest of its manifest."""
        descriptor = descriptor or artifact.manifest()
        cls.blobs.update(artifact.blobs)
        cls.tags[tag] = descriptor["digest"]
        cls.types[descriptor["digest"]] = descriptor["mediaType"]
        return str(descriptor["digest"])


@contextmanager
def serving() -> Iterator[type[Registry]]:
    """A registry on loopback; its ``host`` is what a name begins with."""
    empty: dict[str, Any] = {"blobs": {}, "tags": {}, "types": {}, "seen": [], "answers": {}}
    handler = type("R", (Registry,), empty | {"auth": "", "login": "", "realm": None, "elsewhere": None, "tokens": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    handler.host = f"127.0.0.1:{server.server_address[1]}"
    handler.url = f"http://{handler.host}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
