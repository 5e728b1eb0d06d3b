"""What a profile says of columns as they come: odd ones, new ones, absent ones, huge strings, too many values."""

from __future__ import annotations

import datetime as dt
import decimal
import math

import numpy as np
import polars as pl
import pytest

from assay.collect.profile.accumulate import Accumulator
from assay.collect.profile.interface import Categories, Column, Custom, Kind, Numeric, Spec, Vectors
from assay.collect.profile.partial import decode, merge, partial, publish
from assay.collect.profile.spec import specify
from assay.errors import UsageError


def column(series: pl.Series, spec: Spec | None = None, labels: int | None = None) -> Column:
    """The profile of one column, with a spec made from itself unless there is one."""
    frame = series.rename("x").to_frame()
    return decode(partial(frame, spec or specify(frame)), labels=labels).columns["x"]


def rule(values: object, **options: object) -> Spec:
    """A spec made from these values."""
    return specify(pl.DataFrame({"x": values}, strict=False), **options)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], Kind.INTEGRAL),
        ([1.0, 2.5], Kind.FRACTIONAL),
        ([decimal.Decimal("1.5")], Kind.FRACTIONAL),
        ([dt.timedelta(seconds=3)], Kind.FRACTIONAL),
        ([dt.datetime(2026, 1, 1)], Kind.TIME),
        ([dt.date(2026, 1, 1)], Kind.TIME),
        ([True, None], Kind.BOOLEAN),
        (["a", "b"], Kind.STRING),
        ([f"the {number} words of a longer sentence" for number in range(9)], Kind.TEXT),
        ([[1.0, 2.0], [3.0, 4.0]], Kind.VECTOR),
        ([[1.0, 2.0], [3.0]], Kind.STRING),
        ([{"a": 1}], Kind.STRING),
        ([b"\x00\xff"], Kind.STRING),
        ([None, None], Kind.UNKNOWN),
    ],
)
def test_kinds_follow_from_types_and_first_values(values: list[object], kind: Kind) -> None:
    spec = rule(values)
    assert spec.columns[0].kind is kind
    found = decode(partial(pl.DataFrame({"x": values}, strict=False), spec)).columns["x"]
    assert found.odd == (1 if values in ([{"a": 1}], [b"\x00\xff"]) else 2 if values == [[1.0, 2.0], [3.0]] else 0)


def test_values_of_another_type_are_counted_as_odd() -> None:
    numbers, names, times = rule([1.0, 2.0]), rule(["a", "b"]), rule([dt.datetime(2026, 1, 1)])
    strings = column(pl.Series(["1", "b", None]), numbers)
    assert isinstance(strings, Numeric)
    assert (strings.odd, strings.missing, strings.count) == (2, 1, 0)
    figures = column(pl.Series([1, 2, 2]), names)
    assert isinstance(figures, Categories)
    assert (figures.odd, figures.count, sorted(figures.labels.values())) == (3, 3, ["1", "2"])
    assert column(pl.Series([1.7e9]), times).odd == 1
    assert column(pl.Series([dt.datetime(2026, 1, 1)]), numbers).odd == 1
    vectors = column(pl.Series([[1.0], [1.0, 2.0], [1.0, math.nan], [None, 1.0], None]), rule([[0.0, 1.0], [2.0, 1.0]]))
    assert isinstance(vectors, Vectors)
    assert (vectors.odd, vectors.missing, vectors.count) == (3, 1, 1)
    assert column(pl.Series(["no vector"]), rule([[0.0, 1.0], [2.0, 1.0]])).odd == 1


def test_columns_may_come_and_go() -> None:
    spec = specify(pl.DataFrame({"a": [1], "b": ["x"]}))
    parts = [
        pl.DataFrame({"a": [1, 2], "new": [1, 2]}),
        pl.DataFrame({"a": [3], "new": [0.5], "other": [True]}),
        pl.DataFrame({"a": [4], "new": pl.Series([None], dtype=pl.Null)}),
    ]
    states = [partial(part, spec) for part in parts]
    profile = decode(merge(*states))
    assert profile.rows == 4
    assert profile.columns["b"].missing == 4
    assert profile.absent == {"b"}
    assert profile.extra == {"new": Kind.FRACTIONAL, "other": Kind.BOOLEAN}
    assert merge(*states) == merge(*reversed(states))
    assert decode(merge(*states, partial(pl.DataFrame({"b": ["x"]}), spec))).absent == frozenset()


