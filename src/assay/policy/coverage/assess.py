"""From what a store's attestations prove to the report of one framework. Pure: no store, no clock, no network.

A row is backed by evidence as soon as one of its measures is proved, and says which, by what, and what that does not
show. More evidence never lowers a state; an attestation that nobody expected signed never raises one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from assay.policy.coverage.facts import Backing, Found, Record, gather
from assay.policy.coverage.interface import MAX_LINKS, Characteristic, Link, Measure, Report, Row, Section, State
from assay.policy.coverage.mapping import CharacteristicSpec, Framework, MeasureSpec, RowPlan, framework, measures

_ORDER = (State.EVIDENCE, State.CONFIGURATION, State.NOTHING)


def assess(
    framework_id: str,
    records: Iterable[Record],
    settings: Mapping[str, Any],
    *,
    now: datetime,
    store: str = "",
    head: str = "",
) -> Report:
    """One framework's report over a store's statements. ``settings`` is `assay.yaml` as a plain mapping.

    For several frameworks, `gather` once and call `report` for each. Raises `UsageError` for an unknown framework.
    """
    framework(framework_id)  # an unknown one is said before anything is read
    return report(framework_id, gather(records, now=now), settings, now=now, store=store, head=head)


def report(
    framework_id: str, found: Found, settings: Mapping[str, Any], *, now: datetime, store: str = "", head: str = ""
) -> Report:
    """One framework's report over what `gather` found. Raises `UsageError` for an unknown framework."""
    plan = framework(framework_id)
    configured = {
        item.id: any(condition.holds(settings) for condition in item.settings) for item in measures().values()
    }
    rows = _Rows(plan, found, configured)
    sections = tuple(
        Section(item.id, item.name, tuple(rows.row(row) for row in item.rows), item.text) for item in plan.sections
    )
    states = {row.id: row.state for section in sections for row in section.rows}
    return Report(
        framework=plan.id,
        name=plan.name,
        version=plan.version,
        source=plan.source,
        licence=plan.licence,
        time=now,
        store=store,
        head=head,
        statements=found.statements,
        trusted=found.trusted,
        targets=tuple(sorted(found.targets)),
        sections=sections,
        columns=plan.columns,
        characteristics=tuple(characteristic(item, states) for item in plan.characteristics),
        warnings=tuple(_warnings(found)),
    )


@dataclass(frozen=True, slots=True)
class _Support:
    """One thing that backs a row: a proved measure or passed rules, here or at one of its mitigations."""

    backing: Backing
    through: str
    """Id and name of the mitigation; empty for the row itself."""


class _Rows:
    """Makes rows; a technique's need its mitigations'."""

    def __init__(self, plan: Framework, found: Found, configured: Mapping[str, bool]) -> None:
        self._plan, self._found, self._configured = plan, found, configured
        self._plans = {row.id: row for row in plan.rows}

    def row(self, plan: RowPlan) -> Row:
        """The row with its state."""
        specs = self._measures(plan)
        supports = [
            _Support(self._found.measures[spec.id], through)
            for spec, through in specs
            if spec.kind == "evidence" and self._proved(spec)
        ]
        rules = [(self._rules(plan.id), "")]
        rules += [(self._rules(id), f"{id} {self._plans[id].name}") for id in plan.mitigations]
        supports += [_Support(backing, through) for backing, through in rules if backing is not None]
        listed = tuple(self._measure(spec) for spec, _ in specs)
        if self._assessable(plan):
            listed += (self._own_rule(plan, met=any(backing is not None for backing, _ in rules)),)
            state = _state(bool(supports), any(item.met for item in listed))
        else:
            state = State.NOT_ASSESSABLE
        links, more = _links(supports)
        return Row(
            id=plan.id,
            name=plan.name,
            state=state,
            why=self._why(plan, state, specs, supports, listed),
            text=plan.text,
            url=plan.url,
            aliases=tuple(plan.mapped.aliases),
            measures=listed,
            links=links,
            more_links=more,
            related=plan.related,
            columns=plan.columns,
            parent=plan.parent,
            highlighted=plan.mapped.highlighted,
        )

    def _measures(self, plan: RowPlan) -> list[tuple[MeasureSpec, str]]:
        """The row's own measures, then those of its mitigations that speak for it, each once."""
        known, only = measures(), plan.mapped.only
        made = dict.fromkeys(plan.mapped.measures, "")
        for mitigation in plan.mitigations:
            other = self._plans[mitigation]
            for id in other.mapped.measures:
                if only is None or id in only:
                    made.setdefault(id, f"{mitigation} {other.name}")
        return [(known[id], through) for id, through in made.items()]

    def _assessable(self, plan: RowPlan) -> bool:
        """Not when the mapping says so, nor when all that could mitigate it is a matter of people."""
        if not plan.mapped.assessable or not plan.mitigations or plan.mapped.measures:
            return plan.mapped.assessable
        return any(self._plans[id].mapped.assessable for id in plan.mitigations)

    def _proved(self, spec: MeasureSpec) -> bool:
        backing = self._found.measures.get(spec.id)
        return backing is not None and bool(backing.positions)

    def _rules(self, id: str) -> Backing | None:
        return self._found.rules.get((self._plan.id, id))

    def _measure(self, spec: MeasureSpec) -> Measure:
        if spec.kind == "configuration":
            met = self._configured[spec.id]
            note = "set in assay.yaml" if met else "not set in assay.yaml"
            return Measure(spec.title, State.CONFIGURATION, met, spec.how, note)
        backing, met, note = self._found.measures.get(spec.id), self._proved(spec), ""
        if not met and backing is not None:
            note = f"{_count(backing.stale, 'attestation')} older than {spec.days} days, or of no known time"
        elif not met:
            note = "no attestation by an expected signer shows it"
        return Measure(spec.title, State.EVIDENCE, met, spec.how, note)

    def _own_rule(self, plan: RowPlan, *, met: bool) -> Measure:
        """What every assessable row has: a policy of the user's own can speak for it."""
        return Measure(
            "A rule of your policy that names the row and passes, in an attested verdict",
            State.EVIDENCE,
            met,
            f"`{self._plan.id}: [{plan.id}]` beside the rule, then assay verify TARGET -p POLICY --attest",
            "" if met else "no attested verdict by an expected signer has such a rule",
        )

    def _why(
        self,
        plan: RowPlan,
        state: State,
        specs: Sequence[tuple[MeasureSpec, str]],
        supports: Sequence[_Support],
        listed: Sequence[Measure],
    ) -> str:
        if state is State.NOT_ASSESSABLE:
            people = " and ".join(f"{id} {self._plans[id].name}" for id in plan.mitigations)
            return plan.mapped.reason or f"What mitigates it ({people}) is a matter of people; no tool can assess it."
        met = [item.title for item in listed if item.met]
        if state is State.EVIDENCE:
            shown = [item.title for item in listed if item.met and item.kind is State.EVIDENCE]
            through = dict.fromkeys(item.through for item in supports if item.through)
            by = f"Through {_few(list(through))}: " if through and all(item.through for item in supports) else ""
            gap = f" It does not show {plan.mapped.gap}." if plan.mapped.gap else ""
            return f"{by}{_few(shown)}.{gap}"
        if state is State.CONFIGURATION:
            return f"Only set up: {_few(met)}; nothing signed shows that it worked."
        first = next((spec for spec, _ in specs if spec.kind == "evidence"), None)
        if first is None:
            return "Nothing yet: no attestation that assay knows of speaks for it, but a rule of your own policy can."
        return f"Nothing yet: {first.title[:1].lower()}{first.title[1:]} would back it ({first.how})."


