from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from assay.errors import UsageError
from assay.watch.quality.joining import Conflicts, Counts, Joining, join

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def hours(count):
    return NOON + timedelta(hours=count)


def labelled(joined):
    frame = joined.frame.drop_nulls("label")
    return dict(zip(frame.get_column("prediction").to_list(), frame.get_column("label").to_list(), strict=True))


def test_the_inference_id_counts_where_there_is_one():
    predictions = pl.DataFrame(
        {"inferenceId": ["mine", None, ""], "eventId": ["e1", "e2", "e3"], "prediction": ["a", "b", "c"]}
    )
    labels = pl.DataFrame({"id": ["mine", "e2", "e1", "e3"], "label": [1, 2, 3, 4]})
    joined = join(predictions, labels)
    assert labelled(joined) == {"a": 1, "b": 2, "c": 4}
    assert joined.counts == Counts(predictions=3, labels=4, labelled=3, orphans=1)
    assert joined.share == 1.0


def test_predictions_without_label_stay():
    predictions = pl.DataFrame({"eventId": ["x", "y", None], "prediction": [1, 2, 3]})
    joined = join(predictions, pl.DataFrame({"id": ["y", None, "z"], "label": [0, 1, None]}))
    assert joined.frame.get_column("prediction").to_list() == [1, 2, 3]
    assert joined.frame.get_column("label").to_list() == [None, 0, None]
    assert joined.counts == Counts(predictions=3, predictions_without_id=1, labels=3, labels_without_id=2, labelled=1)


PREDICTED = pl.DataFrame({"eventId": ["a", "b", "c"], "prediction": ["a", "b", "c"]})
TWICE = pl.DataFrame(
    {
        "id": ["a", "a", "b", "b", "c", "c"],
        "label": [1, 1, 0, 1, 1, 0],
        "time": [hours(1), hours(2), hours(5), hours(3), hours(1), hours(2)],
    }
)


@pytest.mark.parametrize(
    ("conflicts", "expected"),
    [
        (Conflicts.LEAVE_OUT, {"a": 1}),
        (Conflicts.FIRST, {"a": 1, "b": 1, "c": 1}),
        (Conflicts.LAST, {"a": 1, "b": 0, "c": 0}),
    ],
)
def test_two_labels_for_one_id(conflicts, expected):
    joined = join(PREDICTED, TWICE, Joining(label_time="time", conflicts=conflicts))
    assert labelled(joined) == expected
    assert joined.counts.conflicting_labels == 2 and joined.counts.repeated_labels == 1
    assert joined.frame.height == 3


def test_labels_after_the_cutoff_are_not_used():
    joined = join(PREDICTED, TWICE, Joining(label_time="time", cutoff=hours(1)))
    assert labelled(joined) == {"a": 1, "c": 1}
    assert joined.counts.after_cutoff == 4 and joined.counts.conflicting_labels == 0


def test_late_early_and_untimed_labels():
    predictions = PREDICTED.with_columns(at=pl.lit(NOON))
    labels = pl.DataFrame(
        {"id": ["a", "b", "c", "c"], "label": [1, 1, 1, 0], "time": [hours(30), hours(-1), hours(2), None]}
    )
    how = Joining(prediction_time="at", label_time="time", longest=timedelta(hours=24))
    joined = join(predictions, labels, how)
    assert labelled(joined) == {"b": 1, "c": 1}
    assert joined.counts == Counts(predictions=3, labels=4, late=1, early=1, untimed=1, labelled=2)


def test_times_as_text_with_and_without_zone():
    predictions = PREDICTED.with_columns(at=pl.Series(["2026-01-01T12:00:00Z", "2026-01-01T13:00:00+02:00", "noon"]))
    labels = pl.DataFrame({"id": ["a", "b", "c"], "label": [1, 2, 3], "time": ["2026-01-01 12:30:00"] * 3})
    how = Joining(prediction_time="at", label_time="time", longest=timedelta(hours=1))
    joined = join(predictions, labels, how)
    assert labelled(joined) == {"a": 1}  # b was 90 minutes before, and when c was predicted nobody knows
    assert joined.counts.late == 2


def test_an_id_that_is_used_twice_labels_nothing():
    """Attack: a caller gives its inference id to a second, easy prediction, so that the first one's label fits it."""
    predictions = pl.DataFrame(
        {
            "inferenceId": ["victim", "victim", "fine", "fine"],
            "eventId": ["1", "2", "3", "3"],
            "prediction": [0, 1, 1, 1],
        }
    )
    joined = join(predictions, pl.DataFrame({"id": ["victim", "fine"], "label": [1, 0]}))
    assert joined.frame.to_dict(as_series=False)["label"] == [0]
    counts = joined.counts
    assert (counts.conflicting_predictions, counts.repeated_predictions, counts.orphans) == (2, 1, 1)


def test_parts_change_nothing(tmp_path):
    """Out of core: a hash of the id decides the part, whatever files the rows are in."""
    generator = np.random.default_rng(0)
    size = 20_000
    ids = generator.permutation(size).astype(str)
    predictions = pl.DataFrame({"eventId": ids, "prediction": generator.random(size)})
    order = generator.permutation(size)[: size // 2]
    again = np.append(order, order[:100])
    labels = pl.DataFrame({"id": ids[again], "label": generator.random(len(again)).round(1)})
    predictions.write_parquet(tmp_path / "p.parquet", row_group_size=3_000)
    labels.write_parquet(tmp_path / "l.parquet", row_group_size=3_000)
    whole = join(predictions, labels)
    parted = join(pl.scan_parquet(tmp_path / "p.parquet"), pl.scan_parquet(tmp_path / "l.parquet"), parts=7)
    assert parted.counts == whole.counts
    columns = ["eventId", "prediction"]
    assert parted.frame.sort(columns).equals(whole.frame.sort(columns), null_equal=True)
    oracle = dict(zip(ids[order], range(size // 2), strict=True))
    assert whole.counts.labelled + whole.counts.conflicting_labels == len(oracle)
    assert whole.counts.conflicting_labels + whole.counts.repeated_labels == 100


def test_errors_are_sentences():
    table = pl.DataFrame({"key": ["a"], "label": [1]})
    with pytest.raises(UsageError, match="predictions have no column of ids"):
        join(table, table)
    with pytest.raises(UsageError, match="no column truth in the labels"):
        join(PREDICTED, TWICE, Joining(label="truth"))
    with pytest.raises(UsageError, match="cut-off needs"):
        join(PREDICTED, TWICE, Joining(cutoff=NOON))
    with pytest.raises(UsageError, match="longest delay needs"):
        join(PREDICTED, TWICE, Joining(longest=timedelta(1)))
    with pytest.raises(UsageError, match="where times are needed"):
        join(PREDICTED, TWICE, Joining(label_time="label"))


def test_empty_tables():
    joined = join(PREDICTED.clear(), TWICE.clear())
    assert (
        joined.counts == Counts() and joined.share == 0.0 and joined.frame.columns == ["eventId", "prediction", "label"]
    )
