"""Spans, sizes and rates as people write them: ``30s``, ``64KiB``, ``100/60s``. Each is read once, when the file is."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from assay.errors import DocumentError
from assay.policy import durations

Count = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Base of the file's parts: keys in kebab-case, and a key that is not known is an error."""


class Seconds(float):
    """A span: ``30s``, ``5m``, ``1d``, also ``250ms``."""

    __slots__ = ()

    @classmethod
    def read(cls, value: Any) -> Seconds:
        """Raises `ValueError` with a sentence."""
        if isinstance(value, str) and (match := re.fullmatch(r"([1-9][0-9]{0,5})ms", value)):
            return cls(int(match[1]) / 1000)
        try:
            return cls(durations.parse(value).total_seconds())
        except DocumentError:
            raise ValueError(f"{str(value)[:40]!r} is no span of time: write 250ms, 30s, 5m, 12h or 1d") from None


_UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


class Bytes(int):
    """A size: ``4096``, ``64KiB``, ``10MB``."""

    __slots__ = ()

    @classmethod
    def read(cls, value: Any) -> Bytes:
        """Raises `ValueError` with a sentence."""
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(value)
        match = re.fullmatch(r"([0-9]{1,12}) ?([KMG]i?B|B|)", value) if isinstance(value, str) else None
        if match is None:
            raise ValueError(f"{str(value)[:40]!r} is no size: write 4096, 64KiB or 10MB")
        return cls(int(match[1]) * _UNITS[match[2]])


class Rate:
    """So many in so long: ``100/60s``, ``5000/d``, ``10/s``."""

    __slots__ = ("limit", "seconds")

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"{self.limit}/{self.seconds:g}s"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rate) and (self.limit, self.seconds) == (other.limit, other.seconds)

    def __hash__(self) -> int:
        return hash((self.limit, self.seconds))

    @classmethod
    def read(cls, value: Any) -> Rate:
        """Raises `ValueError` with a sentence."""
        match = re.fullmatch(r"([0-9]{1,12}) ?/ ?([0-9a-z]{1,10})", value) if isinstance(value, str) else None
        if match is not None and int(match[1]) > 0:
            span = match[2] if match[2][0].isdigit() else "1" + match[2]
            try:
                return cls(int(match[1]), Seconds.read(span))
            except ValueError:
                pass
        raise ValueError(f"{str(value)[:40]!r} is no rate: write 100/60s, 10/s or 5000/d")


def hook(kind: type, value: Any) -> Any:
    """For `msgspec.convert`: reads the types above. Raises `ValueError`, which msgspec tells with its place."""
    if kind in (Seconds, Bytes, Rate):
        return kind.read(value)
    raise NotImplementedError(kind)  # what msgspec asks of a hook for a type that it does not know
