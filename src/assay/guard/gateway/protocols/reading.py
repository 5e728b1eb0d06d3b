"""Bodies of strangers, read in one way or refused: media types, strict JSON, keys that stand twice.

Nothing here ever repeats what a stranger wrote, and nothing but `Refused` leaves it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from assay.guard.gateway.interface import Decision

T = TypeVar("T")

DEPTH = 16
"""Lists and objects inside each other, of what is looked into."""
MOST = 250_000
"""Lists, objects and lines of a body at most: ten megabytes of nothing else take seconds to look through."""


class Refused(Exception):
    """A request that is refused, with the decision."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.decision = Decision(False, status, "schema", reason)


@lru_cache(256)
def media(content_type: bytes) -> bytes:
    """The media type in lower case (RFC 9110, 8.3). Empty where there is none, where its parameters say another charset
    than UTF-8, or say anything else: two readers may differ about it.
    """
    kind, *parameters = content_type.split(b";")
    for parameter in parameters:
        if not parameter.strip():
            continue
        name, _, value = parameter.strip().partition(b"=")
        if name.lower() != b"charset" or value.strip(b'"').lower() not in (b"utf-8", b"utf8"):
            return b""
    return kind.strip().lower()


def require_media(content_type: bytes, *kinds: bytes) -> bytes:
    """The media type, where it is one of these. Raises `Refused` (415)."""
    kind = media(content_type)
    if kind not in kinds:
        raise Refused(415, "the content type is not " + " or ".join(one.decode() for one in kinds))
    return kind


def parse(decode: Callable[[bytes | msgspec.Raw], T], body: bytes | msgspec.Raw) -> T:
    """A typed value out of JSON. Raises `Refused`: 400 for what is no JSON, 422 for another form."""
    try:
        return decode(body)
    except msgspec.ValidationError:
        raise Refused(422, "the body has not the form that this path takes") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError):
        raise Refused(400, "the body is no JSON document") from None


def require_few(parts: int) -> None:
    """Raise `Refused` (413) where a body has so many parts that to look at each would hold up everybody else."""
    if parts > MOST:
        raise Refused(413, f"the body has more than {MOST} rows, texts, lists and objects")


def require_readable(body: bytes) -> None:
    """Raise `Refused` where ``body`` is no UTF-8 (parts that are skipped while reading are not looked at otherwise), or
    has too many lists and objects.
    """
    if len(body) > MOST:
        require_few(body.count(b"[") + body.count(b"{"))
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            raise Refused(400, "the body is no UTF-8") from None


def require_unique(body: bytes, keys: int) -> None:
    """Raise `Refused` where a key stands twice in an object of ``body``, a JSON document that has at least ``keys``
    keys, each counted once, in all its objects together.

    Each key has its colon: no more colons than keys, and none can stand twice. Otherwise (texts have colons too) the
    document is read again, slowly and exactly.
    """
    if body.count(b":") != keys:
        exact(body)


def exact(body: bytes) -> Any:
    """The value of a JSON document in which no key stands twice. Raises `Refused`."""
    try:
        return json.loads(body, object_pairs_hook=_pairs, parse_constant=_constant)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON document") from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused(400, "a key stands twice in the body")
    return found


def _constant(name: str) -> None:
    raise ValueError(name)


def count_keys(value: Any, depth: int = 0) -> int:
    """Keys of all objects in ``value`` together. Raises `Refused` where it is nested too deeply."""
    if depth > DEPTH:
        raise Refused(422, "the body is nested too deeply")
    if type(value) is dict:
        return len(value) + sum(count_keys(one, depth + 1) for one in value.values() if type(one) in (dict, list))
    if type(value) is list:
        return sum(count_keys(one, depth + 1) for one in value if type(one) in (dict, list))
    return 0
