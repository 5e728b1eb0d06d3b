"""Looks at predictions: quality against ground truth that may come later, bias between groups, attributions.

Predictions and truth are read whole, since intervals need every row; profiles are what never needs them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from assay.api.rows import ALWAYS, collected
from assay.api.rows import opened as open_data
from assay.errors import UndecidedError, UsageError
from assay.watch.interface import Look, Topic, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars

    from assay.api.baselines import Data
    from assay.watch.attribution.drift import Attributions
    from assay.watch.bias.interface import Bias as Measured
    from assay.watch.bias.interface import Question
    from assay.watch.quality.interface import Columns, Problem
    from assay.watch.quality.joining import Counts
    from assay.watch.quality.thresholds import Threshold
    from assay.watch.settings import Bias, Quality

TOPICS = (Topic.MODEL_QUALITY, Topic.BIAS, Topic.EXPLAINABILITY)

PREFIX = "attribution:"
"""Begins the names of columns with attributions; what follows is the feature."""


def looks(
    predictions: Data,
    window: Window,
    time: str | None,
    quality: Quality,
    truth: Data | None,
    reference: Data | None,
    bias: Bias | None,
    topics: Sequence[Topic],
) -> Iterator[Look]:
    """One look for each of `TOPICS` that was wanted. Raises `AssayError`."""
    if not set(topics) & set(TOPICS):
        return
    frame, joined = _labelled(predictions, window, time, quality, truth)
    before = collected(open_data(reference, ALWAYS, None)) if reference is not None else None
    if Topic.MODEL_QUALITY in topics:
        yield _quality(frame, joined, before, window, quality)
    if Topic.BIAS in topics and bias is not None:
        yield _bias(frame, before, window, quality, bias)
    if Topic.EXPLAINABILITY in topics:
        yield _attribution(frame, before, window)


def _labelled(
    predictions: Data, window: Window, time: str | None, quality: Quality, truth: Data | None
) -> tuple[polars.DataFrame, Counts | None]:
    """The predictions with their ground truth, where it is known."""
    frame = collected(open_data(predictions, window, time))
    if truth is None:
        return frame, None
    from assay.watch.quality import ground_truth
    from assay.watch.quality.joining import Joining, join

    usual = Joining()
    how = Joining((*usual.prediction_ids, quality.id), (*usual.label_ids, quality.id), quality.label)
    if truth.kind == "captured":
        labels = ground_truth.read([str(truth.place)]).frame
        labels = labels.rename({"label": quality.label}) if "label" in labels.columns else labels
    else:
        labels = collected(open_data(truth, ALWAYS, None))
    # A label in the predictions themselves would be somebody's claim, not the truth.
    found = join(frame.drop(quality.label, strict=False), labels, how)
    return found.frame, found.counts


def _problem(quality: Quality) -> Problem:
    from assay.watch.quality.interface import Problem

    return {"regression": Problem.REGRESSION, "binary": Problem.BINARY, "multiclass": Problem.MULTICLASS}[
        quality.problem
    ]


def _columns(frame: polars.DataFrame, quality: Quality) -> Columns:
    from assay.watch.quality.interface import Columns

    prediction = quality.prediction if quality.prediction in frame.columns or not quality.probability else None
    positive = quality.positive if quality.problem == "binary" else None
    return Columns(quality.label, prediction, quality.probability, positive, segments=quality.segments)


def _quality(
    frame: polars.DataFrame,
    joined: Counts | None,
    before: polars.DataFrame | None,
    window: Window,
    quality: Quality,
) -> Look:
    from assay.watch.quality.checking import look
    from assay.watch.quality.reading import sample

    now = sample(frame, _problem(quality), _columns(frame, quality))
    thresholds = _thresholds(before, quality)
    measured = look(now, thresholds, window, joined=joined)
    if before is None or quality.probability is None or quality.problem == "regression":
        return measured
    return _with_estimate(measured, frame, before, thresholds, window, quality)


def _with_estimate(
    measured: Look,
    frame: polars.DataFrame,
    before: polars.DataFrame,
    thresholds: tuple[Threshold, ...],
    window: Window,
    quality: Quality,
) -> Look:
    """What quality probably is, from how sure the model is: warnings beside what ground truth says."""
    from assay.watch.quality import estimated, estimating
    from assay.watch.quality.reading import sample

    problem = _problem(quality)
    try:
        calibrator = estimated.calibrate(sample(before, problem, _columns(before, quality)))
    except UndecidedError as error:
        return replace(measured, details={**measured.details, "estimated": {"reason": error.message}})
    # Every prediction is read, labelled or not; the estimate never sees a label.
    every = sample(_blind(frame, before, quality), problem, _columns(frame, quality))
    assert every.score is not None
    guessed = estimating.look(
        estimated.classification(every.predicted.astype(int), every.score, problem, calibrator), thresholds, window
    )
    return replace(
        measured,
        checks=(*measured.checks, *guessed.checks),
        metrics=(*measured.metrics, *guessed.metrics),
        details={**measured.details, "estimated": dict(guessed.details)},
    )


def _blind(frame: polars.DataFrame, before: polars.DataFrame, quality: Quality) -> polars.DataFrame:
    """The predictions with some label of the reference everywhere: reading needs one, and none is believed."""
    import polars

    known = before.get_column(quality.label).drop_nulls()
    return frame.with_columns(polars.lit(known.item(0), dtype=known.dtype).alias(quality.label))


def _thresholds(before: polars.DataFrame | None, quality: Quality) -> tuple[Threshold, ...]:
    """Those that are named, and for the other metrics what the reference's quality suggests."""
    from assay.watch.quality.checking import measure
    from assay.watch.quality.interface import METRICS
    from assay.watch.quality.reading import sample
    from assay.watch.quality.thresholds import ABOVE, BELOW, Threshold, suggest

    problem = _problem(quality)
    if unknown := sorted(set(quality.thresholds) - METRICS[problem]):
        known = ", ".join(sorted(METRICS[problem]))
        raise UsageError(f"{unknown[0]!r} is no metric of a {quality.problem} problem", hint=f"there are: {known}")
    if before is None and not quality.thresholds:
        raise UsageError(
            "quality is held against thresholds, or against predictions from when the model was right",
            hint="name them: thresholds: {f1: 0.8}, or reference: {from: FILE}",
        )
    suggested = suggest(measure(sample(before, problem, _columns(before, quality)))) if before is not None else ()
    worse = {"mae", "mse", "rmse", "false_positive_rate", "false_negative_rate"}
    named = [
        Threshold(name, value, ABOVE if name in worse else BELOW) for name, value in sorted(quality.thresholds.items())
    ]
    return (*named, *(one for one in suggested if one.metric not in quality.thresholds))


