"""``findings``: how many results of which level a SARIF log may hold, and which tools must have run.

The levels are what SARIF 2.1.0 says they are (3.27.10): a result that states none has its rule's. A run that failed, or
that says nothing about results, shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from assay.policy.checks.arguments import Arguments, Count, Words, convert, limits, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import dig, first, listed, mapping, objects, odd, show, string, told
from assay.policy.checks.vulnerabilities import over
from assay.policy.verdict import Violation

TYPES = ("http://docs.oasis-open.org/sarif/sarif/2.1.0",)
_LEVELS = ("error", "warning", "note", "none")


class Levels(Arguments, frozen=True):
    """How many results of each level are tolerated. What is milder than all that is named here has no limit; of what is
    worse, and not named, none is tolerated.
    """

    error: Count | None = None
    warning: Count | None = None
    note: Count | None = None
    none: Count | None = None


class Findings(Arguments, frozen=True):
    """Results of a static analysis. Without arguments: none at all."""

    max: Annotated[Levels, Meta(description="Most results of each level; without it none of any level.")] = Levels(
        error=0, warning=0, note=0, none=0
    )
    precision: Annotated[
        tuple[Literal["very-high", "high", "medium", "low"], ...],
        Meta(description="Count rules of these precisions only; a rule that states none is counted."),
    ] = ()
    rules: Annotated[Words, Meta(description="Count these rules only (globs over the id).")] = ()
    ignore: Annotated[Words, Meta(description="Do not count these rules (globs over the id).")] = ()
    suppressions: Annotated[
        Literal["count", "accepted"],
        Meta(description="count: suppressed results count; accepted: not those whose suppression was accepted."),
    ] = "count"
    tools: Annotated[Words, Meta(description="Each of these tools must have run (globs over the name).")] = ()


class _Check:
    name = "findings"
    types: tuple[str, ...] = TYPES
    schema = schema(Findings)

    def prepare(self, arguments: Any, place: str) -> Findings:
        """See `Check.prepare`."""
        return convert(Findings, arguments, place)

    def violations(self, document: Document, arguments: Findings) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(document.predicate, arguments))


def _wrong(log: Mapping[str, Any], wanted: Findings) -> Iterator[Violation]:
    runs = log.get("runs")
    if odd(runs) or not listed(runs):
        yield Violation("the log holds no run, or one that can't be read", "runs")
    tools = [string(dig(run, "tool", "driver", "name")) for run in objects(runs)]
    for tool in wanted.tools:
        if not any(name is not None and first((tool,), name) for name in tools):
            yield Violation(f"no run of {show(tool)} is there", "runs", {"tool": tool})
    found: dict[str, list[Violation]] = {level: [] for level in _LEVELS}
    for i, run in enumerate(listed(runs)):
        if not isinstance(run, Mapping):
            continue
        place, tool = f"runs[{i}]", show(tools[i] if i < len(tools) else None)
        if any(call.get("executionSuccessful") is not True for call in objects(run.get("invocations"))):
            yield Violation(f"the run of {tool} did not succeed", f"{place}.invocations")
        results = run.get("results")
        if results is None or odd(results):
            yield Violation(f"the run of {tool} has no results that can be read", f"{place}.results")
        rules = objects(dig(run, "tool", "driver", "rules"))
        by_id = {rule["id"]: rule for rule in rules if isinstance(rule.get("id"), str)}
        for j, result in enumerate(listed(results)):
            if isinstance(result, Mapping):
                _count(result, run, by_id, f"{place}.results[{j}]", wanted, found)
    most = limits(wanted.max)
    for severity, items in found.items():
        yield from over(severity, len(items), most, items)


def _count(
    result: Mapping[str, Any],
    run: Mapping[str, Any],
    by_id: Mapping[str, Mapping[str, Any]],
    place: str,
    wanted: Findings,
    found: dict[str, list[Violation]],
) -> None:
    rule, described = _rule(result, run, by_id)
    if wanted.rules and rule is not None and not first(wanted.rules, rule):
        return
    if rule is not None and first(wanted.ignore, rule):
        return
    precision = string(dig(described, "properties", "precision"))
    if wanted.precision and precision is not None and precision not in wanted.precision:
        return
    if wanted.suppressions == "accepted" and _suppressed(result):
        return
    level = _level(result, described, run)
    if level is None:
        return
    message = string(dig(result, "message", "text")) or string(dig(result, "message", "markdown")) or "no message"
    details = {"rule": rule, "level": level}
    shown = " ".join(message.split())[:300]
    found[level].append(Violation(f"{level} {rule or 'without a rule'}: {shown}", place, details))


def _rule(
    result: Mapping[str, Any], run: Mapping[str, Any], by_id: Mapping[str, Mapping[str, Any]]
) -> tuple[str | None, Mapping[str, Any]]:
    """Id and description of a result's rule (3.27.5 to 3.27.7)."""
    stated = string(result.get("ruleId")) or string(dig(result, "rule", "id"))
    index = result.get("ruleIndex", dig(result, "rule", "index"))
    rules = listed(dig(run, "tool", "driver", "rules"))
    if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(rules):
        described = mapping(rules[index])
        known = string(described.get("id"))
        # An index may lead to the parent of a hierarchical id ("CA1000/1"), never to another rule.
        if stated is None or known == stated or (known and stated.startswith(f"{known}/")):
            return stated or known, described
    if stated is None:
        return None, {}
    return stated, by_id.get(stated, {})


def _level(result: Mapping[str, Any], described: Mapping[str, Any], run: Mapping[str, Any]) -> str | None:
    """How bad a result is; None for one that is no finding. What is not understood is an error."""
    kind = result.get("kind", "fail")
    if kind in ("pass", "informational", "notApplicable") or result.get("baselineState") == "absent":
        return None
    stated = result.get("level")
    if stated is None and kind in ("open", "review"):
        return "warning"  # undecided is not harmless
    if stated is None:
        stated = dig(described, "defaultConfiguration", "level") or "warning"
        stated = min((stated, *_overrides(run, described)), key=_rank)
    return stated if stated in _LEVELS else "error"


def _overrides(run: Mapping[str, Any], described: Mapping[str, Any]) -> Iterator[Any]:
    """Levels that the call of the tool gave to the rule instead of its own (3.20.5)."""
    for call in objects(run.get("invocations")):
        for override in objects(call.get("ruleConfigurationOverrides")):
            if dig(override, "descriptor", "id") == described.get("id"):
                yield dig(override, "configuration", "level") or "warning"


def _rank(level: Any) -> int:
    return _LEVELS.index(level) if level in _LEVELS else 0


def _suppressed(result: Mapping[str, Any]) -> bool:
    """Whether it is suppressed and nobody objects: no status means accepted (3.35.3)."""
    given = result.get("suppressions")
    return (
        bool(listed(given))
        and not odd(given)
        and all(item.get("status") in (None, "accepted") for item in objects(given))
    )


CHECK = _Check()
