"""Git LFS: pointers, stores, and the batch API spoken by a server on loopback."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assay.errors import AssayError, TargetError, UndecidedError
from assay.targets.git.lfs_download import _Redirects, cache_store, download, endpoint
from assay.targets.git.pointers import Pointer, object_path, parse_pointer, resembles_pointer
from assay.targets.git.target import open_git
from assay.targets.interface import SEGMENT, Options, Reference

OID = hashlib.sha256(b"content").hexdigest()
VERSION = b"version https://git-lfs.github.com/spec/v1\n"


def pointer_of(data: bytes) -> bytes:
    return VERSION + f"oid sha256:{hashlib.sha256(data).hexdigest()}\nsize {len(data)}\n".encode()


@pytest.fixture(autouse=True)
def _committer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "gitconfig").write_text("[user]\nname = A\nemail = a@example.org\n[init]\ndefaultBranch = main\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def git(directory: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=directory, check=True, capture_output=True)


def commit(directory: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", "x")


def keep(store: Path, data: bytes) -> Path:
    path = Path(object_path(str(store), hashlib.sha256(data).hexdigest()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


LARGE = {"model.safetensors": os.urandom(SEGMENT + 99), "sub/small.bin": b"small"}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository whose two large files are pointers, as `git lfs` leaves them without its smudge filter."""
    repo = tmp_path / "model"
    repo.mkdir()
    git(repo, "init", "-q")
    commit(repo, {"config.json": b"{}"} | {name: pointer_of(data) for name, data in LARGE.items()})
    return repo


def check(name: object, **options: Any) -> None:
    with open_git(Reference("git", str(name)), Options(**options)) as target:
        manifest = target.manifest()
        assert list(manifest.names) == ["config.json", "model.safetensors", "sub/small.bin"]
        for resource in manifest:
            data = LARGE.get(resource.name, b"{}")
            assert (resource.size, resource.sha256) == (len(data), hashlib.sha256(data).digest())
            assert bool(resource.segments) == (len(data) > SEGMENT)
            with target.open(resource.name) as file:
                assert file.read() == data
        assert list(target.sizes) == list(manifest.sizes)
        assert target.facts.notes["lfs"] == sorted(LARGE)
        only = target.manifest(sha256=False)
        assert only.sha256 == b"" and only.blake3 == manifest.blake3 and only.segments == manifest.segments


def test_content_from_the_store(repo: Path) -> None:
    for data in LARGE.values():
        keep(repo / ".git" / "lfs" / "objects", data)
    check(repo)
    check(f"file://{repo}")


