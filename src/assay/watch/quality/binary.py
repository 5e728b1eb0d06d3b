"""Metrics of a model that tells two classes apart, by SageMaker's names.

Intervals: Wilson's for shares, Wilson's on an effective number of samples for F (delta method) and AUC (DeLong). The
"best constant classifier" is the one that always says the positive class, as in SageMaker's documented example.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.watch.estimates import Estimate, exact, share, share_of, undefined
from assay.watch.quality import ranking
from assay.watch.quality.deviations import with_deviations
from assay.watch.quality.interface import CONSTANT, Problem, Quality

if TYPE_CHECKING:
    from assay.watch.quality.interface import Marks, Sample

_SPARE = 0.25
"""Chosen by simulation: intervals of 95 % then cover F in 93 to 97 % of samples of 60 to 1,000."""
BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}


def measure(
    sample: Sample, *, confidence: float = 0.95, deviations: bool = True, curves: bool = True, seed: int = 0
) -> Quality:
    """The metrics of a binary ``sample``; without scores there is no AUC, with one class only what it defines."""
    import numpy as np

    actual = sample.actual.astype(np.bool_)
    cells = (2 * sample.actual + sample.predicted).astype(np.intp)
    if sample.score is None:
        group, ranked = None, None
    else:
        order, group = ranking.rank(sample.score)
        actual, cells = actual[order], cells[order]
        ranked = ranking.ranking(actual, group)
    table = [int(count) for count in np.bincount(cells, minlength=4)]
    metrics = _metrics(table, confidence)
    if ranked is not None:
        metrics["auc"] = ranking.area(ranked, confidence)

    def again(kept: Marks) -> dict[str, float | None]:
        values: dict[str, float | None] = _values([int(n) for n in np.bincount(cells[kept], minlength=4)])
        if group is not None:
            values["auc"] = ranking.ranking(actual, group, kept).area()
        return values

    if deviations:
        metrics = with_deviations(metrics, sample.size, seed, again)
    confusion = ((table[0], table[1]), (table[2], table[3]))
    drawn = ranking.curves(ranked) if ranked is not None and curves else {}
    return Quality(Problem.BINARY, sample.size, metrics, sample.classes, confusion, drawn)


def _metrics(table: list[int], confidence: float) -> dict[str, Estimate]:
    negative, false_alarms, missed, hits = table
    count = sum(table)
    positives, flagged = missed + hits, false_alarms + hits
    no_positive, no_negative = "no label is positive", "no label is negative"
    prevalence = share_of(positives, count, confidence, "there is no labelled prediction")
    recall = share_of(hits, positives, confidence, no_positive)
    metrics = {
        "recall": recall,
        "precision": share_of(hits, flagged, confidence, "nothing was predicted positive"),
        "accuracy": share_of(hits + negative, count, confidence, "there is no labelled prediction"),
        f"recall{CONSTANT}": exact(1.0, positives) if positives else undefined(no_positive, count),
        f"precision{CONSTANT}": prevalence,
        f"accuracy{CONSTANT}": prevalence,
        "true_positive_rate": recall,
        "true_negative_rate": share_of(negative, count - positives, confidence, no_negative),
        "false_positive_rate": share_of(false_alarms, count - positives, confidence, no_negative),
        "false_negative_rate": share_of(missed, positives, confidence, no_positive),
    }
    for name, beta in BETAS.items():
        metrics[name] = f_score(hits, missed, false_alarms, beta, confidence)
    for name, beta in BETAS.items():
        constant = f_score(positives, 0, count - positives, beta, confidence)
        metrics[f"{name}{CONSTANT}"] = constant if positives else undefined(no_positive, count)
    return metrics


def f_score(hits: float, missed: float, false_alarms: float, beta: float, confidence: float) -> Estimate:
    """F-beta (van Rijsbergen 1979), the share of hits among hits and weighted errors, with its delta-method interval.

    With counts from a multinomial the influence of a hit is (1 - F) / D, of an error -F w / D, and their mean is 0.
    """
    miss_weight = beta * beta / (1 + beta * beta)
    false_weight = 1 - miss_weight
    weight = hits + miss_weight * missed + false_weight * false_alarms
    if weight <= 0:
        return undefined("nothing is positive, neither label nor prediction")
    samples = int(hits + missed + false_alarms)
    # The variance is taken at cells with a little more in each: one without errors of a kind says little about them.
    more, miss, false = hits + _SPARE, missed + _SPARE, false_alarms + _SPARE
    total = more + miss_weight * miss + false_weight * false
    score = more / total
    squares = (1 - score) ** 2 * more + score**2 * (miss_weight**2 * miss + false_weight**2 * false)
    return share(hits / weight, score * (1 - score) * total**2 / squares, samples, confidence)


def _values(table: list[int]) -> dict[str, float | None]:
    return {name: estimate.value for name, estimate in _metrics(table, 0.95).items()}
