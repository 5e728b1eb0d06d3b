"""Faults of pipelines are found and named, and honest windows show none of them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from assay.watch import integrity
from assay.watch.integrity import duplicates, schema, units
from assay.watch.interface import Outcome
from watch.constraints.profiles import profile, table

ROWS = 4000


@pytest.fixture(scope="module")
def baseline():
    return profile(table(ROWS, 1))


def _violated(checks):
    return {(item.feature, item.check): item for item in checks if item.outcome is Outcome.VIOLATED}


@pytest.mark.parametrize("rows", [50, 1000, 5000])
def test_honest_windows_show_no_fault(baseline, rows):
    earlier = []
    for seed in range(2, 22):
        current = profile(table(rows, seed), baseline.spec)
        found = integrity.check(baseline, current, earlier=earlier[-5:])
        assert _violated(found) == {}
        assert any(item.outcome is Outcome.HOLDS for item in found)
        earlier.append(current)


CONVERSIONS = {
    "thousand": ("amount", lambda x: x * 1000, 1000, 0),
    "thousandth": ("share", lambda x: x / 1000, 0.001, 0),
    "sixty": ("share", lambda x: x * 60, 60, 0),
    "inches": ("age", lambda x: x * 2.54, 2.54, 0),
    "metres to feet": ("age", lambda x: x / 0.3048, 1 / 0.3048, 0),
    "feet to metres": ("age", lambda x: x * 0.3048, 0.3048, 0),
    "percent": ("share", lambda x: x * 100, 100, 0),
    "pounds": ("age", lambda x: x / 0.45359237, 1 / 0.45359237, 0),
    "fahrenheit": ("temperature", lambda x: x * 9 / 5 + 32, 1.8, 32),
    "kelvin": ("temperature", lambda x: x + 273.15, 1, 273.15),
    "milliseconds": ("when", lambda x: x * 1000, 1000, 0),
    "pascal": ("pressure", lambda x: x / 1000, 0.001, 0),
}


@pytest.mark.parametrize("case", CONVERSIONS)
@pytest.mark.parametrize("rows", [300, 3000])
def test_a_change_of_unit_is_found_and_its_factor_named(baseline, case, rows):
    column, change, scale, offset = CONVERSIONS[case]
    frame = table(rows, 7)
    current = profile(frame.with_columns(change(frame[column])), baseline.spec)
    found = _violated(units.check(baseline, current))
    assert set(found) == {(column, "unit")}
    assert found[column, "unit"].measures["scale"] == pytest.approx(scale)
    assert found[column, "unit"].measures["offset"] == pytest.approx(offset)
    assert found[column, "unit"].message


def test_fahrenheit_becomes_celsius_again():
    frame = pl.DataFrame({"t": np.random.default_rng(3).normal(60, 15, 2000)})
    before = profile(frame)
    found = _violated(units.check(before, profile((frame - 32) * 5 / 9, before.spec)))
    assert found["t", "unit"].measures["scale"] == pytest.approx(5 / 9)


@pytest.mark.parametrize("factor", [1.05, 1.3, 2.0, 5.0, 37.0])
def test_an_ordinary_shift_is_no_change_of_unit(baseline, factor):
    frame = table(3000, 7)
    current = profile(frame.with_columns(frame["amount"] * factor, frame["temperature"] + 9), baseline.spec)
    assert _violated(units.check(baseline, current)) == {}


def test_a_frozen_sensor(baseline):
    frame = table(1000, 7).with_columns(temperature=pl.lit(11.3), country=pl.lit("fr"))
    found = _violated(integrity.check(baseline, profile(frame, baseline.spec)))
    assert set(found) == {("temperature", "frozen"), ("country", "frozen")}
    assert found["temperature", "frozen"].observed == 1.0


def test_a_sensor_that_hangs_for_half_of_the_time(baseline):
    frame = table(1000, 7)
    held = pl.Series(np.where(np.arange(1000) < 500, 11.3, frame["temperature"].to_numpy()))
    found = _violated(integrity.check(baseline, profile(frame.with_columns(temperature=held), baseline.spec)))
    assert set(found) == {("temperature", "frozen")}
    assert found["temperature", "frozen"].observed == pytest.approx(0.5, abs=0.01)


def test_a_column_that_never_moved_cannot_freeze(baseline):
    found = integrity.check(baseline, profile(table(1000, 7), baseline.spec))
    assert not [item for item in found if item.check == "frozen" and item.feature == "fixed"]


def test_removed_added_and_renamed_columns(baseline):
    frame = table(1000, 7).rename({"amount": "sum"}).drop("age").with_columns(noise=pl.col("share") * 3 + 100)
    current = profile(frame, baseline.spec)
    extra = profile(frame.select("sum", "noise"))
    found = _violated(schema.check(baseline, current, extra=extra))
    assert set(found) == {("amount", "renamed-column"), ("age", "removed-column"), ("noise", "added-column")}
    assert found["amount", "renamed-column"].observed == "sum"


def test_two_columns_alike_do_not_tell_which_was_renamed():
    random = np.random.default_rng(2)
    before = profile(pl.DataFrame({"a": random.normal(size=1000), "b": random.normal(size=1000)}))
    frame = pl.DataFrame({"c": random.normal(size=1000), "d": random.normal(size=1000)})
    assert schema.renamed(before, ["a", "b"], profile(frame)) == {}


def test_a_renamed_column_of_categories(baseline):
    frame = table(1000, 7).rename({"country": "land"})
    current = profile(frame, baseline.spec)
    assert schema.renamed(baseline, ["country"], profile(frame.select("land", "flag"))) == {"country": "land"}
    assert ("country", "renamed-column") in _violated(
        schema.check(baseline, current, extra=profile(frame.select("land")))
    )


def test_retyped_columns(baseline):
    frame = table(1000, 7)
    frame = frame.with_columns(
        age=frame["age"].cast(pl.String) + " years",
        country=pl.Series(np.arange(1000) % 5).cast(pl.String),
        count=frame["count"] * 0.37 + 0.11,
    )
    found = _violated(schema.check(baseline, profile(frame, baseline.spec)))
    assert {(key[0], item.expected, item.observed) for key, item in found.items()} == {
        ("age", "integral", "string"),
        ("country", "string", "integral"),
        ("count", "integral", "fractional"),
    }


def test_the_same_window_once_more(baseline):
    windows = [profile(table(1000, seed), baseline.spec) for seed in (5, 6, 7)]
    again = profile(table(1000, 6), baseline.spec)
    found = _violated(duplicates.check(again, windows))
    assert found[None, "duplicate-batch"].observed == "the window 2 before"
    assert found[None, "duplicate-batch"].measures["repeated"] == 1.0


@pytest.mark.parametrize("part", [0.5, 0.8, 0.95])
def test_a_window_that_repeats_most_rows_of_another(part):
    spec = profile(table(ROWS, 1)).spec
    old = table(5000, 6)
    rows = int(5000 * part)
    again = pl.concat([old.head(rows), table(5000 - rows, 7)])
    found = _violated(duplicates.check(profile(again, spec), [profile(old, spec)]))
    assert found[None, "duplicate-batch"].measures["repeated"] == pytest.approx(part, abs=0.2)


def test_equal_windows_of_a_few_booleans_are_no_surprise():
    frame = pl.DataFrame({"a": [True, False] * 20})
    first = profile(frame)
    found = list(duplicates.check(profile(frame, first.spec), [first]))
    assert [item.outcome for item in found] == [Outcome.HOLDS]


def test_a_column_that_is_alike_in_every_window_is_no_duplicate():
    def hours(seed):
        random = np.random.default_rng(seed)
        return pl.DataFrame(
            {"hour": np.arange(4800) % 48 * 0.5, "value": random.normal(size=4800), "load": random.gamma(2, size=4800)}
        )

    first = profile(hours(1))
    for seed in range(2, 12):
        assert _violated(duplicates.check(profile(hours(seed), first.spec), [first])) == {}


def test_too_little_decides_nothing(baseline):
    current = profile(table(5, 7), baseline.spec)
    found = integrity.check(baseline, current, earlier=[profile(table(5, 8), baseline.spec)])
    assert {item.outcome for item in found} == {Outcome.UNDECIDED}
    empty = integrity.check(baseline, profile(table(5, 7).head(0), baseline.spec))
    assert {item.outcome for item in empty} == {Outcome.UNDECIDED}


def test_a_window_of_nothing_but_missing_values(baseline):
    frame = table(100, 7).with_columns(
        pl.lit(None).cast(dtype).alias(name) for name, dtype in table(1, 7).schema.items()
    )
    found = integrity.check(baseline, profile(frame, baseline.spec))
    assert not _violated(found)


def test_windows_of_an_older_baseline_are_not_compared():
    """Stops: a baseline that was made anew, after which bins of two kinds are taken for each other's."""
    from assay.collect.profile.partial import decode, partial
    from assay.collect.profile.spec import specify

    draw = np.random.default_rng(0)
    old, new = (pl.DataFrame({"a": draw.normal(centre, 1, 2000)}) for centre in (0.0, 40.0))
    current = decode(partial(new, specify(new)), labels=None)
    assert list(duplicates.check(current, [decode(partial(new, specify(old)), labels=None)])) == []
    again = list(duplicates.check(current, [decode(partial(new, specify(new)), labels=None)]))
    assert [check.outcome.value for check in again] == ["violated"]
