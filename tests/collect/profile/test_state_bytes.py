"""A serialised profile is untrusted bytes: everything but the one right form is refused, with a sentence."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.profile.accumulate import MAGIC, Accumulator
from assay.collect.profile.interface import ColumnSpec, Custom, Kind, Spec
from assay.collect.profile.partial import decode, merge, partial, publish
from assay.collect.profile.serial import Reader, Writer
from assay.collect.profile.spec import specify, write_spec
from assay.errors import AssayError, DocumentError, UsageError


def table() -> pl.DataFrame:
    """Every kind of column, some of each kind's trouble."""
    return pl.DataFrame(
        {
            "number": [1.5, None, float("nan"), float("inf"), -2e300, 0.25, 1e-12],
            "whole": [1, 2, 3, None, 5, 2**60, -7],
            "time": pl.Series([0, 10**15, None, 5, 6, 7, 8], dtype=pl.Datetime("us")),
            "flag": [True, False, None, True, True, False, True],
            "name": ["a", "b", "a", None, "ß", "12", "x" * 400],
            "text": ["some words " * 9 + str(number) for number in range(7)],
            "vector": [[1.0, 2.0], [0.5, 0.25], None, [1e200, 1.0], [3.0, 4.0], [1.0, 1.0], [0.0, 0.0]],
        }
    )


def state(*, exact: int = 65_536) -> bytes:
    spec = specify(table(), seed=2**64 - 1, customs=(Custom("twice", sql="number * 2"),))
    return partial(table().with_columns(twice=pl.col("number") * 2), Spec(spec.columns, spec.seed, exact, spec.customs))


@pytest.mark.parametrize("exact", [65_536, 2])
def test_what_was_written_is_read(exact: int) -> None:
    data = state(exact=exact)
    assert Accumulator.read(data).state() == data
    assert merge(data) == data


@pytest.mark.parametrize("exact", [65_536, 2])
def test_every_shorter_form_is_refused(exact: int) -> None:
    data = state(exact=exact)
    for end in range(0, len(data), 7):
        with pytest.raises(DocumentError):
            decode(data[:end])
    with pytest.raises(DocumentError, match="more than a profile"):
        decode(data + b"\0")


@given(st.integers(0, 10**6), st.integers(0, 255), st.sampled_from([65_536, 2]), st.sampled_from(["set", "cut", "add"]))
@settings(max_examples=600, deadline=None)
def test_a_changed_byte_is_refused_or_has_one_meaning(place: int, byte: int, exact: int, how: str) -> None:
    data = bytearray(STATES[exact])
    place %= len(data)
    if how == "set":
        data[place] = byte
    elif how == "cut":
        del data[place]
    else:
        data.insert(place, byte)
    try:
        read = Accumulator.read(bytes(data))
    except DocumentError as error:
        assert error.message.endswith(tuple("abcdefghijklmnopqrstuvwxyz0123456789"))
        return
    assert read.state() == bytes(data)  # nothing that is accepted has a second form
    decode(bytes(data))
    publish(bytes(data))


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_noise_is_refused(noise: bytes) -> None:
    for data in (noise, MAGIC + noise):
        with pytest.raises(DocumentError):
            decode(data)


def test_a_few_bytes_never_ask_for_much_memory() -> None:
    """A bomb says that it holds 2**60 of something."""
    for count in (2**20, 2**40, 2**60):
        writer = Writer()
        writer.natural(0)
        writer.natural(65_536)
        writer.natural(count)
        with pytest.raises(DocumentError):
            decode(MAGIC + writer.data)
        writer = Writer()
        writer.natural(count)
        writer.natural(8)
        with pytest.raises(DocumentError):
            Reader(writer.data).array(2**62)


@pytest.mark.parametrize(
    "lie",
    [
        b"\x80\x00",  # 0 in two bytes
        b"\xff" * 10 + b"\x01",
        b"\xff",
    ],
)
def test_a_number_has_one_form(lie: bytes) -> None:
    with pytest.raises(DocumentError):
        Reader(lie).natural()


@given(st.integers(-(2**4000), 2**4000), st.integers(0, 2**62), st.lists(st.integers(0, 2**64 - 1), max_size=9))
@settings(max_examples=200, deadline=None)
def test_numbers_come_back(integer: int, natural: int, words: list[int]) -> None:
    writer = Writer()
    writer.integer(integer)
    writer.natural(natural)
    writer.array(np.array(words, np.uint64))
    reader = Reader(writer.data)
    assert (reader.integer(), reader.natural(), reader.array(9).tolist()) == (integer, natural, words)
    reader.end()


