"""Every metric against its definition, written out person by person, and each interval against its claim."""

import math

import numpy as np
import polars as pl
import pytest

from assay.errors import UsageError
from assay.watch.bias.interface import POST_TRAINING, PRE_TRAINING, Choice, People, Question
from assay.watch.bias.metrics import measure
from assay.watch.bias.reading import people

QUESTION = Question(Choice("sex", ("f",)), Choice("good", ("1",)), Choice("said", ("1",)), "job", ("age", "height"))


def table(seed, size, *, gap=0.2):
    generator = np.random.default_rng(seed)
    woman = generator.random(size) < 0.4
    job = generator.integers(0, 3, size)
    good = generator.random(size) < 0.6 - gap * woman + 0.1 * (job == 1)
    said = np.where(generator.random(size) < 0.8, good, generator.random(size) < 0.5)
    return pl.DataFrame(
        {
            "sex": np.where(woman, "f", "m"),
            "good": good.astype(int),
            "said": said.astype(int),
            "job": job,
            "age": generator.integers(20, 60, size),
            "height": generator.normal(170, 9, size),
        }
    )


def found(frame, question=QUESTION):
    return measure(people(frame, question), question, confidence=0.95)


def test_values_are_the_definitions():
    frame = table(0, 1_500)
    rows = frame.rows(named=True)
    a, d = ([row for row in rows if row["sex"] == sex] for sex in "mf")

    def share(group, key, value=1):
        return sum(row[key] == value for row in group) / len(group)

    def of(group, condition, given):
        chosen = [row for row in group if given(row)]
        return sum(condition(row) for row in chosen) / len(chosen)

    def conditional(key):
        total = 0.0
        for job in {row["job"] for row in rows}:
            stratum = [row for row in rows if row["job"] == job]
            refused, accepted = ([row for row in stratum if row[key] == value] for value in (0, 1))
            disparity = share(refused, "sex", "f") - share(accepted, "sex", "f")
            total += len(stratum) * disparity / len(rows)
        return total

    qa, qd = share(a, "good"), share(d, "good")
    pa, pd = share(a, "said"), share(d, "said")
    wrong = lambda group, good, said: sum(row["good"] == good and row["said"] == said for row in group)  # noqa: E731
    benefits = np.array([row["said"] - row["good"] + 1 for row in rows])
    kl = lambda one, other: sum(p * math.log(p / q) for p, q in zip(one, other, strict=True))  # noqa: E731
    one, other = (1 - qa, qa), (1 - qd, qd)
    middle = tuple((p + q) / 2 for p, q in zip(one, other, strict=True))
    expected = {
        "CI": (len(a) - len(d)) / len(rows),
        "DPL": qa - qd,
        "KL": kl(one, other),
        "JS": (kl(one, middle) + kl(other, middle)) / 2,
        "LP": math.sqrt(2) * abs(qa - qd),
        "TVD": abs(qa - qd),
        "KS": abs(qa - qd),
        "CDDL": conditional("good"),
        "DPPL": pa - pd,
        "DI": pd / pa,
        "DCAcc": qa / pa - qd / pd,
        "DCR": (1 - qd) / (1 - pd) - (1 - qa) / (1 - pa),
        "SD": of(d, lambda r: not r["said"], lambda r: not r["good"])
        - of(a, lambda r: not r["said"], lambda r: not r["good"]),
        "RD": of(a, lambda r: r["said"], lambda r: r["good"]) - of(d, lambda r: r["said"], lambda r: r["good"]),
        "DAR": of(a, lambda r: r["good"], lambda r: r["said"]) - of(d, lambda r: r["good"], lambda r: r["said"]),
        "DRR": of(d, lambda r: not r["good"], lambda r: not r["said"])
        - of(a, lambda r: not r["good"], lambda r: not r["said"]),
        "AD": of(a, lambda r: r["good"] == r["said"], lambda r: True)
        - of(d, lambda r: r["good"] == r["said"], lambda r: True),
        "TE": wrong(d, 1, 0) / wrong(d, 0, 1) - wrong(a, 1, 0) / wrong(a, 0, 1),
        "CDDPL": conditional("said"),
        "GE": ((benefits / benefits.mean()) ** 2 - 1).mean() / 2,
    }
    metrics = found(frame).metrics
    assert set(metrics) == {*PRE_TRAINING, *POST_TRAINING}
    assert {name: metrics[name].value for name in expected} == pytest.approx(expected, abs=1e-12)
    assert all(metrics[name].low <= value <= metrics[name].high for name, value in expected.items())


