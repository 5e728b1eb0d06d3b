"""`assay policy check`: everything that is wrong with a policy, and what makes it weaker than its author may think.

What makes a policy unusable is found by the reader, which gates use too; here are only the questions that nobody needs
answered at a gate. Nothing is evaluated and no evidence is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from assay import strict_yaml
from assay.errors import AssayError
from assay.policy import reading
from assay.policy.authoring import doubts, programs
from assay.policy.authoring.places import Place
from assay.policy.checks import CHECKS
from assay.policy.model import Policy
from assay.policy.reading import inputs as declared
from assay.policy.reading.native import POLICY, RULE
from assay.policy.reading.problems import Problem
from assay.policy.sources import Packed

SOON = timedelta(days=14)
"""A policy that expires within this time is told about."""

_AROUND = "policy around a rule"
_SAMPLE = "sample-of-an-input"
_SAMPLES: Mapping[str, Any] = {
    "string": _SAMPLE,
    "number": 1,
    "integer": 1,
    "boolean": False,
    "list": [_SAMPLE],
    "mapping": {},
    "duration": "7d",
    "any": _SAMPLE,
}
"""Values for required inputs that nobody gave: an author need not name them to have the rest checked."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one file."""

    name: str
    what: str
    """``policy``, ``rule`` or ``test``."""
    problems: tuple[Problem, ...]
    rules: int = 0
    unreadable: bool = False
    """Nothing of it could be read."""

    @property
    def exit_code(self) -> int:
        """0 when it can be used, 1 when something is wrong, 2 when it cannot even be read."""
        if self.unreadable:
            return 2
        return 1 if any(problem.fatal for problem in self.problems) else 0


def check(place: Place, now: datetime, given: Mapping[str, Any] | None = None) -> Report:
    """Look at one file. Raises nothing for what the file holds."""
    if place.what == "test":
        return _test(place)
    given = given or {}
    try:
        data = place.sources.read(place.entry)
        document, lines = strict_yaml.loads_with_lines(data, place.entry)
    except AssayError as error:
        return Report(place.name, place.what, (_unreadable(place, error),), unreadable=True)
    sampled = _sampled(document, given)
    made_up = _made_up(document, lines, sampled)
    if place.what == "rule":
        policy, problems = _rule(place, {**sampled, **given})
    else:
        policy, problems = reading.examine(place.sources, place.entry, place.resolve, {**sampled, **given})
    found = [problem for problem in problems if not _of_sample(problem, place.entry, made_up)]
    if policy is not None:
        native = document if isinstance(document, dict) and POLICY in document else {}
        found += _expiry(policy, lines, place.entry, now)
        found += [Problem(place.entry, 0, note, None, fatal=False) for note in policy.notes]
        found += programs.problems(policy)
        if place.what == "policy":
            found += doubts.about(policy, native, data.decode("utf-8", "replace"), lines, place.entry)
    located = (_located(item, place.entry, data) for item in found)
    named = (replace(item, file=place.name) if item.file == place.entry else item for item in located)
    listed = sorted(dict.fromkeys(named), key=lambda item: (item.file != place.name, item.file, item.line))
    unreadable = policy is None and not any(problem.line for problem in listed)
    return Report(place.name, place.what, tuple(listed), len(policy.rules) if policy else 0, unreadable)


def _rule(place: Place, given: Mapping[str, Any]) -> tuple[Policy | None, list[Problem]]:
    """A rule of a catalogue as the only one of a policy, since only then do its inputs have values."""
    import json

    rule = {"uses": "the/rule", **({"with": dict(given)} if given else {})}
    around = {POLICY: 1, "id": "check", "controls": [{"id": "check", "rules": [rule]}]}
    sources = Packed("", {_AROUND: json.dumps(around).encode()})
    policy, problems = reading.examine(sources, _AROUND, lambda uses: (_Renamed(place), place.entry))
    own = f"/{place.entry}"
    # What is said of the policy around it repeats what is said of the rule, unless its inputs cannot even be bound.
    inner = [replace(problem, file=place.entry) for problem in problems if problem.file == own]
    outer = [replace(problem, file=place.entry, line=0) for problem in problems if problem.file == _AROUND]
    return policy, inner or outer


