"""The file of API keys, and what becomes of a key: made, rotated, revoked, expired. Pure but for `read` and `change`.

A key itself is shown once, when it is made; the file holds its SHA-256. That is enough because a key is 256 random
bits: nothing can be guessed, so a slow hash would protect nothing.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import math
import os
import secrets
import stat
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from assay.errors import DocumentError, UsageError
from assay.files import read_file, require_folder, write_atomic
from assay.guard.gateway.interface import Caller, Permission

PREFIX = "assay_"
"""What a key begins with: for people and programs that search for leaked ones."""

MAX_FILE = 64 << 20
MAX_KEYS = 100_000

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f-\x9f]*\Z")]
Optional = Annotated[str, msgspec.Meta(max_length=256, pattern=r"^[^\x00-\x1f\x7f-\x9f]*\Z")]
Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
Time = Annotated[datetime, msgspec.Meta(tz=True)]

T = TypeVar("T")


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True):
    """One key, without the key."""

    id: Id
    """Public; in the access log."""
    caller: Id
    """The id of the first key in a row of rotations: whoever rotates stays the same caller, with the same quotas."""
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    owner: Text
    """Whom it was given to: all callers of one owner are watched together."""
    user: Optional = ""
    """The person or service in the access log; empty: the owner."""
    plan: Text = "default"
    permissions: tuple[Permission, ...] = (Permission(),)
    groups: tuple[Text, ...] = ()
    """Scopes, for rules."""
    created: Time
    expires: Time | None = None
    """From then on it is refused."""
    revoked: Time | None = None
    """It was taken back then, and is refused."""
    replaced_by: Id | None = None
    """Id of the key that it was rotated to."""


class KeyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """The whole file."""

    assay_gateway_keys: Literal[1] = 1
    """Version of this format."""
    keys: tuple[Key, ...] = ()


def secret() -> str:
    """A new key: prefix, 256 random bits, and a checksum by which a leaked one is told from a look-alike."""
    return _spelt(secrets.token_bytes(32))


def digest(presented: bytes) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(presented).digest()


def caller(key: Key) -> Caller:
    """Who somebody with this key is."""
    return Caller(f"key:{key.caller}", key.user or key.owner, key.owner, key.plan, key.permissions, key.id, key.groups)


def until(key: Key) -> float:
    """UNIX seconds from which on the key is refused; infinity: it does not expire; minus infinity: it is revoked."""
    if key.revoked is not None:
        return -math.inf
    return math.inf if key.expires is None else key.expires.timestamp()


def create(
    file: KeyFile,
    now: datetime,
    owner: str,
    *,
    user: str = "",
    plan: str = "default",
    permissions: tuple[Permission, ...] = (Permission(),),
    groups: tuple[str, ...] = (),
    lifetime: timedelta | None = None,
) -> tuple[KeyFile, Key, str]:
    """The file with a key more, that key, and what its holder presents (shown once). Raises `UsageError`."""
    made, identity = secret(), _identity()
    key = Key(
        id=identity,
        caller=identity,
        sha256=digest(made.encode()).hex(),
        owner=owner,
        user=user,
        plan=plan,
        permissions=permissions,
        groups=groups,
        created=_whole(now),
        expires=None if lifetime is None else _after(now, lifetime),
    )
    return _checked(KeyFile(keys=(*file.keys, key))), key, made


def rotate(
    file: KeyFile, identity: str, now: datetime, overlap: timedelta, *, lifetime: timedelta | None = None
) -> tuple[KeyFile, Key, str]:
    """As `create`, for the same caller; the old key goes on for ``overlap``, no longer than it would have.

    The new one lives for ``lifetime``, or as long as the old one was meant to. Raises `UsageError` for a key that is
    unknown, refused already, or was rotated before.
    """
    old = find(file, identity)
    if until(old) <= now.timestamp():
        raise UsageError(f"key {identity} is revoked or expired", hint="make a new one with 'create'")
    if old.replaced_by is not None:
        raise UsageError(f"key {identity} was rotated already", hint=f"its successor is {old.replaced_by}")
    if overlap < timedelta(0):
        raise UsageError("an overlap is no negative time")
    if lifetime is None and old.expires is not None:
        lifetime = old.expires - old.created
    made = secret()
    new = replace(
        old,
        id=_identity(),
        sha256=digest(made.encode()).hex(),
        created=_whole(now),
        expires=None if lifetime is None else _after(now, lifetime),
    )
    end = _after(now, overlap)
    ending = replace(old, replaced_by=new.id, expires=end if old.expires is None else min(old.expires, end))
    changed = _with(file, ending)
    return _checked(KeyFile(keys=(*changed.keys, new))), new, made


def revoke(file: KeyFile, identity: str, now: datetime) -> KeyFile:
    """The key is refused from now on, and for good. Raises `UsageError` where it is unknown."""
    key = find(file, identity)
    return file if key.revoked is not None else _with(file, replace(key, revoked=_whole(now)))


def expire(file: KeyFile, identity: str, at: datetime) -> KeyFile:
    """The key is refused from ``at`` on. Raises `UsageError` where it is unknown or revoked."""
    key = find(file, identity)
    if key.revoked is not None:
        raise UsageError(f"key {identity} is revoked already")
    return _with(file, replace(key, expires=_whole(at)))


def find(file: KeyFile, identity: str) -> Key:
    """The key with this id. Raises `UsageError`."""
    for key in file.keys:
        if key.id == identity:
            return key
    raise UsageError(f"there is no key {identity[:64]!r}", hint="'assay gateway keys list' shows their ids")


def parse(data: bytes, name: str) -> KeyFile:
    """The file from its bytes. Raises `DocumentError` naming what is wrong."""
    from assay.evidence import strict_json

    hint = "'assay gateway keys create' makes a file of keys"
    try:
        raw = strict_json.loads(data, name, max_bytes=MAX_FILE)
    except DocumentError as error:
        raise DocumentError(error.message, hint=hint) from None
    if not isinstance(raw, dict) or raw.get("assay-gateway-keys") != 1:
        raise DocumentError(f"{name} is no file of API keys", hint=hint)
    try:
        return _unique(msgspec.convert(raw, KeyFile), name)
    except msgspec.ValidationError as error:
        raise DocumentError(f"{name}: {error}") from None
    except UsageError as error:
        raise DocumentError(error.message) from None


def read(path: str) -> KeyFile:
    """The file. Raises `UsageError` where it cannot be read or others may write to it, else as `parse` does."""
    data = read_file(path, MAX_FILE)
    require_own(path)
    return parse(data, path)


def change(path: str, how: Callable[[KeyFile], tuple[KeyFile, T]]) -> T:
    """Read, change and write the file (mode 600), one at a time on this machine. A file that is not there is empty."""
    require_folder(path)
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        changed, result = how(read(path) if os.path.lexists(path) else KeyFile())
        write_atomic(path, msgspec.json.format(msgspec.json.encode(changed), indent=2) + b"\n", mode=0o600)
        return result
    finally:
        os.close(folder)


def require_own(path: str) -> None:
    """Raise `UsageError` where somebody else could have written the file: they could have given themselves a key."""
    found = os.stat(path)
    if stat.S_IMODE(found.st_mode) & 0o022 or found.st_uid not in (0, os.geteuid()):
        raise UsageError(f"{path} may be written by others than you", hint=f"chmod 600 {path}, and look who is in it")


def readable(path: str) -> bool:
    """Whether others may read the file: no key is in it, but who has one."""
    return bool(stat.S_IMODE(os.stat(path).st_mode) & 0o044)


def _with(file: KeyFile, changed: Key) -> KeyFile:
    return KeyFile(keys=tuple(changed if key.id == changed.id else key for key in file.keys))


def _checked(file: KeyFile) -> KeyFile:
    """What code has changed: structs check their types only when they are read."""
    try:
        return _unique(msgspec.convert(msgspec.to_builtins(file), KeyFile), "the file of API keys")
    except msgspec.ValidationError as error:
        raise UsageError(f"the key cannot be made: {error}") from None


def _unique(file: KeyFile, name: str) -> KeyFile:
    if len(file.keys) > MAX_KEYS:
        raise UsageError(f"{name} has more than {MAX_KEYS:,} keys")
    for what in ("id", "sha256"):
        if len({getattr(key, what) for key in file.keys}) != len(file.keys):
            raise UsageError(f"{name} has two keys with the same {what}")
    return file


def _spelt(drawn: bytes) -> str:
    return PREFIX + _text(drawn) + _text(zlib.crc32(drawn).to_bytes(4))


def _identity() -> str:
    return secrets.token_hex(8)  # never begins with a hyphen, which a command line would take for a flag


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _whole(time: datetime) -> datetime:
    return time.replace(microsecond=0)


def _after(now: datetime, span: timedelta) -> datetime:
    try:
        return _whole(now + span)
    except OverflowError:
        raise UsageError("the time is too far in the future") from None
