"""A look at data quality, its metrics, and what constraints tell the drift settings."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import polars as pl
import pytest

from assay.watch import integrity
from assay.watch.constraints.drifting import drift_settings
from assay.watch.constraints.look import look, metrics
from assay.watch.constraints.model import Column, Constraints, Drift, Settings
from assay.watch.constraints.suggest import suggest
from assay.watch.drift.settings import Settings as DriftSettings
from assay.watch.drift.verdict import compare
from assay.watch.interface import Check, Outcome, Topic, Window
from watch.constraints.profiles import profile, table

WINDOW = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))


def test_a_look_has_checks_metrics_and_both_digests():
    baseline = profile(table(2000, 1))
    current = profile(table(1000, 2), baseline.spec)
    more = Check("frozen", Outcome.VIOLATED, "age")
    found = look(suggest(baseline), current, WINDOW, baseline=baseline, more=[more], dimensions={"Endpoint": "e"})
    assert (found.topic, found.samples, found.outcome) == (Topic.DATA_QUALITY, 1000, Outcome.VIOLATED)
    assert found.violations == (more,)
    assert (found.baseline, found.current) == (baseline.digest, current.digest)
    assert {metric.dimensions["Endpoint"] for metric in found.metrics} == {"e"}


def test_a_look_at_too_little_is_undecided():
    baseline = profile(table(2000, 1))
    found = look(suggest(baseline), profile(table(3, 2), baseline.spec), WINDOW, baseline=baseline)
    assert found.outcome is Outcome.UNDECIDED


def test_columns_that_may_be_new_or_missing_are_no_violation_of_integrity_either():
    baseline = profile(table(2000, 1))
    columns = {**suggest(baseline).columns, "age": Column(required=False)}
    constraints = Constraints(settings=Settings(extra_columns="ignore"), columns=columns)
    current = profile(table(1000, 2).drop("age").with_columns(new=1), baseline.spec)
    more = integrity.check(baseline, current)
    assert {item.check for item in more if item.outcome is Outcome.VIOLATED} == {"added-column", "removed-column"}
    assert look(constraints, current, WINDOW, baseline=baseline, more=more).outcome is Outcome.HOLDS


def test_metrics_are_the_columns_numbers():
    frame = table(1000, 2)
    found = {metric.name: metric for metric in metrics(profile(frame), WINDOW.end, {})}
    amount = found["feature_data_amount"].statistics
    values = frame["amount"].drop_nulls()
    assert (amount.samples, amount.minimum, amount.maximum) == (len(values), values.min(), values.max())
    assert amount.total == pytest.approx(values.sum())
    assert found["feature_non_null_amount"].statistics.minimum == pytest.approx(len(values) / 1000)
    assert "feature_data_empty" not in found
    assert found["feature_non_null_empty"].statistics.maximum == 0
    assert all(metric.time == WINDOW.end for metric in found.values())


def test_no_metrics_where_the_constraints_say_so_or_nothing_was_seen():
    current = profile(table(100, 2))
    off = Constraints(settings=Settings(emit_metrics=False))
    assert look(off, current, WINDOW).metrics == ()
    assert metrics(profile(table(100, 2).head(0), current.spec), WINDOW.end, {}) == ()


def test_constraints_say_which_distances_decide_and_from_where_on():
    constraints = Constraints(
        settings=Settings(drift=Drift(method="simple", categorical="l_infinity", effects={"ks": 0.1})),
        columns={
            "age": Column(drift=Drift(effects={"ks": 0.5, "psi": 0.9})),
            "amount": Column(drift=Drift(compare=False)),
            "share": Column(),
        },
    )
    found = drift_settings(constraints, DriftSettings(false_discovery=0.01, effects={"psi": 0.3}))
    assert found.false_discovery == 0.01
    assert found.numbers == ("ks",)
    assert found.categories == ("l_infinity",)
    assert found.effect("share", "ks") == 0.1
    assert found.effect("share", "psi") == 0.3
    assert found.effect("age", "ks") == 0.5
    assert found.ignore == frozenset({"amount"})


def test_nothing_is_compared_where_the_whole_says_so():
    columns = {"age": Column(), "share": Column(drift=Drift())}
    constraints = Constraints(settings=Settings(drift=Drift(compare=False)), columns=columns)
    assert drift_settings(constraints).ignore == frozenset({"age"})


def test_the_suggested_constraints_settings_are_accepted_by_drift():
    baseline = profile(table(2000, 1))
    found = compare(baseline, profile(table(1000, 2), baseline.spec), drift_settings(suggest(baseline)))
    assert {item.column for item in found} == set(baseline.columns) - {"id", "when", "session"}


def test_a_column_name_cannot_write_to_the_terminal_or_break_a_metric():
    evil = "a\x1b[2J\n" + "b" * 300
    frame = table(100, 2).rename({"age": evil})
    found = metrics(profile(frame), WINDOW.end, {})
    assert all(metric.name.isprintable() and len(metric.name) <= 255 for metric in found)


def test_columns_with_long_names_have_metrics_of_their_own():
    """Stops: one of two series swallowing the other because their names were cut to the same one."""
    names = ["b" * 300 + end for end in ("1", "2")]
    frame = table(100, 2).select("age", "share").rename({"age": names[0], "share": names[1]})
    found = [metric.name for metric in metrics(profile(frame), WINDOW.end, {})]
    assert len(set(found)) == len(found)


def test_the_sum_of_a_column_is_exact():
    values = [1e9 + k / 7 for k in range(1000)]
    (found,) = (m for m in metrics(profile(pl.DataFrame({"x": values})), WINDOW.end, {}) if "data" in m.name)
    assert found.statistics.total == math.fsum(values)
