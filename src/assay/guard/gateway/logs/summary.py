"""The JSON access log read back: how the endpoint was used in a period, as numbers. It believes nothing that it cannot
parse, and says how many lines that were; and how many are not there, as far as the others tell (`missing`).
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

from assay.guard.gateway.logs import rotated
from assay.guard.gateway.logs.missing import Ids

LONGEST = 1 << 16
"""Bytes of a line that is still read."""

CALLERS = 100_000
"""Callers that are told apart; more are counted together."""

MANY = 1 << 53
"""Rows and lines of which no line tells more."""


class _Line(msgspec.Struct, frozen=True):
    """The fields that count, as the log writes them."""

    requestTimeEpoch: str
    status: str
    httpMethod: str = ""
    resourcePath: str = ""
    protocol: str = ""
    extendedRequestId: str = "-"
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
    """Lines that the gateway could not write, as the log itself says; from `summarise`'s ``unfinished`` before on."""
    twice: int = 0
    """Lines whose id stands in another line; they count nowhere else."""
    unnumbered: int = 0
    """Requests whose id is hidden, or cannot be followed."""
    old: int = 0
    """Lines of requests that began from ``start`` to before ``end``, both less ``unfinished``."""
    ids: Ids = field(default_factory=Ids)
    """Of all lines, whenever that was."""
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


def summarise(paths: Iterable[str], start: float, end: float, unfinished: float = 0.0) -> Summary:
    """What the log says of the time from ``start`` to before ``end`` (UNIX seconds); ``unfinished`` seconds after its
    beginning a request may still be under way, and have no line. Raises `OSError`.
    """
    found = Summary()
    for path in paths:
        log = rotated.origin(path)
        try:
            for raw in _packed(path) if path.endswith(".gz") else _plain(path):
                _take(found, raw, log, start, end, unfinished)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            found.unreadable += 1  # what is packed here is cut, or somebody else's
    return found


def _take(found: Summary, raw: bytes, log: str, start: float, end: float, unfinished: float) -> None:
    try:
        line = _line.decode(raw)
        at, status = float(line.requestTimeEpoch) / 1000, int(line.status) if line.status != "-" else 0
        rows = int(line.rows) if line.rows != "-" else 0
        latency = float(line.responseLatency) if line.responseLatency != "-" else math.nan
    except (msgspec.MsgspecError, ValueError):
        found.unreadable += 1
        return
    if not math.isfinite(at) or not 0 <= rows <= MANY:
        found.unreadable += 1
        return
    if line.httpMethod == line.protocol == line.extendedRequestId == "-" and line.resourcePath.startswith("log-lost:"):
        if start - unfinished <= at < end:
            count = line.resourcePath.removeprefix("log-lost:")
            found.lost += int(count) if count.isdecimal() and len(count) < 16 else 1
        return
    new = found.ids.take(line.extendedRequestId, at, at + latency / 1000 if latency == latency else at, log)
    if start - unfinished <= at < end - unfinished:
        found.old += 1
    if not start <= at < end:
        return
    if new is False:
        found.twice += 1
        return
    found.unnumbered += new is None
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
