"""What is allowed in a policy and probably not meant: what nobody uses, what nothing reaches, what accepts anything.

Each is a question to the author with a line and a suggestion. A few leave the policy unable to accept or to reject
anything at all; these are problems, the others are warnings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from assay.policy import gates
from assay.policy.model import FRAMEWORKS, TRUSTED, Control, Policy, Selector
from assay.policy.reading.problems import Problem
from assay.policy.reading.signers import INLINE
from assay.policy.verdict import Level
from assay.strict_yaml import Lines

_GLOB = re.compile(r"[*?\[]")

MAX_GATES = 200
"""Gates of one policy that are compared with each other."""


def about(policy: Policy, document: Mapping[str, Any], text: str, lines: Lines, file: str) -> Iterator[Problem]:
    """All doubts about a policy. ``document`` is empty for another tool's file, whose names we do not know."""

    def warn(path: tuple[str | int, ...], message: str, suggestion: str, *, fatal: bool = False) -> Problem:
        return Problem(file, lines.at(*path), message, suggestion, fatal)

    yield from _unused(policy, document, text, warn)
    yield from _unreached(policy, document, warn)
    yield from _gates(policy, document, warn)
    yield from _weightless(policy, warn)
    yield from _nobody(document, warn)
    yield from _frameworks(policy, document, lines, file)
    yield from _anything(policy)


def _unused(policy: Policy, document: Mapping[str, Any], text: str, warn: Any) -> Iterator[Problem]:
    used = {TRUSTED}
    for selector in _selectors(policy):
        used |= {*selector.signed_by.groups, *(group for item in selector.builders for group in item.groups)}
    for name in policy.signers:
        if name not in used and not name.startswith(INLINE):
            yield warn(("signers", name), f"no rule asks for {name!r} to sign", f"use it: signed-by: {name}")
    declared = document.get("inputs")
    for i, item in enumerate(declared if isinstance(declared, list) else ()):
        given = item.get("name") if isinstance(item, dict) else None
        if isinstance(given, str) and not re.search(rf"\$\{{\{{\s*inputs\.{re.escape(given)}\s*\}}\}}", text):
            suggestion = f"write ${{{{ inputs.{given} }}}} where its value belongs"
            yield warn(("inputs", i), f"the input {given!r} is used nowhere", suggestion)


def _unreached(policy: Policy, document: Mapping[str, Any], warn: Any) -> Iterator[Problem]:
    for control in policy.controls:
        path = _control_path(document, control)
        if not control.rules:
            yield warn(
                path, f"no rule of the control {control.id!r} is in force", "enable one, or take the control out"
            )
        for rule in control.rules:
            for name, wanted in rule.when.labels.items():
                outer = control.when.labels.get(name)
                if outer is not None and outer != wanted and not _GLOB.search(outer + wanted):
                    said = f"the rule {rule.id!r} can never be reached: it wants the label {name}={wanted}, its "
                    yield Problem(rule.file, rule.line, f"{said}control {name}={outer}", "make them agree")


def _gates(policy: Policy, document: Mapping[str, Any], warn: Any) -> Iterator[Problem]:
    """Gates that are almost another one of the policy's, or of those at which assay itself asks."""
    seen = list(gates.KNOWN)
    places = ((control, rule) for control in policy.controls for rule in (None, *control.rules))
    for control, rule in places:
        for gate in (rule or control).when.gates:
            if gate in seen or len(seen) > MAX_GATES:
                continue
            meant = gates.near(gate, seen)
            seen.append(gate)
            if meant is None:
                continue
            said, suggestion = f"the gate {gate!r} is almost {meant!r}", f"did you mean {meant!r}?"
            if rule is None:
                yield warn((*_control_path(document, control), "when", "gate"), said, suggestion)
            else:
                yield Problem(rule.file, rule.line, f"{said}, in the rule {rule.id!r}", suggestion, fatal=False)


