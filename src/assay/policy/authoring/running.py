"""`assay policy test`: each case decided as a gate would decide it, and how that differs from what was expected."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from assay.errors import AssayError, DocumentError
from assay.policy import durations, evaluation, gates
from assay.policy.authoring import fixtures, supposed
from assay.policy.case import Case, Item
from assay.policy.evaluation.evaluate import EngineFor
from assay.policy.model import TRUSTED, Policy
from assay.policy.reading.kinds import types_of
from assay.policy.reading.problems import near
from assay.policy.sources import Sources
from assay.policy.verdict import Decision, Verdict

Load = Callable[[str, Mapping[str, Any]], Policy]
"""A policy by its name in a file of tests, with values for its inputs."""

Verify = Callable[[Policy, fixtures.Case, Sequence[str], datetime], Case]
"""The case about a test's real files, with the evidence in its bundles, really verified."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one case."""

    file: str
    line: int
    name: str
    differences: tuple[str, ...] = ()
    """Each one says what was expected, what came, and why; empty for a case that passed."""
    error: str | None = None
    """Why nothing could be decided."""
    decision: Decision | None = None

    @property
    def passed(self) -> bool:
        """Whether all came as expected."""
        return not self.differences and self.error is None


def run(
    tests: fixtures.Tests,
    name: str,
    beside: Sources,
    load: Load,
    verify: Verify,
    engine_for: EngineFor,
    now: datetime,
) -> list[Result]:
    """Every case of one file. Raises nothing for what the cases hold: a case that cannot be run has failed."""
    results = []
    for case, line in zip(tests.cases, tests.lines, strict=True):
        try:
            policy = load(tests.policy, case.inputs)
            gates.refuse_slip(policy, case.gate)
            decision = evaluation.evaluate(policy, case_of(case, policy, beside, verify, now), engine_for)
            results.append(Result(name, line, case.name, tuple(differences(case.expect, decision)), None, decision))
        except AssayError as error:
            said = error.message + (f" ({error.hint})" if error.hint else "")
            results.append(Result(name, line, case.name, error=said))
    return results


def never_failed(results: Sequence[Result]) -> tuple[str, ...]:
    """Ids of the rules that no case ever made fail: nobody has seen them reject anything."""
    seen: dict[str, bool] = {}
    for result in results:
        for rule in result.decision.results if result.decision is not None else ():
            bad = rule.verdict not in (Verdict.PASS, Verdict.WARN, Verdict.NOT_APPLICABLE)
            seen[rule.rule] = seen.get(rule.rule, False) or bad
    return tuple(rule for rule, failed in seen.items() if not failed)


def differences(expect: fixtures.Expect, decision: Decision) -> list[str]:
    """What came otherwise than expected, with the reason."""
    found = []
    results = {result.rule: result for result in decision.results}
    for rule, verdict in expect.rules.items():
        if rule not in results:
            hint = near(rule, results)
            found.append(f"the policy has no rule {rule!r}" + (f"; {hint}" if hint else ""))
        elif results[rule].verdict is not verdict:
            found.append(_difference(f"rule {rule}", verdict, results[rule].verdict, [results[rule].reason]))
    if expect.verdict is not None and decision.verdict is not expect.verdict:
        reasons = [
            f"{result.rule}: {result.reason}" for result in decision.results if result.effective is decision.verdict
        ]
        found.append(_difference("verdict", expect.verdict, decision.verdict, reasons))
    return found


def _difference(what: str, expected: Verdict, found: Verdict, reasons: Sequence[str]) -> str:
    lines = [what, f"- {expected.value}", f"+ {found.value}", *(f"  {reason}" for reason in reasons[:5])]
    return "\n".join(lines)


def case_of(case: fixtures.Case, policy: Policy, beside: Sources, verify: Verify, now: datetime) -> Case:
    """What a test describes, as the evaluation reads it. Raises `AssayError` naming the evidence that is wrong."""
    time = moment(case.now, "now") if case.now is not None else now
    bundles = [piece.bundle for piece in case.evidence if piece.bundle is not None]
    if case.target.files is not None:
        base = verify(policy, case, bundles, time)
    else:
        about = supposed.thing(case.target.name)
        base = Case(f"{case.target.scheme}:{about.name}", about.name, about.sha256, case.target.scheme, (), time)
    target = supposed.Thing(base.name, base.sha256)
    start = len(bundles) + len(base.items) + 1
    made = [
        _item(piece, f"evidence {i + 1}", start + i, target, policy, beside, time)
        for i, piece in enumerate(case.evidence)
        if piece.bundle is None
    ]
    linked = [item for item in made if not item.matched]

    def lookup(digest: str) -> Sequence[Item]:
        found = [item for item in linked if item.statement.subjects[0].digest.get("sha256") == digest]
        return [*(replace(item, matched=True) for item in found), *base.lookup(digest)]

    return replace(
        base,
        items=(*reversed([item for item in made if item.matched]), *base.items),
        lookup=lookup,
        gate=case.gate,
        kind=case.target.kind,
        labels=case.labels,
        incomplete=None,
        evidence="the test",
    )


