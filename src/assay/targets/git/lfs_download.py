"""Fetching Git LFS objects over the batch API into a local cache, for repositories that are named by URL.

The server is not trusted: its answer is bounded, it can send us to no other kind of URL, and an object enters the
cache only after its size and SHA-256 turned out to be what was asked for. The login goes to the repository's host.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import re
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPMessage
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import msgspec

from assay.errors import TargetError, UndecidedError
from assay.files import sync_directory
from assay.targets.git.pointers import Pointer, object_path
from assay.targets.names import shown

TIMEOUT = 30.0
"""Seconds that one read or connection may take."""

_MEDIA = "application/vnd.git-lfs+json"
_ANSWER_LIMIT = 16 * 1024 * 1024
_BATCH = 100  # objects a request, the number that git-lfs sends
_CHUNK = 1024 * 1024


class _Action(msgspec.Struct):
    href: str
    header: dict[str, str] = {}


class _Failure(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Object(msgspec.Struct):
    oid: str
    actions: dict[str, _Action] = {}
    error: _Failure | None = None


class _Answer(msgspec.Struct):
    objects: list[_Object]
    transfer: str = "basic"


def cache_store() -> str:
    """Folder of downloaded objects: ``$XDG_CACHE_HOME/assay/lfs``, laid out like git-lfs's own store."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return os.path.join(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "assay", "lfs")


def endpoint(url: str) -> str | None:
    """LFS server of a repository's URL (``docs/api/server-discovery.md``); None where it implies none."""
    if url.startswith(("https://", "http://")):
        base = url.rstrip("/")
    elif url.startswith("ssh://"):
        parts = urlsplit(url)
        base = f"https://{parts.hostname}{parts.path.rstrip('/')}"
    elif "://" not in url and (scp := re.match(r"(?:[^@/]*@)?([^:/]+):(.+)", url)):
        base = f"https://{scp[1]}/{scp[2].strip('/')}"
    else:
        return None
    return base + ("" if base.endswith(".git") else ".git") + "/info/lfs"


def download(server: str, pointers: Mapping[str, Pointer], userinfo: str | None) -> None:
    """Put the objects of ``pointers`` into the cache; ``server`` is an `endpoint`, ``userinfo`` the login for it.

    Raises `UndecidedError` when the server cannot be reached, `TargetError` when it lacks an object or sends other
    bytes, naming the file.
    """
    wanted = {pointer.oid: (name, pointer) for name, pointer in pointers.items()}
    oids = sorted(wanted)
    for start in range(0, len(oids), _BATCH):
        batch = oids[start : start + _BATCH]
        for found in _ask(server, [wanted[oid][1] for oid in batch], userinfo):
            if found.oid not in batch:
                continue  # an object that nobody asked for
            name, pointer = wanted.pop(found.oid, ("", None))
            if pointer is None:
                continue
            if found.error is not None:
                reason = shown(found.error.message)
                raise TargetError(f"the Git LFS server has no content of {shown(name)}: {found.error.code} {reason}")
            action = found.actions.get("download")
            if action is None:
                raise TargetError(f"the Git LFS server offers no download of {shown(name)}")
            _fetch(server, action, name, pointer)
    if wanted:
        name = min(name for name, _ in wanted.values())
        raise TargetError(f"the Git LFS server does not answer for {shown(name)}")


def _ask(server: str, pointers: list[Pointer], userinfo: str | None) -> list[_Object]:
    """The batch API's answer: for each object where to download it."""
    asked = {
        "operation": "download",
        "transfers": ["basic"],
        "hash_algo": "sha256",
        "objects": [{"oid": pointer.oid, "size": pointer.size} for pointer in pointers],
    }
    headers = {"Accept": _MEDIA, "Content-Type": _MEDIA}
    if userinfo:
        headers["Authorization"] = "Basic " + base64.b64encode(unquote(userinfo).encode()).decode()
    with _open(f"{server}/objects/batch", headers, "the Git LFS server", msgspec.json.encode(asked)) as answer:
        data = answer.read(_ANSWER_LIMIT + 1)
    if len(data) > _ANSWER_LIMIT:
        raise TargetError(f"the answer of the Git LFS server {shown(server)} is longer than {_ANSWER_LIMIT} bytes")
    try:
        parsed = msgspec.json.decode(data, type=_Answer)
    except (msgspec.DecodeError, RecursionError) as error:
        raise TargetError(
            f"the Git LFS server {shown(server)} does not speak the batch API: {shown(str(error))}"
        ) from None
    if parsed.transfer != "basic":
        raise TargetError(f"the Git LFS server {shown(server)} wants the transfer {shown(parsed.transfer)}")
    return parsed.objects


