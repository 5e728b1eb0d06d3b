"""Arguments of checks: one typed document each, from which the reader and the published JSON Schema are both made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from assay.errors import DocumentError
from assay.evidence.predicates import printable


class Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Base: keys with hyphens, unknown keys refused."""


Kind = TypeVar("Kind", bound=msgspec.Struct)

Word = Annotated[str, Meta(min_length=1, max_length=500)]
"""A name or glob."""

Words = tuple[Word, ...]
"""Names or globs, any of which counts."""

Unknown = Literal["fail", "allow"]
"""What becomes of what is not known."""

Count = Annotated[int, Meta(ge=0)]
"""How many at most, or at least."""


class Maximum(Arguments, frozen=True):
    """How many findings of each severity are tolerated. What is milder than all that is named here has no limit; of
    what is worse, and not named, none is tolerated.
    """

    critical: Count | None = None
    high: Count | None = None
    medium: Count | None = None
    low: Count | None = None


class Ignored(Arguments, frozen=True):
    """A finding that somebody accepted for a while."""

    id: Annotated[Word, Meta(description="Its id (CVE-…, GHSA-…), or a glob.")]
    until: Annotated[date, Meta(description="Last day on which it is accepted, in UTC.")]
    reason: Annotated[str, Meta(description="Why it is accepted.")] = ""


def convert(kind: type[Kind], arguments: object, place: str) -> Kind:
    """``arguments`` as ``kind``; nothing at all is an empty object. Raises `DocumentError` starting with ``place``."""
    try:
        return msgspec.convert({} if arguments is None else arguments, kind)
    except msgspec.ValidationError as error:
        reason, _, path = printable(str(error)).partition(" - at `$")
        where = place + path.rstrip("`")[:100]
        keys = ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
        raise DocumentError(f"{where}: {reason[:200]}", hint=f"known here: {keys}") from None
    except RecursionError:
        raise DocumentError(f"{place}: nested too deeply") from None


def limits(most: msgspec.Struct) -> Mapping[str, int]:
    """The limits that a document like `Maximum`, whose fields stand worst first, sets: ``high: 0`` also means no
    critical one.
    """
    found: dict[str, int] = {}
    for name in reversed(most.__struct_fields__):
        value = getattr(most, name)
        if value is not None or found:
            found[name] = value or 0
    return found


def schema(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    """JSON Schema (2020-12) of ``kind``, without references, so that it can stand inside of another schema."""
    made = msgspec.json.schema(kind)
    definitions = made.get("$defs", {})
    whole: dict[str, Any] = _inlined(made, definitions)
    whole.pop("$defs", None)
    return whole


def _inlined(value: Any, definitions: Mapping[str, Any]) -> Any:
    """``value`` with what it refers to; the arguments' types are our own and hold no cycle."""
    if isinstance(value, list):
        return [_inlined(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    target = value.get("$ref")
    if isinstance(target, str):
        beside = {key: item for key, item in value.items() if key not in ("$ref", "$defs")}
        return {**_inlined(definitions[target.removeprefix("#/$defs/")], definitions), **beside}
    return {key: _inlined(item, definitions) for key, item in value.items() if key != "$defs"}