def _state(evidence: bool, anything: bool) -> State:
    return State.EVIDENCE if evidence else State.CONFIGURATION if anything else State.NOTHING


def _links(supports: Sequence[_Support]) -> tuple[tuple[Link, ...], int]:
    """The newest links of all supports, one per attestation with all its claims, and how many more there are."""
    union = 0
    claims: dict[str, list[str]] = {}
    newest = {}
    for support in supports:
        union |= support.backing.bits
        for key, link in support.backing.newest:
            claim = f"{support.through}: {link.claim}" if support.through else link.claim
            kept = claims.setdefault(link.digest, [])
            if claim not in kept:
                kept.append(claim)
            newest[link.digest] = (key, link)
    top = heapq.nlargest(MAX_LINKS, newest.values(), key=lambda item: item[0])
    links = tuple(replace(link, claim="; ".join(claims[link.digest])) for _, link in top)
    return links, union.bit_count() - len(links)


def characteristic(spec: CharacteristicSpec, states: Mapping[str, State]) -> Characteristic:
    """The best state that more than half of its assessable rows have or exceed; none of these: not assessable.

    ``states`` is by row. Half is not enough, and neither is one good row among many.
    """
    counted = [states[id] for id in spec.rows if states[id] is not State.NOT_ASSESSABLE]
    if not counted:
        why = "No tool can assess any of its rows."
        return Characteristic(spec.id, spec.name, State.NOT_ASSESSABLE, why, tuple(spec.rows))
    reached = State.NOTHING
    for rank, state in enumerate(_ORDER):
        if 2 * sum(_ORDER.index(item) <= rank for item in counted) > len(counted):
            reached = state
            break
    evidence = sum(item is State.EVIDENCE for item in counted)
    why = f"{evidence} of {_count(len(counted), 'assessable row')} backed by verified evidence."
    left = len(spec.rows) - len(counted)
    if left:
        why = f"{why[:-1]}; {left} more can't be assessed by a tool."
    return Characteristic(spec.id, spec.name, reached, why, tuple(spec.rows))


def _warnings(found: Found) -> Iterable[str]:
    untrusted = found.statements - found.trusted
    if found.statements and not found.trusted:
        yield "No attestation is signed by an expected signer, so nothing counts as evidence: name whom you trust."
    elif untrusted:
        all_of_them = _count(found.statements, "attestation")
        yield f"{untrusted:,} of {all_of_them} not signed by an expected signer; they back nothing."
    stale = sum(backing.stale for backing in found.measures.values())
    if stale:
        yield f"{_count(stale, 'claim')} too old to count, or of no known time."


def _count(number: int, noun: str) -> str:
    """``1 row is``, ``2 rows are``."""
    return f"{number:,} {noun} is" if number == 1 else f"{number:,} {noun}s are"


def _few(words: Sequence[str]) -> str:
    """The first three, and how many more."""
    words = list(dict.fromkeys(words))
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return ", ".join(words[:3]) + more