def test_content_from_the_configured_store_and_a_linked_worktree(repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    keep(repo / ".git" / "lfs" / "objects", LARGE["model.safetensors"])
    keep(repo / ".git" / "elsewhere" / "objects", LARGE["sub/small.bin"])
    git(repo, "config", "lfs.storage", "elsewhere")
    check(repo)
    check(tmp_path / "linked")


def test_content_from_the_worktree_only_when_it_is_the_content(repo: Path) -> None:
    for name, data in LARGE.items():
        (repo / name).write_bytes(data)
    check(repo)
    changed = bytearray(LARGE["model.safetensors"])
    changed[-1] ^= 1
    (repo / "model.safetensors").write_bytes(changed)
    for wanted in ({}, {"sha256": False}, {"blake3": False}):
        with open_git(Reference("git", str(repo)), Options()) as target:
            with pytest.raises(TargetError, match=r"'model.safetensors' .* is not the one that its Git LFS pointer"):
                target.manifest(**wanted)


def test_unresolved_pointers_are_named(repo: Path) -> None:
    for name in (repo, f"file://{repo}"):
        with pytest.raises(TargetError, match=r"'model.safetensors', 'sub/small.bin'") as caught:
            open_git(Reference("git", str(name)), Options())
        assert "git lfs pull" in (caught.value.hint or "")
    keep(repo / ".git" / "lfs" / "objects", LARGE["sub/small.bin"])
    with open_git(Reference("git", str(repo)), Options(paths=("sub", "*.json"))) as target:
        assert len(target.manifest()) == 2
    commit(repo, {f"many/{i}": pointer_of(b"%d" % i) for i in range(20)})
    with pytest.raises(TargetError, match="and 16 more"):
        open_git(Reference("git", str(repo)), Options())


def test_a_damaged_store_object_is_an_error(repo: Path) -> None:
    for data in LARGE.values():
        path = keep(repo / ".git" / "lfs" / "objects", data)
    path.write_bytes(b"tiny!")  # sub/small.bin's size
    with open_git(Reference("git", str(repo)), Options()) as target:
        with pytest.raises(TargetError, match=r"'sub/small.bin'"):
            target.manifest()
    path.write_bytes(b"longer than it was")
    with pytest.raises(TargetError, match=r"'sub/small.bin' has 18 bytes instead of 5"):
        open_git(Reference("git", str(repo)), Options())


def test_extensions_are_refused_and_inexact_pointers_are_recorded(repo: Path) -> None:
    keep(repo / ".git" / "lfs" / "objects", LARGE["sub/small.bin"])
    inexact = pointer_of(b"x").replace(b"\n", b"\r\n")
    commit(repo, {"note": inexact})
    with open_git(Reference("git", str(repo)), Options(paths=("note", "config.json"))) as target:
        assert target.facts.notes == {"lfs_inexact": ["note"]}
        assert target.manifest()[1].sha256 == hashlib.sha256(inexact).digest()
    extended = VERSION + f"ext-0-foo sha256:{OID}\noid sha256:{OID}\nsize 7\n".encode()
    commit(repo, {"ext": extended})
    with pytest.raises(TargetError, match="'ext' was stored by a Git LFS extension"):
        open_git(Reference("git", str(repo)), Options(paths=("ext",)))


class Handler(BaseHTTPRequestHandler):
    """The batch API and basic downloads; `mode` chooses how it misbehaves."""

    objects: dict[str, bytes]
    mode: str
    seen: list[tuple[str, str, str | None]]
    other: str

    def do_POST(self) -> None:
        self.seen.append(("POST", self.path, self.headers.get("Authorization")))
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        host = f"http://{self.headers['Host']}"
        if self.mode == "moved" and not self.path.startswith("/new"):
            return self._answer(307, b"", Location="/new" + self.path)
        if self.mode == "login":
            return self._answer(401, b"")
        if self.mode == "garbage":
            return self._answer(200, b"<html>")
        if self.mode == "deep":
            return self._answer(200, b"[" * 100_000)
        assert body["operation"] == "download" and self.headers["Content-Type"].startswith("application/vnd.git-lfs")
        answers = []
        for wanted in body["objects"]:
            oid = wanted["oid"]
            href = {
                "file": "file:///etc/passwd",
                "ftp": "ftp://127.0.0.1/x",
                "odd": "http://user:pw@127.0.0.1:x/",
                "other": f"http://{self.other}/objects/{oid}",
                "redirect": f"{host}/redirect/{oid}",
                "leave": f"{host}/leave/{oid}",
            }.get(self.mode, f"{host}/objects/{oid}")
            entry: dict[str, Any] = {"oid": oid, "size": wanted["size"]}
            if oid in self.objects:
                entry["actions"] = {"download": {"href": href, "header": {"Authorization": "RemoteAuth secret"}}}
            else:
                entry["error"] = {"code": 404, "message": "no such\x1b[31m object"}
            if self.mode != "silent":
                answers.append(entry)
        return self._answer(200, json.dumps({"transfer": "basic", "objects": answers}).encode())

    def do_GET(self) -> None:
        self.seen.append(("GET", self.path, self.headers.get("Authorization")))
        data = self.objects[self.path.rsplit("/", 1)[1]]
        if self.path.startswith("/redirect/"):
            return self._answer(302, b"", Location=f"http://{self.other}{self.path.replace('redirect', 'objects')}")
        if self.path.startswith("/leave/"):
            return self._answer(302, b"", Location="file:///etc/passwd")
        if self.mode == "wrong":
            data = data[:-1] + b"?"
        if self.mode == "short":
            data = data[:-1]
        if self.mode == "endless":
            data = data + b"x" * 10_000_000
        return self._answer(500 if self.mode == "broken" else 200, data)

    def _answer(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        try:
            self.wfile.write(data)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    objects = {hashlib.sha256(data).hexdigest(): data for data in LARGE.values()}
    handler = type("H", (Handler,), {"objects": objects, "mode": "", "seen": [], "other": ""})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.other = f"localhost:{http.server_address[1]}"  # another host, to whoever compares names
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{http.server_address[1]}/org/model.git/info/lfs", handler
    http.shutdown()
    thread.join()
    http.server_close()


def pointers() -> dict[str, Pointer]:
    return {name: Pointer(hashlib.sha256(data).hexdigest(), len(data)) for name, data in LARGE.items()}


def cached() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(cache_store()).rglob("*") if path.is_file()}


def test_download_into_the_cache(server: tuple[str, type[Handler]]) -> None:
    url, handler = server
    download(url, pointers(), "user:p%40ss")
    assert cached() == handler.objects
    assert handler.seen[0] == ("POST", "/org/model.git/info/lfs/objects/batch", "Basic dXNlcjpwQHNz")
    assert {seen[2] for seen in handler.seen[1:]} == {"RemoteAuth secret"}


@pytest.mark.parametrize("mode", ["other", "redirect", "moved"])
def test_downloads_may_lie_elsewhere(server: tuple[str, type[Handler]], mode: str) -> None:
    url, handler = server
    handler.mode = mode
    download(url, pointers(), "user:pass")
    assert cached() == handler.objects
    if mode == "redirect":  # what was meant for one host is not told to the next
        assert [seen[2] for seen in handler.seen if seen[1].startswith("/objects/")] == [None, None]


@pytest.mark.parametrize(
    ("mode", "kind", "message"),
    [
        ("wrong", TargetError, "sent other content for '"),
        ("short", TargetError, "sent other content for '"),
        ("endless", TargetError, "sent other content for '"),
        ("broken", UndecidedError, "answers HTTP 500"),
        ("login", TargetError, "wants a login"),
        ("garbage", TargetError, "does not speak the batch API"),
        ("deep", TargetError, "does not speak the batch API"),
        ("file", TargetError, "sends us to 'file:///etc/passwd'"),
        ("ftp", TargetError, "sends us to 'ftp://"),
        ("odd", UndecidedError, "cannot be reached"),
        ("leave", TargetError, "answers HTTP 302"),
        ("silent", TargetError, "does not answer for 'model.safetensors'"),
    ],
)
def test_a_server_that_misbehaves(
    server: tuple[str, type[Handler]], mode: str, kind: type[AssayError], message: str
) -> None:
    url, handler = server
    handler.mode = mode
    with pytest.raises(kind, match=message) as caught:
        download(url, pointers(), "user:secret")
    assert "secret" not in str(caught.value)
    assert cached() == {}


def test_redirects_never_leave_https() -> None:
    request = urllib.request.Request("https://h.org/x")
    for url in ("http://h.org/x", "ftp://h.org/x", "file:///x"):
        with pytest.raises(urllib.error.HTTPError):
            _Redirects().redirect_request(request, io.BytesIO(), 302, "", HTTPMessage(), url)
    followed = _Redirects().redirect_request(request, io.BytesIO(), 302, "", HTTPMessage(), "https://cdn.org/x")
    assert followed is not None and followed.full_url == "https://cdn.org/x"


def test_an_object_that_the_server_lacks_is_named(server: tuple[str, type[Handler]]) -> None:
    url, handler = server
    handler.objects = {}
    with pytest.raises(TargetError, match=r"no content of '(model.safetensors|sub/small.bin)': 404") as caught:
        download(url, pointers(), None)
    assert "\x1b" not in str(caught.value)


def test_url_target_over_http_with_lfs(repo: Path, tmp_path: Path, server: tuple[str, type[Handler]]) -> None:
    """git over dumb HTTP and LFS from one host, then again without asking the LFS server."""
    url, handler = server
    base = url.removesuffix("/info/lfs").replace("/org/", "/")
    git(tmp_path, "clone", "-q", "--bare", str(repo), "model.git")
    git(tmp_path / "model.git", "update-server-info")

    def get(self: Handler) -> None:
        path = tmp_path / self.path.split("?")[0].lstrip("/")
        if self.path.startswith("/objects/"):
            Handler.do_GET(self)
        elif path.is_file():
            self._answer(200, path.read_bytes())
        else:
            self._answer(404, b"")

    handler.do_GET = get  # type: ignore[method-assign]
    check(base)
    handler.objects = {}
    check(base)


def test_offline_takes_no_lfs_content_from_the_net(repo: Path) -> None:
    with pytest.raises(TargetError, match="is not here"):
        open_git(Reference("git", f"file://{repo}"), Options(offline=True))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://h/org/x", "https://h/org/x.git/info/lfs"),
        ("https://h/org/x.git", "https://h/org/x.git/info/lfs"),
        ("ssh://git@h:22/org/x", "https://h/org/x.git/info/lfs"),
        ("git@h:org/x.git", "https://h/org/x.git/info/lfs"),
        ("git://h/x", None),
        ("file:///x", None),
    ],
)
def test_endpoint(url: str, expected: str | None) -> None:
    assert endpoint(url) == expected