def _weightless(policy: Policy, warn: Any) -> Iterator[Problem]:
    levels = {rule.level for rule in policy.rules}
    if levels == {Level.NOTE}:
        said = "all rules are of level note: the policy can accept nothing"
        yield warn(("controls",), said, "give at least one rule the level error or warning", fatal=True)
    elif levels and Level.ERROR not in levels:
        said = "no rule is of level error: the policy warns and never rejects"
        yield warn(("controls",), said, "give what must hold the level error")


def _nobody(document: Mapping[str, Any], warn: Any) -> Iterator[Problem]:
    """``signed: true`` says nothing beside the default: whose signature?"""
    defaults = document.get("defaults")
    if isinstance(defaults, dict) and "signed-by" in defaults:
        return
    for path, selector in _written_selectors(document):
        if selector.get("signed") is True and "signed-by" not in selector:
            said = "signed: true names nobody: it means whoever is trusted where the policy is used"
            yield warn((*path, "signed"), said, "name who signs with signed-by, and declare them under signers")


def _written_selectors(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    for path, rule in _written_rules(document):
        require = rule.get("require")
        if not isinstance(require, dict):
            continue
        yield (*path, "require"), require
        evidence = require.get("evidence")
        for alias, selector in evidence.items() if isinstance(evidence, dict) else ():
            if isinstance(selector, dict):
                yield (*path, "require", "evidence", alias), {**selector, **_given(require, selector)}


def _given(require: Mapping[str, Any], selector: Mapping[str, Any]) -> dict[str, Any]:
    return {"signed-by": require["signed-by"]} if "signed-by" in require and "signed-by" not in selector else {}


def _written_rules(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    for i, control in enumerate(_list(document.get("controls"))):
        for j, rule in enumerate(_list(control.get("rules")) if isinstance(control, dict) else ()):
            if isinstance(rule, dict):
                yield ("controls", i, "rules", j), rule


def _frameworks(policy: Policy, document: Mapping[str, Any], lines: Lines, file: str) -> Iterator[Problem]:
    """Ids that no framework has: a claim about them would count for nothing in a report."""
    for control in policy.controls:
        path = _control_path(document, control)
        yield from _ids(control.frameworks, file, lambda name, path=path: lines.at(*path, name))
        for rule in control.rules:
            yield from _ids(rule.frameworks, rule.file, lambda name, rule=rule: rule.line)


def _ids(named: Mapping[str, tuple[str, ...]], file: str, line: Any) -> Iterator[Problem]:
    from assay.policy.coverage.mapping import framework, row_key
    from assay.policy.reading.problems import near

    for name, ids in named.items():
        if name not in FRAMEWORKS or not ids:
            continue
        known = framework(name)
        for written in ids:
            if row_key(written) not in known.names:
                rows = [row.id for row in known.rows]
                suggestion = near(written, rows) or f"ids are those of {known.name} {known.version}, as {rows[0]}"
                said = f"{known.name} {known.version} has nothing called {written[:100]!r}"
                yield Problem(file, line(name), said, suggestion, fatal=False)


def _anything(policy: Policy) -> Iterator[Problem]:
    for rule in policy.rules:
        for selector in rule.require.selectors if rule.require is not None else ():
            for said, suggestion in _open(selector):
                yield Problem(rule.file, rule.line, f"the rule {rule.id!r} {said}", suggestion, fatal=False)


def _open(selector: Selector) -> Iterator[tuple[str, str]]:
    if any(builder.id.strip("*") == "" for builder in selector.builders):
        yield "accepts any builder", "name the builder's URI"
    if any(set(kind) <= {"*", ":", "/"} for kind in selector.types):
        yield "accepts evidence of any kind", "name the kind"
    for name, glob in selector.labels.items():
        if glob == "*":
            yield f"accepts any value of the label {name!r}", "write the value that it must have"


def _selectors(policy: Policy) -> Iterator[Selector]:
    for rule in policy.rules:
        yield from rule.require.selectors if rule.require is not None else ()


def _control_path(document: Mapping[str, Any], control: Control) -> tuple[str | int, ...]:
    for i, item in enumerate(_list(document.get("controls"))):
        if isinstance(item, dict) and control.id in (item.get("id"), item.get("name")):
            return ("controls", i)
    return ("controls",)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
