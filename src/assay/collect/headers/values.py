"""Beside `reading`: facts that are only sometimes known, lists of names and counts as short text, and typed JSON.

Metadata ends up in a signed document, so nothing here may let an attacker's file fill it, or build more than is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import BinaryIO, TypeVar

import msgspec

from assay.collect.headers.reading import MAX_VALUE, clean, short
from assay.errors import DocumentError

_T = TypeVar("_T")


def known(**facts: object) -> dict[str, str]:
    """The given facts as metadata, without those that are None or empty."""
    return short((key, value) for key, value in facts.items() if value not in (None, "", [], ()))


def names(values: Iterable[object]) -> str:
    """Names as one text, ``a, b, c``; ends with ``…`` where it would grow beyond a metadata value's length."""
    parts: list[str] = []
    room = MAX_VALUE - 3
    for value in values:
        part = clean(str(value)[: MAX_VALUE + 1])
        room -= len(part) + 2
        if room < 0:
            parts.append("…")
            break
        parts.append(part)
    return ", ".join(parts)


def counts(values: Mapping[str, int]) -> str:
    """Counts as one text, the largest first: ``Dense: 3, Dropout: 1``."""
    ordered = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    return names(f"{name}: {count}" for name, count in ordered)


def read_json(file: BinaryIO, kind: type[_T], *, limit: int) -> _T:
    """Decode the whole file as JSON into ``kind``; members that it does not name are skipped, not built.

    Raises `DocumentError` when the file is longer than ``limit`` bytes, is no such JSON, or is nested too deeply.
    """
    file.seek(0)
    data = file.read(limit + 1)
    if len(data) > limit:
        raise DocumentError(f"the JSON is larger than {limit >> 20} MiB")
    return decode_json(data, kind)


def decode_json(data: bytes | str, kind: type[_T]) -> _T:
    """Like `read_json`, for bytes that are at hand."""
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError:
        raise DocumentError("the JSON is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise DocumentError(f"not the JSON that was expected: {clean(str(error))[:200]}") from None
