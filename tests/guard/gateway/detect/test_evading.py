"""Queries in a form that a detector would not look at: columns in another order, left out, or of no use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from assay.guard.gateway.detect.calibrating import Stream, calibrate
from assay.guard.gateway.detect.calibration import Calibration
from assay.guard.gateway.detect.detectors import Detectors
from assay.guard.gateway.interface import Answers, Level, Table
from assay.guard.gateway.protocols.rows import table as table_of
from guard.gateway.detect.detect_making import NOW, attack, detectors, honest, sample, small

NAMES = tuple(f"column{i}" for i in range(10))


def named() -> Calibration:
    _, rows = small()
    streams = [Stream(one.name, Table(one.table.features, NAMES), one.answers) for one in honest(1)]
    return calibrate(Table(rows, NAMES), streams)


CALIBRATION = named()


def asked(who: Detectors, tables: Callable[[np.ndarray], Table], rows: np.ndarray) -> int | None:
    """The query at which somebody is treated otherwise."""
    world, _ = small()
    answers = world.predict(rows)
    for i, row in enumerate(rows):
        said = Answers(answers[i : i + 1].argmax(axis=1), answers[i : i + 1])
        if any(one.level > Level.LOG for _, one in who.see(sample(at=NOW + i, id=f"{i:032x}"), tables(row), said)):
            return i
    return None


def shuffled(row: np.ndarray) -> Table:
    order = np.random.default_rng(int(abs(row[0]) * 1e6)).permutation(10)
    return Table(row[order][None, :], tuple(NAMES[i] for i in order))


def padded(row: np.ndarray) -> Table:
    """A model that looks for its own columns never sees the last one."""
    return Table(np.append(row, row[0] * 7919.0 % 1.0)[None, :], (*NAMES, "padding"))


@pytest.mark.parametrize("form", [shuffled, padded])
def test_an_attack_is_seen_in_whatever_order_its_columns_come(form: Callable[[np.ndarray], Table]) -> None:
    rows = attack("line-search")
    usual = asked(detectors(CALIBRATION), lambda row: Table(row[None, :], NAMES), rows)
    assert usual is not None
    assert asked(detectors(CALIBRATION), form, rows) == usual


def test_honest_callers_may_order_their_columns_as_they_like() -> None:
    for one in honest(3, callers=8, queries=100):
        who = detectors(CALIBRATION)
        assert asked(who, shuffled, one.table.features) is None
        assert who.figures()["unlike"] == 0


def test_a_column_that_is_left_out_is_an_empty_one() -> None:
    who = detectors(CALIBRATION)
    _, rows = small()
    found = asked(who, lambda row: Table(row[None, :9], NAMES[:9]), rows[:60])
    assert who.figures()["unlike"] == 0 and found is not None  # the training data never had it empty


def test_a_schema_says_all_columns_of_a_row_and_their_order() -> None:
    names = ("age", "job", "pay")
    for row in ({"pay": 2, "age": 1, "job": "cook"}, {"job": "cook", "age": 1, "pay": 2}):
        found = table_of([row], names)
        assert found is not None and found.names == names and found.text == {"job": ["cook"]}
        assert found.features[0, [0, 2]].tolist() == [1.0, 2.0]
    found = table_of([{"age": 1}], names)
    assert found is not None and found.names == names and np.isnan(found.features[0, 1:]).all()


def test_a_text_that_is_left_out_is_an_empty_one() -> None:
    draw = np.random.default_rng(4)

    def rows(count: int) -> Table:
        numbers = np.column_stack([draw.normal(size=count), np.full(count, np.nan), draw.normal(size=count)])
        return Table(numbers, ("age", "job", "pay"), {"job": draw.choice(["cook", "clerk"], count).tolist()})

    streams = []
    for i in range(12):
        table = rows(40)
        labels = (table.features[:, 0] > 0).astype(int)
        streams.append(Stream(f"c{i}", table, Answers(labels, None)))
    who = detectors(calibrate(rows(200), streams))
    who.see(sample(), Table(np.array([[0.1, np.nan, 0.2]]), ("age", "job", "pay")), None)
    assert who.figures()["queries"] == 1 and who.figures()["unlike"] == 0


def test_callers_of_one_socket_are_no_neighbours() -> None:
    """Behind an edge on a unix socket all have one address, and none of them is anybody's neighbour for it."""
    world, _ = small()
    who = detectors(CALIBRATION)
    rows = attack("random", 400)
    changed = set()
    for i, row in enumerate(rows):
        answers = world.predict(row[None, :])
        about = sample(f"key:{i % 40}", NOW + i, id=f"{i:032x}", owner=f"o{i % 40}", address="unix:")
        said = who.see(about, Table(row[None, :], NAMES), Answers(answers.argmax(axis=1), answers))
        changed |= {key for key, _ in said}
    assert changed and not any(key.startswith("net:") for key in changed)


def test_rows_that_nobody_measured_are_counted_all_the_same() -> None:
    """Where detectors only count, and no plan has rows, no body is read before it goes on."""
    from msgspec.structs import replace

    budgets = replace(CALIBRATION.budgets, rows=100.0)
    who = detectors(replace(CALIBRATION, budgets=budgets), mode="count")
    _, rows = small()
    whys = [
        standing.why
        for i in range(16)
        for _, standing in who.see(sample(at=NOW + i, rows=0), Table(rows[20 * i : 20 * i + 20], NAMES), None)
    ]
    assert "rows" in whys


def test_what_a_schema_only_counts_is_a_rejection_too() -> None:
    who = detectors(CALIBRATION)
    whys = [s.why for i in range(30) for _, s in who.see(sample(at=NOW + i, unfit=True), None, None)]
    assert "rejected" in whys and who.figures()["rejected"] == 30