def _located(problem: Problem, entry: str, data: bytes) -> Problem:
    """A problem with the line that its sentence names, or that of the reference that it is about."""
    if problem.line == 0 and (found := re.match(rf"{re.escape(entry)}:(\d+): ", problem.message)) is not None:
        return replace(problem, line=int(found[1]), message=problem.message[found.end() :])
    match = re.search(r"there is no input '([A-Za-z0-9_-]+)'$", problem.message)
    if match is None or problem.file != entry:
        return problem
    reference = re.compile(rf"\$\{{\{{\s*inputs\.{match[1]}\s*\}}\}}".encode())
    line = next((i for i, text in enumerate(data.split(b"\n"), 1) if reference.search(text)), problem.line)
    message = problem.message.removeprefix(f"/{entry}: ").removeprefix(f"{entry}: ")
    return replace(problem, line=line, message=message)


def _unreadable(place: Place, error: AssayError) -> Problem:
    """An error as a problem, its line taken out of its sentence (``policy.yml:3: …``)."""
    return replace(_located(Problem(place.entry, 0, error.message, error.hint), place.entry, b""), file=place.name)


def _test(place: Place) -> Report:
    from assay.policy.authoring.fixtures import read

    try:
        cases = read(place.sources.read(place.entry), place.entry).cases
    except AssayError as error:
        return Report(place.name, place.what, (_unreadable(place, error),))
    return Report(place.name, place.what, (), len(cases))


class _Renamed(Packed):
    """A rule's own files, under no other name than the one its author gave."""

    def __init__(self, place: Place) -> None:
        super().__init__("", {})
        self._place = place

    def read(self, name: str) -> bytes:
        """See `Sources.read`."""
        return self._place.sources.read(name)


def _sampled(document: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for the inputs that must be given and are not."""
    if not isinstance(document, dict) or not (POLICY in document or RULE in document):
        return {}
    try:
        offered = declared.declare(document.get("inputs") or [], "")
    except AssayError:
        return {}
    return {
        item.name: item.choices[0] if item.choices else _SAMPLES[item.type]
        for item in offered
        if item.required and item.name not in given
    }


def _made_up(document: Any, lines: strict_yaml.Lines, sampled: Mapping[str, Any]) -> dict[int, str]:
    """Lines of checks whose arguments have a made-up value in them, with the check's name."""
    if not sampled:
        return {}
    reference = re.compile(r"\$\{\{\s*inputs\.(" + "|".join(map(re.escape, sampled)) + r")\s*\}\}")
    found: dict[int, str] = {}
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if key in CHECKS and reference.search(repr(item)):
                found[lines.at(*path, key)] = str(key)
            elif isinstance(item, dict | list):
                waiting.append(((*path, key), item))
    return found


def _of_sample(problem: Problem, entry: str, made_up: Mapping[int, str]) -> bool:
    """Whether a problem is only about a value that was made up here."""
    if _SAMPLE in f"{problem.message} {problem.suggestion}":
        return True
    check = made_up.get(problem.line) if problem.file == entry else None
    return check is not None and problem.message.startswith((f"{check}.", f"{check}:"))


def _expiry(policy: Policy, lines: strict_yaml.Lines, file: str, now: datetime) -> Iterator[Problem]:
    if policy.expires is None:
        return
    line = lines.at("expires")
    if now >= policy.expires:
        said = f"the policy expired on {policy.expires:%Y-%m-%d}: it accepts nothing any more"
        yield Problem(file, line, said, "look through it, then set a later day under expires")
    elif policy.expires - now <= SOON:
        days = (policy.expires - now).days
        said = f"the policy expires on {policy.expires:%Y-%m-%d}, in {days} day(s); from then on it accepts nothing"
        yield Problem(file, line, said, "look through it, then set a later day under expires", fatal=False)