def test_the_flip_test_asks_the_neighbours():
    """Three women among men: of her five nearest men most were accepted, refused, accepted; she was refused, accepted,
    accepted."""
    men = [(0.0, 1)] * 5 + [(10.0, 0)] * 5 + [(20.0, 1)] * 5
    women = [(0.1, 0), (10.1, 1), (20.1, 1), (0.2, 0)]
    features = np.array([[x] for x, _ in men + women])
    predicted = np.array([bool(said) for _, said in men + women])
    facet = np.array([False] * 15 + [True] * 4)
    metrics = measure(People(facet, predicted=predicted, features=features), QUESTION).metrics
    assert metrics["FT"].value == (2 - 1) / 4
    assert metrics["FT"].low < 0.25 < metrics["FT"].high


def test_labels_of_several_values():
    frame = pl.DataFrame({"sex": ["f"] * 4 + ["m"] * 10, "good": list("aabc") + list("aaaaabbccd")})
    metrics = found(frame, Question(Choice("sex", ("f",)), Choice("good", ("a",)))).metrics
    gaps = np.array([0.5, 0.2, 0.2, 0.1]) - np.array([0.5, 0.25, 0.25, 0.0])
    assert metrics["LP"].value == pytest.approx(np.linalg.norm(gaps))
    assert metrics["TVD"].value == pytest.approx(np.abs(gaps).sum() / 2)
    assert metrics["KS"].value == pytest.approx(0.1)
    assert metrics["KL"].value is None and metrics["KL"].reason  # d never has the label d
    assert metrics["JS"].value > 0
    assert set(metrics) == {*PRE_TRAINING} - {"CDDL"}


@pytest.mark.parametrize("size", [200, 2_000])
def test_intervals_cover(size):
    truth = {name: item.value for name, item in found(table(0, 1_000_000)).metrics.items() if name != "FT"}
    inside, seen = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
    question = Question(QUESTION.facet, QUESTION.label, QUESTION.prediction, "job")
    for seed in range(1, 201):
        metrics = measure(people(table(seed, size), question), question, confidence=0.95, draws=1_000).metrics
        for name, value in truth.items():
            if metrics[name].value is not None:  # nobody was wronged that way in a small sample
                inside[name] += metrics[name].low <= value <= metrics[name].high
                seen[name] += 1
    assert min(seen.values()) > 150
    shares = {name: inside[name] / seen[name] for name in truth}
    assert min(shares.values()) >= 0.89, shares  # 95 % less four standard errors of 200 draws


def test_facets_by_threshold_and_missing_values():
    frame = pl.DataFrame({"age": [20, 41, None, 60], "good": [1.0, 1.0, 0.0, float("nan")]})
    question = Question(Choice("age", threshold=40), Choice("good", ("1",)))
    data = people(frame, question)
    assert data.facet.tolist() == [False, True] and data.label.tolist() == [True, True]
    assert data.unusable == 2
    assert question.facet.text == "(40, inf)"


def test_booleans_and_fractions_are_named_as_people_write_them():
    frame = pl.DataFrame({"sex": [True, False], "good": [1.0, 2.5]})
    data = people(frame, Question(Choice("sex", ("True",)), Choice("good", ("1", "2.5"))))
    assert data.facet.tolist() == [True, False] and data.label.tolist() == [True, True]


@pytest.mark.parametrize("sex", ["f", "m"])
def test_one_group_only(sex):
    metrics = found(table(0, 100).with_columns(sex=pl.lit(sex))).metrics
    assert all(item.value is None and item.reason for item in metrics.values())


def test_nobody_and_one():
    for size in (0, 1):
        metrics = found(table(0, size)).metrics
        assert all(item.value is None for item in metrics.values())


def test_a_quotient_by_zero_is_undefined_not_infinite():
    frame = table(0, 200).with_columns(said=pl.lit(0))
    metrics = found(frame).metrics
    assert metrics["DI"].value is None and metrics["DAR"].value is None
    assert metrics["DPPL"].value == 0.0 and metrics["DPPL"].high > 0


def test_errors_are_sentences():
    frame = table(0, 10)
    with pytest.raises(UsageError, match="no column gender"):
        people(frame, Question(Choice("gender", ("f",))))
    with pytest.raises(UsageError, match="values or a threshold"):
        people(frame, Question(Choice("sex")))
    with pytest.raises(UsageError, match="holds List"):
        people(pl.DataFrame({"sex": [["f"]]}), Question(Choice("sex", ("f",))))
