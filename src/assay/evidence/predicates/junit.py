"""JUnit XML becomes a test result. The XML is read by expat alone: no document type, no entities, nothing
fetched.

A test that was skipped did not show anything, so it is listed as warned; a report without tests is refused.
"""

from __future__ import annotations

import hashlib
from typing import Literal
from xml.parsers import expat

from assay.errors import DocumentError
from assay.evidence.predicates.common import ResourceDescriptor
from assay.evidence.predicates.test_result import TestResult

_MAX_DEPTH = 100
_BAD = ("failure", "error", "rerunFailure", "rerunError")


class _Reader:
    """Handlers that collect test cases."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.said_failed = False
        self.root: str | None = None
        self._depth = 0
        self._case: str | None = None
        self._outcome = "passed"

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise DocumentError("nested too deeply")
        if self.root is None:
            self.root = tag
        if tag == "testcase":
            parts = [attributes.get("classname", ""), attributes.get("name", "")]
            self._case = "::".join(part for part in parts if part)
            if not self._case:
                raise DocumentError("a testcase has no name")
            self._outcome = "passed"
        elif tag in ("testsuite", "testsuites"):
            # A suite can fail outside of its tests (a fixture, a collection error): only its counters say so.
            counts = [attributes.get(key, "0") for key in ("failures", "errors")]
            self.said_failed = self.said_failed or any(count.strip("0") for count in counts)
        elif self._case is not None:
            if tag in _BAD:
                self._outcome = "failed"
            elif tag == "skipped" and self._outcome == "passed":
                self._outcome = "warned"

    def end(self, tag: str) -> None:
        self._depth -= 1
        if tag == "testcase" and self._case is not None:
            # The same name twice (repeated or parametrised without ids): the worst outcome stands.
            order = ("passed", "warned", "failed")
            before = self.outcomes.get(self._case, "passed")
            self.outcomes[self._case] = max(before, self._outcome, key=order.index)
            self._case = None

    def refuse(self, *_: object) -> None:
        raise DocumentError("it has a document type or entities, which JUnit does not need")


def from_junit(name: str, data: bytes) -> TestResult:
    """The test result of a JUnit XML report; ``configuration`` names the report by its digest.

    Raises `DocumentError` for anything but a well-formed ``testsuites`` or ``testsuite`` document with test
    cases.
    """
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise DocumentError(f"{name} is not well-formed XML: {error}") from None
    except (LookupError, ValueError) as error:
        raise DocumentError(f"{name} cannot be decoded: {error}") from None
    except DocumentError as error:
        raise DocumentError(f"{name} is not read as JUnit XML: {error.message}") from None
    if reader.root not in ("testsuites", "testsuite"):
        raise DocumentError(f"{name} is XML, but not a JUnit report: its root is {str(reader.root)[:80]!r}")
    if not reader.outcomes:
        raise DocumentError(f"{name} holds no test case, which shows nothing")
    by: dict[str, list[str]] = {"passed": [], "warned": [], "failed": []}
    for case, outcome in reader.outcomes.items():
        by[outcome].append(case)
    result: Literal["PASSED", "WARNED", "FAILED"] = "PASSED"
    if by["failed"] or reader.said_failed:
        result = "FAILED"
    elif by["warned"]:
        result = "WARNED"
    report = ResourceDescriptor(
        name=name, digest={"sha256": hashlib.sha256(data).hexdigest()}, media_type="application/xml"
    )
    return TestResult(
        result=result,
        configuration=[report],
        passed_tests=by["passed"],
        warned_tests=by["warned"],
        failed_tests=by["failed"],
    )