def _item(
    piece: fixtures.Evidence,
    place: str,
    number: int,
    target: supposed.Thing,
    policy: Policy,
    beside: Sources,
    now: datetime,
) -> Item:
    kind = types_of(piece.type or "")[0].rstrip("*")
    predicate = _predicate(piece, place, beside)
    linked = supposed.with_inputs(kind, predicate, [_thing(name, target) for name in piece.inputs])
    if linked is None:
        raise DocumentError(f"{place}: a statement of the type {piece.type} has no place for these inputs")
    time = moment(piece.time, place) if piece.time is not None else now - durations.parse(piece.age, f"{place}: age")
    made = supposed.Supposed(
        kind,
        linked,
        _thing(piece.about, target),
        _people(piece.signed_by, policy, place),
        time,
        piece.proved_time,
        number,
        piece.labels,
        {"context": piece.context} if piece.context else {},
        place,
    )
    return replace(supposed.item(made, target=target.sha256), discarded=piece.discarded)


def _thing(name: str, target: supposed.Thing) -> supposed.Thing:
    return target if name == "target" else supposed.thing(name)


def _predicate(piece: fixtures.Evidence, place: str, beside: Sources) -> Mapping[str, Any]:
    if piece.file is None:
        return piece.predicate
    from assay.evidence import strict_json

    document = strict_json.loads(beside.read(piece.file), f"{place}: {piece.file}")
    if not isinstance(document, dict):
        raise DocumentError(f"{place}: {piece.file} is not a JSON object")
    return document


def _people(signed_by: str | list[str] | None, policy: Policy, place: str) -> list[supposed.Person]:
    groups = {*policy.signers, TRUSTED}
    if signed_by is None:
        return [supposed.Person("somebody in every group", frozenset(groups))]
    people: dict[str, set[str]] = {}
    for text in [signed_by] if isinstance(signed_by, str) else signed_by:
        group, _, person = text.partition("/")
        if group not in groups:
            raise DocumentError(f"{place}: the policy calls nobody {group[:100]!r}", hint=near(group, groups))
        people.setdefault(person or group, set()).add(group)
    return [supposed.Person(name, frozenset(names)) for name, names in people.items()]


def moment(text: str, place: str) -> datetime:
    """A time of RFC 3339 in UTC. Raises `DocumentError` that starts with ``place``."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise DocumentError(f"{place}: {text[:40]!r} is not a time", hint="write 2027-01-31T12:00:00Z") from None
    return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)


def as_document(results: Sequence[Result]) -> dict[str, Any]:
    """The results for machines."""
    return {
        "passed": sum(result.passed for result in results),
        "failed": sum(not result.passed for result in results),
        "neverFailed": list(never_failed(results)),
        "cases": [
            {
                "file": result.file,
                "line": result.line,
                "name": result.name,
                "passed": result.passed,
                "differences": list(result.differences),
                "error": result.error,
                "verdict": result.decision.verdict.value if result.decision is not None else None,
            }
            for result in results
        ],
    }


def as_junit(results: Sequence[Result]) -> bytes:
    """The results in the XML that CI systems read as JUnit's: one suite a file, one case a case."""
    from xml.etree import ElementTree  # only written, never parsed

    root = ElementTree.Element("testsuites")
    for file in dict.fromkeys(result.file for result in results):
        own = [result for result in results if result.file == file]
        counts = {"failures": sum(bool(one.differences) for one in own), "errors": sum(bool(one.error) for one in own)}
        attributes = {"name": file, "tests": len(own), **counts}
        suite = ElementTree.SubElement(root, "testsuite", {name: _xml(str(item)) for name, item in attributes.items()})
        for result in own:
            place = {"name": _xml(result.name), "classname": _xml(file), "file": _xml(file), "line": str(result.line)}
            case = ElementTree.SubElement(suite, "testcase", place)
            if result.error is not None:
                ElementTree.SubElement(case, "error", {"message": _xml(result.error)})
            elif result.differences:
                text = "\n".join(result.differences)
                ElementTree.SubElement(case, "failure", {"message": _xml(json.dumps(text)[:300])}).text = _xml(text)
    made: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return made


def _xml(text: str) -> str:
    """``text`` without the characters that no XML document may hold."""
    return "".join(char if char in "\t\n" or char.isprintable() else "\ufffd" for char in text)
