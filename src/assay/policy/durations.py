"""Spans of time as people write them in a policy: ``7d``, ``12h``, ``1d 6h``, or ISO 8601 (``P7D``).

Months and years are refused: they have no fixed length, and a limit that differs from month to month is a surprise.
"""

from __future__ import annotations

import re
from datetime import timedelta

from assay.errors import DocumentError

LONGEST = timedelta(days=36500)
"""A hundred years: beyond that, a limit is a slip of the finger."""

_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PLAIN = re.compile(r"([0-9]{1,9})([wdhms]) ?", re.ASCII)
_ISO = re.compile(
    r"P(?:([0-9]{1,9})W)?(?:([0-9]{1,9})D)?(?:T(?=[0-9])(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})S)?)?",
    re.ASCII,
)


def parse(text: object, place: str = "the duration") -> timedelta:
    """The span that ``text`` names, longer than nothing. Raises `DocumentError` that starts with ``place``."""
    if not isinstance(text, str):
        raise _wrong(place, text)
    written = text.strip()
    seconds = _iso(written) if written[:1] == "P" else _plain(written)
    if seconds is None:
        raise _wrong(place, text)
    if seconds == 0:
        raise DocumentError(f"{place}: {text[:40]!r} is no time at all")
    if seconds > LONGEST.total_seconds():
        raise DocumentError(f"{place}: {text[:40]!r} is longer than a hundred years")
    return timedelta(seconds=seconds)


def text(span: timedelta) -> str:
    """``span`` in its two largest units, rounded down: ``8d 3h``. What is shorter than a second is ``0s``."""
    seconds = int(abs(span.total_seconds()))
    parts: list[str] = []
    for unit, length in _SECONDS.items():
        count, rest = divmod(seconds, length)
        if unit == "w":
            continue  # nobody counts "1w 1d"
        if count:
            parts.append(f"{count}{unit}")
            seconds = rest
        elif parts:
            break
        if len(parts) == 2:
            break
    return ("-" if span < timedelta() and parts else "") + (" ".join(parts) or "0s")


def _plain(written: str) -> int | None:
    total, at, order = 0, 0, list(_SECONDS)
    while at < len(written):
        match = _PLAIN.match(written, at)
        if match is None or match[2] not in order:
            return None
        order = order[order.index(match[2]) + 1 :]
        total += int(match[1]) * _SECONDS[match[2]]
        at = match.end()
    return total if written else None


def _iso(written: str) -> int | None:
    match = _ISO.fullmatch(written)
    if match is None or not any(match.groups()):
        return None
    return sum(int(count or 0) * length for count, length in zip(match.groups(), _SECONDS.values(), strict=True))


def _wrong(place: str, text: object) -> DocumentError:
    return DocumentError(
        f"{place}: {str(text)[:40]!r} is not a duration",
        hint="write 30m, 12h, 7d or 2w, or ISO 8601 such as P7D; months and years have no fixed length",
    )
