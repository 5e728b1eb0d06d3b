"""``require:``: what must exist, as values. Everything that can be wrong about it is found here and not at a gate."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from assay.errors import AssayError
from assay.policy import conditions, durations, fields
from assay.policy.checks import CHECKS
from assay.policy.model import Builder, Condition, Require, Selector, SignedBy
from assay.policy.reading.kinds import types_of
from assay.policy.reading.problems import Path, Reading, near
from assay.policy.reading.signers import Signers

SELECTOR = (
    "signed",
    "signed-by",
    "threshold",
    "max-age",
    "proved-time",
    "newest",
    "labels",
    "linked",
    "builder",
    "where",
)
"""Keys of a selector beside ``type`` and the checks."""

JOINT = ("same", "edges", "order")
"""Keys that speak of several pieces of evidence."""

_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,59}")
_EDGE = re.compile(r"\s*([A-Za-z][A-Za-z0-9_-]*)\s*->\s*([A-Za-z][A-Za-z0-9_-]*)\s*")


class Requirements:
    """Reads ``require:`` sections with a policy's groups of signers and defaults."""

    def __init__(self, signers: Signers, defaults: Mapping[str, Any]) -> None:
        self._signers = signers
        self._defaults = defaults

    def read(self, value: Any, path: Path, reading: Reading) -> Require:
        """One section."""
        found = reading.mapping(value, path, "require", ("evidence", *SELECTOR, *JOINT, *CHECKS))
        evidence = found.get("evidence")
        at = (*path, "evidence")
        if evidence is None:
            reading.wrong(path, "require names no evidence", "add evidence: cyclonedx (or another kind)")
            return Require(())
        if isinstance(evidence, dict):
            return self._several(self._named(evidence, found, at, reading), found, path, reading)
        kinds = reading.texts(evidence, at, "evidence")
        if len(kinds) == 1:
            for name in ("edges", "order"):
                if name in found:
                    reading.wrong((*path, name), f"{name} needs several named pieces of evidence")
            shared = {name: item for name, item in found.items() if name not in ("evidence", *JOINT)}
            selector = self._selector(kinds[0], {"type": kinds[0], **shared}, path, reading, aliases=(kinds[0],))
            return Require((selector,), same=_same(found.get("same"), (*path, "same"), reading))
        selectors = self._named({kind: {"type": kind} for kind in kinds}, found, at, reading)
        return self._several(selectors, found, path, reading)

    def _named(
        self, evidence: Mapping[str, Any], found: Mapping[str, Any], path: Path, reading: Reading
    ) -> tuple[Selector, ...]:
        shared = {name: found[name] for name in SELECTOR if name in found and name != "where"}
        for name in found:
            if name in CHECKS:
                reading.wrong((*path[:-1], name), f"{name} must stand under the piece of evidence that it is about")
        made = []
        for alias, value in evidence.items():
            at = (*path, alias)
            if not _ALIAS.fullmatch(alias):
                reading.wrong(at, f"{alias!r} is no name for a piece of evidence", "letters, digits, - and _")
            fields = {"type": value} if isinstance(value, str | list) else value
            own = reading.mapping(fields, at, f"evidence {alias!r}", ("type", *SELECTOR, *CHECKS))
            made.append(self._selector(alias, {**shared, **own}, at, reading, aliases=()))
        if not made:
            reading.wrong(path, "evidence is empty: a rule that demands nothing would always pass")
        return tuple(made)

    def _several(
        self, selectors: tuple[Selector, ...], found: Mapping[str, Any], path: Path, reading: Reading
    ) -> Require:
        aliases = tuple(selector.alias for selector in selectors)
        edges = []
        for i, text in enumerate(reading.texts(found.get("edges"), (*path, "edges"), "edges")):
            match = _EDGE.fullmatch(text)
            if match is None:
                reading.wrong((*path, "edges", i), f"the edge {text!r} is not of the form 'data -> training'")
            elif self._known(match.groups(), aliases, (*path, "edges", i), reading):
                edges.append((match[1], match[2]))
        order = reading.texts(found.get("order"), (*path, "order"), "order")
        self._known(order, aliases, (*path, "order"), reading)
        where: list[Condition] = []
        for i, text in enumerate(reading.texts(found.get("where"), (*path, "where"), "where")):
            condition = _condition(text, (*path, "where", i), reading, aliases)
            if condition is not None and not condition.alias:
                reading.wrong((*path, "where", i), f"{text!r} does not say which evidence", f"{aliases[0]}.{text}")
            elif condition is not None:
                where.append(condition)
        _check_links(selectors, edges, path, reading)
        return Require(selectors, _same(found.get("same"), (*path, "same"), reading), tuple(edges), order, tuple(where))

    @staticmethod
    def _known(names: Collection[str | Any], aliases: Collection[str], path: Path, reading: Reading) -> bool:
        unknown = [name for name in names if name not in aliases]
        for name in unknown:
            reading.wrong(path, f"no evidence is called {name!r} here", near(str(name), aliases))
        return not unknown

    def _selector(
        self, alias: str, found: Mapping[str, Any], path: Path, reading: Reading, aliases: Collection[str]
    ) -> Selector:
        types: list[str] = []
        for name in reading.texts(found.get("type"), (*path, "type"), "type"):
            try:
                types += types_of(name)
            except AssayError as error:
                reading.caught((*path, "type"), error)
        if not types and "type" not in found:
            reading.wrong(path, f"evidence {alias!r} has no type")
        where = []
        for i, text in enumerate(reading.texts(found.get("where"), (*path, "where"), "where")):
            # With one piece of evidence its name may stand before the field: evaluation.accuracy is accuracy.
            prefixed = any(f"{name}." in text for name in aliases)
            condition = _condition(text, (*path, "where", i), reading, aliases if prefixed else ())
            if condition is not None:
                where.append(condition)
        return Selector(
            alias,
            tuple(dict.fromkeys(types)),
            self._signed_by(found, path, reading),
            self._age(found.get("max-age", self._defaults.get("max-age")), (*path, "max-age"), reading),
            reading.flag(found.get("proved-time"), (*path, "proved-time"), "proved-time"),
            reading.flag(found.get("newest"), (*path, "newest"), "newest"),
            _labels(found.get("labels"), (*path, "labels"), reading),
            reading.flag(found.get("linked"), (*path, "linked"), "linked"),
            self._builders(found.get("builder"), (*path, "builder"), reading),
            tuple(where),
            _checks(found, tuple(types), path, reading),
        )

    def _signed_by(self, found: Mapping[str, Any], path: Path, reading: Reading) -> SignedBy:
        signed = reading.flag(found.get("signed"), (*path, "signed"), "signed", default=True)
        if signed:
            who = found.get("signed-by", self._defaults.get("signed-by"))
            return self._signers.signed_by(who, found.get("threshold"), (*path, "signed-by"), reading)
        if "signed-by" in found or "threshold" in found:
            reading.wrong((*path, "signed"), "signed: false and signed-by contradict each other")
        reading.wrong(
            (*path, "signed"),
            "signed: false accepts evidence that anybody could have written",
            "leave it out, or name who signs with signed-by",
            fatal=False,
        )
        return SignedBy(())

    @staticmethod
    def _age(value: Any, path: Path, reading: Reading) -> timedelta | None:
        if value is None:
            return None
        try:
            return durations.parse(reading.text(value, path, "max-age"), "max-age")
        except AssayError as error:
            reading.caught(path, error)
            return None

    def _builders(self, value: Any, path: Path, reading: Reading) -> tuple[Builder, ...]:
        made = []
        for i, item in enumerate(value if isinstance(value, list) else [] if value is None else [value]):
            if isinstance(item, str):
                made.append(Builder(item))
                continue
            found = reading.mapping(item, (*path, i), "a builder", ("id", "signed-by"))
            groups: tuple[str, ...] = ()
            if "signed-by" in found:
                groups = self._signers.signed_by(found["signed-by"], None, (*path, i, "signed-by"), reading).groups
            name = reading.text(found.get("id"), (*path, i, "id"), "id")
            if not name:
                reading.wrong((*path, i), "a builder needs its id")
            made.append(Builder(name, groups))
        return tuple(made)


