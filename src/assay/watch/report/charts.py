"""The charts: baseline and current over each other, drift over time, outcomes, quality with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from assay.collect.profile.interface import Categories, Kind, Numeric, Vectors
from assay.watch import columns
from assay.watch.report.drawing import BAD, BASELINE, CURRENT, GOOD, LIMIT, UNKNOWN, figure, shown
from assay.watch.report.interface import AlarmEvent, Chart, Window

if TYPE_CHECKING:
    from assay.collect.profile.interface import Column, Profile

_BARS = 40
_CATEGORIES = 12
_DAY = 86_400


def distributions(baseline: Profile, current: Profile) -> Iterator[Chart]:
    """One chart a column that both have something in."""
    kinds = {column.name: column.kind for column in baseline.spec.columns}
    for name, before in baseline.columns.items():
        after = current.columns.get(name)
        if after is not None and (made := distribution(name, before, after, kinds.get(name, Kind.UNKNOWN))):
            yield made


def distribution(name: str, before: Column, after: Column, kind: Kind) -> Chart | None:
    """Baseline (grey) and current (blue line) over each other, as shares; None where there is nothing to draw."""
    if isinstance(before, Numeric) and isinstance(after, Numeric) and before.count:
        return _numbers(name, before, after, kind)
    if isinstance(before, Categories) and isinstance(after, Categories) and before.count:
        return _categories(name, before, after)
    if isinstance(before, Vectors) and isinstance(after, Vectors) and before.count:
        return _numbers(name, before.norms, after.norms, Kind.FRACTIONAL, what="length of the vectors")
    return None


def _numbers(name: str, before: Numeric, after: Numeric, kind: Kind, what: str = "") -> Chart | None:
    import numpy as np

    states = [state for state in (before, after) if state.count]
    ends = np.concatenate([columns.quantiles(state, np.array([0.002, 0.998])) for state in states])
    low, high = float(ends.min()), float(ends.max())
    if not high > low:
        low, high = low - 0.5, high + 0.5
    count = _BARS
    if all(state.integral == state.count for state in states) and high - low < 4 * _BARS:
        low, high = np.floor(low) - 0.5, np.ceil(high) + 0.5
        width = max(1, round((high - low) / _BARS))
        count = int(np.ceil((high - low) / width))
        high = low + width * count
    edges = np.linspace(low, high, count + 1)
    shares = [
        np.diff(columns.below(state, edges)) / max(state.count, 1) if state.count else np.zeros(count)
        for state in (before, after)
    ]
    text = f"{name}: mean {before.mean:.4g} before, {after.mean:.4g} now; {after.count:,} values"
    with figure(f"column-{name}", name + (f" ({what})" if what else ""), text) as (axes, made):
        axes.stairs(shares[0], edges, fill=True, color=BASELINE, alpha=0.45, label="baseline")
        if after.count:
            axes.stairs(shares[1], edges, color=CURRENT, linewidth=1.6, label="now")
        if kind is Kind.TIME:
            _dates(axes, low, high)
        axes.set_ylabel("share of rows")
        axes.set_ylim(0, max(float(shares[0].max()), float(shares[1].max())) * 1.3)  # the legend is above the bars
        axes.legend(loc="upper right", fontsize=8, ncols=2)
    return made[0]


def _categories(name: str, before: Categories, after: Categories) -> Chart | None:
    import numpy as np

    counts = [dict(zip(state.hashes.tolist(), state.counts.tolist(), strict=True)) for state in (before, after)]
    keys = sorted(set(counts[0]) | set(counts[1]), key=lambda key: -max(counts[0].get(key, 0), counts[1].get(key, 0)))
    keys = sorted(
        keys,
        key=lambda key: -(counts[0].get(key, 0) / max(before.count, 1) + counts[1].get(key, 0) / max(after.count, 1)),
    )
    labels = {**after.labels, **before.labels}
    top = [key for key in keys if key in labels][:_CATEGORIES]
    if not top:
        return None
    shares = [
        [count.get(key, 0) / max(state.count, 1) for key in top]
        for count, state in zip(counts, (before, after), strict=True)
    ]
    rest = [1 - sum(share) for share in shares]
    names = [shown(labels[key], 24) or "(empty)" for key in top]
    if max(rest) > 1e-9:
        names.append("others")
        shares = [[*share, max(other, 0.0)] for share, other in zip(shares, rest, strict=True)]
    places = np.arange(len(names))
    text = f"{name}: " + ", ".join(
        f"{label} {old:.0%} before and {new:.0%} now" for label, old, new in zip(names[:5], *shares, strict=False)
    )
    high = max(2.2, 0.24 * len(names) + 0.9)
    with figure(f"column-{name}", name, text, high=high) as (axes, made):
        axes.barh(places - 0.2, shares[0], 0.4, color=BASELINE, alpha=0.6, label="baseline")
        axes.barh(places + 0.2, shares[1], 0.4, color=CURRENT, label="now", hatch="///", edgecolor="white", linewidth=0)
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("share of rows")
        axes.legend(loc="lower right", fontsize=8)
    return made[0]


def drift_over_time(windows: Sequence[Window], events: Sequence[AlarmEvent]) -> Chart | None:
    """How far each column's distance is over its threshold, window by window; 1 is the threshold."""
    series = _drift(windows)
    if not series or len(windows) < 2:
        return None
    worst = sorted(series, key=lambda name: -max(value for _, value in series[name]))
    text = "drift over time: " + ", ".join(
        f"{name} at most {max(value for _, value in series[name]):.2f} of its threshold" for name in worst[:5]
    )
    with figure("drift", "Drift over time (1 is the threshold)", text, wide=9.4, high=3.0) as (axes, made):
        for name in worst[8:]:
            axes.plot(*zip(*series[name], strict=True), color="#cccccc", linewidth=0.8)
        marks = ("o", "s", "^", "D", "v", "P", "X", "*")
        for name, mark in zip(worst[:8], marks, strict=False):
            axes.plot(*zip(*series[name], strict=True), marker=mark, markersize=4, linewidth=1.2, label=shown(name, 24))
        axes.axhline(1.0, color=LIMIT, linestyle="--", linewidth=1.2)
        _alarms(axes, windows, events)
        most = max(1.0, *(value for name in worst for _, value in series[name]))
        if most > 20:
            axes.set_yscale("symlog", linthresh=2)
            axes.yaxis.set_major_formatter("{x:,g}")  # powers of ten are mathematical text, which is switched off
        axes.set_ylim(0, most * (6 if most > 20 else 1.4))  # the legend is above the lines
        axes.legend(loc="upper left", fontsize=8, ncols=4)
        _tidy(axes)
    return made[0]


