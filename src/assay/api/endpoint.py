"""How a prediction API was used, as evidence: what the gateway's access log says of a period, stated about the model.

With it one policy reaches from the data set to the live API: the newest statement must be young, its requests answered
by the very model that was proved, and no caller flagged.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from assay.api.monitoring import attested, exit_code
from assay.api.signers import SignWith, signer
from assay.config import Config, load
from assay.errors import DocumentError, UndecidedError, UsageError
from assay.files import read_file
from assay.guard.gateway.logs import rotated
from assay.guard.gateway.logs.missing import Hole
from assay.guard.gateway.logs.summary import Summary, summarise
from assay.targets.interface import Options
from assay.targets.registry import resolve
from assay.watch.interface import Check, Look, Metric, Outcome, Topic, Window

if TYPE_CHECKING:
    from assay.api.monitoring import Attested

TRIES = 20
"""Times that a log is read anew because it was rotated meanwhile."""

FLAGGED = 50
"""Callers that a statement names; the others are counted."""

HOLES = 20
"""Holes among the log's ids that a statement names; all are counted."""


class _Finding(msgspec.Struct, frozen=True):
    """What counts of one finding."""

    key: str


class _Findings(msgspec.Struct, frozen=True):
    """The gateway's file."""

    version: Literal[1]
    findings: list[_Finding]


@dataclass(frozen=True, slots=True)
class Limits:
    """What still counts as good."""

    failures: float = 0.01
    """Share of requests that the model server failed at."""
    tolerate: tuple[str, ...] = ("log",)
    """Levels of callers that are no violation."""
    unfinished: timedelta = timedelta(minutes=10)
    """How long a request may be under way: until then its line may be missing. Streams and tunnels may want more."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A period of an endpoint."""

    look: Look
    exit_code: int
    evidence: tuple[Attested, ...] = ()
    by: str | None = None
    """Who signed."""


def observe(
    logs: Sequence[str],
    target: str,
    since: timedelta,
    *,
    limits: Limits = Limits(),
    findings: str | None = None,
    sign: bool = True,
    signer_choice: SignWith = SignWith(),  # noqa: B008 - frozen
    directory: str | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    labels: Mapping[str, str] | None = None,
    config: Config | None = None,
    identify: bool = False,
    now: datetime | None = None,
) -> Observed:
    """What the last ``since`` of the access log ``logs`` (JSON lines; rotated files beside them are read too) says of
    the model ``target``; with ``sign`` as signed evidence about it. ``findings`` is the gateway's file of what its
    detectors have found beside callers: that all of them moved at once. Raises `AssayError`.
    """
    config = config if config is not None else load(None)
    end = (now or datetime.now(UTC)).replace(microsecond=0)
    start = end - since
    if not 0 <= limits.failures <= 1:
        raise UsageError(f"the tolerated failures are a share, from 0 to 1, not {limits.failures}")
    if limits.unfinished < timedelta(0):
        raise UsageError("requests cannot be under way for less than no time")
    secret, by = signer(signer_choice, config) if sign else (None, None)
    summary = _summary(logs, Window(start, end), limits)
    with resolve(target, options) as thing:
        version = thing.manifest(blake3=False).contents().hex()
    look = judge(summary, Window(start, end), version, limits, _moved(findings))
    made = attested((look,), target, secret, directory, options, labels or {}, config, identify, end) if sign else ()
    return Observed(look, exit_code((look,)), made, by)


def judge(summary: Summary, window: Window, version: str, limits: Limits, moved: Sequence[str] | None = None) -> Look:
    """The look: pure. A period without an answer decides nothing. ``moved``: models whose callers all changed; None:
    nobody looked.
    """
    holes = list(summary.ids.holes(*_old(window, limits)))
    others = {name: count for name, count in summary.versions.items() if name != version}
    flagged = {name: level for name, level in sorted(summary.flagged.items()) if level not in limits.tolerate}
    failed = summary.failed / summary.requests if summary.requests else 0.0
    nothing = Outcome.UNDECIDED if not summary.answered else None
    checks = [
        Check(
            "endpoint:model-version",
            nothing or (Outcome.VIOLATED if others else Outcome.HOLDS),
            expected=version,
            observed=tuple(sorted(name or "unknown" for name in summary.versions)),
            message=f"{sum(others.values()):,} of {summary.answered:,} answers came from another or an unproved model"
            if others
            else f"{summary.answered:,} answers came from the model that is proved",
        ),
        Check(
            "endpoint:failures",
            nothing or (Outcome.VIOLATED if failed > limits.failures else Outcome.HOLDS),
            expected=limits.failures,
            observed=failed,
            message=f"{summary.failed:,} of {summary.requests:,} requests failed",
        ),
        Check(
            "endpoint:log",
            Outcome.VIOLATED if summary.unreadable or summary.lost else nothing or Outcome.HOLDS,
            expected=0,
            observed=summary.unreadable + summary.lost,
            message=f"of the access log {summary.unreadable:,} line(s) cannot be read and {summary.lost:,} are missing",
        ),
        _ids(summary, holes),
    ]
    if moved is not None:
        said = "most callers ask otherwise than before: look with 'assay monitor check'"
        checks.append(
            Check(
                "endpoint:drift",
                Outcome.VIOLATED if moved else nothing or Outcome.HOLDS,
                observed=tuple(moved),
                severity="warning",
                message=said if moved else "callers ask as they did",
            )
        )
    if not flagged:
        count = len(summary.flagged)
        message = f"{count:,} caller(s) flagged, none of them treated otherwise" if count else "no caller was flagged"
        checks.append(Check("endpoint:callers", nothing or Outcome.HOLDS, message=message))
    checks += [
        Check(
            "endpoint:callers",
            Outcome.VIOLATED,
            feature=name,
            expected="ok",
            observed=level,
            message=f"treated as somebody who copies or inverts the model, by a detector or a person ({level})",
        )
        for name, level in list(flagged.items())[:FLAGGED]
    ]
    return Look(
        Topic.ENDPOINT,
        window,
        summary.requests,
        tuple(checks),
        _metrics(summary, window, holes),
        details=_details(summary),
    )


