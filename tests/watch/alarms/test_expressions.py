"""Metric math: values, missing values, and that no text runs anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.watch.alarms.expressions import Series, parse

KNOWN: dict[str, Series] = {"a": [1.0, 2.0, None, 4.0], "b": [0.0, 4.0, 5.0, -2.0]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b * 2", [1, 10, None, 0]),
        ("(a + b) * 2", [2, 12, None, 4]),
        ("a / b", [None, 0.5, None, -2]),
        ("-a ^ 2", [-1, -4, None, -16]),
        ("a ^ -1", [1, 0.5, None, 0.25]),
        ("2 ^ a ^ 2", [2, 16, None, 65536]),
        ("a - b - 1", [0, -3, None, 5]),
        ("ABS(b)", [0, 4, 5, 2]),
        ("LOG10(b * 25)", [None, 2, pytest.approx(2.0969100), None]),
        ("CEIL(a / 3) + FLOOR(a / 3)", [1, 1, None, 3]),
        ("SUM([a, b, 1])", [2, 7, None, 3]),
        ("AVG([a, b]) + MIN([a, b]) + MAX([a, b])", [1.5, 9, None, 3]),
        ("FILL(a, 0)", [1, 2, 0, 4]),
        ("FILL(a, REPEAT)", [1, 2, 2, 4]),
        ("DIFF(a)", [None, 1, None, 2]),
        ("RATE(a)", [None, 1 / 60, None, 2 / 120]),
        ("a > 1 AND b < 0", [0, 0, None, 1]),
        ("a > 1 OR b < 0 AND 0", [0, 1, None, 1]),
        ("IF(b > 0, a, 100)", [100, 2, None, 100]),
        ("a == 1", [1, 0, None, 0]),
        ("a != 1", [0, 1, None, 1]),
        ("10 ^ 308 * 10 * a", [None, None, None, None]),
        ("DIFF(IF(a > 1.5, 1.7 * 10 ^ 308, -1.7 * 10 ^ 308))", [None, None, None, 0]),
    ],
)
def test_values(text: str, expected: list[float | None]) -> None:
    assert parse(text).compute(KNOWN, 60) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 + 1",
        "a +",
        "+ a",
        "a b",
        "a..b",
        "__import__('os')",
        "a.b",
        "a[0]",
        "SUM(a)",
        "SUM([a)",
        "IF(a, b)",
        "FILL(a)",
        "REPEAT",
        "a; b",
        "lambda: a",
        "(" * 40 + "a" + ")" * 40,
        "-" * 100 + "a",
        "a" * 3000,
        "ABS",
        "é",
        " + ".join(f"m{number}" for number in range(11)),
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(DocumentError):
        parse(text)


@given(st.text(alphabet="ab1.+-*/^()[],<>= ABSUMIFL", max_size=40))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        expression = parse(text)
    except DocumentError:
        return
    known: dict[str, Series] = {name: [1.0, None] for name in expression.names}
    assert len(expression.compute(known, 60)) == 2
