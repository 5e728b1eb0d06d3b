"""From datapoints to a state: the rules of CloudWatch's metric alarms, as a pure function.

CloudWatch user guide, "Alarm evaluation" and "Configuring how CloudWatch alarms treat missing data", with its tables as
tests. It reads nothing, keeps nothing, and knows no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.watch.alarms.model import Comparison, Datapoint, MetricAlarm, Missing
from assay.watch.alarms.states import EvaluationState, State

_WORDS = {
    Comparison.AT_LEAST: "at least",
    Comparison.ABOVE: "above",
    Comparison.BELOW: "below",
    Comparison.AT_MOST: "at most",
    Comparison.OUTSIDE: "outside of the band",
    Comparison.UNDER: "below the band",
    Comparison.OVER: "above the band",
}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation came to."""

    state: State
    reason: str
    used: tuple[Datapoint, ...] = ()
    """The real datapoints that it rests on, oldest first."""
    filled: int = 0
    """How many missing ones were needed beside them."""
    side: EvaluationState = EvaluationState.FINE


def evaluate(alarm: MetricAlarm, datapoints: Sequence[Datapoint], state: State) -> Evaluation:
    """The state that follows for an alarm in ``state``.

    ``datapoints`` is the evaluation range: one for each period, oldest first, without gaps.
    """
    wanted = alarm.evaluation_periods
    real = [(index, point) for index, point in enumerate(datapoints) if _is_real(alarm, point)]
    used = tuple(point for _, point in real[-wanted:])
    if (kept := _too_few_samples(alarm, used, state)) is not None:
        return kept
    breaching = sum(breaches(alarm, point) for point in used)
    filled = wanted - len(used)
    if alarm.missing is Missing.BREACHING:
        breaching += filled
    needed = alarm.datapoints_to_alarm
    if breaching >= needed:
        return Evaluation(State.ALARM, _reason(alarm, used, breaching, filled), used, filled)
    decided = filled == 0 or alarm.missing in (Missing.BREACHING, Missing.NOT_BREACHING) or breaching < len(used)
    if decided:
        return Evaluation(State.OK, _reason(alarm, used, breaching, filled), used, filled)
    # What is left: nothing but breaching datapoints, too few of them, and missing ones that count as nothing.
    if alarm.missing is Missing.IGNORE:
        reason = f"{_gap(alarm, used, filled)}; missing data leave the state as it is"
        return Evaluation(state, reason, used, filled)
    if real and len(datapoints) - real[0][0] >= needed:  # "at least as old as the value of Datapoints to Alarm"
        reason = f"{_gap(alarm, used, filled)}; all that is known breaches, for {needed} periods or longer"
        return Evaluation(State.ALARM, reason, used, filled)
    return Evaluation(State.INSUFFICIENT_DATA, _gap(alarm, used, filled), used, filled)


def breaches(alarm: MetricAlarm, point: Datapoint) -> bool:
    """Whether a datapoint that has a value is on the wrong side."""
    value, how = point.value, alarm.comparison
    if value is None:
        return False
    if how.of_band:
        under = point.lower is not None and value < point.lower
        over = point.upper is not None and value > point.upper
        return (under and how is not Comparison.OVER) or (over and how is not Comparison.UNDER)
    threshold = alarm.threshold
    if threshold is None:
        return False
    if how is Comparison.AT_LEAST:
        return value >= threshold
    if how is Comparison.ABOVE:
        return value > threshold
    return value < threshold if how is Comparison.BELOW else value <= threshold


def _is_real(alarm: MetricAlarm, point: Datapoint) -> bool:
    """A value without anything to compare it with counts as missing, so that it never counts as good."""
    return point.value is not None and not (alarm.comparison.of_band and point.lower is None)


def _too_few_samples(alarm: MetricAlarm, used: Sequence[Datapoint], state: State) -> Evaluation | None:
    if not alarm.ignore_low_samples or not used:
        return None
    needed = max(query.statistic.significant for query in alarm.queries.values())
    samples = sum(point.samples for point in used)
    if samples >= needed:
        return None
    reason = f"{samples:g} samples are too few for the percentile to mean something ({needed:g} needed)"
    return Evaluation(state, reason, tuple(used))


def _reason(alarm: MetricAlarm, used: Sequence[Datapoint], breaching: int, filled: int) -> str:
    against = "" if alarm.comparison.of_band else f" {alarm.threshold:g}"
    last = ", ".join(_said(alarm, point) for point in used[-3:])
    said = f"{breaching} of {len(used) + filled} datapoints {_verb(breaching)} {_WORDS[alarm.comparison]}{against}"
    missing = f", {filled} of them missing and counted as {_counted(alarm)}" if filled else ""
    needed = f"{alarm.datapoints_to_alarm} needed for ALARM"
    return f"{said}{missing} ({needed}){'; last: ' if last else ''}{last}"


def _verb(count: int) -> str:
    return "is" if count == 1 else "are"


def _counted(alarm: MetricAlarm) -> str:
    return "breaching" if alarm.missing is Missing.BREACHING else "not breaching"


def _said(alarm: MetricAlarm, point: Datapoint) -> str:
    band = f" (band {point.lower:.6g} to {point.upper:.6g})" if alarm.comparison.of_band else ""
    return f"{point.value:.6g}{band} at {point.time.strftime('%Y-%m-%dT%H:%M:%SZ')}"


def _gap(alarm: MetricAlarm, used: Sequence[Datapoint], filled: int) -> str:
    known = f"only {len(used)}" if used else "none"
    said = ", ".join(_said(alarm, point) for point in used[-3:])
    tail = f" ({said})" if said else ""
    unlearned = ", or the band could not be learned yet" if alarm.comparison.of_band else ""
    return f"{known} of the {len(used) + filled} datapoints needed is there{tail}{unlearned}"
