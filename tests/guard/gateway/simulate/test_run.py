"""The whole simulation of a small model: its figures are in the order that is known of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from assay.errors import UsageError
from assay.guard.gateway.settings.keeping import Detect
from assay.guard.gateway.settings.serving import Hardening
from assay.guard.gateway.simulate.interface import Data, Labelled, Setting
from assay.guard.gateway.simulate.run import simulate, sizes
from assay.guard.gateway.simulate.settings_grid import LABEL_ONLY, NONE
from simulating import data, predictor

GRID = (NONE, Setting("1 digit", Hardening(digits=1)), Setting("noise", Hardening(noise=0.1)), LABEL_ONLY)


@pytest.fixture(scope="module")
def report():
    """Of the forest, with detectors."""
    return simulate(predictor(), data(), GRID, queries=250, seed=3, detect=Detect(), callers=40)


def test_label_only_stops_membership_by_confidence_and_rounding_does_not(report):
    before, rounded, _, labels = report.outcomes
    for attack in ("confidence", "learned"):
        assert before.membership[attack] > 0.75
        assert abs(before.membership[attack] - rounded.membership[attack]) < 0.05
        assert labels.membership[attack] < before.membership[attack] - 0.08
    # What is left is what labels tell: how much better the model is on rows that it has seen.
    gap = (1 + report.trained - report.accuracy) / 2
    assert abs(labels.membership["confidence"] - gap) < 0.05
    assert report.trained > 0.98 and report.accuracy < 0.85


def test_no_setting_changes_what_labels_give_away(report):
    before, rounded, noisy, labels = report.outcomes
    for one in (rounded, noisy, labels):
        assert one.relabelled == 0.0 and one.accuracy == before.accuracy == report.accuracy
        assert one.membership["copies"] == before.membership["copies"]
    assert before.change == 0.0 < rounded.change < labels.change


def test_copies_grow_with_their_queries_and_labels_suffice(report):
    for one in report.outcomes:
        assert set(one.extraction) == {"random", "knock-off", "jacobian", "in-distribution"}
        for by in one.extraction.values():
            assert list(by) == [10, 50, 250]
        own = one.extraction["in-distribution"]
        assert own[10] < own[250]
        assert own[250] > 0.7
    assert report.outcomes[-1].extraction["in-distribution"][250] > report.outcomes[0].extraction["random"][10]


def test_detectors_see_what_they_can_and_what_they_cannot(report):
    streams = {one.attack: one for one in report.detection.streams}
    assert report.detection.callers == 10 and 0 <= report.detection.honest <= 0.3
    assert streams["random"].seen == 1.0 and streams["random"].median < 100
    assert streams["hop-skip-jump"].seen == 1.0, "on trees its search never ends by itself"
    assert streams["in-distribution"].seen == 0.0 and streams["in-distribution"].median is None
    assert streams["in-distribution"].refused is None and streams["inversion"].refused is None
    assert streams["random"].stopped < streams["random"].fidelity
    assert streams["label-only"].fidelity is None, "no extraction"


def test_a_sentence_is_told_for_each_figure(report):
    for one in (*report.outcomes, *report.detection.streams):
        assert one.meaning.endswith(".")
    assert report.outcomes[1].meaning.startswith("Buys nothing against membership inference")
    assert "falls from" in report.outcomes[3].meaning and "Extraction still reaches" in report.outcomes[3].meaning
    assert any("in-distribution" in note for note in report.notes)


def test_a_seed_gives_the_same_report_again():
    first, again = (
        simulate(predictor(), data(), GRID[:1], queries=50, seed=3, detect=Detect(), callers=20) for _ in range(2)
    )
    assert replace(again, cpu=first.cpu) == first
    other = simulate(predictor(), data(), GRID[:1], queries=50, seed=4)
    assert other.outcomes[0].extraction != first.outcomes[0].extraction


def test_a_linear_model_is_solved_by_its_probabilities():
    known = data()
    model = LogisticRegression(max_iter=500).fit(known.members.rows, known.members.labels)
    report = simulate(predictor(model), known, (NONE, LABEL_ONLY), queries=75)
    exact, labels = (one.extraction["random"] for one in report.outcomes)
    assert exact[15] > 0.97 > labels[15], "a few more equations than unknowns"
    assert report.detection is None


def test_without_a_holdout_nothing_is_said_of_membership():
    report = simulate(predictor(), replace(data(), proper=False), (NONE, LABEL_ONLY), queries=25)
    assert not any("embership" in one.meaning for one in report.outcomes)
    assert "mean nothing" in report.notes[0]


def test_what_cannot_be_simulated_is_said():
    known = data()
    few = known.members.part(np.arange(10))
    with pytest.raises(UsageError, match="at least 40 rows that it was not trained on"):
        simulate(predictor(), Data(known.members, few, True), GRID)

    class Scores:
        names, classes = tuple("abcdefgh"), ("0", "1", "2")

        def predict(self, rows: np.ndarray) -> np.ndarray:
            return np.tile([3.0, -1.0, np.nan], (len(rows), 1))

    with pytest.raises(UsageError, match="no probabilities"):
        simulate(Scores(), known, GRID)

    class One(Scores):
        classes = ("0",)

        def predict(self, rows: np.ndarray) -> np.ndarray:
            return np.ones((len(rows), 1))

    with pytest.raises(UsageError, match="two or more classes"):
        simulate(One(), Data(known.members, Labelled(known.others.rows, known.others.labels), True), GRID)


def test_sizes():
    assert sizes(2500) == (100, 500, 2500)
    assert sizes(1) == (1,)
