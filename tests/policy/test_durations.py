"""Durations: what people write, what is refused, and that what is printed can be read again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.policy.durations import parse, text
from helpers import one_sentence


@pytest.mark.parametrize(
    ("written", "hours"),
    [
        ("7d", 168),
        ("12h", 12),
        ("30m", 0.5),
        ("2w", 336),
        ("90s", 0.025),
        ("1d6h", 30),
        ("1d 6h", 30),
        (" 7d ", 168),
        ("P7D", 168),
        ("P1W", 168),
        ("PT12H", 12),
        ("P1DT6H30M", 30.5),
        ("PT90S", 0.025),
    ],
)
def test_read(written: str, hours: float) -> None:
    assert parse(written) == timedelta(hours=hours)


@pytest.mark.parametrize(
    "written",
    ["", " ", "7", "d", "-7d", "0d", "P0D", "0h 0m", "7 d", "1h1d", "1d1d", "7days", "1M", "P1M", "P1Y", "P", "PT",
     "P1DT", "99999999d", "9999999999d", "1.5d", "٧d", "7d\n8h", None, 7, 7.0, True, ["7d"], timedelta(days=1), "P-1D",
     "1e3d"],
)  # fmt: skip
def test_refused(written: object) -> None:
    with pytest.raises(DocumentError) as error:
        parse(written, "policy.yml: max-age")
    assert one_sentence(error.value).startswith("policy.yml: max-age: ")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (0.4, "0s"), (59, "59s"), (60, "1m"), (3661, "1h 1m"), (86400, "1d"), (90000, "1d 1h"), (86460, "1d"),
     (8 * 86400 + 3 * 3600 + 59, "8d 3h"), (-3600, "-1h")],
)  # fmt: skip
def test_shown(seconds: float, shown: str) -> None:
    assert text(timedelta(seconds=seconds)) == shown


@given(st.integers(1, 3_000_000_000))
def test_what_is_shown_can_be_read(seconds: int) -> None:
    span = timedelta(seconds=seconds)
    again = parse(text(span))
    assert again <= span and text(again) == text(span)


@given(st.text(max_size=12))
def test_any_text_has_an_answer(written: str) -> None:
    try:
        assert timedelta() < parse(written) <= timedelta(days=36500)
    except DocumentError as error:
        one_sentence(error)
