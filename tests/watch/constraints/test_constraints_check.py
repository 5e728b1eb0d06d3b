"""Every violation is found, and a clean window shows none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from assay.collect.profile.interface import Kind
from assay.watch.constraints.check import check
from assay.watch.constraints.model import Column, Constraints, Drift, Settings
from assay.watch.constraints.suggest import suggest
from assay.watch.interface import Check, Outcome
from watch.constraints.profiles import profile, table

ROWS = 4000


@pytest.fixture(scope="module")
def baseline():
    return profile(table(ROWS, 1))


@pytest.fixture(scope="module")
def suggested(baseline):
    return suggest(baseline)


def _violated(suggested, baseline, frame, **options):
    found = check(suggested, profile(frame, baseline.spec), baseline=baseline, **options)
    return {(item.feature, item.check): item for item in found if item.outcome is Outcome.VIOLATED}


@pytest.mark.parametrize("rows", [100, 1000, 5000])
@pytest.mark.parametrize("size", [200, ROWS])
def test_the_next_clean_windows_meet_what_was_suggested(size, rows):
    known = profile(table(size, 1))
    constraints = suggest(known)
    for seed in range(2, 22):
        found = check(constraints, profile(table(rows, seed), known.spec), baseline=known)
        assert [item for item in found if item.outcome is Outcome.VIOLATED] == []
        assert sum(item.outcome is Outcome.HOLDS for item in found) > 40


def test_a_baseline_meets_its_own_constraints(baseline, suggested):
    assert _violated(suggested, baseline, table(ROWS, 1)) == {}


def test_what_moves_by_nature_gets_no_range(suggested):
    assert suggested.columns["when"].range is None
    assert suggested.columns["id"].range is None
    assert suggested.columns["id"].distinctness is not None
    assert suggested.columns["session"].domain is None
    assert suggested.columns["age"].range is not None
    assert {name for name in suggested.columns if not suggested.drift(name).compare} == {"when", "id", "session"}


def test_rare_categories_are_not_named(baseline):
    rare = table(ROWS, 1).with_columns(
        country=pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("Liechtenstein")).otherwise(pl.col("country"))
    )
    assert "Liechtenstein" not in suggest(profile(rare)).columns["country"].domain
    assert "es" in suggest(profile(rare)).columns["country"].domain


CHANGES = {
    "type": (
        pl.Series("age", [str(i) if i % 2 else "unknown" for i in range(1000)]),
        "age", "type", "data_type_check",
    ),
    "completeness": (
        pl.Series("age", [None if i % 10 == 0 else 30 for i in range(1000)], dtype=pl.Int64),
        "age", "completeness", "completeness_check",
    ),
    "nan is missing": (
        pl.Series("temperature", [float("nan")] * 100 + [10.0] * 900),
        "temperature", "completeness", "completeness_check",
    ),
    "domain": (
        pl.Series("country", ["de"] * 900 + ["Atlantis"] * 100),
        "country", "domain", "categorical_values_check",
    ),
    "range": (pl.Series("share", [0.3] * 900 + [1.7] * 100), "share", "range", None),
    "infinite": (pl.Series("share", [0.3] * 900 + [float("inf")] * 100), "share", "range", None),
    "negative": (pl.Series("share", [0.3] * 900 + [-0.2] * 100), "share", "non-negative", None),
    "distinctness": (pl.Series("id", [i // 2 for i in range(1000)]), "id", "distinctness", None),
    "distinct strings": (pl.Series("session", [f"s{i // 3}" for i in range(1000)]), "session", "distinctness", None),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_each_violation_is_found_and_named(baseline, suggested, case):
    series, column, name, sagemaker = CHANGES[case]
    found = _violated(suggested, baseline, table(1000, 9).with_columns(series))
    assert (column, name) in found
    assert found[column, name].sagemaker == sagemaker
    assert found[column, name].message
    assert {feature for feature, _ in found} == {column}


def test_missing_and_extra_columns(baseline, suggested):
    frame = table(1000, 9).drop("age").with_columns(surprise=pl.lit(1))
    found = _violated(suggested, baseline, frame)
    assert {(key, item.sagemaker) for key, item in found.items()} == {
        (("age", "column"), "missing_column_check"),
        (("surprise", "extra-column"), "extra_column_check"),
    }


@pytest.mark.parametrize(("extra", "severity"), [("warning", "warning"), ("note", "note"), ("error", "error")])
def test_how_much_an_extra_column_weighs_can_be_said(baseline, extra, severity):
    constraints = Constraints(settings=Settings(extra_columns=extra))
    current = profile(table(100, 2).with_columns(more=1), baseline.spec)
    assert {item.severity for item in check(constraints, current) if item.feature == "more"} == {severity}


def test_extra_columns_can_be_allowed_and_columns_be_optional(baseline):
    columns = {"age": Column(required=False), "gone": Column(required=False, completeness=1.0)}
    constraints = Constraints(settings=Settings(extra_columns="ignore"), columns=columns)
    current = profile(table(100, 2).drop("age"), baseline.spec)
    assert check(constraints, current) == ()


def test_a_column_whose_constraints_were_deleted_is_no_stranger(baseline, suggested):
    kept = Constraints(columns={name: item for name, item in suggested.columns.items() if name != "age"})
    frame = table(1000, 9).with_columns(age=pl.lit(-7))
    assert _violated(kept, baseline, frame) == {}


def test_a_column_that_the_baseline_does_not_know_is_not_said_to_hold(baseline):
    constraints = Constraints(columns={"new": Column(completeness=1.0)})
    found = check(constraints, profile(table(100, 2).with_columns(new=1), baseline.spec), baseline=baseline)
    assert [(item.check, item.outcome) for item in found if item.feature == "new"] == [("column", Outcome.UNDECIDED)]


@pytest.mark.parametrize("rows", [1, 29])
def test_too_few_rows_decide_nothing(baseline, suggested, rows):
    frame = table(rows, 3).with_columns(age=pl.lit(None, dtype=pl.Int64))
    found = check(suggested, profile(frame, baseline.spec), baseline=baseline)
    assert {item.outcome for item in found} == {Outcome.UNDECIDED}


def test_an_empty_window_decides_nothing_at_all(baseline, suggested):
    found = check(suggested, profile(table(ROWS, 1).head(0), baseline.spec), baseline=baseline)
    assert found
    assert {item.outcome for item in found} == {Outcome.UNDECIDED}


def test_an_all_missing_column_is_incomplete_and_of_no_type(baseline, suggested):
    frame = table(1000, 3).with_columns(country=pl.lit(None, dtype=pl.String))
    found = check(suggested, profile(frame, baseline.spec), baseline=baseline)
    outcomes = {item.check: item.outcome for item in found if item.feature == "country"}
    assert outcomes["completeness"] is Outcome.VIOLATED
    assert outcomes["type"] is outcomes["domain"] is Outcome.UNDECIDED


def _shares(least, rows, misses, **settings):
    frame = pl.DataFrame({"a": [1.0] * (rows - misses) + [None] * misses})
    constraints = Constraints(settings=Settings(**settings), columns={"a": Column(completeness=least)})
    return next(item for item in check(constraints, profile(frame)) if item.check == "completeness").outcome


def test_shares_are_compared_as_they_are_where_that_is_asked_for():
    assert _shares(0.98, 1000, 20, chance=0.0) is Outcome.HOLDS
    assert _shares(0.98, 1000, 21, chance=0.0) is Outcome.VIOLATED
    assert _shares(0.98, 1000, 21) is Outcome.HOLDS
    assert _shares(0.98, 1000, 60) is Outcome.VIOLATED


def test_a_demand_of_all_allows_no_exception():
    assert _shares(1.0, 100_000, 1) is Outcome.VIOLATED
    assert _shares(1.0, 100_000, 0) is Outcome.HOLDS


def test_a_share_that_just_meets_its_constraint_is_seldom_called_a_violation():
    random = np.random.default_rng(5)
    false = sum(_shares(0.9, 500, int(misses)) is Outcome.VIOLATED for misses in random.binomial(500, 0.1, 400))
    assert false <= 1


def test_types_allow_what_the_kind_allows():
    frame = pl.DataFrame({"whole": [1.0, 2.0] * 50, "mixed": [1.5, 2.0] * 50, "text": ["1", "x"] * 50})
    columns = {
        "whole": Column(type=Kind.FRACTIONAL),
        "mixed": Column(type=Kind.INTEGRAL),
        "text": Column(type=Kind.INTEGRAL, type_share=0.5),
    }
    found = {
        item.feature: item.outcome
        for item in check(Constraints(columns=columns), profile(frame))
        if item.check == "type"
    }
    assert found == {"whole": Outcome.HOLDS, "mixed": Outcome.VIOLATED, "text": Outcome.HOLDS}


def test_a_category_that_an_attacker_names_cannot_write_to_the_terminal(baseline, suggested):
    evil = "\x1b[2J\x1b]0;owned\x07" + "x" * 1000
    found = _violated(suggested, baseline, table(1000, 9).with_columns(country=pl.lit(evil)))
    message = found["country", "domain"].message
    assert message.isprintable()
    assert len(message) < 400


def test_a_domain_counts_values_whose_text_is_not_known_as_unknown(baseline):
    constraints = Constraints(columns={"country": Column(domain=["de", "fr", "it", "es", "pt"])})
    frame = table(1000, 9).with_columns(country=pl.Series([f"x{i}" for i in range(1000)]))
    current = profile(frame, baseline.spec, labels=10)
    found = next(item for item in check(constraints, current) if item.check == "domain")
    assert found.outcome is Outcome.VIOLATED
    assert found.observed == 0


def test_drift_is_taken_as_it_is_handed_in_but_for_columns_that_are_not_compared(baseline):
    columns = {"age": Column(drift=Drift(compare=False)), "amount": Column()}
    constraints = Constraints(settings=Settings(extra_columns="ignore"), columns=columns)
    drift = [Check("drift:ks", Outcome.VIOLATED, name, sagemaker="baseline_drift_check") for name in ("age", "amount")]
    found = check(constraints, profile(table(100, 2), baseline.spec), drift=drift)
    assert [item.feature for item in found if item.check == "drift:ks"] == ["amount"]


def test_nothing_is_evaluated_where_that_is_switched_off(baseline, suggested):
    off = Constraints(settings=Settings(evaluate=False), columns=suggested.columns)
    assert check(off, profile(table(100, 2).drop("age"), baseline.spec)) == ()