def test_pointer_exactly() -> None:
    good = VERSION + f"oid sha256:{OID}\nsize 7\n".encode()
    assert parse_pointer(good) == Pointer(OID, 7)
    for bad in (
        good[:-1],
        good + b"\n",
        b"\n" + good,
        good.replace(b"\n", b"\r\n"),
        good.replace(b"v1", b"v2"),
        good.replace(b"sha256", b"sha1"),
        good.replace(OID.encode(), OID.upper().encode()),
        good.replace(OID.encode(), OID[:-1].encode()),
        good.replace(b"size 7", b"size 07"),
        good.replace(b"size 7", b"size -7"),
        good.replace(b"size 7", b"size 7 "),
        good.replace(b"size 7", b"size " + b"9" * 30),
        good + b"x 1\n",
        VERSION + f"size 7\noid sha256:{OID}\n".encode(),
        b"",
    ):
        assert parse_pointer(bad) is None
    assert resembles_pointer(good[:-1]) and resembles_pointer(b"\n" + good)
    assert not resembles_pointer(b"version 2\n")
    long = VERSION + b"".join(b"ext-%d-%s sha256:%s\n" % (i, b"n" * 90, OID.encode()) for i in range(6))
    assert parse_pointer(long + good[len(VERSION) :]) is None


@given(st.binary(max_size=1100) | st.binary(max_size=60).map(lambda tail: pointer_of(b"x") + tail))
@example(pointer_of(b"x"))
def test_only_what_is_written_back_the_same_is_a_pointer(data: bytes) -> None:
    pointer = parse_pointer(data)
    if pointer is not None and not pointer.extended:
        assert VERSION + f"oid sha256:{pointer.oid}\nsize {pointer.size}\n".encode() == data
