"""``hf:`` targets with the real `huggingface_hub` against a server on loopback that speaks the hub's protocol.

`huggingface_hub` reads its environment when it is imported, so every case runs in a process of its own, as users do.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

SOURCE = str(Path(__file__).parents[2] / "src")
COMMIT, OLD = "a" * 40, "b" * 40
WEIGHTS = os.urandom(300_000)
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "README.md": b"---\nlicense: mit\n---\n",
    "sub/[odd] name*.txt": b"odd",
    "model.safetensors": WEIGHTS,
}
LFS = {"model.safetensors"}

SCRIPT = """
import json, sys
from assay.errors import AssayError
from assay.targets import names
from assay.targets.hub import open_hub
from assay.targets.interface import Options

options = json.loads(sys.argv[2])
options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
digests = options.pop("digests", {})
try:
    with open_hub(names.parse(sys.argv[1]), Options(**options)) as target:
        manifest = target.manifest(**digests)
        contents = {}
        for name in target.names:
            with target.open(name) as file:
                contents[name] = file.read().hex()
        facts = target.facts
        answer = {
            "name": target.name, "reference": str(target.reference), "origin": facts.origin,
            "revision": facts.revision, "digests": dict(facts.digests), "part": list(facts.part),
            "files": {r.name: r.sha256.hex() if r.sha256 else None for r in manifest}, "contents": contents,
            "contents_digest": manifest.contents().hex(), "ignored": list(facts.ignored),
        }
except AssayError as error:
    answer = {"error": error.message, "kind": type(error).__name__}
