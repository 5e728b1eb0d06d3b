"""Commit, branch, tag and origin of a worktree, read from the files of its git folder.

No git is started: that would take longer than everything else here, and run what a hostile repository configures.
Whatever is not plainly there (a reftable, a packed tag object, an included configuration) is left out, not guessed.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_MAX_FILE = 8 << 20
_MAX_TAGS = 200
"""Loose tags that are looked into."""

_OID = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF = re.compile(rb"refs/(?!.*(?:\.\.|//|/\.))[^\x00-\x20\x7f~^:?*\[\\]+")
_SECTION = re.compile(rb'\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]')
_SETTING = re.compile(rb"([A-Za-z][A-Za-z0-9-]*)\s*=\s*(.*)")


@dataclass(frozen=True, slots=True)
class Checkout:
    """What is checked out."""

    commit: str | None
    """Full id."""
    branch: str | None
    """None when HEAD is detached."""
    tag: str | None
    """The first tag by name that points at the commit."""
    url: str | None
    """Of ``origin``, or of the only remote, as configured: it may hold credentials."""


def checkout(directory: str) -> Checkout | None:
    """The checkout that ``directory`` (a folder or a file) lies in, None where it lies in none."""
    found = _git_folder(os.path.realpath(directory))
    if found is None:
        return None
    folder, common = found
    head = _read(os.path.join(folder, "HEAD")).strip()
    packed = _read(os.path.join(common, "packed-refs"))
    branch = None
    commit: bytes | None = None
    if head.startswith(b"ref:"):
        name = head[4:].strip()
        branch = name.removeprefix(b"refs/heads/") if name.startswith(b"refs/heads/") else None
        commit = _resolve(folder, common, name, packed)
    elif _OID.fullmatch(head):
        commit = head
    return Checkout(
        _text(commit),
        _text(branch) if commit else None,  # before the first commit there is no branch either
        _text(_tag(common, commit, packed)) if commit else None,
        _text(_url(_read(os.path.join(common, "config")))),
    )


def _git_folder(path: str) -> tuple[str, str] | None:
    """Git folder and common git folder of the checkout around ``path``."""
    try:
        owner = os.stat(path).st_uid
    except OSError:
        return None
    place = path
    while True:
        candidate = os.path.join(place, ".git")
        try:
            status = os.lstat(candidate)
        except OSError:
            if place == os.path.dirname(place):
                return None
            place = os.path.dirname(place)
            continue
        # A .git that a stranger put above (in /tmp, say) would have us sign his origin.
        if status.st_uid not in (owner, os.geteuid()):
            return None
        folder = candidate if stat.S_ISDIR(status.st_mode) else _linked(candidate, place)
        if folder is None or not os.path.isfile(os.path.join(folder, "HEAD")):
            return None
        shared = _read(os.path.join(folder, "commondir")).strip()
        if not shared:
            return folder, folder
        common = os.path.realpath(os.path.join(folder, os.fsdecode(shared)))
        # Only as git lays it out; else the file could name any repository of this machine, as in `_linked`.
        return (folder, common) if os.path.dirname(os.path.realpath(folder)) == f"{common}/worktrees" else None


def _linked(file: str, place: str) -> str | None:
    """The folder that a ``.git`` file names, when that folder names the checkout too.

    Without the way back, a file in a downloaded folder could name any repository of this machine as its own.
    """
    text = _read(file)
    if not text.startswith(b"gitdir:"):
        return None
    folder = os.path.normpath(os.path.join(place, os.fsdecode(text[7:].strip())))
    back = _read(os.path.join(folder, "gitdir")).strip()  # a worktree
    if back and os.path.realpath(os.path.join(folder, os.fsdecode(back))) == os.path.realpath(file):
        return folder
    worktree = _setting(_read(os.path.join(folder, "config")), b"core", b"", b"worktree")  # a submodule
    if worktree and os.path.realpath(os.path.join(folder, os.fsdecode(worktree))) == os.path.realpath(place):
        return folder
    return None


def _resolve(folder: str, common: str, name: bytes, packed: bytes) -> bytes | None:
    for _ in range(5):
        if not _REF.fullmatch(name):
            return None
        path = os.fsdecode(name)
        value = (_read(os.path.join(common, path)) or _read(os.path.join(folder, path))).strip()
        if value.startswith(b"ref:"):
            name = value[4:].strip()
            continue
        if _OID.fullmatch(value):
            return value
        at = packed.find(b" " + name + b"\n")
        found = packed[packed.rfind(b"\n", 0, at) + 1 : at] if at > 0 else b""
        return found if _OID.fullmatch(found) else None
    return None


def _tag(common: str, commit: bytes, packed: bytes) -> bytes | None:
    names = set(_packed_tags(commit, packed))
    tags, seen = os.path.join(common, "refs", "tags"), 0
    for folder, folders, files in os.walk(tags):
        folders.sort()
        for file in sorted(files):
            seen += 1
            if seen > _MAX_TAGS:
                return min(names, default=None)
            oid = _read(os.path.join(folder, file)).strip()
            if oid == commit or (_OID.fullmatch(oid) and _tagged(common, oid) == commit):
                names.add(os.fsencode(os.path.relpath(os.path.join(folder, file), tags)))
    return min(names, default=None)


def _packed_tags(commit: bytes, packed: bytes) -> Iterator[bytes]:
    """A packed reference is a line ``<oid> <name>``; that of a tag object is followed by ``^<oid of the commit>``."""
    at = packed.find(commit)
    while at >= 0:
        start = packed.rfind(b"\n", 0, at) + 1
        if packed[start:at] == b"^":
            start = packed.rfind(b"\n", 0, start - 1) + 1
        _, _, name = packed[start : packed.find(b"\n", start)].partition(b" ")
        if name.startswith(b"refs/tags/"):
            yield name.removeprefix(b"refs/tags/")
        at = packed.find(commit, at + 1)


def _tagged(common: str, oid: bytes) -> bytes | None:
    """The object that a loose annotated tag points at."""
    path = oid.decode()
    data = _read(os.path.join(common, "objects", path[:2], path[2:]))
    try:
        start = zlib.decompressobj().decompress(data, 200)
    except zlib.error:
        return None
    match = re.match(rb"tag \d+\0object ([0-9a-f]+)\ntype commit\n", start)
    return match[1] if match else None


def _url(config: bytes) -> bytes | None:
    origin = _setting(config, b"remote", b"origin", b"url")
    if origin:
        return origin
    headers = (match for match in _SECTION.finditer(config) if match[1].lower() == b"remote" and match[2])
    remotes = {_unescaped(match[2]) for match in headers}
    return _setting(config, b"remote", remotes.pop(), b"url") if len(remotes) == 1 else None


def _setting(config: bytes, section: bytes, name: bytes, key: bytes) -> bytes | None:
    """The first value of a key (git-config(1), "Syntax"; a remote's first URL is the one that git fetches from)."""
    inside = False
    for line in config.replace(b"\\\n", b"").split(b"\n"):
        text = line.strip()
        if header := _SECTION.match(text):
            inside = header[1].lower() == section and _unescaped(header[2] or b"") == name
            text = text[header.end() :].strip()
        if inside and (setting := _SETTING.fullmatch(text)) and setting[1].lower() == key:
            return _value(setting[2])
    return None


def _unescaped(name: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", name)


def _value(text: bytes) -> bytes:
    """Quotes taken off, escapes resolved, comments cut."""
    made, quoted = bytearray(), False
    parts = iter(re.findall(rb"\\.|.", text, re.S))
    for part in parts:
        if part == b'"':
            quoted = not quoted
        elif not quoted and part in (b"#", b";"):
            break
        else:
            made += {b"\\n": b"\n", b"\\t": b"\t"}.get(part, part[-1:])
    return bytes(made).strip()


def _text(value: bytes | None) -> str | None:
    return value.decode("utf-8", "replace") if value else None


def _read(path: str) -> bytes:
    """A small regular file, or nothing; not through a link, which could lead into another repository."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_FILE:
            return b""
        with os.fdopen(os.dup(descriptor), "rb", buffering=0) as file:
            return file.readall() or b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)
