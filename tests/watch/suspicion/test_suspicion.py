from collections import Counter
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from assay.errors import UndecidedError, UsageError
from assay.watch.interface import Outcome, Topic, Window
from assay.watch.suspicion.interface import Pattern, Settings, Signal
from assay.watch.suspicion.judge import judge, onset
from assay.watch.suspicion.look import look
from assay.watch.suspicion.run import suspect
from watch.suspicion.poisoned import make

COLUMNS = Settings(label="label", source="source")
AT = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize("kind", ["clean", "covariate-shift", "label-flips", "targeted-flips", "feedback", "backdoor"])
def test_ten_seeds_of_each_pattern_are_told_apart(kind):
    found = Counter(suspect(*make(kind, seed), COLUMNS).pattern for seed in range(10))
    assert found[Pattern(kind)] >= 8, found
    if kind in ("clean", "covariate-shift"):
        assert not any(pattern.suspect for pattern in found), found
    else:
        assert sum(count for pattern, count in found.items() if pattern.suspect) >= 9, found


def test_who_did_it_and_which_rows_is_told():
    found = suspect(*make("feedback", 1), COLUMNS)
    assert {share.source for share in found.sources} == {"s1", "s2"}
    assert sum(share.blame for share in found.sources) > 0.5
    assert np.mean(np.array(found.rows[:80]) < 100) > 0.8  # the rows that were fed in come first in the window
    assert found.text.isprintable()


def test_a_look_says_it_to_policies_and_alarms():
    found = look(suspect(*make("backdoor", 0), COLUMNS), AT, baseline="ab" * 32)
    assert (found.topic, found.outcome) == (Topic.POISONING, Outcome.VIOLATED)
    assert found.checks[0].observed == "backdoor"
    assert {metric.name: metric.value for metric in found.metrics}["poisoning_suspected"] == 1.0
    assert all(check.severity == "note" for check in found.checks[1:])
    clean = look(suspect(*make("clean", 0), COLUMNS), AT)
    assert clean.outcome is Outcome.HOLDS


def test_too_few_rows_say_nothing():
    reference, new = make("backdoor", 0)
    found = suspect(reference, new.head(100), COLUMNS)
    assert found.pattern is Pattern.UNDECIDED
    assert found.pattern.suspect  # retraining on what nobody could judge waits as well
    assert look(found, AT).outcome is Outcome.UNDECIDED


def test_without_labels_copies_are_still_seen_and_the_rest_is_said():
    reference, new = make("feedback", 2)
    found = suspect(reference.drop("label"), new.drop("label"), Settings(label="", source="source"))
    assert any("labels were not looked at" in note for note in found.notes)
    assert {signal.name: signal.fires for signal in found.signals}["copies"]


def test_poison_in_labels_that_nobody_looked_at_is_not_ruled_out():
    """The attack: flip labels where the label's column was never named."""
    reference, new = make("targeted-flips", 0)
    renamed = {"label": "verdict of the office"}
    found = look(suspect(reference.rename(renamed), new.rename(renamed), Settings(source="source")), AT)
    assert found.outcome is Outcome.UNDECIDED
    assert "labels were not looked at" in found.checks[0].message
    assert found.checks[0].observed == "undecided"


def test_without_labels_nothing_is_called_clean():
    """Stops: labels under a name that nobody looks for, so that flipped ones pass as clean and are learnt from."""
    for kind in ("clean", "covariate-shift"):
        reference, new = make(kind, 2)
        found = suspect(reference.drop("label"), new.drop("label"), Settings(label="", source="source"))
        assert found.pattern is Pattern.UNDECIDED and "labels were not looked at" in found.text
        assert look(found, AT).outcome is Outcome.UNDECIDED


def test_what_cannot_be_compared_is_said():
    reference, new = make("clean", 0)
    with pytest.raises(UsageError, match="nothing"):
        suspect(reference, new, Settings(label="nothing"))
    with pytest.raises(UndecidedError, match="no column"):
        suspect(reference, new.rename(lambda name: f"other {name}"), Settings(label=""))


def test_new_classes_and_odd_cells_have_an_answer():
    reference, new = make("clean", 3)
    text = pl.Series("f0", ["x" * 100_000 if i % 50 == 0 else str(v) for i, v in enumerate(new["f0"])])
    odd = new.with_columns(
        text,
        pl.when(pl.int_range(pl.len()) % 10 == 0).then(None).otherwise(pl.col("f1")).alias("f1"),
        pl.when(pl.int_range(pl.len()) % 20 == 0).then(float("inf")).otherwise(pl.col("f2")).alias("f2"),
        pl.when(pl.int_range(pl.len()) < 200).then(pl.lit("third")).otherwise(pl.col("label").cast(str)).alias("label"),
    )
    found = suspect(reference.with_columns(pl.col("label").cast(str)), odd, COLUMNS)
    assert found.pattern.suspect  # a class that the reference never had contradicts all that it teaches
    assert "third" in found.label_rates


@pytest.mark.parametrize(
    ("fires", "pattern"),
    [
        ((), Pattern.CLEAN),
        (("drift",), Pattern.COVARIATE_SHIFT),
        (("drift", "label-rate"), Pattern.COVARIATE_SHIFT),
        (("labels",), Pattern.CLEAN),  # the model alone, while the neighbours disagree: no suspicion
        (("labels", "neighbours"), Pattern.LABEL_FLIPS),
        (("drift", "labels", "neighbours"), Pattern.LABEL_FLIPS),
        (("place",), Pattern.TARGETED_FLIPS),
        (("sources", "labels", "neighbours"), Pattern.TARGETED_FLIPS),
        (("copies",), Pattern.CLEAN),
        (("copies", "sources"), Pattern.FEEDBACK),
        (("trigger", "copies", "sources"), Pattern.BACKDOOR),
        (("sign",), Pattern.BACKDOOR),
    ],
)
def test_the_table_of_patterns(fires, pattern):
    names = ("drift", "labels", "neighbours", "place", "sources", "copies", "sign", "trigger", "label-rate")
    signals = {name: Signal(name, 1.0, 0.0, name in fires, f"about {name}") for name in names}
    assert judge(signals)[0] is pattern


@pytest.mark.parametrize(
    ("history", "now", "expected"),
    [
        ([0.05, 0.05, 0.05], 0.2, None),
        ([0.05, 0.05, 0.05, 0.05], 0.2, "abrupt"),
        ([0.05, 0.05, 0.08, 0.11, 0.14, 0.17], 0.2, "gradual"),
        ([0.05, 0.05, 0.05, 0.05], 0.04, None),
    ],
)
def test_abrupt_or_gradual(history, now, expected):
    assert onset(history, now) == expected
