from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import UsageError
from assay.watch.schedule.expressions import parse

AT = datetime(2026, 11, 22, 10, 13, tzinfo=UTC)  # a Sunday


@pytest.mark.parametrize(
    ("text", "following", "before"),
    [
        ("0 * * * *", "2026-11-22T11:00", "2026-11-22T10:00"),
        ("13 * * * *", "2026-11-22T11:13", "2026-11-22T10:13"),
        ("@daily", "2026-11-23T00:00", "2026-11-22T00:00"),
        ("cron(0 * ? * * *)", "2026-11-22T11:00", "2026-11-22T10:00"),
        ("cron(0 18 ? * * *)", "2026-11-22T18:00", "2026-11-21T18:00"),
        ("cron(0 0/6 ? * * *)", "2026-11-22T12:00", "2026-11-22T06:00"),
        ("cron(0 17/6 ? * * *)", "2026-11-22T17:00", "2026-11-21T23:00"),
        ("cron(0 18 ? * MON-FRI *)", "2026-11-23T18:00", "2026-11-20T18:00"),
        ("cron(0 18 ? * 2-6 *)", "2026-11-23T18:00", "2026-11-20T18:00"),
        ("cron(0 18 ? * 1 *)", "2026-11-22T18:00", "2026-11-15T18:00"),
        ("cron(0 10 ? * 2#1 *)", "2026-12-07T10:00", "2026-11-02T10:00"),
        ("0 0 L * *", "2026-11-30T00:00", "2026-10-31T00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00", "2024-02-29T00:00"),
        ("rate(30 minutes)", "2026-11-22T10:30", "2026-11-22T10:00"),
        ("rate(1 day)", "2026-11-23T00:00", "2026-11-22T00:00"),
        ("5-59/15 * * * *", "2026-11-22T10:20", "2026-11-22T10:05"),
    ],
)
def test_when_it_is_due(text, following, before):
    expression = parse(text)
    assert f"{expression.next(AT):%Y-%m-%dT%H:%M}" == following
    assert f"{expression.previous(AT):%Y-%m-%dT%H:%M}" == before


def test_now_is_never_due_by_itself():
    expression = parse("NOW")
    assert expression.next(AT) is None
    assert expression.previous(AT) is None
    assert list(expression.between(AT, AT + timedelta(days=9))) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "* * * * * *",
        "* * 1 * 1",
        "31 2 30 2 *",
        "5/15 * * * *",
        "*/0 * * * *",
        "61 * * * *",
        "cron(* * * *)",
        "cron(0 0 1 1 ? 2030)",
        "cron(0 8 ? * 6L *)",
        "rate(0 minutes)",
        "rate(1 fortnight)",
        "@reboot",
        "0 * * * *; rm -rf x",
        "0 " + "1," * 500 + "2 * * *",
        "\x00 * * * *",
    ],
)
def test_what_cannot_be_read_is_said(text):
    with pytest.raises(UsageError, match="cannot be read"):
        parse(text)


@given(st.integers(0, 10_000_000), st.sampled_from(["*/7 * * * *", "0 3 * * 1-5", "rate(7 minutes)", "0 0 1 * *"]))
def test_previous_and_next_agree(minutes, text):
    expression = parse(text)
    moment = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    before = expression.previous(moment)
    assert before <= moment < expression.next(moment)
    assert expression.next(before - timedelta(minutes=1)) == before
    assert expression.next(before) == expression.next(moment)
    earlier = expression.previous(before - timedelta(microseconds=1))
    assert earlier < before
    assert expression.next(earlier) == before