def _old(window: Window, limits: Limits) -> tuple[float, float]:
    """From when to when requests began whose lines must be there by now (UNIX seconds). Of two periods that follow on
    each other each request is in one.
    """
    return tuple((moment - limits.unfinished).timestamp() for moment in (window.start, window.end))  # type: ignore[return-value]


def _ids(summary: Summary, holes: Sequence[Hole]) -> Check:
    """Whether lines were taken out of the log, put into it twice, or lost without a word. Undecided where ids are
    hidden, or where nobody asked long enough ago.
    """
    missing = sum(hole.count for hole in holes)
    told = f" ({summary.lost:,} of them are told to be lost)" if summary.lost else ""
    if missing > summary.lost or summary.twice:
        outcome = Outcome.VIOLATED
        processes = len({hole.after[:20] for hole in holes})
        message = f"{missing:,} request ids of {processes:,} process(es) are in no line of the log{told}, " + (
            f"{summary.twice:,} in two"
        )
    elif summary.unnumbered or 2 * summary.ids.alone > summary.ids.followed:
        outcome = Outcome.UNDECIDED
        message = "whether lines are missing cannot be said: most or some have no id that can be followed"
    elif not summary.old:
        outcome = Outcome.UNDECIDED
        message = "whether lines are missing cannot be said yet: requests may be under way"
    else:
        outcome, message = Outcome.HOLDS, f"no request id is missing{told}"
    between = tuple(f"{hole.count} between {hole.after} and {hole.before}" for hole in holes[:HOLES])
    return Check("endpoint:ids", outcome, expected=0, observed=between, message=message)


def _moved(path: str | None) -> list[str] | None:
    """Models of which the gateway's detectors say that all callers have moved. Raises `DocumentError`."""
    if path is None or not os.path.exists(path):
        return None
    try:
        document = msgspec.json.decode(read_file(path), type=_Findings)
    except msgspec.MsgspecError as error:
        raise DocumentError(f"{path} is no file of the gateway's findings: {error}") from None
    return [one.key.removeprefix("drift:") for one in document.findings if one.key.startswith("drift:")]


def _metrics(summary: Summary, window: Window, holes: Sequence[Hole]) -> tuple[Metric, ...]:
    numbers = {
        "requests": float(summary.requests),
        "answered": float(summary.answered),
        "rows": float(summary.rows),
        "refused": float(sum(summary.refused.values())),
        "failed": float(summary.failed),
        "callers": float(len(summary.callers)),
        "callers_flagged": float(len(summary.flagged)),
        "log_ids_missing": float(sum(hole.count for hole in holes)),
        "log_lines_twice": float(summary.twice),
    }
    if summary.milliseconds:
        ordered = sorted(summary.milliseconds)
        numbers["latency_p50_ms"] = ordered[len(ordered) // 2]
        numbers["latency_p99_ms"] = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return tuple(Metric(name, window.end, value) for name, value in numbers.items())


def _details(summary: Summary) -> dict[str, object]:
    return {
        "refused": dict(summary.refused.most_common(50)),
        "flagged": dict(sorted(summary.flagged.items())[:FLAGGED]),
    }


def _summary(logs: Sequence[str], window: Window, limits: Limits) -> Summary:
    """Of all files, as they were at one moment: a gateway at work renames, packs and deletes them."""
    for _ in range(TRIES):
        files = _files(logs)
        try:
            times = window.start.timestamp(), window.end.timestamp(), limits.unfinished.total_seconds()
            found = summarise(files, *times)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UsageError(f"{error.filename} cannot be read: {error.strerror}") from None
        if _files(logs) == files:
            return found
    raise UndecidedError(f"{logs[0]} is rotated faster than it can be read", hint="a larger log: {rotate: …}")


def _files(logs: Sequence[str]) -> list[str]:
    """The files and what was rotated away from them, each once."""
    found: dict[str, None] = {}
    for path in logs:
        if not os.path.isfile(path):
            raise UsageError(f"there is no access log {path}", hint="log: {file: …} in the gateway file writes one")
        name = os.path.abspath(path)
        away = rotated.names(name)
        packed = {one.removesuffix(".gz") for one in away if one.endswith(".gz")}
        found |= dict.fromkeys([*(one for one in away if one not in packed), name])
    return list(found)
