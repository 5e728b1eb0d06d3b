"""How scanners of formats say what they found: findings with printable, bounded text, and bounded reading of documents.

Every byte that passes here may be an attacker's, so nothing of it reaches a message unescaped or at full length.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from assay.collect.scan.models.formats.views import part
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError

EXECUTION = ("AML.T0011.000", "AML.T0018.002")
"""Unsafe AI artifacts; embedded malware."""

SCRIPTING = ("AML.T0011.000", "AML.T0050")
"""Unsafe AI artifacts; command and scripting interpreter."""

SUPPLY = ("AML.T0010.003",)
"""Compromise of the supply chain: model."""

DENIAL = ("AML.T0029",)
"""Denial of AI service."""

HIDING = ("AML.T0018.002",)
"""Embedded malware."""

APPENDED = "(appended)"
"""What data behind a format's own end is called, where it is handed on to be scanned."""

UNUSED = "(unused)"
"""What data between tensors is called, where it is handed on to be scanned."""

SENSITIVE = re.compile(
    r"^/(?:etc|proc|sys|dev|run)/|^~|(?:^|[/\\])\.(?:ssh|aws|gnupg|kube|docker|env|netrc|pgpass|git-credentials|bash\w*|"
    r"z?profile|zshrc)\b|passwd|shadow|id_(?:rsa|ed25519)|credentials|authorized_keys|crontab|Windows[/\\]System32",
    re.IGNORECASE,
)
"""Paths that no model was ever trained with: a machine's own files, and where people keep secrets."""

_MAX_PARTS = 5_000_000
"""Brackets, braces and commas of a JSON document: what bounds the objects it becomes."""

_ESCAPED_LETTER = re.compile(rb"\\u00(?:5[fF]|[46][1-9a-fA-F]|[57][0-9aA])")

_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa1-\u02ff\u0370-\u1fff\u3040-\ud7ff]")


def shown(text: object, limit: int = 120) -> str:
    """``text`` fit for a message: control, bidirectional and invisible characters escaped, shortened to ``limit``."""
    cut = str(text)[: limit + 1]
    if len(cut) > limit:
        cut = cut[: limit - 1] + "…"
    return _UNPRINTABLE.sub(lambda m: m[0] if m[0] == "…" else f"\\u{ord(m[0]):04x}", cut)


def tell(
    scan: Scan,
    rule: str,
    tier: Tier,
    severity: Severity,
    message: str,
    *,
    offset: int | None = None,
    call: str | None = None,
    atlas: tuple[str, ...] = (),
    mitigation: str = "",
    within: str | None = None,
) -> Finding:
    """A finding at the place where ``scan`` is; ``within`` names a place inside it (a layer, a cell)."""
    text = f"{shown(within, 200)}: {message}" if within else message
    return Finding(
        rule,
        tier,
        severity,
        shown(text, 1000),
        member=scan.member,
        offset=offset,
        call=None if call is None else shown(call, 300),
        atlas=atlas,
        mitigation=mitigation,
    )


def read_whole(file: BinaryIO, size: int, limit: int, what: str) -> bytes:
    """All ``size`` bytes of a document. Raises `DocumentError` when they are more than ``limit`` or fewer arrive."""
    if size > limit:
        raise DocumentError(f"{what} has {size:,} bytes, more than the {limit:,} that are read")
    file.seek(0)
    data = file.read(size)
    if len(data) != size:
        raise DocumentError(f"{what} ends early")
    return data


def read_json(data: bytes, what: str) -> tuple[Any, tuple[str, ...]]:
    """A JSON document as Python's own reader sees it (NaN allowed, any UTF), and keys that some object has twice.

    Raises `DocumentError` for anything else, and for documents that are nested too deeply or have too many parts.
    """
    if sum(data.count(mark) for mark in (b"[", b"{", b",")) > _MAX_PARTS:
        raise DocumentError(f"{what} has too many parts")
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) != len(items) and len(twice) < 10:
            keys = sorted(key for key, _ in items)
            twice.extend(sorted({a for a, b in itertools.pairwise(keys) if a == b}))
        return result

    try:
        return json.loads(data, object_pairs_hook=pairs), tuple(twice[:10])
    except RecursionError:
        raise DocumentError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise DocumentError(f"{what} is not JSON: {shown(error)}") from None


def has_any(data: bytes, keys: tuple[bytes, ...]) -> bool:
    """Whether JSON may have one of the keys: as it is, in UTF-16, or with letters escaped, as no writer does."""
    plain = data.replace(b"\0", b"") if b"\0" in data[:64] else data
    return any(b'"' + key + b'"' in plain for key in keys) or _ESCAPED_LETTER.search(plain) is not None


def begins_as_json(head: bytes) -> bool:
    """Whether a file that starts so may be a JSON object or array, in any encoding that JSON's readers take."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n\0\xff\xfe").startswith((b"{", b"["))


def mentions(
    file: BinaryIO, size: int, head: bytes, tail: bytes, keys: tuple[bytes, ...], limit: int, whole: bool
) -> bool:
    """Whether a file of JSON may have one of the keys: at either end, and with ``whole`` anywhere in up to ``limit``
    bytes.
    """
    if has_any(head, keys) or has_any(tail, keys):
        return True
    if not whole or not len(head) < size <= limit:
        return False
    file.seek(0)
    return has_any(file.read(size), keys)


def tell_twice(scan: Scan, twice: tuple[str, ...], what: str) -> Iterator[Finding]:
    """A finding for keys that are there twice, of which two readers see different ones."""
    if twice:
        yield tell(
            scan,
            "json/duplicate-key",
            Tier.UNKNOWN,
            Severity.MEDIUM,
            f"{what} has the key {shown(twice[0], 60)!r} twice in one object: two readers may see different values",
            atlas=SUPPLY,
        )


def leads_out(path: str) -> str | None:
    """Why a path that a model names leaves the model's folder, or None where it stays inside."""
    plain = path.replace("\\", "/")
    if "\0" in path:
        return "holds a NUL byte"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", plain):
        return "is a URL"
    if plain.startswith(("/", "~")):
        return "is absolute"
    if re.match(r"[A-Za-z]:", plain):
        return "is on a drive"
    if ".." in plain.split("/"):
        return "leads out of the folder"
    return None


def hand_on(file: BinaryIO, start: int, end: int, name: str, scan: Scan) -> Iterator[Finding]:
    """Scan the bytes from ``start`` to ``end`` as a file of their own, called ``name``."""
    yield from scan.inner(part(file, start, end - start), name, end - start)