def numeric(**lies: object) -> bytes:
    """A profile of one column of numbers, written by hand: 2 and 4 about the centre 0."""
    told = {"count": 2, "integral": 2, "least": 2.0, "most": 4.0, "total": 6 << 1074, "squares": 20 << 2148}
    told |= {"bins": [2**19 + (1024 << 8), 256], "counts": [1, 1], "rows": 2} | lies
    writer = Writer()
    write_spec(writer, Spec((ColumnSpec("x", Kind.FRACTIONAL, exponent=4),)))
    writer.natural(told["rows"])
    writer.natural(0)
    writer.natural(1)
    for number in (0, 0, 0, 0, 0, told["count"], told["integral"], 0):
        writer.natural(number)
    writer.real(told["least"])
    writer.real(told["most"])
    writer.integer(told["total"])
    writer.integer(told["squares"])
    writer.array(np.array(told["bins"], np.uint64))
    writer.array(np.array(told["counts"], np.uint64))
    writer.array(np.array([5, 6], np.uint64))
    return MAGIC + writer.data


def test_honest_numbers_written_by_hand_are_read() -> None:
    column = decode(numeric()).columns["x"]
    assert (column.mean, column.std, column.distinct) == (3.0, 1.0, 2)


@pytest.mark.parametrize(
    "lie",
    [
        {"rows": 3},
        {"count": 3, "rows": 3},
        {"integral": 3},
        {"least": 4.0},
        {"most": 5.0, "least": 2.0},
        {"least": -2.0},
        {"total": 9 << 1074},
        {"total": -1},
        {"squares": -1},
        {"squares": 33 << 2148},
        {"bins": [2**19 + (1024 << 8), 0]},
        {"bins": [2**19 + (1024 << 8)]},
        {"bins": [2**19 + (1024 << 8), 2**20]},
        {"counts": [2, 0]},
        {"counts": [1, 2]},
        {"counts": [2**63, 2**63]},
        {"least": float("nan")},
        {"most": float("inf")},
    ],
)
def test_numbers_that_contradict_each_other_are_refused(lie: dict[str, object]) -> None:
    with pytest.raises(DocumentError):
        decode(numeric(**lie))


def test_a_text_that_is_not_the_counted_one_is_refused() -> None:
    """Whoever renames a category in a signed-off baseline would show people another value than was counted."""
    frame = pl.DataFrame({"s": ["harmless"] * 20 + ["malicious"] * 30})
    data = partial(frame, specify(frame))
    with pytest.raises(DocumentError, match="not the one that was counted"):
        decode(data.replace(b"malicious", b"beautiful"))


def test_profiles_of_unequal_specs_are_not_merged() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0]})
    specs = [specify(frame), specify(frame, seed=1), specify(frame + 1000)]
    for spec in specs[1:]:
        with pytest.raises(UsageError, match="different specs"):
            merge(partial(frame, specs[0]), partial(frame, spec))
    with pytest.raises(UsageError, match="no profile"):
        merge()


def test_published_profiles_hold_no_rare_text() -> None:
    frame = pl.DataFrame({"s": ["often"] * 12 + ["seldom"] * 9 + ["once"], "b": [True] + [False] * 21})
    data = partial(frame, specify(frame))
    published = publish(data, least=10)
    assert b"often" in published
    assert b"seldom" not in published and b"once" not in published
    before, after = decode(data, labels=None).columns["s"], decode(published, labels=None).columns["s"]
    assert set(after.labels.values()) == {"often"}
    assert (after.hashes == before.hashes).all() and (after.counts == before.counts).all()
    assert set(decode(published).columns["b"].labels.values()) == {"false", "true"}  # both were known before
    assert publish(published) == published
    assert set(decode(merge(published, data), labels=None).columns["s"].labels.values()) == {"often", "seldom", "once"}


def test_errors_are_sentences() -> None:
    for call in (lambda: decode(b""), lambda: merge(b"x"), lambda: partial(object(), specify(table()))):
        with pytest.raises(AssayError) as caught:
            call()
        assert caught.value.hint


@pytest.mark.parametrize("exact", [65_536, 2])
def test_states_are_what_they_were(exact: int) -> None:
    """Baselines outlive versions, machines and libraries: the same table always gives these bytes."""
    assert decode(state(exact=exact)).digest == DIGESTS[exact]


STATES = {65_536: state(), 2: state(exact=2)}

DIGESTS = {
    65_536: "85f7f4b7497b8ae4b83ea5197654816214894636b1c61c6190345cce7a696aad",
    2: "411687de9e30eaed9c0685630552eed72878315067b99c2044abbbd25cbe2fa0",
}