print(json.dumps(answer))
"""


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]
    mode: str
    seen: list[str]

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def do_GET(self) -> None:
        self._serve(body=True)

    def _serve(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.seen.append(f"{self.command} {path}")
        if self.mode == "down":
            return self._answer(503, b"", body)
        for kind, prefix in (("models", ""), ("datasets", "datasets/")):
            api = f"/api/{kind}/org/name"
            if path.startswith(api + "/revision/"):
                return self._revision(path.rsplit("/", 1)[1], body)
            if path.startswith(f"{api}/tree/{COMMIT}"):
                return self._answer(200, json.dumps([self._entry(n) for n in self.files]).encode(), body)
            resolve = f"/{prefix}org/name/resolve/{COMMIT}/"
            if path.startswith(resolve):
                return self._file(path.removeprefix(resolve), body)
        if path.startswith("/cdn/"):
            data = self.files[path.removeprefix("/cdn/")]
            return self._answer(200, data[:-1] + b"?" if self.mode == "poisoned" else data, body)
        return self._answer(404, b"{}", body, **{"X-Error-Code": "RepoNotFound"})

    def _revision(self, revision: str, body: bool) -> None:
        if revision not in ("main", "v1", COMMIT):
            return self._answer(404, b"{}", body, **{"X-Error-Code": "RevisionNotFound"})
        siblings = []
        for name, data in self.files.items():
            siblings.append({"rfilename": name, "size": len(data), "blobId": git_id(data)})
            if name in LFS:
                oid = hashlib.sha256(data).hexdigest()
                siblings[-1]["lfs"] = {"sha256": oid, "size": len(data), "pointerSize": 134}
        sha = {"traversal": "../../x", "other": OLD}.get(self.mode, COMMIT)
        info = {"id": "org/name", "sha": sha, "siblings": siblings, "private": False, "tags": [], "downloads": 0}
        return self._answer(200, json.dumps(info).encode(), body)

    def _entry(self, name: str) -> dict[str, Any]:
        data = self.files[name]
        entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": git_id(data)}
        if name in LFS:
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return entry

    def _file(self, name: str, body: bool) -> None:
        data = self.files[name]
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{git_id(data)}"'}
        if name not in LFS:
            return self._answer(200, data, body, **headers)
        headers |= {
            "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Linked-Size": str(len(data)),
            # Another host, as the hub's CDN is one: redirects within the hub are followed for the headers, too.
            "Location": f"http://localhost:{self.server.server_address[1]}/cdn/{name}",
        }
        return self._answer(302, b"", body, **headers)

    def _answer(self, status: int, data: bytes, body: bool, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[type[Hub]]:
    handler = type("H", (Hub,), {"files": dict(FILES), "mode": "", "seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def ask(hub: type[Hub], home: Path, target: str, env: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and not k.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, target, json.dumps(options)],
        env=clean
        | {"HF_HOME": str(home / "hf"), "HF_ENDPOINT": hub.url, "PYTHONPATH": SOURCE, "HF_HUB_DISABLE_TELEMETRY": "1"}
        | {"HF_HUB_ETAG_TIMEOUT": "120", "HF_HUB_DOWNLOAD_TIMEOUT": "120"}
        | (env or {}),
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def cache(home: Path) -> Path:
    return home / "hf" / "hub" / "models--org--name"


def test_download_then_offline(hub: type[Hub], home: Path) -> None:
    online = ask(hub, home, "hf:org/name@v1")
    assert "error" not in online, online
    assert online["files"] == {name: hashlib.sha256(FILES[name]).hexdigest() for name in sorted(FILES)}
    assert online["contents"] == {name: data.hex() for name, data in FILES.items()}
    assert online["name"] == "name" and online["reference"] == f"hf:org/name@{COMMIT}"
    assert online["origin"] == f"{hub.url}/org/name"
    assert online["revision"] == COMMIT and online["digests"] == {"gitCommit": COMMIT}

    hub.seen.clear()
    for target, env, options in (
        ("hf:org/name@v1", {}, {"offline": True}),
        ("hf:org/name@v1", {"HF_HUB_OFFLINE": "1"}, {}),
        (f"hf:org/name@{COMMIT}", {}, {"offline": True}),
    ):
        assert ask(hub, home, target, env, **options) == online
    assert hub.seen == []
    assert "does not know 'org/name@main'" in ask(hub, home, "hf:org/name", offline=True)["error"]

    again = ask(hub, home, "hf:org/name@v1")
    assert again == online and not any("/cdn/" in path for path in hub.seen)


def test_full_commit_and_data_set(hub: type[Hub], home: Path) -> None:
    by_commit = ask(hub, home, f"hf:org/name@{COMMIT}")
    data = ask(hub, home, "hf:datasets/org/name")
    assert by_commit["contents_digest"] == data["contents_digest"]
    assert data["origin"] == f"{hub.url}/datasets/org/name" and data["name"] == "name"


def test_a_part_downloads_a_part(hub: type[Hub], home: Path) -> None:
    part = ask(hub, home, "hf:org/name", paths=["sub", "*.json"])
    assert sorted(part["files"]) == ["config.json", "sub/[odd] name*.txt"]
    assert part["part"] == ["sub", "*.json"]
    assert not any("safetensors" in path or "README" in path for path in hub.seen)
    assert "'nope' matches no file" in ask(hub, home, "hf:org/name", paths=["nope"])["error"]
    assert ask(hub, home, "hf:org/name", offline=True, paths=["*.json"])["files"].keys() == {"config.json"}
    whole = ask(hub, home, "hf:org/name", offline=True)
    assert whole["kind"] == "UndecidedError" and "README.md" in whole["error"]
    shutil.rmtree(cache(home) / "trees")
    unknown = ask(hub, home, "hf:org/name", offline=True, paths=["*.json"])
    assert unknown["kind"] == "UndecidedError" and "does not say which files" in unknown["error"]


def test_ignored_files_are_recorded(hub: type[Hub], home: Path) -> None:
    hub.files["__pycache__/x.pyc"] = b"1"
    answer = ask(hub, home, "hf:org/name", ignore=["README.md"])
    assert answer["ignored"] == ["README.md", "__pycache__/"]
    assert sorted(answer["files"]) == ["config.json", "model.safetensors", "sub/[odd] name*.txt"]


def test_a_cache_that_was_tampered_with(hub: type[Hub], home: Path) -> None:
    ask(hub, home, "hf:org/name")
    snapshot = cache(home) / "snapshots" / COMMIT
    for name, offline in (("config.json", False), ("model.safetensors", True), ("config.json", True)):
        blob = (snapshot / name).resolve()
        original = blob.read_bytes()
        blob.write_bytes(original[:-1] + b"?")
        answer = ask(hub, home, "hf:org/name", offline=offline)
        assert answer["kind"] == "TargetError" and f"{name!r} in the hub's cache is not" in answer["error"]
        blob.write_bytes(original)
    (snapshot / "evil.py").write_text("x")
    assert "has a file 'evil.py'" in ask(hub, home, "hf:org/name", offline=True)["error"]
    assert "has a file 'evil.py'" in ask(hub, home, "hf:org/name")["error"]


def test_blake3_alone_reads_everything_once(hub: type[Hub], home: Path) -> None:
    answer = ask(hub, home, "hf:org/name", digests={"sha256": False})
    assert set(answer["files"].values()) == {None}


@pytest.mark.parametrize(
    ("mode", "target", "kind", "message"),
    [
        ("", "hf:org/name@nope", "TargetError", "no revision 'org/name@nope'"),
        ("", "hf:org/other", "TargetError", "no repository for 'org/other@main'"),
        ("traversal", "hf:org/name", "TargetError", "'../../x' is not a commit"),
        ("other", f"hf:org/name@{COMMIT}", "TargetError", f"answers with the commit {OLD}"),
        ("poisoned", "hf:org/name", "TargetError", "'model.safetensors' in the hub's cache is not"),
        ("down", "hf:org/name", "UndecidedError", "cannot be had from the hub"),
    ],
)
def test_what_can_go_wrong(hub: type[Hub], home: Path, mode: str, target: str, kind: str, message: str) -> None:
    hub.mode = mode
    answer = ask(hub, home, target)
    assert answer.get("kind") == kind and message in answer["error"]


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "a\nb"])
def test_file_names_lead_nowhere_else(hub: type[Hub], home: Path, name: str) -> None:
    hub.files[name] = b"x"
    answer = ask(hub, home, "hf:org/name")
    assert answer["kind"] == "TargetError" and "name" in answer["error"]
    assert not list(home.rglob("evil"))


def test_nothing_listens(hub: type[Hub], home: Path) -> None:
    answer = ask(hub, home, "hf:org/name", {"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert answer["kind"] == "UndecidedError"