def _fetch(server: str, action: _Action, name: str, pointer: Pointer) -> None:
    """Download one object: hashed while it arrives, cut off beyond its size, renamed when it is right."""
    if not _same_kind(server, action.href):
        raise TargetError(f"the Git LFS server sends us to {shown(action.href)} for {shown(name)}; refused")
    path = object_path(cache_store(), pointer.oid)
    temporary = f"{path}.{secrets.token_hex(6)}.tmp"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        try:
            with open(temporary, "xb") as file, _open(action.href, action.header, shown(name)) as answer:
                size, oid = _copy(answer, file, pointer.size, name)
                file.flush()
                os.fsync(file.fileno())
            if size != pointer.size or oid != pointer.oid:
                raise TargetError(
                    f"the Git LFS server sent other content for {shown(name)}: {size} bytes, SHA-256 {oid}"
                )
            os.rename(temporary, path)
            sync_directory(os.path.dirname(path))
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
    except OSError as error:
        raise TargetError(
            f"the Git LFS content of {shown(name)} cannot be kept in {shown(path)}: {error.strerror}"
        ) from None


def _copy(answer: IO[bytes], file: IO[bytes], limit: int, name: str) -> tuple[int, str]:
    """Copy until the end, or just beyond ``limit`` bytes; the count and the SHA-256."""
    digest, size = hashlib.sha256(), 0
    while size <= limit:
        try:
            data = answer.read(min(_CHUNK, limit + 1 - size))
        except (OSError, http.client.HTTPException) as error:
            raise UndecidedError(f"the download of {shown(name)} broke off: {_reason(error)}") from None
        if not data:
            break
        size += len(data)
        digest.update(data)
        file.write(data)
    return size, digest.hexdigest()


@contextlib.contextmanager
def _open(url: str, headers: Mapping[str, str], what: str, data: bytes | None = None) -> Iterator[IO[bytes]]:
    opener = urllib.request.OpenerDirector()  # no handler for file:, ftp: and data:
    for handler in _handlers():
        opener.add_handler(handler)
    try:
        request = urllib.request.Request(url, data=data, headers=dict(headers))  # noqa: S310  (see above)
        answer = opener.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403):
            raise TargetError(
                f"{shown(url)} wants a login (HTTP {error.code})", hint="write git:https://USER:TOKEN@…"
            ) from None
        kind = UndecidedError if error.code >= 500 or error.code == 429 else TargetError
        raise kind(f"{what}: {shown(url)} answers HTTP {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UndecidedError(f"{what}: {shown(url)} cannot be reached: {_reason(error)}") from None
    if answer is None:
        raise TargetError(f"{what}: {shown(url)} is not an HTTP address")
    with contextlib.closing(answer):
        yield answer


def _handlers() -> Iterable[urllib.request.BaseHandler]:
    return (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects within HTTPS (or HTTP), and leaves the login behind where the host changes."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not _same_kind(req.full_url, newurl):
            raise urllib.error.HTTPError(req.full_url, code, "redirect to another scheme", headers, fp)
        same = urlsplit(req.full_url).netloc == urlsplit(newurl).netloc
        data = req.data if code in (307, 308) else None
        dropped = {"host", "content-length"}  # both are computed again
        if not same:
            dropped |= {"authorization", "cookie"}
        kept: dict[str, Any] = {k: v for k, v in req.header_items() if k.lower() not in dropped}
        return urllib.request.Request(newurl, data=data, headers=kept, unverifiable=True)  # noqa: S310


def _same_kind(old: str, new: str) -> bool:
    """HTTPS stays HTTPS; HTTP may become it."""
    return new.startswith("https://") or (old.startswith("http://") and new.startswith("http://"))


def _reason(error: BaseException) -> str:
    return shown(str(getattr(error, "reason", "") or error))[1:-1]