@pytest.mark.parametrize("dtype", [pl.Float64, pl.Int64, pl.String, pl.Boolean, pl.Null, pl.List(pl.Float32)])
def test_no_rows_and_nothing_but_missing_values_have_a_profile(dtype: pl.DataType) -> None:
    for values in ([], [None] * 3):
        found = column(pl.Series(values, dtype=dtype))
        assert (found.count, found.missing) == (0, len(values))


def test_one_value_and_constant_columns() -> None:
    for value in (0.0, 5.0, -1e300, 5e-324, 1e15 + 0.5):
        found = column(pl.Series([value] * 100_000))
        assert isinstance(found, Numeric)
        assert (found.mean, found.std, found.minimum, found.maximum) == (value, 0.0, value, value)
        assert (len(found.counts), found.distinct, found.count) == (1, 1, 100_000)


def test_integers_beyond_2_53_are_told() -> None:
    rows = [2**53, 2**53 + 1, 2**63 - 1, -(2**63), -(2**53) - 1, 7]
    found = column(pl.Series(rows, dtype=pl.Int64), rule([1, 2, 3]))
    assert isinstance(found, Numeric)
    assert (found.integral, found.rounded) == (6, 3)
    assert column(pl.Series([2**64 - 1, 2**63], dtype=pl.UInt64)).rounded == 1


def test_whole_numbers_are_counted_one_by_one_wherever_they_are() -> None:
    """Near the centre a table counts them, farther away the histogram does: nothing may be counted twice or lost."""
    chance = np.random.default_rng(1)
    rows = chance.integers(-20_000, 20_000, 60_000)
    rows[:100] = chance.integers(-(10**12), 10**12, 100)
    found = column(pl.Series(rows), rule(list(range(50))))
    assert isinstance(found, Numeric)
    assert found.count == found.integral == 60_000
    assert found.total == rows.sum()
    assert found.std == pytest.approx(rows.std(), rel=1e-12)
    few = column(pl.Series(chance.integers(0, 300, 60_000)))
    assert isinstance(few, Numeric)
    assert few.distinct == 300


def test_distinct_numbers_are_estimated_well() -> None:
    chance = np.random.default_rng(2)
    for different in (300, 5_000, 80_000):
        values = chance.normal(0, 1, different)
        found = column(pl.Series(np.concatenate([values, chance.choice(values, 150_000)])))
        assert isinstance(found, Numeric)
        assert found.distinct == pytest.approx(different, rel=0.18)  # four standard deviations


def test_strings_of_a_megabyte_are_counted_but_not_kept() -> None:
    rows = ["x" * 2**20, "y" * 2**20, "x" * 2**20, "short"]
    frame = pl.DataFrame({"x": rows})
    data = partial(frame, specify(frame))
    found = decode(data, labels=None).columns["x"]
    assert isinstance(found, Categories)
    assert (found.distinct, sorted(found.counts.tolist()), list(found.labels.values())) == (3, [1, 1, 2], ["short"])
    assert len(data) < 3000
    assert data == merge(*(partial(frame[at : at + 1], specify(frame)) for at in range(4)))


def test_too_many_different_strings_cost_no_more_memory() -> None:
    spec = Spec(rule([f"id {number}" for number in range(100)]).columns, exact=1000)
    accumulator = Accumulator(spec)
    sizes = []
    for part in range(6):
        accumulator.add(pl.DataFrame({"x": [f"id {number}" for number in range(part * 20_000, (part + 1) * 20_000)]}))
        sizes.append(len(accumulator.state()))
    assert max(sizes[1:]) - min(sizes[1:]) < 3000
    found = decode(accumulator.state()).columns["x"]
    assert isinstance(found, Categories)
    assert not found.exact
    assert found.distinct == pytest.approx(120_000, rel=0.18)
    assert found.counts.sum() == found.count == 120_000
    assert len(found.hashes) <= 1024


def test_frequent_values_stay_exact_among_too_many() -> None:
    rows = ["often"] * 500 + ["also"] * 300 + [f"id {number}" for number in range(3000)]
    spec = Spec(rule(rows).columns, exact=100)
    found = column(pl.Series(rows), spec, labels=10)
    assert isinstance(found, Categories)
    counts = dict(zip(found.hashes.tolist(), found.counts.tolist(), strict=True))
    assert {text: counts[key] for key, text in found.labels.items()} == {"often": 500, "also": 300}
    assert found.counts.sum() == len(rows)