def _drift(windows: Sequence[Window]) -> dict[str, list[tuple[datetime, float]]]:
    series: dict[str, list[tuple[datetime, float]]] = {}
    for window in windows:
        worst: dict[str, float] = {}
        for check in _checks(window, "drift"):
            limit = check.get("expected")
            value = check.get("observed")
            if isinstance(limit, int | float) and isinstance(value, int | float) and limit > 0 and check.get("feature"):
                worst[check["feature"]] = max(worst.get(check["feature"], 0.0), value / limit)
        for name, value in worst.items():
            series.setdefault(name, []).append((window.end, value))
    return series


def outcomes(windows: Sequence[Window], events: Sequence[AlarmEvent]) -> Chart | None:
    """Each topic's outcome, window by window."""
    topics = list(dict.fromkeys(look["topic"] for window in windows for look in window.looks))
    if not topics or len(windows) < 2:
        return None
    colours = {"holds": GOOD, "violated": BAD, "undecided": UNKNOWN}
    marks = {"holds": "o", "violated": "X", "undecided": "$?$"}
    bad = sum(look["outcome"] == "violated" for window in windows for look in window.looks)
    text = f"outcomes of {len(windows)} windows: {bad} looks with violations"
    with figure("outcomes", "Outcome of each window", text, wide=9.4, high=0.6 + 0.35 * len(topics)) as (axes, made):
        for outcome, colour in colours.items():
            points = [
                (window.end, topics.index(look["topic"]))
                for window in windows
                for look in window.looks
                if look["outcome"] == outcome
            ]
            if points:
                times, rows = zip(*points, strict=True)
                axes.scatter(times, rows, c=colour, marker=marks[outcome], s=36, label=outcome)
        axes.set_yticks(range(len(topics)), topics)
        axes.set_ylim(len(topics) - 0.5, -0.5)
        _alarms(axes, windows, events)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
        _tidy(axes)
    return made[0]