def _bias(
    frame: polars.DataFrame, before: polars.DataFrame | None, window: Window, quality: Quality, bias: Bias
) -> Look:
    from assay.watch.bias.checking import Settings, look
    from assay.watch.bias.interface import Choice, Question

    facet = Choice(bias.facet, bias.disadvantaged)
    prediction = Choice(quality.prediction, bias.favourable)

    def question(rows: polars.DataFrame) -> Question:
        # Labels are there for some of the predictions only, or for none yet: without any, they are not asked for.
        has = quality.label in rows.columns and rows.get_column(quality.label).null_count() < rows.height
        return Question(facet, Choice(quality.label, bias.favourable) if has else None, prediction)

    if before is None and not bias.allowed:
        raise UsageError(
            "bias is held against what is allowed, or against predictions from when the model was right",
            hint="name them: allowed: {DPPL: [-0.1, 0.1]}, or quality: reference: {from: FILE}",
        )
    known = [_measured(before, question(before))] if before is not None else []
    return look([_measured(frame, question(frame))], known, window, Settings(allowed=bias.allowed))


def _measured(frame: polars.DataFrame, question: Question) -> Measured:
    from assay.watch.bias.metrics import measure
    from assay.watch.bias.reading import people

    return measure(people(frame, question), question)


def _attribution(frame: polars.DataFrame, before: polars.DataFrame | None, window: Window) -> Look:
    from assay.watch.attribution.drift import look

    if before is None:
        raise UsageError(
            "attributions are held against those of predictions from when the model was right",
            hint="name them: quality: reference: {from: FILE}",
        )
    return look({"": _attributions(before)}, {"": _attributions(frame)}, window)


def _attributions(frame: polars.DataFrame) -> Attributions:
    from assay.watch.attribution.drift import attributions

    names = [name for name in frame.columns if name.startswith(PREFIX)]
    if not names:
        raise UsageError(f"no column begins with {PREFIX!r}", hint="one for each feature, as attribution:age")
    return attributions(frame.select(names).rename(lambda name: name.removeprefix(PREFIX)))
