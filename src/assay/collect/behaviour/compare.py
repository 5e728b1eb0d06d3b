"""A run held against a profile: findings. Pure, and the same for the same two.

A fact that no run had is a finding whose severity depends on what it is; what every run had and this one lacks is a
mild one; numbers are compared by median and MAD (median absolute deviation), which one odd run can't move.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from assay.alerts.finding import Finding, Severity
from assay.collect.behaviour.interface import Fact, Facts, Kind
from assay.collect.behaviour.model import Profile, centre, same_bytes
from assay.collect.behaviour.naming import crowd, place
from assay.collect.behaviour.weights import ALARM, SEVERE, Weight, weight

SCAN = 20
"""More new folders than this outside the declared places are somebody looking around."""

FEWEST = 5
"""Runs that numbers need before they are compared."""

FURTHEST = 4.0
"""Standard deviations (estimated from the MAD) beyond which a number is a finding."""

MOST = 25
"""Findings of one kind and severity that are listed one by one; the others are counted in one more."""

_SPREAD = 0.25
"""Least spread of a number as a part of its median: machines are that noisy."""

_NORMAL = 0.6745
"""MAD of a normal distribution with standard deviation 1 (Iglewicz and Hoaglin, How to detect outliers, 1993)."""

_COSTS = {"gpu_seconds": ("AML.T0034",), "cpu_seconds": ("AML.T0034",), "sent_bytes": ("AML.T0025",)}
_ORDER = list(Severity)


def compare(profile: Profile, facts: Facts) -> list[Finding]:
    """All findings, worst first. A profile without runs knows nothing yet: then only what no step should do is told."""
    findings = [*_changed(profile, facts), *_unseen(profile, facts), *_missing(profile, facts)]
    findings += _numbers(profile, facts)
    return sorted(findings, key=lambda item: (-item.severity.rank, item.key))


def severe(findings: Iterable[Finding]) -> list[Finding]:
    """Those for which a run fails, and is not learned by itself."""
    return [item for item in findings if item.severity.rank >= SEVERE.rank]


def alarms(findings: Iterable[Finding]) -> list[Finding]:
    """Those that people are told of."""
    return [item for item in findings if item.severity.rank >= ALARM.rank]


def new_code(profile: Profile, facts: Facts) -> list[Fact]:
    """Source files that the profile knows and that have bytes which it doesn't. A file that is new altogether is none
    of them: it explains nothing, it is to be explained.
    """
    found = [fact for fact in facts.facts if fact.kind is Kind.CODE and (known := profile.known(fact)) is not None
             and not same_bytes(fact, known, facts)]  # fmt: skip
    return sorted(found)


def _unseen(profile: Profile, facts: Facts) -> Iterator[Finding]:
    excused = bool(new_code(profile, facts))
    folders = {(fact.kind, crowd(fact.text)) for fact in profile.facts if fact.kind is Kind.READ}
    unseen = sorted(fact for fact in facts.facts if profile.known(fact, tried=fact in facts.tried) is None)
    found: dict[tuple[Kind, Severity], list[Finding]] = defaultdict(list)
    for fact in unseen:
        what = weight(fact)
        severity = what.severity
        if fact.kind is Kind.READ and severity is Severity.MEDIUM and (fact.kind, crowd(fact.text)) in folders:
            severity = Severity.LOW  # another file among its like: what is in it is for the data set's digest to say
        if excused and what.excused:
            severity = _milder(severity)
        if not profile.runs and severity.rank < Severity.CRITICAL.rank:
            severity = Severity.INFO
        found[fact.kind, severity].append(_new(profile, facts, fact, what, severity))
    for (kind, severity), items in found.items():
        yield from items[:MOST]
        if len(items) > MOST:
            more = f"{len(items) - MOST:,} more new {kind.value} beside the {MOST} that are listed"
            yield replace(items[MOST], key=f"{kind.value}/more/{severity.value}", title=more, message=f"{more}.")
    yield from _scan(profile, [fact for fact in unseen if fact.kind in (Kind.LIST, Kind.READ)])


def _new(profile: Profile, facts: Facts, fact: Fact, what: Weight, severity: Severity) -> Finding:
    example = facts.examples.get(fact, "")
    before = profile.known(fact, tried=True)
    rare = f"refused in {before.runs} earlier runs, and not in this one" if before else rarity(profile.runs)
    message = f"{_singular(fact.kind)} {fact.text}: {rare}"
    if fact in facts.tried:
        message += "; it came to nothing (refused, or nothing was there)"
    details: dict[str, object] = {
        "kind": fact.kind.value,
        "fact": fact.text,
        "runs": profile.runs,
        "tried": fact in facts.tried,
    }
    if example and example != fact.text:
        details["path"] = example
    return _finding(profile, f"{fact.kind.value}/{fact.text}", what, severity, message, details)


def rarity(runs: int) -> str:
    """How surprising something is that none of ``runs`` runs did: by the rule of succession (Laplace), the chance of it
    in the next one is at most 1/(N+2).
    """
    return f"never seen in {runs} earlier run{'' if runs == 1 else 's'} (p < 1/{runs + 2})"


def _scan(profile: Profile, unseen: Sequence[Fact]) -> Iterator[Finding]:
    """Many new folders at once, outside the places that the step was given."""
    if not profile.runs:
        return
    folders = {fact.text if fact.kind is Kind.LIST else fact.text.rpartition("/")[0] for fact in unseen
               if place(fact.text) not in ("$IN", "$CODE", "$OUT")}  # fmt: skip
    if len(folders) > SCAN:
        what = Weight(Severity.HIGH, "it looked through the machine", ("AML.T0007", "AML.T0037"), "--isolate strict")
        message = f"{len(folders):,} folders were looked into that no earlier run looked into: {rarity(profile.runs)}"
        yield _finding(profile, "scan", what, what.severity, message, {"folders": sorted(folders)[:MOST]})


def _changed(profile: Profile, facts: Facts) -> Iterator[Finding]:
    """Known names with bytes that nobody has seen."""
    code = new_code(profile, facts)
    if code and profile.runs:
        names = ", ".join(fact.text for fact in code[:5]) + (f" and {len(code) - 5} more" if len(code) > 5 else "")
        what = Weight(Severity.LOW, "the code is new", (), "learn the run (--learn) once the change has been reviewed")
        message = f"{names}: not the code of any earlier run; what new code explains by itself weighs less"
        digests = {"code": {fact.text: facts.digests[fact] for fact in code[:100]}}
        yield _finding(profile, "code", what, what.severity, message, digests)
    for fact in sorted(facts.facts):
        known = profile.known(fact)
        if fact.kind is Kind.CODE or known is None or not known.runs or same_bytes(fact, known, facts):
            continue
        severity = Severity.HIGH if fact.kind is Kind.LIBRARY else Severity.MEDIUM
        title = f"{_singular(fact.kind)} with other bytes"
        what = Weight(severity, title, ("AML.T0010.001",), "check the update, then accept it: assay profile accept")
        message = f"{fact.text} has bytes (sha256 {facts.digests[fact][:16]}…) that were {rarity(known.runs)}"
        details = {"kind": fact.kind.value, "fact": fact.text, "sha256": facts.digests[fact]}
        yield _finding(profile, f"bytes/{fact.kind.value}/{fact.text}", what, severity, message, details)


def _missing(profile: Profile, facts: Facts) -> Iterator[Finding]:
    """What every run had; less than three runs say nothing."""
    if profile.runs < 3:
        return
    crowds = {Fact(fact.kind, crowd(fact.text)) for fact in facts.facts if fact.kind is Kind.READ}
    gone: dict[Kind, list[Fact]] = defaultdict(list)
    for fact, known in profile.facts.items():
        if known.runs < profile.runs or fact in facts.facts or fact in crowds or fact.kind is Kind.CACHE:
            continue
        if facts.hooked or fact.kind not in (Kind.MODULE, Kind.PICKLE):
            gone[fact.kind].append(fact)
    for kind, items in gone.items():
        items.sort()
        names = ", ".join(fact.text for fact in items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")
        what = Weight(Severity.LOW, f"{kind.value} are missing", (), "see whether the step did all of its work")
        message = f"{kind.value}: {names}: in all {profile.runs} earlier runs, and not in this one"
        details = {"kind": kind.value, "facts": [fact.text for fact in items[:MOST]]}
        yield _finding(profile, f"missing/{kind.value}", what, what.severity, message, details)


def _numbers(profile: Profile, facts: Facts) -> Iterator[Finding]:
    from assay.collect.behaviour.facts import NUMBERS

    for name, value in sorted(facts.numbers.items()):
        values = profile.numbers.get(name, ())
        if len(values) < FEWEST or name not in NUMBERS:
            continue
        middle, deviation = centre(values)
        spread = max(deviation / _NORMAL, _SPREAD * abs(middle), NUMBERS[name] / FURTHEST)
        distance = (value - middle) / spread
        if abs(distance) <= FURTHEST:
            continue
        severity = Severity.MEDIUM if distance > 0 and name in _COSTS else Severity.LOW
        title = f"{name.replace('_', ' ')} is unusually {'high' if distance > 0 else 'low'}"
        what = Weight(severity, title, _COSTS.get(name, ()), "compare the runs' provenance: other data, other code?")
        message = f"{value:,.6g}, where the median of {len(values)} runs is {middle:,.6g} (z = {distance:.1f})"
        details = {"value": value, "median": middle, "mad": deviation, "z": round(distance, 2)}
        yield _finding(profile, f"number/{name}", what, severity, message, details)


def _finding(
    profile: Profile, key: str, what: Weight, severity: Severity, message: str, details: Mapping[str, object]
) -> Finding:
    return Finding(
        key,
        what.title,
        severity,
        message,
        f"profile {profile.step}",
        profile.step,
        "",
        what.mitigation,
        {"atlas": tuple(what.atlas)} if what.atlas else {},
        details,
    )


def _milder(severity: Severity) -> Severity:
    return _ORDER[min(_ORDER.index(severity) + 1, len(_ORDER) - 1)]


def _singular(kind: Kind) -> str:
    return _SINGULAR.get(kind, kind.value.removesuffix("s"))


_SINGULAR = {
    Kind.SENSITIVE: "secret place",
    Kind.PERSISTENCE: "start-up file",
    Kind.LIBRARY: "shared library",
    Kind.CALL: "system call",
    Kind.CODE: "source file",
    Kind.PICKLE: "unpickled name",
    Kind.LIST: "folder",
    Kind.READ: "file",
    Kind.LISTEN: "listening socket",
    Kind.CONFIGURATION: "configuration file",
    Kind.WRITE: "written file",
    Kind.OUTPUT: "output",
    Kind.DELETION: "removed file",
}