def quality(windows: Sequence[Window]) -> Iterator[Chart]:
    """Each metric of model quality over time with its interval, and the newest window's curves."""
    for metric, points in _quality(windows).items():
        times = [window for window, *_ in points]
        values = [value for _, value, *_ in points]
        limit = points[-1][4]
        text = f"{metric}: {values[-1]:.4g} now" + (f", worst allowed {limit:.4g}" if limit is not None else "")
        with figure(f"quality-{metric}", metric.replace("_", " "), text) as (axes, made):
            low = [value - bottom if bottom is not None else 0.0 for _, value, bottom, *_ in points]
            high = [top - value if top is not None else 0.0 for _, value, _, top, _ in points]
            axes.errorbar(
                times, values, yerr=[low, high], fmt="o-", color=CURRENT, markersize=4, capsize=3, linewidth=1.2
            )
            if limit is not None:
                axes.axhline(limit, color=LIMIT, linestyle="--", linewidth=1.2)
            _tidy(axes)
        yield made[0]


def _quality(
    windows: Sequence[Window],
) -> dict[str, list[tuple[datetime, float, float | None, float | None, float | None]]]:
    series: dict[str, list[tuple[datetime, float, float | None, float | None, float | None]]] = {}
    for window in windows:
        for check in _checks(window, "model-quality"):
            value = check.get("observed")
            if check.get("feature") or not isinstance(value, int | float) or "low" not in check["measures"]:
                continue
            measures = check["measures"]
            limit = check.get("expected")
            series.setdefault(check["check"], []).append(
                (
                    window.end,
                    float(value),
                    measures.get("low"),
                    measures.get("high"),
                    float(limit) if isinstance(limit, int | float) else None,
                )
            )
    return series


def _checks(window: Window, topic: str) -> Iterator[Mapping[str, Any]]:
    for look in window.looks:
        if look["topic"] == topic:
            yield from look["checks"]


def _alarms(axes: Any, windows: Sequence[Window], events: Sequence[AlarmEvent]) -> None:
    """Shade the time in which an alarm stood."""
    start, end = windows[0].end, windows[-1].end
    began: dict[str, datetime] = {}
    for event in sorted(events, key=lambda event: event.time):
        if event.new == "ALARM":
            began.setdefault(event.name, event.time)
        elif event.name in began:
            axes.axvspan(max(began.pop(event.name), start), min(event.time, end), color=BAD, alpha=0.12, linewidth=0)
    for since in began.values():
        if since < end:
            axes.axvspan(max(since, start), end, color=BAD, alpha=0.12, linewidth=0)


def _tidy(axes: Any) -> None:
    from matplotlib import dates

    untyped: Any = dates
    locator = untyped.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))


def _dates(axes: Any, low: float, high: float) -> None:
    from datetime import UTC

    form = "%Y-%m-%d" if high - low > 3 * _DAY else "%m-%d %H:%M"
    ticks = [low + (high - low) * part / 4 for part in range(5)]
    try:
        axes.set_xticks(ticks, [datetime.fromtimestamp(tick, UTC).strftime(form) for tick in ticks])
    except (ValueError, OverflowError, OSError):
        return  # far beyond any calendar: the numbers stay
