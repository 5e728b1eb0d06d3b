"""Descriptors of other people's documents to `Thing`s: the best digest that is there, and a name fit to be shown.

Everything that comes in may have any form. What has not its own form is left out, never repaired.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from assay.evidence.lineage.interface import Thing
from assay.evidence.predicates import printable
from assay.evidence.statement import STRONG, Subject

_LENGTHS = {"256": 64, "384": 96, "512": 128}
_HEX = re.compile(r"[0-9a-f]+")
_NAME = 200
_WEAK = ("gitCommit", "gitTree", "sha1", "md5", "blake3")


def mapping(value: object) -> Mapping[str, Any]:
    """``value`` where it is an object; an empty one otherwise."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """``value`` where it is an array; an empty one otherwise."""
    return value if isinstance(value, list) else []


def text(value: object, most: int = _NAME) -> str:
    """A bounded string without what a terminal or page would act on; empty for anything else."""
    return printable(value[: most * 2])[:most] if isinstance(value, str) else ""


def time(value: object) -> datetime | None:
    """An RFC 3339 time in UTC."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        # Three to nine digits of a second's fraction are in use; Python 3.11 reads six at most.
        found = datetime.fromisoformat(re.sub(r"(\.\d{1,6})\d*", r"\1", value))
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def keys(digest: object) -> list[str]:
    """The strong digests of a digest set as keys, the most common first."""
    found = mapping(digest)
    return [
        f"{name}:{found[name]}"
        for name in STRONG
        if isinstance(found.get(name), str) and len(found[name]) == _LENGTHS[name[-3:]] and _HEX.fullmatch(found[name])
    ]


def thing(digest: object, name: str, uri: str = "", role: str = "", *, folder: bool = False) -> Thing | None:
    """A thing by its best digest, else its URI, else its name; None when there is nothing to call it by."""
    shown = text(name) or text(uri)
    if strong := keys(digest):
        return Thing(strong[0], shown or strong[0][:20], role, folder)
    found = mapping(digest)
    for algorithm in _WEAK:  # no others: what stands before the colon says what a key is
        if value := text(found.get(algorithm), 128):
            return Thing(f"{algorithm}:{value}", shown or value, role)
    if uri or shown:
        return Thing(f"uri:{text(uri)}" if uri else f"name:{shown}", shown, role)
    return None


def descriptor(value: object) -> Thing | None:
    """An in-toto resource descriptor."""
    found = mapping(value)
    said = mapping(found.get("annotations"))
    uri = found.get("uri") or found.get("downloadLocation")
    return thing(
        found.get("digest"),
        text(found.get("name")),
        uri if isinstance(uri, str) else "",
        text(said.get("origin"), 20),
        folder="files" in said,
    )


def descriptors(values: object) -> tuple[Thing, ...]:
    """Resource descriptors, each key once."""
    return once(descriptor(value) for value in items(values))


def subject(value: Subject) -> Thing:
    """A statement's subject."""
    found = thing(value.digest, value.name, folder="files" in value.annotations)
    return found or Thing(f"name:{text(value.name)}", text(value.name))


def once(values: Iterator[Thing | None]) -> tuple[Thing, ...]:
    """The things that are there, each key once."""
    made: dict[str, Thing] = {}
    for value in values:
        if value is not None:
            made.setdefault(value.key, value)
    return tuple(made.values())
