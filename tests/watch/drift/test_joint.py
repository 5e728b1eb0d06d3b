"""Drift that no single column shows, and drift of embeddings."""

import numpy as np
import polars as pl
import pytest

from assay.errors import UsageError
from assay.watch.drift.embeddings import EmbeddingSettings, discrepancy, embedding_drift
from assay.watch.drift.joint import JointSettings, joint_drift
from assay.watch.drift.separation import area_under_curve
from assay.watch.interface import Outcome


def rows(count, seed, correlation=0.7):
    random = np.random.default_rng(seed)
    pair = random.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], count)
    others = {f"other {number}": random.normal(size=count) for number in range(4)}
    kind = random.choice(["u", "v", "w"], count)
    return pl.DataFrame({"a": pair[:, 0], "b": pair[:, 1], "kind": kind, **others})


def test_a_correlation_that_is_lost_is_seen_and_named():
    found = joint_drift(rows(2_000, 1), rows(2_000, 2, 0.0))
    assert found.outcome is Outcome.VIOLATED
    assert {name for name, _ in found.columns} == {"a", "b"}
    check = found.check()
    assert check.check == "drift:joint"
    assert "told apart by" in check.message
    assert found.separation.lower > max(found.separation.floor, found.settings.effect)


def test_alike_samples_are_not_told_apart():
    for seed in range(4):
        found = joint_drift(rows(600, 100 + seed), rows(600, 200 + seed), JointSettings(permutations=1))
        assert found.outcome is Outcome.HOLDS
        assert found.columns == ()


def test_missing_values_and_new_categories_tell_apart():
    before, after = rows(1_500, 1), rows(1_500, 2)
    gaps = after.with_columns(pl.when(pl.int_range(1_500) % 3 > 0).then(pl.col("a")).alias("a"))
    assert [name for name, _ in joint_drift(before, gaps, JointSettings(permutations=1)).columns] == ["a"]
    named = after.with_columns(
        pl.when(pl.int_range(1_500) % 3 > 0).then(pl.col("kind")).otherwise(pl.lit("new")).alias("kind")
    )
    assert [name for name, _ in joint_drift(before, named, JointSettings(permutations=1)).columns] == ["kind"]


def test_the_same_samples_give_the_same_answer():
    settings = JointSettings(rows=800, permutations=1)
    once, twice = (joint_drift(rows(1_000, 1), rows(1_000, 2), settings) for _ in range(2))
    assert once.separation == twice.separation
    assert once.rows == (800, 800)


def test_too_few_rows_or_no_common_columns():
    assert joint_drift(rows(1_000, 1), rows(199, 2)).check().outcome is Outcome.UNDECIDED
    assert joint_drift(rows(1_000, 1), rows(0, 2)).outcome is Outcome.UNDECIDED
    with pytest.raises(UsageError, match="in common"):
        joint_drift(rows(500, 1).select("a"), rows(500, 1).select("b"))
    with pytest.raises(UsageError, match="in common"):
        joint_drift(rows(500, 1), rows(500, 1), JointSettings(ignore=frozenset(rows(1, 1).columns)))


def test_infinities_constants_dates_and_lists_do_no_harm():
    frame = rows(400, 1).with_columns(
        inf=pl.lit(float("inf")), same=pl.lit(1), day=pl.date(2026, 1, 1), items=pl.lit([1, 2]), none=pl.lit(None)
    )
    assert joint_drift(frame, frame, JointSettings(permutations=1)).outcome is Outcome.HOLDS


def test_area_under_curve_as_scikit_learn():
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 2_000)
    scores = np.round(labels * 0.5 + random.normal(size=2_000), 1)  # with ties
    area, variance = area_under_curve(scores, labels)
    assert area == pytest.approx(roc_auc_score(labels, scores))
    resampled = []
    for _ in range(300):
        rows = random.integers(0, 2_000, 2_000)
        resampled.append(roc_auc_score(labels[rows], scores[rows]))
    assert variance**0.5 == pytest.approx(np.std(resampled), rel=0.15)


# Embeddings


def vectors(count, seed, shift=0.0, scale=1.0):
    random = np.random.default_rng(seed)
    found = random.normal(size=(count, 24)) * scale
    found[:, 3] += shift
    return found


def outcomes(checks):
    return {check.check: check.outcome for check in checks}


def test_alike_embeddings_hold():
    for seed in range(4):
        assert set(outcomes(embedding_drift(vectors(1_500, seed), vectors(900, 50 + seed))).values()) == {Outcome.HOLDS}


def test_a_shift_is_seen_by_the_classifier_and_a_spread_by_the_discrepancy():
    shifted = outcomes(embedding_drift(vectors(3_000, 1), vectors(2_000, 2, shift=0.6)))
    assert shifted["drift:domain-classifier"] is Outcome.VIOLATED
    wider = outcomes(embedding_drift(vectors(3_000, 1), vectors(2_000, 2, scale=1.15)))
    assert wider == {"drift:mmd": Outcome.VIOLATED, "drift:domain-classifier": Outcome.HOLDS}


def test_the_discrepancys_law_is_that_of_alike_samples():
    settings = EmbeddingSettings(draws=1_000, features=64)
    found = [
        discrepancy(vectors(400, seed), vectors(400, 1_000 + seed), settings, np.random.default_rng(seed)).p
        for seed in range(40)
    ]
    assert 0.3 < np.mean(found) < 0.7
    assert np.mean(np.array(found) < 0.1) < 0.25


def test_bad_embeddings():
    with pytest.raises(UsageError, match="dimensions"):
        embedding_drift(vectors(200, 1), vectors(200, 1)[:, :5])
    broken = vectors(500, 1)
    broken[::2, 0] = np.nan
    assert set(outcomes(embedding_drift(vectors(500, 2), broken[:150])).values()) == {Outcome.UNDECIDED}
    constant = np.ones((300, 5))
    assert set(outcomes(embedding_drift(constant, constant)).values()) == {Outcome.HOLDS}
