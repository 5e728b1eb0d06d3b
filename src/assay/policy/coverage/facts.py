"""One pass over a store's statements: which measures they prove, and which rows their verdicts speak for.

Only what an expected signer signed counts; the rest is counted and backs nothing. A predicate is looked at once and
let go, so that memory does not grow with what the statements hold.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from assay.evidence.predicates import printable
from assay.policy.coverage.interface import MAX_LINKS, Link
from assay.policy.coverage.mapping import FRAMEWORKS, MeasureSpec, Proof, framework, measures, row_key

VERDICT = "https://assay.dev/verdict/v0.1"
"""Predicate type of an attested verdict: each of its rules says for which rows it speaks."""

MAX_TARGETS = 100
"""Names of targets that a report lists."""

SKEW = timedelta(minutes=5)
"""How far a clock elsewhere may be ahead."""

_MAX_RULES, _MAX_IDS, _MAX_TEXT = 10_000, 1000, 200


@dataclass(frozen=True, slots=True)
class Record:
    """One statement of a store, and what was proved of it. Records of one store are distinct."""

    digest: str
    """SHA-256 (hex) of the signed document."""
    entry: int
    """Number of the store's entry; 0 for none."""
    predicate_type: str
    predicate: Mapping[str, Any]
    """Other tools' wrappers are taken off."""
    said: Mapping[str, Any]
    """What it says of its subject."""
    subject: str
    """Name of the thing that it is about."""
    signers: tuple[str, ...]
    """The expected ones who were proved to have signed it, in words; empty when nobody was."""
    time: datetime | None = None
    """When it was made, as it says."""


@dataclass(slots=True)
class Backing:
    """The attestations that speak for one thing: all of them by position, the newest as links."""

    positions: bytearray = field(default_factory=bytearray)
    """Bit ``n`` is set for record ``n``, so that unions are counted exactly at one bit a record."""
    stale: int = 0
    """How many more there would be if they were not too old."""
    newest: list[tuple[tuple[datetime, int, str, int], Link]] = field(default_factory=list)
    """A heap of at most `MAX_LINKS`; the position makes keys unique even if a store holds one document twice."""

    def add(self, position: int, record: Record, claim: str) -> None:
        """Count the record, and keep a link to it while it is among the newest."""
        at, bit = divmod(position, 8)
        if len(self.positions) <= at:
            self.positions.extend(bytes(at + 1 - len(self.positions)))
        elif self.positions[at] & (1 << bit):
            return  # one attestation by two of a measure's proofs, or two rules of one verdict
        self.positions[at] |= 1 << bit
        time = _utc(record.time)
        key = (time or datetime.min.replace(tzinfo=UTC), record.entry, record.digest, position)
        if len(self.newest) < MAX_LINKS:
            heapq.heappush(self.newest, (key, _link(record, claim, time)))
        elif key > self.newest[0][0]:
            heapq.heapreplace(self.newest, (key, _link(record, claim, time)))

    @property
    def bits(self) -> int:
        """`positions` as a number, for unions."""
        return int.from_bytes(self.positions, "little")


@dataclass(slots=True)
class Found:
    """All that the reports need of a store."""

    statements: int = 0
    """How many were looked at."""
    trusted: int = 0
    """How many an expected signer signed."""
    targets: set[str] = field(default_factory=set)
    """The first names of trusted ones' subjects in order of name, at most `MAX_TARGETS`."""
    measures: dict[str, Backing] = field(default_factory=dict)
    """By measure."""
    rules: dict[tuple[str, str], Backing] = field(default_factory=dict)
    """By framework and row: passed rules of attested verdicts that name the row."""


def gather(records: Iterable[Record], *, now: datetime) -> Found:
    """What ``records`` prove, for all frameworks at once. The order of the records changes nothing."""
    found = Found()
    by_type = _Index()
    for position, record in enumerate(records):
        found.statements += 1
        if not record.signers:
            continue
        found.trusted += 1
        _keep_name(found.targets, _clean(record.subject))
        for measure, proof in by_type[record.predicate_type]:
            if not all(item.holds(record.predicate, record.said, record.signers) for item in proof.when):
                continue
            backing = found.measures.setdefault(measure.id, Backing())
            if measure.days is None or _fresh(record.time, now, measure.days):
                backing.add(position, record, proof.claim)
            else:
                backing.stale += 1
        if record.predicate_type == VERDICT:
            for row, claim in _spoken_for(record.predicate):
                found.rules.setdefault(row, Backing()).add(position, record, claim)
    return found


class _Index:
    """Which proofs to try for a predicate type; a store has few types and many statements."""

    def __init__(self) -> None:
        self._known: dict[str, list[tuple[MeasureSpec, Proof]]] = {}
        self._all = [(measure, proof) for measure in measures().values() for proof in measure.proofs]

    def __getitem__(self, uri: str) -> list[tuple[MeasureSpec, Proof]]:
        if uri not in self._known:
            if len(self._known) > 1000:
                self._known.clear()
            self._known[uri] = [item for item in self._all if any(_matches(uri, type) for type in item[1].types)]
        return self._known[uri]


def _matches(uri: str, pattern: str) -> bool:
    return uri.startswith(pattern[:-1]) if pattern.endswith("*") else uri == pattern


def _spoken_for(predicate: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    """``((framework, row), claim)`` for each rule that passed and names a row. ``warn`` is not enough."""
    policy = predicate.get("policy")
    policy_id = _clean(policy.get("id")) if isinstance(policy, Mapping) else ""
    rules = predicate.get("rules")
    for rule in rules[:_MAX_RULES] if isinstance(rules, list | tuple) else ():
        named = rule.get("frameworks") if isinstance(rule, Mapping) and rule.get("verdict") == "pass" else None
        if not isinstance(named, Mapping):
            continue
        claim = ""
        for name in FRAMEWORKS:
            ids = named.get(name)
            for id in ids[:_MAX_IDS] if isinstance(ids, list | tuple) else ():
                for row in _named(name, id[:_MAX_TEXT]) if isinstance(id, str) else ():
                    claim = claim or f"rule {_clean(rule.get('id')) or '?'} of policy {policy_id or '?'} passed"
                    yield (name, row), claim


@lru_cache(maxsize=10_000)
def _named(name: str, id: str) -> tuple[str, ...]:
    """The rows that a rule means; a store's verdicts name the same few again and again."""
    return framework(name).names.get(row_key(id), ())


def _link(record: Record, claim: str, time: datetime | None) -> Link:
    return Link(
        _clean(record.digest),
        _clean(record.predicate_type),
        _clean(record.subject),
        tuple(_clean(signer) for signer in record.signers[:10]),
        claim,
        time,
        record.entry,
    )


def _fresh(time: datetime | None, now: datetime, days: int) -> bool:
    """Whether a time is known, not in the future and not more than ``days`` ago."""
    time = _utc(time)
    return time is not None and now - timedelta(days=days) <= time <= now + SKEW


def _utc(time: datetime | None) -> datetime | None:
    """The time in UTC; one without a zone is taken for UTC, one that can't be converted (year 1) for unknown."""
    if time is None or time.tzinfo is None:
        return time and time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError:
        return None


def _clean(text: object) -> str:
    """Text of a document for a report: bounded, and without what a terminal, a page or a reader would act on."""
    return printable(text[: _MAX_TEXT * 2].strip())[:_MAX_TEXT] if isinstance(text, str) else ""


def _keep_name(names: set[str], name: str) -> None:
    names.add(name)
    if len(names) > MAX_TARGETS:
        names.remove(max(names))
