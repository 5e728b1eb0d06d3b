"""The same rows give the same bytes: whatever the parts, their order, their types and the spec."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.profile.interface import Categories, Kind, Numeric, Spec, Vectors
from assay.collect.profile.partial import decode, merge, partial
from assay.collect.profile.spec import specify

NUMBERS = st.one_of(
    st.none(),
    st.floats(),
    st.sampled_from(
        [0.0, -0.0, 5e-324, -5e-324, 2.2e-308, 1e308, -1e308, 1.7976931348623157e308, math.nan, math.inf, -math.inf]
    ),
    st.floats(-10, 10),
    st.integers(-300, 300).map(float),
    st.floats(1e9, 1e9 + 10),
)
TEXTS = st.one_of(st.none(), st.text(max_size=5), st.sampled_from(["a", "b", "12", "-3.5", "x" * 300, "ß" * 128]))
VECTORS = st.one_of(st.none(), st.lists(st.one_of(st.floats(), st.floats(-1, 1)), min_size=2, max_size=3))


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    """A few rows of everything."""
    rows = draw(st.lists(st.tuples(NUMBERS, st.integers(-(2**63), 2**63 - 1) | st.none(), TEXTS, VECTORS), max_size=40))
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    kinds = (pl.Float64, pl.Int64, pl.String, pl.List(pl.Float64))
    return pl.DataFrame(
        [pl.Series(name, column, dtype=kind) for name, column, kind in zip("fisv", columns, kinds, strict=True)]
    )


def parted(frame: pl.DataFrame, spec: Spec, chance: random.Random) -> bytes:
    """The profile of a table, by way of shuffled rows, random parts and a random tree of merges."""
    order = list(range(frame.height))
    chance.shuffle(order)
    shuffled = frame[order] if order else frame
    cuts = sorted(chance.randint(0, frame.height) for _ in range(chance.randint(0, 5)))
    ends = [0, *cuts, frame.height]
    parts = [partial(shuffled[a:b], spec) for a, b in itertools.pairwise(ends)]
    while len(parts) > 1:
        chance.shuffle(parts)
        some = parts[: chance.randint(2, len(parts))]
        parts = [*parts[len(some) :], merge(*some)]
    return parts[0]


@given(tables(), tables(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_any_partition_and_order_gives_the_same_bytes(
    frame: pl.DataFrame, first: pl.DataFrame, chance: random.Random
) -> None:
    kinds = {"v": Kind.VECTOR} if first["v"].drop_nulls().list.len().n_unique() == 1 else {"v": Kind.STRING}
    spec = specify(first, seed=7, kinds={**kinds, "s": chance.choice([Kind.STRING, Kind.TEXT])})
    spec = Spec(spec.columns, spec.seed, exact=chance.choice([1, 3, 65_536]))
    whole = partial(frame, spec)
    assert parted(frame, spec, chance) == whole
    assert merge(whole) == whole


@given(st.lists(NUMBERS, max_size=60), st.lists(NUMBERS, min_size=1, max_size=20))
@settings(max_examples=150, deadline=None)
def test_numbers_are_exact_under_any_spec(given_values: list[float | None], first: list[float | None]) -> None:
    spec = specify(pl.DataFrame({"x": pl.Series(first, dtype=pl.Float64)}))
    state = partial(pl.DataFrame({"x": pl.Series(given_values, dtype=pl.Float64)}), spec)
    column = decode(state).columns["x"]
    assert isinstance(column, Numeric)
    finite = [value for value in given_values if value is not None and math.isfinite(value)]
    assert column.missing == given_values.count(None)
    assert column.nan == sum(1 for value in given_values if value is not None and math.isnan(value))
    assert column.positive_infinity == given_values.count(math.inf)
    assert column.negative_infinity == given_values.count(-math.inf)
    assert column.count == len(finite) == column.counts.sum()
    assert column.integral == sum(1 for value in finite if value.is_integer())
    if not finite:
        assert math.isnan(column.mean)
        return
    exact = [Fraction(value) for value in finite]
    mean = sum(exact) / len(exact)
    assert column.mean == float(mean)
    assert (column.minimum, column.maximum) == (min(finite), max(finite))
    variance = sum((value - mean) ** 2 for value in exact) / len(exact)
    assert close(column.std, variance, max(abs(value - Fraction(spec.columns[0].centre)) for value in exact))
    # Numbers are told apart by their distance to the centre.
    centre = spec.columns[0].centre
    assert column.distinct == len({value - centre for value in finite})
    slack = abs(centre) * 2.0**-50
    assert ((column.upper >= column.minimum - slack) & (column.lower <= column.maximum + slack)).all()


def close(std: float, variance: Fraction, reach: Fraction) -> bool:
    """Whether a standard deviation is right to 1e-12, or to the last bits of the distances to the centre."""
    if math.isinf(std):
        return variance > Fraction(1.7e308) ** 2
    tiny = Fraction(1, 2**1070) ** 2
    return abs(Fraction(std) ** 2 - variance) <= variance * Fraction(1e-12) + reach**2 * Fraction(1e-15) + tiny


def test_order_of_summation_does_not_show_where_floats_would_lose_everything() -> None:
    rows = [1e308, 1.0, -1e308, 1e-300, 2.0**70, -(2.0**70), 0.1] * 3
    spec = specify(pl.DataFrame({"x": [1.0, 2.0, 3.0]}))
    expected = float(sum(map(Fraction, rows)) / len(rows))
    states = set()
    for seed in range(20):
        random.Random(seed).shuffle(rows)
        state = partial(pl.DataFrame({"x": rows}), spec)
        states.add(state)
        column = decode(state).columns["x"]
        assert isinstance(column, Numeric)
        assert column.mean == expected
    assert len(states) == 1


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int16, pl.Int32, pl.UInt32, pl.Int64, pl.Int128, pl.Float32])
def test_the_type_that_carries_a_number_makes_no_difference(dtype: type[pl.DataType]) -> None:
    rows = [*range(-3 if dtype != pl.UInt32 else 0, 100), None, 5]
    spec = specify(pl.DataFrame({"x": pl.Series(rows, dtype=pl.Int64)}))
    expected = partial(pl.DataFrame({"x": pl.Series(rows, dtype=pl.Float64)}), spec)
    assert partial(pl.DataFrame({"x": pl.Series(rows, dtype=dtype)}), spec) == expected


def test_an_instant_is_the_same_in_every_unit_and_zone() -> None:
    instants = [1_600_000_000_123_456, 1_700_000_000_000_001, 0, -1, None]
    micro = pl.Series("t", instants, dtype=pl.Datetime("us"))
    spec = specify(micro.to_frame())
    assert spec.columns[0].kind is Kind.TIME
    states = {
        partial(series.to_frame(), spec)
        for series in (
            micro,
            micro.cast(pl.Datetime("ns")),
            micro.dt.replace_time_zone("UTC"),
            micro.dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Kathmandu"),
        )
    }
    assert len(states) == 1


def test_engines_of_tables_make_no_difference() -> None:
    import pyarrow as pa

    frame = pl.DataFrame({"x": [1.5, None, 3.0], "s": ["a", "b", None], "v": [[1.0, 2.0], [0.5, 0.25], None]})
    spec = specify(frame)
    table = frame.to_arrow()
    dictionary = table.set_column(1, "s", table["s"].cast(pa.string()).dictionary_encode())
    frames = [frame, table, dictionary, table.to_batches()[0], frame[:1].vstack(frame[1:])]
    assert {partial(each, spec) for each in frames} == {partial(frame, spec)}
    pandas = frame.drop("v").to_pandas()
    assert partial(pandas, specify(frame.drop("v"))) == partial(frame.drop("v"), specify(frame.drop("v")))


def test_far_from_zero_the_resolution_stays() -> None:
    """A column like N(1e6, 1) or a Unix time falls into one bin about 0."""
    numbers = np.random.default_rng(3).normal(0, 1, 20_000)
    for centre in (1e6, 1.7e9, -1e12):
        frame = pl.DataFrame({"x": centre + numbers})
        column = decode(partial(frame, specify(frame))).columns["x"]
        assert isinstance(column, Numeric)
        assert len(column.counts) > 500
        assert column.counts.max() < 0.02 * column.count
        assert column.std == pytest.approx((frame["x"] - centre).to_numpy().std(), rel=1e-9)


def test_vectors_agree_with_numpy() -> None:
    rows = np.random.default_rng(5).normal(3, 2, (5000, 16))
    frame = pl.DataFrame({"v": pl.Series(rows.tolist(), dtype=pl.List(pl.Float64))})
    column = decode(partial(frame, specify(frame))).columns["v"]
    assert isinstance(column, Vectors)
    assert column.centroid == pytest.approx(rows.mean(axis=0), rel=1e-5)
    assert column.variances == pytest.approx(rows.var(axis=0), rel=1e-5)
    assert column.norms.mean == pytest.approx(np.linalg.norm(rows, axis=1).mean(), rel=1e-5)


def test_fourier_features_see_what_the_centroid_does_not() -> None:
    """Same mean, other shape: the distance of the features exceeds what two samples of one distribution have."""
    chance = np.random.default_rng(6)
    spec = specify(vectors(chance.normal(0, 1, (2000, 8))))
    one, again = (features(chance.normal(0, 1, (2000, 8)), spec) for _ in range(2))
    other = features(chance.normal(0, 1, (2000, 8)) * chance.choice([0.2, 1.4], (2000, 1)), spec)
    assert np.linalg.norm(one - other) > 3 * np.linalg.norm(one - again)


def vectors(rows: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"v": pl.Series(rows.tolist(), dtype=pl.List(pl.Float64))})


def features(rows: np.ndarray, spec: Spec) -> np.ndarray:
    column = decode(partial(vectors(rows), spec)).columns["v"]
    assert isinstance(column, Vectors)
    return column.features


def test_a_columns_form_follows_from_its_values_alone() -> None:
    spec = specify(pl.DataFrame({"s": ["a"]}))
    spec = Spec(spec.columns, spec.seed, exact=100)
    names = [f"name {number}" for number in range(101)]
    below, above = pl.DataFrame({"s": names[:100] * 3}), pl.DataFrame({"s": names * 3})
    assert decoded(partial(below, spec)).exact
    assert not decoded(partial(above, spec)).exact
    assert not decoded(merge(partial(below, spec), partial(above[100:101], spec))).exact
    assert partial(above, spec) == merge(*(partial(above[at : at + 1], spec) for at in range(above.height)))


def decoded(state: bytes) -> Categories:
    column = decode(state).columns["s"]
    assert isinstance(column, Categories)
    return column
