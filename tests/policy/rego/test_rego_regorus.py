"""regorus in its worker: what rules see, and every way in which a rule may try to break it. None of them is a value."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import UsageError
from assay.policy.rego import engine as engine_by_name
from assay.policy.rego.contract import read_result
from assay.policy.rego.interface import Answer, Limits, Query
from assay.policy.rego.regorus import RegorusEngine

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOW_NS = 1_780_272_000_000_000_000
TIGHT = Limits(seconds=5.0, memory=192 << 20, answer=1 << 20)
V1 = "package verify\nimport rego.v1\n"


@pytest.fixture(scope="module")
def engine() -> Iterator[RegorusEngine]:
    with RegorusEngine() as opened:
        yield opened


def ask(engine: RegorusEngine, text: str, *inputs: Any, limits: Limits = TIGHT, **query: Any) -> list[Answer]:
    return engine.evaluate(Query({"rule.rego": text}, **query), inputs or ({},), now=NOW, limits=limits)


def one(engine: RegorusEngine, text: str, *inputs: Any, **more: Any) -> Answer:
    (answer,) = ask(engine, text, *inputs, **more)
    return answer


def refused(answer: Answer, *parts: str) -> None:
    assert answer.error is not None and not answer.defined and answer.value is None
    assert all(part in answer.error for part in parts), answer.error
    assert "\n" not in answer.error and read_result(answer).allow is False


# What rules see


def test_inputs_are_answered_in_order_and_apart(engine: RegorusEngine) -> None:
    answers = ask(engine, V1 + "verify := input.x", {"x": 1}, {}, {"x": None}, {"x": [2, {"y": "ü"}]}, b'{"x": 3}')
    assert [(answer.defined, answer.value) for answer in answers] == [
        (True, 1),
        (False, None),
        (True, None),
        (True, [2, {"y": "ü"}]),
        (True, 3),
    ]
    assert all(answer.error is None for answer in answers)


def test_no_input_is_undefined_and_an_earlier_one_does_not_shine_through(engine: RegorusEngine) -> None:
    answers = ask(engine, V1 + "default verify := false\nverify := input.x", {"x": 1}, b"", {"y": 2})
    assert [answer.value for answer in answers] == [1, False, False]


def test_time_is_that_of_the_decision(engine: RegorusEngine) -> None:
    rule = V1 + "verify := time.now_ns()"
    assert one(engine, rule).value == NOW_NS
    later = engine.evaluate(Query({"rule.rego": rule}), [{}], now=datetime(2027, 1, 1, tzinfo=UTC))
    assert later[0].value == 1_798_761_600_000_000_000


def test_nothing_of_the_surroundings_reaches_a_rule(engine: RegorusEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "hunter2")
    with RegorusEngine() as fresh:
        assert one(fresh, V1 + "verify := opa.runtime()").value == {"env": {}, "config": {}}
        process = fresh._process._process
        assert process is not None
        with open(f"/proc/{process.pid}/environ", "rb") as file:
            assert file.read() == b""
        assert os.readlink(f"/proc/{process.pid}/cwd") == "/"
        assert len(os.listdir(f"/proc/{process.pid}/fd")) <= 4
    refused(one(engine, V1 + 'verify := net.lookup_ip_addr("localhost")'), "could not find function")


def test_what_is_random_elsewhere_follows_from_the_arguments(engine: RegorusEngine) -> None:
    rule = V1 + 'verify := [rand.intn("a", 1000000), rand.intn("b", 1000000), uuid.rfc4122("a")]'
    with RegorusEngine() as other:
        first, second = one(engine, rule).value, one(other, rule).value
    assert first == second and first[0] != first[1]


def test_both_versions_of_the_language(engine: RegorusEngine) -> None:
    old = 'package verify\nverify = v { v := {"allow": allow} }\ndefault allow = false\nallow { input.ok }\n'
    assert [answer.value for answer in ask(engine, old, {"ok": True}, {})] == [{"allow": True}, {"allow": False}]
    assert one(engine, old, {"ok": True}, version="v0").value == {"allow": True}
    refused(one(engine, old, version="v1"), "rule.rego:2", "`if` keyword is required")
    assert one(engine, "package verify\nverify := v if { v := 1 }").value == 1
    assert one(engine, V1 + "verify := v if { v := 1 }", version="v0").value == 1
    deprecated = "package verify\nverify = v { v := [any([false, true]), all([true]), re_match(`^a+$`, `aa`)] }"
    assert one(engine, deprecated).value == [True, True, True]
    refused(one(engine, V1 + "verify := any([true])"), "could not find function any")
    mixed = Query({"a.rego": "package verify\nverify = data.lib.x { true }", "b.rego": "package lib\nx := 1 if true"})
    assert engine.evaluate(mixed, [{}], now=NOW)[0].value == 1


def test_text_of_v1_that_lost_its_if_does_not_become_v0_when_it_says_v1(engine: RegorusEngine) -> None:
    refused(one(engine, V1 + 'verify = v { v := {"allow": true} }'), "rule.rego:3")


def test_data_and_entry(engine: RegorusEngine) -> None:
    query = Query(
        {"a.rego": "package other\nanswer := data.limits.max"}, entry="data.other.answer", data={"limits": {"max": 7}}
    )
    assert engine.evaluate(query, [{}], now=NOW)[0].value == 7
    for entry in ("data.verify.verify; true", "true", "data", "input.x", "data.verify.verify\n", "data.a.b := 1", ""):
        refused(engine.evaluate(Query({"a.rego": V1 + "verify := 1"}, entry=entry), [{}], now=NOW)[0], "not the name")


def test_what_is_printed_is_kept_within_bounds(engine: RegorusEngine) -> None:
    rule = V1 + 'verify := 1 if { some i in numbers.range(1, 300); print(sprintf("%5000d", [i])); i == 300 }'
    answer = one(engine, rule)
    assert answer.value == 1 and len(answer.prints) == 100 and max(map(len, answer.prints)) <= 1000
    assert one(engine, V1 + "verify := 2").prints == ()


def test_rules_share_no_state(engine: RegorusEngine) -> None:
    first = Query({"a.rego": V1 + "verify := data.secret"}, data={"secret": 1})
    second = Query({"a.rego": V1 + 'verify := object.get(data, "secret", "none")'})
    assert engine.evaluate(first, [{}], now=NOW)[0].value == 1
    assert engine.evaluate(second, [{}], now=NOW)[0].value == "none"
    assert engine.evaluate(
        Query({"b.rego": "package b\nx := data.verify.verify"}, entry="data.b.x"), [{}], now=NOW
    ) == [Answer()]


def test_programs_are_compiled_once_and_the_oldest_are_forgotten(engine: RegorusEngine) -> None:
    for number in (*range(70), 0, 69):
        assert one(engine, V1 + f"verify := {number}").value == number
    assert len(engine._loaded) == 64


def test_engines_by_name() -> None:
    with engine_by_name("regorus") as named:
        assert named.name == "regorus"
    with engine_by_name() as auto:
        assert auto.evaluate(Query({"a.rego": V1 + "verify := 1"}), [{}], now=NOW)[0].value == 1
    with pytest.raises(UsageError, match="is not a Rego engine"):
        engine_by_name("prolog")


# Attacks

CRASHING = [
    "f(x) := f(x)\nverify := f(1)",
    'verify := sprintf("%2000000000d", [1])',
    "verify := count([1 | some i in numbers.range(1, 100000000)])",
    'g(n) := concat("", [n | some i in numbers.range(1, 40000)])\nverify := g(g("aaaa"))',
]
LOOPING = [
    "verify := count([1 | some a in numbers.range(1, 5000); some b in numbers.range(1, 5000); a + b < 0])",
    "verify := bits.lsh(1, 100000000)",
    "verify := " + "[" * 40 + "]" * 40,
    "verify if { every a in numbers.range(1, 9000) { every b in numbers.range(1, 9000) { a + b > 0 } } }",
]


@pytest.mark.parametrize("rule", CRASHING)
def test_what_crashes_the_worker_is_an_error_and_the_next_input_is_answered(engine: RegorusEngine, rule: str) -> None:
    refused(one(engine, V1 + rule))
    assert one(engine, V1 + "verify := 1").value == 1


@pytest.mark.parametrize("rule", LOOPING)
def test_what_takes_for_ever_ends(engine: RegorusEngine, rule: str) -> None:
    refused(one(engine, V1 + rule, limits=Limits(seconds=0.4, memory=256 << 20)), "longer than it may")
    assert one(engine, V1 + "verify := 1").value == 1


def test_one_input_that_kills_the_worker_leaves_the_others_alone(engine: RegorusEngine) -> None:
    rule = V1 + "f(x) := f(x)\nverify := 1 if input.x == 0\nverify := f(1) if input.x == 1"
    answers = ask(engine, rule, *({"x": number % 2} for number in range(6)))
    assert [answer.error is None for answer in answers] == [True, False] * 3
    assert [answer.value for answer in answers[::2]] == [1, 1, 1]


def test_all_inputs_together_have_a_deadline(engine: RegorusEngine) -> None:
    rule = (
        V1
        + "verify := count([1 | some a in numbers.range(1, 5000); some b in numbers.range(1, 5000); a + b < input.x])"
    )
    answers = ask(engine, rule, *({"x": number} for number in range(50)), limits=Limits(seconds=0.2))
    assert len(answers) == 50 and all(answer.error is not None for answer in answers)
    assert all(not answer.defined for answer in answers)


def test_a_worker_that_is_killed_from_outside_is_replaced(engine: RegorusEngine) -> None:
    assert one(engine, V1 + "verify := 1").value == 1
    process = engine._process._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert one(engine, V1 + "verify := 1").value == 1
    assert engine._process._process is not process


def test_a_worker_that_talks_nonsense_is_not_believed(engine: RegorusEngine) -> None:
    one(engine, V1 + "verify := 1")
    for nonsense in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x00\x00\x00\x02Z{", b"\x00\x00\x00\x05V[[[["):
        engine._process._read += nonsense
        answer = one(engine, V1 + "verify := 1")
        assert answer.error is not None or answer.value == 1
        engine.close()
    assert one(engine, V1 + "verify := 1").value == 1


def test_an_answer_larger_than_it_may_be(engine: RegorusEngine) -> None:
    rule = V1 + 'verify := [s | some i in numbers.range(1, 2000); s := sprintf("%1000d", [i])]'
    refused(one(engine, rule), "larger than")


def test_printing_without_end(engine: RegorusEngine) -> None:
    rule = V1 + 'verify := 1 if { some i in numbers.range(1, 3000000); print(sprintf("%1000d", [i])); i == 3000000 }'
    refused(one(engine, rule, limits=Limits(seconds=0.7, memory=128 << 20)))


def test_regular_expressions_do_not_backtrack(engine: RegorusEngine) -> None:
    rule = V1 + 'verify := regex.match("^(a+)+$", input)'
    assert one(engine, rule, "a" * 50_000 + "!").value is False
    refused(one(engine, V1 + 'verify := regex.match("((((a{1,100}){1,100}){1,100}){1,100})", "a")'))
    old = "package verify\nverify = v { v := re_match(`^(a+)+$`, input) }"
    assert one(engine, old, "a" * 5_000 + "!").value is False


def test_deep_inputs(engine: RegorusEngine) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    rule = V1 + 'verify := {"allow": true}'
    answers = ask(engine, rule, deep, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000, b"[" * 200 + b"]" * 200)
    for answer in answers:
        refused(answer)
    while deep:
        deep = deep.pop()


@pytest.mark.parametrize("text", [b"{", b"nul", b'"\xff"', b'"\\ud800"', b"[1,]", b"1 2", b"\x00", b"[1e999]", b"NaN"])
def test_inputs_that_are_no_json(engine: RegorusEngine, text: bytes) -> None:
    refused(one(engine, V1 + 'verify := {"allow": true}', text))


def test_values_that_json_has_not(engine: RegorusEngine) -> None:
    for value in ({1, object()}, object(), 1j, {("a", "b"): 1}):
        refused(one(engine, V1 + "verify := 1", value), "cannot be written as JSON")
    refused(engine.evaluate(Query({"a": V1}, data={"x": float("nan")}), [{}], now=NOW)[0], "cannot be written as JSON")


def test_big_numbers(engine: RegorusEngine) -> None:
    rule = V1 + "verify := [input.x > 9223372036854775807, input.x]"
    assert one(engine, rule, {"x": 2**63}).value == [True, 2**63]
    assert one(engine, rule, {"x": 10**30}).value[0] is True
    refused(one(engine, V1 + "verify := 1e400"))
    refused(one(engine, V1 + "verify := 1e308 * 10"))


@pytest.mark.parametrize(
    "text",
    ["", "\0", "package", "package verify\x00\nverify := 1", V1 + 'verify := "a\0b"', "\ufeff" + V1 + "verify := 1",
     "package verify\nverify := {", V1 + "verify := \ud800", V1 + "verify := 1\n" + "# x\n" * 30_000,
     V1 + "verify := 1 #" + "x" * (4 << 20), "package a\npackage b"],
)  # fmt: skip
def test_texts_that_are_no_rules(engine: RegorusEngine, text: str) -> None:
    refused(one(engine, text))
    assert one(engine, V1 + "verify := 1").value == 1


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("verify if verify", "recursion"),
        ("a := b\nb := a\nverify := a", "recursion"),
        ("verify := x", "unsafe"),
        ("verify := nope(1)", "could not find function nope"),
        ('verify := to_number("x")', "could not parse"),
        ('verify := time.parse_rfc3339_ns("yesterday")', "parse datetime"),
        ("verify := 1\nverify := 2", "rule.rego"),
        ('verify := {"a": 1 / 0}', "divide by zero"),
        ('verify := http.send({"method": "get", "url": "https://example.org"})', "asks the network, which this rule"),
        ("verify := input.x[0", "rule.rego:3"),
    ],
)
def test_failures_are_errors_with_the_place(engine: RegorusEngine, rule: str, said: str) -> None:
    refused(one(engine, V1 + rule, {}), said)


def test_a_module_without_the_rule(engine: RegorusEngine) -> None:
    assert read_result(one(engine, "package other\nverify := 1")).allow is False
    assert read_result(one(engine, V1 + "other := 1")).allow is False


@pytest.mark.parametrize("value", ['"true"', "1", "{}", "[]", "null", '"<undefined>"', "{true}", "[true]", "false"])
def test_only_true_allows(engine: RegorusEngine, value: str) -> None:
    assert read_result(one(engine, V1 + f'verify := {{"allow": {value}}}')).allow is False
    assert read_result(one(engine, V1 + f"verify := {value}")).allow is False


def test_true_allows(engine: RegorusEngine) -> None:
    assert read_result(one(engine, V1 + 'verify := {"allow": true}')).allow is True


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_any_input_comes_back_as_it_was(value: Any) -> None:
    assert one(ECHO, V1 + "verify := [input]", value).value == [value]


ECHO = RegorusEngine()


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='verify:={}[]()"not allow input.x|,;\n1', max_size=60))
def test_any_text_is_an_answer(text: str) -> None:
    answer = one(ECHO, V1 + text)
    assert answer.error is not None or read_result(answer).error is not None or json.dumps(answer.value)


def teardown_module() -> None:
    ECHO.close()
