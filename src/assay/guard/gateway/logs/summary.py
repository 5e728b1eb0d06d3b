"""The JSON access log read back: how the endpoint was used in a period, as numbers. It believes nothing that it cannot
parse, and says how many lines that were.
"""

from __future__ import annotations

import fcntl
import gzip
import math
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

import msgspec

LONGEST = 1 << 16
"""Bytes of a line that is still read."""

CALLERS = 100_000
"""Callers that are told apart; more are counted together."""


class _Line(msgspec.Struct, frozen=True):
    """The fields that count, as the log writes them."""

    requestTimeEpoch: str
    status: str
    httpMethod: str = ""
    resourcePath: str = ""
    caller: str = "-"
    rule: str = "-"
    level: str = "-"
    modelVersion: str = "-"
    rows: str = "-"
    responseLatency: str = "-"
    verb: str = "-"


_line = msgspec.json.Decoder(_Line)


@dataclass(slots=True)
class Summary:
    """A period of an endpoint."""

    requests: int = 0
    unreadable: int = 0
    """Lines that are no line of this log."""
    lost: int = 0
    """Lines that the gateway could not write, as the log itself says."""
    first: float = math.inf
    """UNIX seconds of the earliest request."""
    last: float = -math.inf
    refused: Counter[str] = field(default_factory=Counter)
    """By the rule that decided."""
    failed: int = 0
    """Answers of 500 and above that no rule of ours decided."""
    answered: int = 0
    """Predictions that were asked for and given."""
    rows: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    """Digests of the model that gave them; empty where it was not known."""
    callers: Counter[str] = field(default_factory=Counter)
    flagged: dict[str, str] = field(default_factory=dict)
    """Callers to the worst level that a request of theirs met."""
    milliseconds: list[float] = field(default_factory=list)
    """Latencies of answers, thinned to at most 100,000."""


_LEVELS = ("-", "ok", "log", "slow", "harden", "approve", "block")


def summarise(paths: Iterable[str], start: float, end: float) -> Summary:
    """What the log says of the time from ``start`` to before ``end`` (UNIX seconds). Raises `OSError`."""
    found = Summary()
    for path in paths:
        try:
            for raw in _packed(path) if path.endswith(".gz") else _plain(path):
                _take(found, raw, start, end)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            found.unreadable += 1  # what is packed here is cut, or somebody else's
    return found


def _take(found: Summary, raw: bytes, start: float, end: float) -> None:
    try:
        line = _line.decode(raw)
        at, status = float(line.requestTimeEpoch) / 1000, int(line.status) if line.status != "-" else 0
        rows = int(line.rows) if line.rows != "-" else 0
        latency = float(line.responseLatency) if line.responseLatency != "-" else math.nan
    except (msgspec.MsgspecError, ValueError):
        found.unreadable += 1
        return
    if at != at:
        found.unreadable += 1
        return
    if not start <= at < end:
        return
    if line.httpMethod == "-" and line.resourcePath.startswith("log-lost:"):
        count = line.resourcePath.removeprefix("log-lost:")
        found.lost += int(count) if count.isdecimal() else 1
        return
    found.requests += 1
    found.first, found.last = min(found.first, at), max(found.last, at)
    caller = line.caller if line.caller in found.callers or len(found.callers) < CALLERS else "(others)"
    found.callers[caller] += 1
    if line.level in _LEVELS and _LEVELS.index(line.level) > _LEVELS.index(found.flagged.get(caller, "ok")):
        found.flagged[caller] = line.level
    if line.rule != "-":
        found.refused[line.rule] += 1
    elif status >= 500:
        found.failed += 1
    elif status and line.verb in ("infer", "explain", "chat", "complete", "embed"):
        found.answered += 1
        found.rows += rows
        found.versions[line.modelVersion if line.modelVersion != "-" else ""] += 1
    if latency == latency and (len(found.milliseconds) < 100_000 or found.requests % 100 == 0):
        if len(found.milliseconds) >= 100_000:
            found.milliseconds[found.requests // 100 % 100_000] = latency
        else:
            found.milliseconds.append(latency)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while raw := file.readline(LONGEST):
        if raw.endswith(b"\n"):
            yield raw
        else:
            yield b""  # cut off, or far too long: counted as unreadable
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(LONGEST)


def _packed(path: str) -> Iterator[bytes]:
    with gzip.open(path, "rb") as file:
        yield from _lines(file)  # type: ignore[arg-type]


def _plain(path: str) -> Iterator[bytes]:
    """A file that may be in use: as far as it goes between two writes, which hold its lock (`file.LogFile`)."""
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        end = os.fstat(file.fileno()).st_size
        fcntl.flock(file, fcntl.LOCK_UN)
        for raw in _lines(file):
            if file.tell() > end:
                return
            yield raw
