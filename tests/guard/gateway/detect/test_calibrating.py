"""Calibrations: made from honest callers, from traffic with attackers in it, and read as a stranger's document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from assay.errors import DocumentError, UsageError
from assay.guard.gateway.detect import build, calibration
from assay.guard.gateway.detect.calibrating import Stream, calibrate
from assay.guard.gateway.interface import Answers, Table
from assay.guard.gateway.settings.reading import convert
from guard.gateway.detect import detect_making as making


def test_a_calibration_is_the_same_once_it_was_written(tmp_path: Path) -> None:
    made = making.calibration()
    path = str(tmp_path / "calibration.json")
    calibration.write(made, path)
    again = calibration.load(path)
    assert again == made and again.version == made.version
    assert {signal.name for signal in again.signals} == {"near", "far", "outlying", "residual", "margin", "flip"}
    assert calibrate(Table(making.small()[1]), making.honest(1)) == made, "equal seeds, equal calibrations"


def test_the_gateway_reads_its_own(tmp_path: Path) -> None:
    calibration.write(making.calibration(), str(tmp_path / "c.json"))
    raw = {"assay-gateway": 1, "detect": {"mode": "enforce", "calibration": "c.json"}}
    who = build(convert(raw, "gateway.yaml", str(tmp_path)))
    assert who is not None
    assert making.flagged_after(who, "key:a", making.attack("random", 50)) < 50
    assert build(convert({"assay-gateway": 1, "detect": {"mode": "off"}}, "gateway.yaml", str(tmp_path))) is None


def test_it_says_how_many_callers_it_rests_on() -> None:
    made = making.calibration()
    assert made.streams == 60 and made.queries == 400
    assert 0 < made.expected < 0.2
    few = calibrate(Table(making.small()[1]), making.honest(1)[:12])
    assert few.expected > made.expected, "the fewer there were, the less is promised"


@pytest.mark.parametrize(
    ("rows", "callers", "sentence"),
    [(5, 60, "20 training rows"), (800, 3, "at least 10 callers")],
)
def test_too_little_is_refused(rows: int, callers: int, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        calibrate(Table(making.small()[1][:rows]), making.honest(1)[:callers])


def test_callers_of_another_model_are_refused() -> None:
    other = Stream("other", Table(np.zeros((50, 3))), Answers())
    with pytest.raises(UsageError, match="columns"):
        calibrate(Table(making.small()[1]), [*making.honest(1), other])


@pytest.mark.parametrize("name", ["random", "label-only", "jacobian", "line-search", "hop-skip-jump"])
def test_attackers_among_observed_callers_are_left_out_and_named(name: str) -> None:
    """One in ten is what it withstands, as its documentation says."""
    world, rows = making.small()
    good = making.honest(1)
    bad = [making.stream(world, f"bad-{i}", making.attack(name, 400, 100 + i)) for i in range(6)]
    made = calibrate(Table(rows), [*good, *bad], observed=True)
    assert {f"bad-{i}" for i in range(6)} <= set(made.excluded)
    assert len(made.excluded) <= 6 + 6, "few honest callers with them"
    clean = making.flagged_after(making.detectors(making.calibration()), "key:a", making.attack(name, 300))
    after = making.flagged_after(making.detectors(made), "key:a", making.attack(name, 300))
    assert after <= 2 * clean + 20


@pytest.mark.parametrize("name", ["line-search", "hop-skip-jump"])
def test_who_searches_a_boundary_neither_stays_nor_pushes_others_out(name: str) -> None:
    """One who stays hides all others: what it does is usual then."""
    world, rows = making.small()
    bad = [
        making.stream(world, f"bad-{i}", making.attack(name, 400, 100 + i, share))
        for i, share in enumerate([1.0, 1.0, 0.4, 0.4])
    ]
    made = calibrate(Table(rows), [*making.honest(1), *bad], observed=True)
    assert set(made.excluded) == {f"bad-{i}" for i in range(4)}
    clean = making.flagged_after(making.detectors(making.calibration()), "key:a", making.attack("line-search", 300))
    assert making.flagged_after(making.detectors(made), "key:a", making.attack("line-search", 300)) <= 2 * clean


@pytest.mark.parametrize("seed", [1, 21])
def test_honest_callers_who_were_observed_stay(seed: int) -> None:
    """Pollers too, who have said little that is new: without them their like would be flagged from then on."""
    good = making.honest(seed)
    assert calibrate(Table(making.small()[1]), good, observed=True).excluded == ()
    assert len([one for one in good if one.name.startswith("polling")]) == 6


def test_answers_without_probabilities_leave_the_margin_out() -> None:
    streams = [Stream(s.name, s.table, Answers(s.answers.labels, None)) for s in making.honest(1)]
    made = calibrate(Table(making.small()[1]), streams)
    assert "margin" not in {signal.name for signal in made.signals}
    calibration.parse(msgspec.json.encode(made), "it")


def test_missing_values_and_texts_are_part_of_the_space() -> None:
    rows = making.small()[1][:400].copy()
    rows[::10, 2] = np.nan
    rows[:, 4] = np.nan
    names = tuple("abcdefghij")
    words = ["red", "green", "blue"]

    def table(of: np.ndarray, seed: int) -> Table:
        drawn = np.random.default_rng(seed).choice(words, size=len(of))
        changed = of.copy()
        changed[:, 4] = np.nan
        return Table(changed, names, {"e": drawn.tolist()})

    streams = [Stream(s.name, table(s.table.features, i), s.answers) for i, s in enumerate(making.honest(1))]
    made = calibration.parse(msgspec.json.encode(calibrate(table(rows, 99), streams)), "it")
    assert b"green" not in msgspec.json.encode(made), "no words of the training data"

    def flagged(word: str) -> bool:
        who = making.detectors(made)
        fresh = making.small()[0].draw(np.random.default_rng(8), 60)
        fresh[:, 4] = np.nan
        return any(
            who.see(making.sample(at=1e9 + i), Table(fresh[i : i + 1], names, {"e": [word]}), None) for i in range(60)
        )

    assert not flagged("green")
    assert flagged("'; DROP TABLE")


def changed(**at: Any) -> bytes:
    """The document with values at dotted places replaced."""
    document = json.loads(msgspec.json.encode(making.calibration()))
    for place, value in at.items():
        *path, last = place.split("__")
        part = document
        for step in path:
            part = part[int(step) if step.isdigit() else step]
        part[int(last) if last.isdigit() else last.replace("_", "-")] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"{}", "is no calibration"),
        (b"\xff", "is no calibration"),
        (b"[" * 5000, "is no calibration"),
        (changed(unknown=1), "is no calibration"),
        (changed(usual=0), "is no calibration"),
        (changed(space__components=0), "is no calibration"),
        (changed(space__components=16), "matrix|larger"),
        (changed(space__centre="AAAA"), "centre"),
        (changed(space__inverse=""), "inverse"),
        (changed(space__inverse="AAAAAAAAAAA=" * 1), "inverse"),
        (changed(space__matrix=""), "matrix"),
        (changed(signals__0__name="nothing"), "not known"),
        (changed(signals__1__name="near"), "twice"),
        (changed(signals__0__knots=[]), "p-value for each knot"),
        (changed(signals__0__knots=[2.0, 1.0], signals__0__logs=[-2.0, -1.0, 0.0]), "do not rise"),
        (changed(signals__0__knots=[1.0, 2.0], signals__0__logs=[-1.0, -2.0, 0.0]), "do not rise"),
        (changed(signals__0__knots=[1.0], signals__0__logs=[-1.0, 3.0]), "at most 1"),
        (changed(signals__0__threshold=[0.0, 1.0, 1.0]), "thresholds above 0"),
        (changed(signals__0__slack=[-1.0, 1.0, 1.0]), "not negative"),
        (changed(pooled__mean=[1.0]), "pooled"),
        (changed(pooled__width=-1), "is no calibration"),
    ],
)
def test_a_strangers_document_is_checked(data: bytes, sentence: str) -> None:
    with pytest.raises(DocumentError, match=sentence):
        calibration.parse(data, "c.json")
