"""The ways that are there for speed give what the plain ways give: the same bytes for the same values."""

from __future__ import annotations

import os

import numpy as np
import polars as pl
import pytest

from assay.collect.profile.accumulate import Accumulator
from assay.collect.profile.interface import ColumnSpec, Kind, Spec
from assay.collect.profile.partial import decode, merge, partial
from assay.collect.profile.sources.shape import _weight
from assay.collect.profile.state.proxies import Proxies
from assay.collect.profile.state.sums import BLOCK, exact_sum


def numbers(centre: float, exponent: int = 10, kind: Kind = Kind.FRACTIONAL) -> Spec:
    return Spec((ColumnSpec("x", kind, centre, exponent),))


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt8, pl.Int16, pl.UInt32, pl.Int64, pl.UInt64])
def test_integers_of_any_width_are_what_their_doubles_are(dtype: type[pl.DataType]) -> None:
    values = np.random.default_rng(1).integers(0, 127, 3 * BLOCK + 5)
    spec = numbers(40.5, kind=Kind.INTEGRAL)
    whole = partial(pl.DataFrame({"x": pl.Series(values, dtype=dtype)}), spec)
    assert whole == partial(pl.DataFrame({"x": values.astype(np.float64)}), spec)
    state = decode(whole).columns["x"]
    assert (state.count, state.integral, state.distinct) == (len(values), len(values), 127)
    assert state.total == values.sum()


@pytest.mark.parametrize(("least", "most"), [(-8150, 8230), (-8152, 8232), (-8153, 8233), (-(2**63), 2**63 - 1)])
def test_integers_at_and_beyond_the_ends_of_the_table(least: int, most: int) -> None:
    values = [least, 0, 41, most]
    state = decode(partial(pl.DataFrame({"x": values}), numbers(40.5, kind=Kind.INTEGRAL))).columns["x"]
    assert (state.count, state.integral, state.minimum, state.maximum) == (4, 4, float(least), float(most))
    assert state.total == float(sum(int(float(value)) for value in values))


def test_integers_far_from_the_centre_go_with_the_doubles() -> None:
    spec = numbers(1e9 + 0.5, exponent=4, kind=Kind.INTEGRAL)
    values = np.random.default_rng(2).integers(0, 50, BLOCK + 3)
    assert partial(pl.DataFrame({"x": values}), spec) == partial(pl.DataFrame({"x": values.astype(float)}), spec)


def test_what_is_put_aside_is_counted_whenever_it_is_asked_for() -> None:
    """Numbers beyond the limit and at the centre itself wait; reading, merging and splitting find them."""
    rng = np.random.default_rng(3)
    values = rng.normal(0.0, 1.0, 5 * BLOCK)
    values[rng.random(len(values)) < 0.3] *= 1e6
    values[rng.random(len(values)) < 0.3] *= 1e-9
    values[::7] = 0.0
    spec = numbers(0.0, exponent=3)
    frame = pl.DataFrame({"x": values})
    whole = partial(frame, spec)
    parts = [partial(frame.slice(at, size), spec) for at, size in ((0, 3), (3, BLOCK), (3 + BLOCK, len(values)))]
    assert merge(*parts) == whole
    one, other = Accumulator(spec), Accumulator(spec)
    one.add(frame.head(1000))
    other.add(frame.tail(-1000))
    one.absorb(other)
    assert one.state() == one.state() == whole
    state = decode(whole).columns["x"]
    assert state.count == int(state.counts.sum()) == len(values)
    assert state.std == pytest.approx(values.std(), rel=1e-12)


def test_a_few_numbers_and_many_have_one_sum() -> None:
    values = np.array([1e300, -1e-300, 5e-324, -0.0, 3.5, -1e300])
    assert exact_sum(np.tile(values, 20)) == 20 * exact_sum(values)


def test_a_string_that_comes_late_is_shown_with_its_own_text() -> None:
    """First rows are looked for at the beginning; what only comes later must not get another's text."""
    strings = ["a", "b"] * 5000 + ["late", "a", "later", "late"]
    proxies = Proxies()
    proxies.add(pl.Series(strings))
    proxies.add(pl.Series([*strings, "last"]))
    counted = dict(proxies.empty().iter_rows())
    assert counted == {"a": 10_002, "b": 10_000, "late": 4, "later": 2, "last": 1}


def test_the_weight_of_a_frame_is_about_its_bytes() -> None:
    lengths = np.random.default_rng(4).integers(0, 60, 50_000)
    frame = pl.DataFrame({"s": ["x" * n for n in lengths], "n": lengths, "t": ["ab"] * len(lengths)})
    assert _weight(frame) == pytest.approx(frame.estimated_size(), rel=0.1)
    small = frame.head(100)
    assert _weight(small) == small.estimated_size()


def test_polars_is_told_to_keep_its_memory_before_it_is_loaded() -> None:
    assert "dirty_decay_ms" in os.environ["_RJEM_MALLOC_CONF"]
