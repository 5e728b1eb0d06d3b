"""Vectors of probabilities made to say less."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.guard.gateway.hardening.noise import seeds
from assay.guard.gateway.hardening.vectors import harden, is_distribution
from assay.guard.gateway.parts import Unhardened
from assay.guard.gateway.settings.serving import Hardening

KEY = bytes(range(32))


def normal(weights):
    total = sum(weights)
    return [weight / total for weight in weights]


distributions = st.lists(st.floats(0, 1), min_size=2, max_size=12).filter(lambda w: sum(w) > 1e-3).map(normal)
hardenings = st.builds(
    Hardening,
    label_only=st.booleans(),
    top=st.none() | st.integers(1, 5),
    noise=st.none() | st.floats(0.001, 1),
    buckets=st.none() | st.integers(1, 20),
    digits=st.none() | st.integers(0, 6),
)


def first(values):
    return max(range(len(values)), key=values.__getitem__)


@settings(max_examples=600, deadline=None)
@given(distributions, hardenings, st.binary(min_size=16, max_size=32))
def test_the_label_stays_and_the_same_question_gives_the_same_answer(values, how, seed):
    assert is_distribution(values)
    hardened = harden(values, how, seed)
    assert first(hardened) == first(values)
    assert hardened == harden(values, how, seed)
    assert len(hardened) == len(values) and all(0.0 <= value <= 1.0 for value in hardened)
    if how.label_only:
        assert sorted(hardened) == [0.0] * (len(values) - 1) + [1.0]
    elif how.top is not None:
        assert sum(value > 0 for value in hardened) <= max(how.top, 1)
    if how.digits is not None and not how.label_only:
        assert all(round(value, how.digits) == value for value in hardened)


@settings(max_examples=200, deadline=None)
@given(distributions, st.floats(0.001, 0.5), st.binary(min_size=16, max_size=32))
def test_noise_keeps_the_sum(values, deviation, seed):
    assert math.isclose(sum(harden(values, Hardening(noise=deviation), seed)), 1.0, abs_tol=1e-9)


def test_noise_has_about_its_deviation_and_differs_by_seed():
    values = [0.5, 0.3, 0.2]
    drawn = [harden(values, Hardening(noise=0.02), bytes([i % 256, i // 256]) * 8) for i in range(2000)]
    assert len({tuple(one) for one in drawn}) == 2000
    spread = math.sqrt(sum((one[1] - 0.3) ** 2 for one in drawn) / 2000)
    assert 0.012 < spread < 0.028
    with pytest.raises(ValueError, match="seed"):
        harden(values, Hardening(noise=0.1), None)


def test_classes_that_noise_makes_equal_keep_their_label():
    for i in range(200):
        hardened = harden([0.0, 1 / 3, 2 / 3], Hardening(noise=1.0), i.to_bytes(16))
        assert first(hardened) == 2


def test_what_each_does():
    values = [0.1, 0.62, 0.28]
    assert harden(values, Hardening(label_only=True), None) == [0, 1, 0]
    assert harden(values, Hardening(top=2), None) == [0, 0.62, 0.28]
    assert harden(values, Hardening(digits=1), None) == [0.1, 0.6, 0.3]
    assert harden(values, Hardening(buckets=2), None) == [0.25, 0.75, 0.25]
    assert harden(values, Hardening(buckets=1), None) == [0.5, 1.0, 0.5]  # nothing but the label
    assert harden([0.4, 0.3, 0.3], Hardening(digits=0), None) == [0, 0, 0]  # the first of equals is the label
    assert harden([0.3, 0.3, 0.4], Hardening(digits=0), None) == [0, 0, 1]
    assert harden([0.5, 0.5], Hardening(top=1), None) == [0.5, 0]
    assert harden(values, Hardening(), None) == values


def test_distributions_are_told_from_other_numbers():
    assert is_distribution([0.5, 0.51]) and is_distribution([1.0, 0.0]) and is_distribution([0.1] * 10)
    for other in ([], [1.0], [0.5, 0.4], [2.0, -1.0], [math.nan, 1.0], [0.7, 0.7], [math.inf, 0.0]):
        assert not is_distribution(other)


def test_seeds_are_of_key_model_and_input():
    rows = [[1.0, 2.0], {"a": 1, "b": "x"}]
    same = seeds(KEY, "m", rows)
    assert same == seeds(KEY, "m", [[1, 2.0], {"b": "x", "a": 1.0}])
    assert same == seeds(KEY, "m", [[1.00001, 2.0], {"b": "x", "a": 1.0}])  # moved by less than the model sees
    assert seeds(KEY, "m", [[0.0]]) == seeds(KEY, "m", [[-0.0]])
    others = [
        seeds(KEY, "n", rows)[0], seeds(KEY[::-1], "m", rows)[0], seeds(KEY, "m", [[1.0, 2.1]])[0],
        seeds(KEY, "m", [[2.0, 1.0]])[0], seeds(KEY, "m", [[1.0, 2.0, 0.0]])[0], seeds(KEY, "m", [["one", 2.0]])[0],
        seeds(KEY, "m", [[10**400]])[0],
    ]  # fmt: skip
    assert len({same[0], *others}) == 8
    for short in (b"", b"x" * 15, b"x" * 65):
        with pytest.raises(Unhardened, match="key"):
            seeds(short, "m", rows)


def test_anything_with_these_attributes_is_a_hardening():
    how = SimpleNamespace(label_only=False, top=1, noise=None, buckets=None, digits=None)
    assert harden([0.2, 0.8], how, None) == [0, 0.8]
