"""What `assay policy check` says about rules, with file and line."""

from __future__ import annotations

import pytest

from assay.policy.rego.checking import Problem, static_problems
from assay.policy.rego.interface import Limits, Query
from assay.policy.rego.regorus import RegorusEngine

V1 = "package verify\nimport rego.v1\n"


@pytest.fixture(scope="module")
def engine() -> RegorusEngine:
    return RegorusEngine()


@pytest.fixture(scope="module", autouse=True)
def _closed(engine: RegorusEngine) -> object:
    yield
    engine.close()


def check(engine: RegorusEngine, text: str, **more: object) -> list[tuple[int, str]]:
    query = Query({"rule.rego": text}, **more)  # type: ignore[arg-type]
    found = static_problems(query, engine=engine, limits=Limits(seconds=1.0))
    assert all(problem.file == "rule.rego" and "\n" not in problem.message for problem in found)
    return [(problem.line, problem.message) for problem in found]


GOOD = [
    V1 + 'verify := {"allow": true}',
    V1 + 'default verify := {"allow": false}\nverify := {"allow": true} if not input.x in {"y"}',
    'package verify\nverify = v { v := {"allow": allow, "violation": {"details": []}} }\ndefault allow = false\n'
    "allow { any([not_bad]) }\nnot_bad { not input.bad }",
    V1
    + 'import data.scribe as s\nverify := object.union({"allow": true}, {"asset": s.get_asset_data(input.evidence)})',
    V1 + 'import data.sarif\nverify := {"allow": sarif.allow(input.config.args) == {true}}',
    V1 + 'f(x) := lower(x)\nverify := {"allow": f(input.evidence.predicateType) == "x"} if input.evidence',
    V1 + 'verify := {"allow": crypto.sha256("a") == io.jwt.decode(input.t)[2]} if print("x")',
]


@pytest.mark.parametrize("text", GOOD)
def test_rules_without_problems(engine: RegorusEngine, text: str) -> None:
    assert check(engine, text) == []


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (V1 + 'verify := {"allow": "true"}', 3, "must be true or false"),
        (V1 + 'verify := v if { v := {"allow": 1} }', 3, "must be true or false"),
        (V1 + 'verify := {"alow": true}', 3, "has no 'allow'"),
        (V1 + "verify := true", 3, "must be an object"),
        (V1 + "default verify := false", 3, "must be an object"),
        (V1 + 'verify := {"allow": true} if input.x else := false', 3, "must be an object"),
        (V1 + "verify contains 1", 3, "not a set"),
        (V1 + "verify(x) := 1", 3, "not a set"),
        (V1 + "\nverify if input.x", 4, "true or undefined"),
        ("package other\nimport rego.v1\nverify := 1", 1, "the package is not 'verify'"),
        (V1 + "allow := true", 1, "there is no rule 'verify'"),
        (V1 + '\nverify := {"allow": nope(1)}', 4, "there is no function 'nope'"),
        (V1 + 'import data.scribe as s\nverify := {"allow": s.nope(1)}', 4, "there is no function 's.nope'"),
        (V1 + 'verify := {"allow": any([true])}', 3, "there is no function 'any'"),
        (V1 + 'verify := {"allow": x}', 3, "unsafe"),
        (V1 + 'verify := {"allow": true} if { not input.a[i] == 1 }', 3, "var i is unsafe"),
        (V1 + 'verify := {"allow": true} if { [p, v] := walk(input) }', 3, "walk"),
        (V1 + 'verify := {"allow": http.send({"url": "x"}).status_code == 200}', 3, "allows this rule no host"),
        (V1 + "verify := {", 3, "expecting"),
        ("", 1, "package"),
        ("\0", 1, "package"),
        (V1 + "import data.superset.policy\nverify := 1", 0, "data.superset"),
        (V1 + "verify := " + "[" * 60 + "]" * 60, 0, "longer than it may"),
        (V1 + 'f(x) := f(x)\nverify := {"allow": f(1)}', 0, "calls itself"),
    ],
)
def test_rules_with_problems(engine: RegorusEngine, text: str, line: int, said: str) -> None:
    (problem,) = check(engine, text)
    assert problem[0] == line and said in problem[1], problem


def test_a_rule_that_may_ask_has_no_problem_with_asking(engine: RegorusEngine) -> None:
    text = V1 + 'verify := {"allow": http.send({"url": "x"}).status_code == 200}'
    assert check(engine, text, network=("example.org",)) == check(engine, text, answers={"x": {}}) == []


def test_every_file_is_looked_at_without_an_engine_of_ones_own() -> None:
    modules = {
        "a.rego": V1 + "verify := data.lib.f(1)",
        "b.rego": "package lib\nimport rego.v1\nf(x) := nope(x)",
        "c.rego": "{",
    }
    found = static_problems(Query(modules))
    assert [(problem.file, problem.line) for problem in found] == [("b.rego", 3), ("c.rego", 1)]
    assert found == sorted(found) and isinstance(found[0], Problem)
