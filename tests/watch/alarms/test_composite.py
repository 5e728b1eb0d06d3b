"""Rules over alarms: what they mean, what is refused, and that no text makes the parser do anything else."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.watch.alarms.composite import children, holds, order, parse
from assay.watch.alarms.states import State

STATES = {"a": State.ALARM, "b": State.OK, "c": State.INSUFFICIENT_DATA, "with space": State.ALARM}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ALARM(a)", True),
        ('ALARM("a")', True),
        ("OK(a)", False),
        ("OK(b) AND INSUFFICIENT_DATA(c)", True),
        ("NOT ALARM(a)", False),
        ("NOT NOT ALARM(a)", True),
        ('ALARM("with space")', True),
        ("TRUE", True),
        ("FALSE OR OK(b)", True),
        ("ALARM(a) OR OK(a) AND FALSE", True),  # AND before OR
        ("(ALARM(a) OR OK(a)) AND FALSE", False),
        ("NOT ALARM(b) AND NOT ALARM(c)", True),
        ("(ALARM(b) OR ALARM(a)) AND OK(b)", True),  # the documentation's third example
    ],
)
def test_meaning(rule: str, expected: bool) -> None:
    assert holds(parse(rule), STATES) is expected


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "ALARM",
        "ALARM()",
        "ALARM(a",
        "ALARM(a))",
        "ALARM(a) ALARM(b)",
        "ALARM(a) AND",
        "AND ALARM(a)",
        "alarm(a)",
        "BROKEN(a)",
        '__import__("os")',
        "ALARM(a, b)",
        'ALARM("a)',
        "NOT",
        "()",
        "(" * 60 + "TRUE" + ")" * 60,
        "NOT " * 3000 + "TRUE",
        " OR ".join(["TRUE"] * 501),
        " OR ".join(f"ALARM(a{number})" for number in range(101)),
    ],
)
def test_refused(rule: str) -> None:
    with pytest.raises(DocumentError):
        parse(rule)


def test_a_hundred_alarms_are_possible_and_one_may_stand_twice() -> None:
    rule = parse(" OR ".join(f"ALARM(a{number})" for number in range(100)) + " AND NOT OK(a7)")
    assert len(set(children(rule))) == 100


@given(st.text(alphabet='ALRMOKTUEFSNDI_() "ab', max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        rule = parse(text)
    except DocumentError:
        return
    assert holds(rule, dict.fromkeys(children(rule), State.OK)) in (True, False)


@given(st.recursive(st.sampled_from(["ALARM(a)", "OK(b)", "TRUE", "FALSE"]), lambda inner: st.one_of(
    inner.map(lambda x: f"NOT ({x})"),
    st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1].upper()} ({t[2]})"),
), max_leaves=12))  # fmt: skip
def test_agrees_with_python(text: str) -> None:
    words = {"AND": "and", "OR": "or", "NOT": "not", "TRUE": "True", "FALSE": "False"}
    spelled = text.replace("ALARM(a)", "A").replace("OK(b)", "B")
    for word, python in words.items():
        spelled = spelled.replace(word, python)
    for first, second in itertools.product((True, False), repeat=2):
        states = {
            "a": State.ALARM if first else State.OK,
            "b": State.OK if second else State.ALARM,
        }
        assert holds(parse(text), states) is eval(spelled, {"A": first, "B": second})


def test_circles_and_strangers_are_refused() -> None:
    assert order({"top": ["mid", "low"], "mid": ["low"], "low": []}) == ("low", "mid", "top")
    with pytest.raises(DocumentError, match="circle: .*a -> .*b -> "):
        order({"a": ["b"], "b": ["a"]})
    with pytest.raises(DocumentError, match="circle"):
        order({"a": ["a"]})
    with pytest.raises(DocumentError, match="'ghost', which is no alarm here"):
        order({"a": ["ghost"]})
