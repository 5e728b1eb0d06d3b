"""``tests``: that the tests passed, and that those which the rule names were among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta

from assay.policy.checks.arguments import Arguments, Count, Unknown, Words, convert, schema
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import first, listed, show, string, told
from assay.policy.verdict import Violation

TYPES = ("https://in-toto.io/attestation/test-result/v0.1",)


class Tests(Arguments, frozen=True):
    """Results of tests. Without arguments: that they passed, all of them."""

    require: Annotated[Words, Meta(description="For each of these globs, a test of that name must have passed.")] = ()
    minimum: Annotated[Count, Meta(description="How many tests must have passed, by name.")] = 0
    warned: Annotated[Unknown, Meta(description="Whether tests may have warned or been skipped.")] = "fail"


class _Check:
    name = "tests"
    types: tuple[str, ...] = TYPES
    schema = schema(Tests)

    def prepare(self, arguments: Any, place: str) -> Tests:
        """See `Check.prepare`."""
        return convert(Tests, arguments, place)

    def violations(self, document: Document, arguments: Tests) -> Iterator[Violation]:
        """See `Check.violations`."""
        return told(self, document, _wrong(document, arguments))


def _wrong(document: Document, wanted: Tests) -> Iterator[Violation]:
    predicate = document.predicate
    result = predicate.get("result")
    accepted = ("PASSED", "WARNED") if wanted.warned == "allow" else ("PASSED",)
    if result not in accepted:
        yield Violation(f"the result is {show(result)}, needs {' or '.join(accepted)}", "result")
    for key in ("passedTests", "warnedTests", "failedTests"):
        value = predicate.get(key)
        if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            yield Violation(f"{key} is not a list of names", key)
    kinds = [("failedTests", "failed")] + [("warnedTests", "warned or was skipped")] * (wanted.warned != "allow")
    for key, what in kinds:
        for name in listed(predicate.get(key)):
            yield Violation(f"the test {show(name)} {what}", key, {"test": str(name)[:500]})
    bad = {name for key, _ in kinds for name in listed(predicate.get(key)) if isinstance(name, str)}
    passed = {name for name in map(string, listed(predicate.get("passedTests"))) if name is not None} - bad
    for pattern in wanted.require:
        if not any(first((pattern,), name) for name in passed):
            yield Violation(f"no test {show(pattern)} passed", "passedTests", {"test": pattern})
    if len(passed) < wanted.minimum:
        yield Violation(f"{len(passed)} tests passed, at least {wanted.minimum} are needed", "passedTests")


CHECK = _Check()
