"""OPA's own compliance suite, through the worker: what fails is a list with reasons, and no error becomes a value.

Run as a program (``PYTHONPATH=src python tests/policy/rego/test_rego_conformance.py``) it writes that list anew.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from assay.policy.rego.interface import Answer, Limits, Query
from assay.policy.rego.regorus import RegorusEngine

DATA = Path(__file__).parents[2] / "data" / "rego"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LIMITS = Limits(seconds=5.0, memory=256 << 20)

OTHER_VALUES = {
    "json_match_schema": "json.match_schema describes what does not match in another form",
    "reachable_paths": "graph.reachable_paths goes on below a node that does not exist, as OPA did before",
    "general, set leaf": "a partial rule below a general reference hides a more special one",
}
LACKING = re.compile(r"could not find function ([\w.]+)")
OWN = re.compile(r"\b(io\.jwt\.\w+|crypto\.[\w.]+|net\.cidr_\w+|array\.flatten|uuid\.rfc4122|strings\.count)\(")
REASONS = (
    (
        re.compile("unexpected keyword|expecting identifier|expecting expression|while parsing"),
        "keyword in a reference",
    ),
    (re.compile("invalid character|expecting }"), "text with {…} in it"),
    (re.compile("argument. Got|expects string|requires array|not a string"), "wrong type is an error"),
    (re.compile("is unsafe|incorrect number of parameters"), "order of expressions, or result as the last argument"),
    (re.compile("could not|invalid|undefined rule|expected|Raises|error"), "failure of a function is an error"),
)


@cache
def cases() -> tuple[dict[str, Any], ...]:
    with gzip.open(DATA / "cases.jsonl.gz", "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    seen: Counter[str] = Counter()
    for case in found:
        name = f"{case['file']}: {case['note']}"
        seen[name] += 1
        case["name"] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return tuple(found)


def query_of(case: dict[str, Any]) -> Query:
    """The case's query, which binds variables, as a rule that lists the bindings."""
    bound = sorted({name for result in case.get("want_result") or [] for name in result})
    asked = case["query"] + (f" with input as {case['input_term']}" if "input_term" in case else "")
    pairs = ", ".join(f'"{name}": {name}' for name in bound)
    rule = f"package conformance\nimport rego.v1\nresult := [{{{pairs}}} | {asked}]\n"
    modules = {f"module-{number}.rego": text for number, text in enumerate(case.get("modules") or [])}
    return Query(
        {**modules, "query.rego": rule}, entry="data.conformance.result", version="v1", data=case.get("data") or {}
    )


def answered() -> Iterator[tuple[dict[str, Any], Answer]]:
    with RegorusEngine() as engine:
        for case in cases():
            (answer,) = engine.evaluate(query_of(case), [case.get("input", b"")], now=NOW, limits=LIMITS)
            yield case, answer


@cache
def results() -> tuple[tuple[dict[str, Any], Answer], ...]:
    return tuple(answered())


def wants_error(case: dict[str, Any]) -> bool:
    return bool(case.get("want_error") or case.get("want_error_code"))


def comparable(value: Any, *, sets: bool) -> Any:
    """A value that compares as JSON does: 1 is 1.0 and is not true; with ``sets`` the order of a list says nothing."""
    if isinstance(value, list):
        items = [comparable(item, sets=sets) for item in value]
        return ("list", tuple(sorted(items, key=repr) if sets else items))
    if isinstance(value, dict):
        return ("object", tuple(sorted((key, comparable(item, sets=sets)) for key, item in value.items())))
    if isinstance(value, bool) or value is None:
        return (type(value).__name__, value)
    if isinstance(value, int | float):
        return ("number", float(value))
    return ("text", value)


def passes(case: dict[str, Any], answer: Answer) -> bool:
    if wants_error(case):
        return answer.error is not None
    if answer.error is not None or not answer.defined:
        return False
    sets = bool(case.get("sort_bindings"))
    given = sorted((comparable(item, sets=sets) for item in answer.value), key=repr)
    return given == sorted((comparable(item, sets=sets) for item in case["want_result"] or []), key=repr)


def reason(case: dict[str, Any], answer: Answer) -> str:
    if answer.error is None:
        if case["query"] in ("data = x", "data.test = x"):
            return "asks for a whole package, of which functions or the test's own rule are part"
        return next(said for part, said in OTHER_VALUES.items() if part in case["name"])
    text = " ".join([*(case.get("modules") or []), case["query"]])
    if (lacking := LACKING.search(answer.error)) is not None:
        return f"no function {lacking[1]}"
    if OWN.search(text) and "is unsafe" in answer.error:
        return "result as the last argument of a function that regorus has not itself"
    for pattern, said in REASONS:
        if pattern.search(answer.error):
            return said
    return answer.error


def test_the_failing_cases_are_the_known_ones() -> None:
    known = json.loads((DATA / "known-failures.json").read_text())
    failing = {case["name"] for case, answer in results() if not passes(case, answer)}
    assert len(results()) == 2067
    assert {"fails now": sorted(failing - known.keys()), "passes now": sorted(known.keys() - failing)} == {
        "fails now": [],
        "passes now": [],
    }
    assert all(known.values())


def test_no_error_of_the_suite_is_a_value_here() -> None:
    demanded = [(case, answer) for case, answer in results() if wants_error(case)]
    assert len(demanded) > 200
    assert [case["name"] for case, answer in demanded if answer.error is None or answer.defined] == []


def main() -> None:
    failing = {case["name"]: reason(case, answer) for case, answer in results() if not passes(case, answer)}
    text = json.dumps(dict(sorted(failing.items())), indent=1, ensure_ascii=False)
    (DATA / "known-failures.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
