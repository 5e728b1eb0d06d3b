"""A look as the document that is signed: nothing is left out, nothing looks better than it was found."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import msgspec
import pytest

from assay.evidence.predicates import monitoring
from assay.watch.evidence import document, predicate
from assay.watch.interface import Check, Look, Metric, Outcome, Statistics, Topic, Window

END = datetime(2026, 3, 1, 1, tzinfo=UTC)
HOUR = Window(datetime(2026, 3, 1, tzinfo=UTC), END)
GOOD = Check("completeness", Outcome.HOLDS, "age", 1.0, 1.0)
BAD = Check("range", Outcome.VIOLATED, "age", ("0", "120"), math.inf, "warning", "outside")
OPEN = Check("drift:ks", Outcome.UNDECIDED, "age", message="too few values")


def look(*checks: Check, samples: int = 100, metrics: tuple[Metric, ...] = ()) -> Look:
    return Look(Topic.DRIFT, HOUR, samples, checks, metrics, "a" * 64, "b" * 64)


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (look(GOOD), "ok"),
        (look(GOOD, OPEN), "ok"),
        (look(GOOD, BAD, OPEN), "violations"),
        (look(OPEN), "undecided"),
        (look(), "undecided"),
        (look(GOOD, samples=0), "undecided"),
        (look(BAD, samples=0), "violations"),
    ],
)
def test_the_status_is_never_better_than_the_look(found: Look, status: str) -> None:
    made = document(found)
    assert made.status == status
    assert document(found, alarm=True).status == "alarm"
    assert len(made.constraints) == len(found.checks)
    assert [one.checked for one in made.violations or []] == [one.check for one in found.violations]
    assert len(made.undecided or []) == sum(check.outcome is Outcome.UNDECIDED for check in found.checks)


def test_the_document_is_json_that_reads_back(tmp_path: object) -> None:
    metrics = (
        Metric("rows", END, 100.0, dimensions={"Monitor": "a"}),
        Metric("of many", END, statistics=Statistics(4.0, 10.0, 1.0, 4.0)),
        Metric("nothing", END),
        Metric("of none", END, statistics=Statistics(0.0, 0.0, 0.0, 0.0)),
        Metric("odd", END, math.nan),
    )
    kind, made = predicate(look(GOOD, BAD, metrics=metrics))
    text = json.dumps(made, allow_nan=False)
    read = msgspec.json.decode(text, type=monitoring.Monitoring)
    assert kind == monitoring.PREDICATE_TYPE and read.period.end == END
    assert [(one.name, one.value) for one in read.metrics or []] == [("rows", 100.0), ("of many", 2.5)]
    violation = (read.violations or [])[0]
    assert (violation.severity, violation.expected, violation.observed) == ("warning", ["0", "120"], "inf")
    assert read.baseline is not None and read.baseline.digest == {"sha256": "a" * 64}
