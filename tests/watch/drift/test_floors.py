"""What is learned about a baseline's noise: drawn floors agree with the laws, and bursts are told from drift."""

import numpy as np
import polars as pl
import pytest

from assay.collect.profile.spec import specify
from assay.errors import DocumentError
from assay.watch.drift import noise
from assay.watch.drift.floors import Floors, calibrate, decode
from assay.watch.drift.settings import Settings
from assay.watch.drift.verdict import compare
from assay.watch.interface import Outcome
from watch.drift.drift_tables import profile, table


def violated(drifts):
    return {drift.column for drift in drifts if drift.outcome is Outcome.VIOLATED}


@pytest.fixture(scope="module")
def learned():
    frame = table(200_000, 1)
    spec = specify(frame)
    before = profile(frame, spec)
    parts = [profile(frame[start : start + 5_000], spec) for start in range(0, 200_000, 5_000)]
    return spec, before, calibrate(before, parts, sizes=(1_000, 10_000), draws=400)


def test_drawn_floors_agree_with_the_laws(learned):
    _, before, floors = learned
    scale = 1 / before.columns["lon"].count + 1 / 10_000
    uniform = before.columns["lon"]
    drawn = {name: floors.floor("lon", name, uniform.count, 10_000) for name in ("ks", "psi", "wasserstein")}
    assert drawn["ks"] == pytest.approx(noise.ks(scale, 0.01), rel=0.12)
    assert drawn["psi"] == pytest.approx(noise.psi(10, scale, 0.01), rel=0.2)
    middle = uniform.lower / 2 + uniform.upper / 2
    law = noise.wasserstein(uniform.counts, middle, scale, 0.01) / uniform.std
    assert drawn["wasserstein"] == pytest.approx(law, rel=0.15)
    states = before.columns["state"]
    drawn_share = floors.floor("state", "l_infinity", states.count, 10_000)
    assert drawn_share <= noise.l_infinity(states.counts / states.count, scale, 0.01) * 1.1


def test_rows_that_are_independent_have_a_design_effect_of_about_one(learned):
    spec, before, floors = learned
    factors = [floors.factor(name, "values", 5_000) for name in before.columns]
    assert all(1.0 <= factor < 1.8 for factor in factors)
    assert np.mean(factors) < 1.3
    assert violated(compare(before, profile(table(10_000, 900), spec), floors=floors)) == set()
    drifted = profile(table(10_000, 901, drifted=True), spec)
    assert violated(compare(before, drifted, floors=floors)) >= {"score_a", "channel"}


def bursts(rows, seed):
    """Traffic in sessions: 200 rows that share most of their value and their category."""
    random = np.random.default_rng(seed)
    sessions = -(-rows // 200)
    x = np.repeat(random.normal(0, 1, sessions), 200)[:rows] + random.normal(0, 0.3, rows)
    kind = np.array(list("abcd"))[np.repeat(random.integers(0, 4, sessions), 200)[:rows]]
    missing = np.repeat(random.random(sessions) < 0.2, 200)[:rows]
    frame = pl.DataFrame({"x": x, "kind": kind, "gap": x})
    return frame.with_columns(pl.when(~pl.lit(missing)).then(pl.col("gap")).alias("gap"))


def test_bursts_are_no_drift_once_they_are_known():
    frame = bursts(200_000, 1)
    spec = specify(frame)
    before = profile(frame, spec)
    parts = [profile(frame[start : start + 4_000], spec) for start in range(0, 200_000, 4_000)]
    floors = calibrate(before, parts, sizes=(4_000,), draws=100)
    windows = [profile(bursts(4_000, seed), spec) for seed in range(10, 35)]
    naive = sum(bool(violated(compare(before, window))) for window in windows)
    assert naive > 20
    assert [violated(compare(before, window, floors=floors)) for window in windows] == [set()] * 25
    assert floors.factor("x", "values", 4_000) > 20
    moved = bursts(4_000, 50).with_columns(pl.col("x") + 3, pl.col("gap") + 3)
    assert violated(compare(before, profile(moved, spec), floors=floors)) == {"x", "gap"}


def test_bursts_of_embeddings():
    random = np.random.default_rng(5)
    sessions = np.repeat(random.normal(0, 1, (120, 8)), 100, axis=0) + random.normal(0, 0.3, (12_000, 8))
    alone = random.normal(0, 1, (12_000, 8))
    for rows, low, high in ((sessions, 15, 200), (alone, 1, 1.5)):
        frame = pl.DataFrame({"v": pl.Series(rows.astype(np.float32))})
        spec = specify(frame)
        parts = [profile(frame[start : start + 1_000], spec) for start in range(0, 12_000, 1_000)]
        assert low <= calibrate(profile(frame, spec), parts).factor("v", "values", 1_000) < high


def test_longer_windows_of_bursts_have_the_design_effect_of_longer_runs(learned):
    """A slow wave evens out within no part, so that the effect grows with the window."""
    wave = np.sin(np.arange(64_000) / 64_000 * 8 * np.pi) + np.random.default_rng(2).normal(0, 1, 64_000)
    frame = pl.DataFrame({"x": wave})
    spec = specify(frame)
    parts = [profile(frame[start : start + 1_000], spec) for start in range(0, 64_000, 1_000)]
    floors = calibrate(profile(frame, spec), parts, draws=50)
    assert floors.factor("x", "values", 4_000) > 2 * floors.factor("x", "values", 1_000)


def test_floors_can_be_stored(learned):
    floors = learned[2]
    data = floors.encode()
    assert decode(data) == floors
    assert decode(data).encode() == data


def test_the_same_baseline_gives_the_same_floors(learned):
    _, before, _ = learned
    once, twice = (calibrate(before, sizes=(1_000,), draws=50, seed=4).encode() for _ in range(2))
    assert once == twice


def test_floors_of_what_holds_nothing():
    frame = pl.DataFrame({"x": pl.Series([None] * 100, dtype=pl.Float64), "y": [1.0] * 100, "z": ["a"] * 100})
    before = profile(frame)
    floors = calibrate(before, [before] * 4, draws=20)
    assert floors.factor("x", "values", 100) == 1.0
    assert decode(floors.encode()) == floors
    assert violated(compare(before, before, Settings(least=10), floors)) == set()
    assert floors.factor("no such column", "values", 100) == 1.0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"columns": {}}',
        b'{"columns": {}, "noise": 0}',
        b'{"columns": {}, "noise": 0.01, "version": 2}',
        b'{"columns": {}, "noise": 0.01, "more": 1}',
        b'{"columns": {"x": {"design": {"values": [[100, 0.5]]}}}, "noise": 0.01}',
        b'{"columns": {"x": {"design": {"values": [[100, 1e300]]}}}, "noise": 0.01}',
        b'{"columns": {"x": {"drawn": {"ks": [[100, 2], [100, 2]]}}}, "noise": 0.01}',
        b'{"columns": {"x": {"drawn": {"ks": [[0, 2]]}}}, "noise": 0.01}',
        b'{"columns": {"x": {"drawn": {"ks": [[100, NaN]]}}}, "noise": 0.01}',
    ],
)
def test_other_bytes_are_refused(data):
    with pytest.raises(DocumentError, match="noise floors"):
        decode(data)


def test_floors_only_raise():
    """A file that was tampered with cannot make drift of what is none."""
    frame = table(2_000, 3)
    spec = specify(frame)
    before, window = profile(frame, spec), profile(table(1_000, 4), spec)
    assert violated(compare(before, window, floors=Floors({}, 0.5))) == violated(compare(before, window))