@pytest.mark.parametrize("exact", [65_536, 1])
def test_strings_that_read_as_numbers_are_counted(exact: int) -> None:
    rows = ["1", "-2", "+3", "1.5", ".5", "1e5", "1.", "١", "1a", "-", ".", "", "nan", "0x1", "1\n"] * 200
    spec = Spec(rule(["a"]).columns, exact=exact)
    found = column(pl.Series(rows), spec)
    assert isinstance(found, Categories)
    assert (found.integral, found.fractional) == (3 * 200, 4 * 200)


def test_many_strings_that_read_as_numbers_are_counted_alike() -> None:
    """Few different values are looked at in Python, many in polars: both ways must agree."""
    endings = ["", ".5", "e3", "a", ".", "\n", "٣"]
    rows = [f"{number}{ending}" for number in range(600) for ending in endings]
    many = column(pl.Series(rows), Spec(rule(["a"]).columns))
    few = [column(pl.Series(rows[at : at + 700]), Spec(rule(["a"]).columns)) for at in range(0, len(rows), 700)]
    assert isinstance(many, Categories)
    assert many.integral == sum(part.integral for part in few) == 600
    assert many.fractional == sum(part.fractional for part in few) == 1800


def test_lengths_of_texts() -> None:
    rows = ["ß" * length + " and some words" for length in range(30, 60)] + [None]
    found = column(pl.Series(rows))
    assert isinstance(found, Categories)
    assert found.lengths is not None
    assert (found.lengths.minimum, found.lengths.maximum, found.lengths.count) == (45, 74, 30)


def test_seeds_change_hashes_and_nothing_else() -> None:
    frame = pl.DataFrame({"s": ["a", "b", "b"]})
    one, other = (decode(partial(frame, specify(frame, seed=seed))).columns["s"] for seed in (1, 2))
    assert sorted(one.counts.tolist()) == sorted(other.counts.tolist())
    assert not set(one.hashes.tolist()) & set(other.hashes.tolist())


def test_hashes_are_what_they_were() -> None:
    """Baselines outlive versions: a change of the hash would make every category a new one."""
    frame = pl.DataFrame({"s": ["", "a", "category", "ß" * 100, "x" * 300]})
    found = decode(partial(frame, specify(frame, seed=7)), labels=None).columns["s"]
    assert isinstance(found, Categories)
    assert sorted(found.hashes.tolist()) == HASHES


def test_hashes_are_spread_evenly() -> None:
    names = pl.Series([f"name {number}" for number in range(100_000)])
    spec = Spec(rule(["a"]).columns, exact=10)
    found = column(names, spec)
    assert isinstance(found, Categories)
    chi = float((np.square(found.counts - 100_000 / 1024) / (100_000 / 1024)).sum())
    assert 800 < chi < 1250  # 1023 degrees of freedom, five standard deviations


def test_statistics_in_sql_are_computed_and_functions_are_not_called() -> None:
    frame = pl.DataFrame({"price": [1.0, 2.0], "number": [3, 4]})
    custom = Custom("sales", sql="price * number")
    spec = specify(frame.with_columns(sales=pl.col("price") * pl.col("number")), customs=[custom])
    assert decode(partial(frame, spec)).columns["sales"].mean == 5.5
    function = Custom("sales", function="os:system")
    spec = specify(frame.with_columns(sales=1.0), customs=[function])
    with pytest.raises(UsageError, match="no column 'sales'"):
        partial(frame, spec)


def test_senseless_rules_are_refused() -> None:
    frame = pl.DataFrame({"x": [1.0]})
    with pytest.raises(UsageError, match="no column 'y'"):
        specify(frame, kinds={"y": Kind.STRING})
    with pytest.raises(UsageError, match="seed"):
        specify(frame, seed=-1)
    with pytest.raises(UsageError, match="vectors"):
        specify(frame, kinds={"x": Kind.VECTOR})


def test_publishing_twice_and_merging_published_parts() -> None:
    frame = pl.DataFrame({"x": ["a"] * 30 + ["b"] * 12})
    spec = specify(frame)
    parts = [publish(partial(frame[at::3], spec)) for at in range(3)]
    found = decode(merge(*parts)).columns["x"]
    assert isinstance(found, Categories)
    assert list(found.labels.values()) == ["a"]
    assert sorted(found.counts.tolist()) == [12, 30]


HASHES = [5145567947524147140, 11816405115246889411, 12733080001396616175, 13507511837492595923, 15921372024398717459]
"""Under the seed 7."""
