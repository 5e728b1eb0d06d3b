"""The report in words: the summary's numbers, and the steps that would move most rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

import coverage_reports as made
from assay.policy.coverage.interface import Measure, State
from assay.policy.coverage.wording import Step, next_steps, percent, plain, stamp, summary

SIGN = Measure("Sign", State.EVIDENCE, False, "assay sign")
LOAD = Measure("Verify on load", State.CONFIGURATION, False, "assay.yaml: guard")
SCAN = Measure("Scan", State.EVIDENCE, False, "assay scan")


def test_steps_are_in_order_of_what_each_adds() -> None:
    report = made.report(
        made.row("a", State.NOTHING, measures=(SIGN, SCAN)),
        made.row("b", State.NOTHING, measures=(SIGN, LOAD)),
        made.row("c", State.CONFIGURATION, measures=(SIGN,)),
        made.row("d", State.NOTHING, measures=(LOAD,)),
    )
    assert next_steps(report) == [
        Step("Sign", "assay sign", State.EVIDENCE, 3),
        Step("Verify on load", "assay.yaml: guard", State.CONFIGURATION, 1),
    ]


def test_what_is_done_row_by_row_is_one_step() -> None:
    rules = [Measure("Rule", State.EVIDENCE, False, f"rule for {row}") for row in "abc"]
    report = made.report(
        *(made.row(rule.how[-1], State.NOTHING, measures=(rule,)) for rule in rules),
        made.row("d", State.NOTHING, measures=(SIGN,)),
        made.row("e", State.NOTHING, measures=(SIGN,)),
        made.row("f", State.NOTHING, measures=(SCAN,)),
    )
    assert next_steps(report, limit=2) == [
        Step("Sign", "assay sign", State.EVIDENCE, 2),
        Step("Rule", "rule for a", State.EVIDENCE, 3, ways=3),
    ]


def test_no_step_for_a_row_that_it_would_not_move() -> None:
    met = Measure("Sign", State.EVIDENCE, True, "assay sign")
    report = made.report(
        made.row("a", State.EVIDENCE, measures=(SCAN,)),
        made.row("b", State.CONFIGURATION, measures=(LOAD,)),
        made.row("c", State.NOT_ASSESSABLE, measures=(SIGN,)),
        made.row("d", State.NOTHING, measures=(met,)),
    )
    assert next_steps(report) == []


def test_the_summary_counts_what_can_not_be_assessed_apart() -> None:
    rows = [made.row(str(at), state) for at, state in enumerate([*State, State.EVIDENCE, State.NOT_ASSESSABLE])]
    said = summary(made.report(*rows))
    assert "4 of the 6 rows of MITRE ATLAS 5.6.0" in said
    assert "2 (50 %) are backed by signed evidence" in said and "The other 2 are matters of people" in said


def test_the_summary_of_one_row_and_of_none() -> None:
    assert "assess the only row of" in summary(made.report(made.row())) and "is backed" in summary(
        made.report(made.row())
    )
    assert "no rows" in summary(made.report())


def test_a_hundred_percent_is_all_of_them() -> None:
    assert (percent(199, 200), percent(200, 200), percent(0, 0)) == (99, 100, 0)


@given(st.text())
def test_plain_text_shows_everything_it_holds(value: str) -> None:
    said = plain(value)
    assert said.isprintable() and said == said.strip() and plain(said) == said
    said.encode()


def test_times_are_in_utc_whatever_the_zone_and_the_year() -> None:
    east = timezone(timedelta(hours=2))
    assert stamp(datetime(2026, 6, 1, 14, tzinfo=east)) == "2026-06-01T12:00:00Z"
    assert stamp(datetime(999, 1, 1, tzinfo=UTC)) == stamp(datetime(999, 1, 1)) == "0999-01-01T00:00:00Z"
