"""Schemas out of profiles of real frames: every training row fits, and what no training row was does not."""

import datetime

import numpy as np
import polars as pl
import pytest

from assay.collect.profile.interface import Profile
from assay.collect.profile.partial import decode, partial
from assay.collect.profile.spec import specify
from assay.errors import DocumentError
from assay.guard.gateway.schemas.infer import MOST, infer
from assay.guard.gateway.schemas.model import Vector, dumps, loads
from assay.guard.gateway.schemas.validate import Invalid, Validator


def profiled(frame: pl.DataFrame, labels: int | None = None) -> Profile:
    return decode(partial(frame, specify(frame)), labels=labels)


def training(rows: int = 3000) -> pl.DataFrame:
    random = np.random.default_rng(0)
    ages = pl.Series(random.integers(17, 91, rows))
    return pl.DataFrame(
        {
            "age": ages,
            "gain": random.gamma(2.0, 100.0, rows),
            "hours": ages.cast(pl.Float64).scatter([3, 4], None),
            "job": random.choice(["clerk", "farmer", "chef"], rows),
            "owner": random.random(rows) < 0.5,
            "day": [datetime.date(2026, 1, 1 + i % 28) for i in range(rows)],
            "session": [f"s{i}" for i in range(rows)],
            "label": random.integers(0, 2, rows),
        }
    )


def fits(validator: Validator, row: dict) -> bool:
    import json

    try:
        validator.decode(json.dumps([row]).encode())
    except Invalid:
        return False
    return True


def test_a_schema_takes_its_training_data_and_not_much_more():
    frame = training()
    schema, notes = infer(profiled(frame), exclude=["label"])
    validator = Validator(schema, 10)
    given = frame.drop("label").with_columns(pl.col("day").cast(pl.String)).to_dicts()
    assert all(fits(validator, row) for row in given)
    row = given[0]
    for column, value in (
        ("age", 91), ("age", 16), ("age", 40.5), ("gain", -1.0), ("gain", 1e6), ("hours", 40.5), ("job", "spy"),
        ("owner", "yes"), ("age", None), ("label", 1), ("day", "x" * 65), ("day", 5),
    ):  # fmt: skip
        assert not fits(validator, row | {column: value}), column
    assert fits(validator, row | {"hours": None})
    assert notes == ["column 'session': the profile shows 3000 of 3000 values: any text is let through"] * (MOST < 3000)
    assert loads(dumps(schema), "s.yaml") == schema


def test_slack_widens_ranges():
    frame = pl.DataFrame({"a": [0.0, 10.5], "b": [0, 10]})
    schema, _ = infer(profiled(frame), slack=0.1)
    assert [(column.minimum, column.maximum) for column in schema.columns] == [(-1.05, 11.55), (-1, 11)]
    for slack in (-1.0, float("nan"), float("inf")):
        with pytest.raises(DocumentError, match="slack"):
            infer(profiled(frame), slack=slack)


def test_rare_categories_that_the_profile_hides_are_not_guessed():
    frame = pl.DataFrame({"c": ["a"] * 50 + ["b"] * 50 + ["rare"]})
    schema, notes = infer(profiled(frame, labels=10))
    assert (schema.columns[0].kind, schema.columns[0].values) == ("text", ())
    assert len(notes) == 1 and "'c'" in notes[0] and "2 of 3" in notes[0]
    schema, notes = infer(profiled(frame))
    assert set(schema.columns[0].values) == {"a", "b", "rare"} and not notes


def test_vectors_have_their_width():
    frame = pl.DataFrame({"v": [[float(i), 1.0, 2.0] for i in range(100)]}, schema={"v": pl.Array(pl.Float64, 3)})
    schema, notes = infer(profiled(frame))
    assert schema.vector == Vector(width=3, name="v") and len(notes) == 1
    mixed = frame.with_columns(pl.lit(1.0).alias("x"))
    with pytest.raises(DocumentError, match="beside other columns"):
        infer(profiled(mixed))
    assert infer(profiled(mixed), exclude=["v"])[0].columns[0].name == "x"


def test_columns_that_are_not_there_are_told():
    frame = training(100)
    with pytest.raises(DocumentError, match="no column 'nothing'"):
        infer(profiled(frame), exclude=["nothing"])
    with pytest.raises(DocumentError, match="no columns"):
        infer(profiled(frame), exclude=frame.columns)
    with pytest.raises(DocumentError, match="quote"):
        infer(profiled(pl.DataFrame({'a"b': [1.0, 2.0]})))
