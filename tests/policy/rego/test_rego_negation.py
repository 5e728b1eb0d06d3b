"""``not`` about what is undefined: regorus must answer as OPA does, and must not allow because nothing was said.

The expected answers are those of OPA 1.20.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from assay.policy.rego.interface import Query
from assay.policy.rego.regorus import RegorusEngine

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HEAD = "package verify\nimport rego.v1\nimport data.foo.bar\nimport data.foo.baz as quux\n"
INPUT = {
    "a": [{"n": "x", "v": 1, "l": ["MIT", "GPL"]}, {"n": "y", "v": 2.5}, {"n": "z", "v": None, "l": []}],
    "s": "Hello",
    "o": {"k": {"d": 1}, "e": {}},
    "b": False,
}
UNDEFINED = object()
ERROR = object()

CASES: list[tuple[str, Any]] = [
    ('x if not "GPL" in input.nope', UNDEFINED),
    ('x if not input.nope in {"a"}', UNDEFINED),
    ('x if not "x", "y" in input.nope', UNDEFINED),
    ('x if not startswith(input.nope, "a")', UNDEFINED),
    ('x if { not startswith(input.nope, "a") }', UNDEFINED),
    ("x if not input.nope == 1", True),
    ("x if not 1 == input.nope", True),
    ("x if not (input.nope == 1)", True),
    ("x if not input.nope != 1", UNDEFINED),
    ("x if not input.nope > 1", UNDEFINED),
    ("x if not input.nope", True),
    ("x if not input.o.k.zz", True),
    ("x if not input.b", True),
    ("x if not bar", True),
    ('x if not startswith(bar, "a")', UNDEFINED),
    ('x if not startswith(quux.z, "a")', UNDEFINED),
    ("f(a) if a == 1\nx if not f(input.nope)", UNDEFINED),
    ("f(a) if a == 1\nx if not f(input.s)", True),
    ("f(a, b) if a == b\nx := 1 if not f(1, 2)", 1),
    ("x if not count(input.nope) > 1", UNDEFINED),
    ("x if not count(input.nope) == count(input.s)", UNDEFINED),
    ("x if not input.o[input.nope]", UNDEFINED),
    ("x if not input.o[input.s]", True),
    ("x if not input.o[y]\ny := input.nope", UNDEFINED),
    ('x if not {"a": input.nope}', UNDEFINED),
    ("x if not [input.nope]", UNDEFINED),
    ("x if not {input.nope}", UNDEFINED),
    ("x if not [input.nope][0] == 1", UNDEFINED),
    ("x if not object.get(input, input.nope, true)", UNDEFINED),
    ("x if not input.nope + 1 == 5", UNDEFINED),
    ("x if not input.o.k.d + 1 == 5", True),
    ("x if not {1} - input.nope == set()", UNDEFINED),
    ('x if { not input.o == {"a": input.nope} }', UNDEFINED),
    ("x if { not input.a[0].l == [input.nope] }", UNDEFINED),
    ("x if { not json.unmarshal(input.nope).a }", UNDEFINED),
    ("f(a) := b if b := input.nope\nx if { not f(1) == 2 }", UNDEFINED),
    ("f(a) := b if b := input.nope\ng(a) if a == 5\nx if { not g(f(1)) }", UNDEFINED),
    ("f(a) := b if b := input.nope\nx if { not f(1) }", True),
    ("x if { not [y | y := input.nope[_]] == [] }", UNDEFINED),
    ("x if { not count([y | y := input.nope[_]]) == 1 }", True),
    ("x := [1 | not input.nope in [1]]", []),
    ('x := [c.n | c := input.a[_]; not startswith(c.zz, "a")]', []),
    ("x := [c.n | c := input.a[_]; not c.l != []]", ["z"]),
    ("x := [c.n | c := input.a[_]; not count(c.l) == 0]", ["x"]),
    ('x := [c.n | c := input.a[_]; not "MIT" in c.l]', ["z"]),
    ('x := [c.n | c := input.a[_]; not "MIT" in object.get(c, "l", [])]', ["y", "z"]),
    ('any_mit(l) if l[_] == "MIT"\nx := [c.n | c := input.a[_]; not any_mit(c.l)]', ["z"]),
    ('any_mit(c) if c.l[_] == "MIT"\nx := [c.n | c := input.a[_]; not any_mit(c)]', ["y", "z"]),
    ("x if { every c in input.a { not c.zz } }", True),
    ('x if { every c in input.a { not startswith(c.zz, "a") } }', UNDEFINED),
    ('x if { every i, c in input.a { not i == 7\n not c.n == "q" } }', True),
    ('default allow := false\nallow if not "GPL" in licences\nlicences := input.nope\nx := allow', False),
    (
        'default allow := false\nallow if not "GPL" in licences\nlicences contains l if l := input.nope[_]\nx := allow',
        True,
    ),
    ('x if not startswith(input.s, "a") with input as {"t": "b"}', UNDEFINED),
    ('x if not startswith(input.s, "a") with input as {"s": "b"}', True),
    ('x := 1 if not startswith(input.nope, "a") else := 2', 2),
    ('x := 1 if not startswith(input.nope, "a")\nelse := 2 if not startswith(input.s, "a")', 2),
    ('x := 1 if {\n\tsome c in input.a\n\tnot startswith(c.n, "x") # why\n\tc.v == 2.5\n}', 1),
    ('x if not startswith(\n\tinput.nope, # "not" in a comment\n\t"a")', UNDEFINED),
    ('x := "not input.é[_]" if not startswith("é", input.s)', "not input.é[_]"),
    ('x if { some i, c in input.a; c.n == "y"; not input.a[i].v < 2 }', True),
    ('x if not input.a[_].n == "q"', ERROR),
    ('x if { not input.a[i].n == "q" }', ERROR),
    ("x if { some y; not input.o[y] }", ERROR),
    ("x if { not input.zz[_] }", ERROR),
    ("y contains 1\nx if { not y[_] }", ERROR),
    ("x := [v | [p, v] := walk(input.o)]", ERROR),
    ("x := [v | walk(input.o, [p, v]); is_number(v)]", [1]),
    ("x if { not count([1 | walk(input.o, [_, v]); v == 7]) > 0 }", True),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[RegorusEngine]:
    with RegorusEngine() as opened:
        yield opened


@pytest.mark.parametrize(("rule", "expected"), CASES, ids=[rule for rule, _ in CASES])
def test_negation(engine: RegorusEngine, rule: str, expected: Any) -> None:
    (answer,) = engine.evaluate(Query({"rule.rego": HEAD + rule}, entry="data.verify.x"), [INPUT], now=NOW)
    if expected is ERROR:
        assert answer.error is not None and answer.error.startswith("rule.rego:")
    elif expected is UNDEFINED:
        assert (answer.error, answer.defined) == (None, False)
    else:
        assert (answer.error, answer.value) == (None, expected)


def test_negation_in_the_old_syntax(engine: RegorusEngine) -> None:
    old = 'package verify\ndefault allow = false\nallow { not banned(input.licences) }\nbanned(l) { l[_] == "GPL" }\n'
    old += 'verify = v { v := {"allow": allow} }'
    inputs: list[Any] = [{"licences": ["MIT"]}, {"licences": ["GPL"]}, {}]
    answers = engine.evaluate(Query({"rule.rego": old}), inputs, now=NOW)
    assert [answer.value for answer in answers] == [{"allow": True}, {"allow": False}, {"allow": False}]


def test_names_of_rules_are_those_of_all_files_of_the_package(engine: RegorusEngine) -> None:
    modules = {
        "a.rego": 'package verify\nimport rego.v1\nx if not "GPL" in licences\n',
        "b.rego": "package verify\nimport rego.v1\nlicences := input.nope\n",
        "c.rego": "package other\nimport rego.v1\nx := 1\n",
    }
    (answer,) = engine.evaluate(Query(modules, entry="data.verify.x"), [{}], now=NOW)
    assert (answer.error, answer.defined) == (None, False)
