"""The pieces of the simulation, each against what is known of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assay.errors import UsageError
from assay.guard.gateway.settings.reading import convert
from assay.guard.gateway.settings.serving import Hardening
from assay.guard.gateway.simulate import meaning
from assay.guard.gateway.simulate.attacks import inversion, membership
from assay.guard.gateway.simulate.attacks.extraction import Students
from assay.guard.gateway.simulate.interface import Setting
from assay.guard.gateway.simulate.predictors import Fitted, word
from assay.guard.gateway.simulate.settings_grid import LABEL_ONLY, NONE, USUAL, apply, settings_of
from assay.guard.gateway.simulate.world import groups, world_of
from simulating import COLUMNS, data, forest, predictor, rows

KEY = bytes(32)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=60))
def test_areas_are_those_of_scikit_learn(pairs):
    scores, inside = np.array([a for a, _ in pairs], float), np.array([b for _, b in pairs])
    if inside.all() or not inside.any():
        return
    assert membership.area(scores, inside) == pytest.approx(roc_auc_score(inside, scores))


def test_settings_of_a_file_come_after_the_usual_ones():
    settings = convert(
        {"assay-gateway": 1, "hardenings": {"mine": {"digits": 3}, "again": {"digits": 2}}}, "gateway.yaml", "."
    )
    found = settings_of(settings)
    assert found[: len(USUAL)] == USUAL == settings_of(None)
    assert [(one.name, one.own) for one in found[len(USUAL) :]] == [("mine", True)]


def test_settings_are_applied_as_in_service():
    asked = np.random.default_rng(0).normal(size=(50, 4))
    answers = np.random.default_rng(1).dirichlet(np.ones(3), size=50)
    assert apply(NONE, asked, answers, KEY) is answers
    assert (apply(LABEL_ONLY, asked, answers, KEY) == np.eye(3)[answers.argmax(axis=1)]).all()
    noise = Setting("noise", Hardening(noise=0.2))
    first = apply(noise, asked, answers, KEY)
    assert (first == apply(noise, asked[::-1], answers[::-1], KEY)[::-1]).all(), "the same input, the same noise"
    assert (first != apply(noise, asked, answers, bytes([1] * 32))).any()
    for one in USUAL:
        assert (apply(one, asked, answers, KEY).argmax(axis=1) == answers.argmax(axis=1)).all()
    assert not len(apply(noise, asked[:0], answers[:0], KEY))


def test_one_hot_groups_are_found():
    chosen = np.eye(3)[np.arange(9) % 3]
    table = np.hstack([chosen, np.ones((9, 1)), chosen[:, :2], np.arange(9)[:, None]])
    names = ("job_a", "job_b", "job_c", "flag", "town=x", "town=y", "age")
    assert groups(table, names) == ((0, 1, 2),), "the towns are not one choice: some rows have none"


def test_fresh_rows_are_those_that_a_schema_lets_through():
    features, _ = rows()
    features = np.hstack([features, np.round(features[:, :1]), np.eye(2)[(features[:, 0] > 0).astype(int)]])
    world = world_of(lambda given: given, features, (*COLUMNS, "age", "sex_f", "sex_m"), None)
    assert world.groups == ((9, 10),)
    rng = np.random.default_rng(0)
    assert world.valid(world.draw(rng, 500)).all()
    assert not world.valid(rng.uniform(world.low, world.high, size=(50, 11))).any()
    assert len(np.unique(world.draw(rng, 2000), axis=0)) > 1900, "more fresh rows than there are rows"


def test_a_copy_is_at_most_as_good_as_it_is():
    features, _ = rows()
    truth = forest().predict(features[300:])
    students = Students(features[300:], truth, 0)
    assert students.fidelity(features[:0], np.empty((0, 3))) == 0.0
    one = students.fidelity(features[:1], np.eye(3)[[1]])
    assert one == pytest.approx((truth == 1).mean()), "a single answer: all rows are like it"
    answers = forest().predict_proba(features[:300])
    assert 0.6 < students.fidelity(features[:300], np.eye(3)[answers.argmax(axis=1)]) < 1.0
    shuffled = answers[np.random.default_rng(0).permutation(300)]
    assert students.fidelity(features[:300], shuffled) < 0.6


def test_inversion_finds_the_class_of_an_open_model_and_nothing_of_one_that_says_nothing():
    known = data()
    model = LogisticRegression(max_iter=500).fit(known.members.rows, known.members.labels)
    low, high = known.members.rows.min(axis=0), known.members.rows.max(axis=0)
    found = inversion.attack(known.members, low, high, model.predict_proba, 1000, np.random.default_rng(0))
    assert found > 0.4
    silent = inversion.attack(
        known.members, low, high, lambda given: np.full((len(given), 3), 1 / 3), 1000, np.random.default_rng(0)
    )
    assert silent == 0.0


def test_predictors():
    features, labels = rows()
    classes = np.array(["no", "maybe", "yes"])[labels]
    piped = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(features, classes)
    found = Fitted(piped, COLUMNS, "m")
    assert found.names == COLUMNS and set(found.classes) == {"no", "maybe", "yes"}
    assert (found.predict(features[:5]) == piped.predict_proba(features[:5])).all()
    assert predictor().classes == ("0", "1", "2")
    for model, columns, words in (
        (Ridge().fit(features, labels), COLUMNS, "no classifier with probabilities"),
        (object(), COLUMNS, "no classifier with probabilities"),
        (forest(), COLUMNS[:7], "trained on 8 columns, and the data have 7"),
    ):
        with pytest.raises(UsageError, match=words):
            Fitted(model, columns, "m")
    with pytest.raises(UsageError) as caught:
        Fitted(forest(), (*COLUMNS, "label"), "m")
    assert "--leave-out COLUMN" in caught.value.hint and "label" in caught.value.hint
    with pytest.raises(UsageError, match="m fails on these rows: ValueError"):
        Fitted(forest(), COLUMNS, "m").predict(features[:, :3])
    with pytest.raises(UsageError, match="m fails on these rows: ValueError") as caught:
        Fitted(piped, COLUMNS, "m").predict(np.full((1, len(COLUMNS)), np.nan))
    assert "\n" not in str(caught.value)


def test_a_model_with_names_is_asked_with_them():
    import pandas

    features, labels = rows()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(
        pandas.DataFrame(features, columns=COLUMNS), labels
    )
    found = Fitted(model, (*COLUMNS[::-1], "more"), "m")
    assert found.names == COLUMNS, "in the model's own order"
    assert np.allclose(
        found.predict(features[:5]), model.predict_proba(pandas.DataFrame(features[:5], columns=COLUMNS))
    )
    with pytest.raises(UsageError, match="no column 'c7', on which m was trained"):
        Fitted(model, COLUMNS[:7], "m")


def test_threads_of_a_model_are_put_away():
    from sklearn.ensemble import RandomForestClassifier

    features, labels = rows()
    model = RandomForestClassifier(3, n_jobs=-1).fit(features, labels)
    Fitted(model, COLUMNS, "m")
    assert model.n_jobs == 1


def test_classes_are_the_same_however_they_are_written():
    assert word(1) == word(1.0) == word("1") == "1"
    assert word(1.5) == "1.5" and word(True) == "True"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (("random", 1.0, 5, 0.2, 0.8), "Flagged after 5 queries, when a copy reaches 20% instead of 80%."),
        (("jacobian", 1.0, 159, 0.87, 0.84), "Flagged after 159 queries: too late, a copy is as good by then as it"),
        (("inversion", 1.0, 6, None, None), "Flagged after 6 queries."),
        (("mixup", 0.0, None, None, 0.9), "Not seen: its queries are too much like honest ones here."),
        (("mixup", 1 / 3, None, None, 0.9), "Seen in 33% of cases only: "),
        (("in-distribution", 0.0, None, None, 0.9), "only budgets, price and regularised training help."),
        (("mixup", 0.0, None, None, 0.9, 1), "like honest ones here. A schema refuses its first query."),
        (("line-search", 1.0, 12, 0.6, 0.9, 3), "instead of 90%. A schema refuses one of its first 3."),
    ],
)
def test_sentences_about_attackers(found, words):
    assert words in meaning.of_stream(*found)


@pytest.mark.parametrize(
    ("queries", "rows", "days"),
    [
        (2500, {"day": 5000}, 1),
        (5000, {"day": 5000}, 1),
        (5001, {"day": 5000}, 2),
        (2500, {"day": 20_000, "month": 300_000}, 1),
        (2500, {"month": 1000}, 61),  # the last of three months begins after sixty days
        (7500, {"day": 500, "month": 5000}, 35),  # a month used up, then five days
        (2500, {"hour": 100}, 2),  # 24 full hours, then the next day
        (2500, {"hour": 10_000}, 1),
    ],
)
def test_days_that_budgets_cost(queries, rows, days):
    assert meaning.days_of(queries, rows) == days