def _condition(text: str, path: Path, reading: Reading, aliases: Collection[str]) -> Condition | None:
    try:
        return conditions.parse(text, "where", aliases=aliases)
    except AssayError as error:
        reading.caught(path, error)
        return None


def _same(value: Any, path: Path, reading: Reading) -> tuple[str, ...]:
    names = reading.texts(value, path, "same")
    for name in names:
        if not fields.known(name):
            reading.wrong(
                path, f"{name!r} is nothing that evidence states in common", "git_commit, run_id, labels.NAME, …"
            )
    return names


def _labels(value: Any, path: Path, reading: Reading) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str | int) for item in value.values()):
        reading.wrong(path, "labels is not a mapping of names to values")
        return {}
    return {name: str(item) for name, item in value.items()}


def _checks(found: Mapping[str, Any], types: tuple[str, ...], path: Path, reading: Reading) -> Mapping[str, Any]:
    made = {}
    for name in found:
        if name not in CHECKS:
            continue
        check = CHECKS[name]
        if types and not any(_fits(kind, readable) for kind in types for readable in check.types):
            reading.wrong((*path, name), f"{name} cannot read this kind of evidence")
            continue
        try:
            made[name] = check.prepare(found[name], name)
        except AssayError as error:
            reading.caught((*path, name), error)
    return made


def _fits(kind: str, readable: str) -> bool:
    one, other = kind.rstrip("*"), readable.rstrip("*")
    return (
        kind == readable
        or (readable.endswith("*") and one.startswith(other))
        or (kind.endswith("*") and other.startswith(one))
    )


def _check_links(
    selectors: tuple[Selector, ...], edges: Collection[tuple[str, str]], path: Path, reading: Reading
) -> None:
    """Every linked piece of evidence must be led to from one about the target, and no edge may lead in a circle."""
    reached = {selector.alias for selector in selectors if not selector.linked}
    grown = True
    while grown:
        more = {source for source, target in edges if target in reached} - reached
        reached |= more
        grown = bool(more)
    for selector in selectors:
        if selector.alias not in reached:
            reading.wrong(
                (*path, "evidence", selector.alias),
                f"nothing leads to {selector.alias!r}: it is linked and no edge goes from it to evidence about the "
                "target",
                f"add an edge '{selector.alias} -> …' under edges",
            )
    successors: dict[str, set[str]] = {}
    for source, target in edges:
        successors.setdefault(source, set()).add(target)
    for start in successors:
        seen: set[str] = set()
        front = {start}
        while front:
            front = {after for name in front for after in successors.get(name, ())} - seen
            seen |= front
        if start in seen:
            reading.wrong((*path, "edges"), f"the edges lead in a circle through {start!r}")
            return
