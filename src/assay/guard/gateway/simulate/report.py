"""A simulation in words and as JSON. Pure; the page with the picture is made on the floor above."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from assay.guard.gateway.simulate import meaning
from assay.guard.gateway.simulate.interface import Report

SOURCES = {
    "random": "random",
    "knock-off": "knock-off",
    "jacobian": "Jacobian",
    "in-distribution": "in-distribution",
}
"""Sources of an extraction's queries, as people call them."""

SETTINGS = ("setting", *SOURCES.values(), "confidence", "learned", "copies", "inversion", "accuracy", "change")
"""Heads of the first table; the first four of the figures are fidelities, the next three areas."""

STREAMS = ("attack", "flagged after", "share", "schema after", "copy then", "copy in the end", "by")
"""Heads of the second one."""


def as_json(report: Report) -> dict[str, Any]:
    """Everything, for machines."""
    made: dict[str, Any] = msgspec.to_builtins(report, str_keys=True)
    made["assay-simulation"] = 1
    made["budgets"] = list(budgets(report))
    return made


def settings_rows(report: Report) -> Iterator[tuple[str, ...]]:
    """The first table: what each setting does."""
    for one in report.outcomes:
        yield (
            one.setting.name + (" *" if one.setting.own else ""),
            *(f"{one.extraction[source][report.queries]:.2f}" for source in SOURCES),
            *(f"{one.membership[name]:.2f}" for name in ("confidence", "learned", "copies")),
            f"{one.inversion:.2f}",
            f"{one.accuracy:.3f}",
            f"{one.change:.3f}",
        )


def stream_rows(report: Report) -> Iterator[tuple[str, ...]]:
    """The second table: what the detectors see."""
    if report.detection is None:
        return
    for one in report.detection.streams:
        yield (
            one.attack,
            f"{one.median:,}" if one.median is not None else "never",
            f"{one.seen:.0%}",
            f"{one.refused:,}" if one.refused is not None else "never",
            f"{one.stopped:.2f}" if one.stopped is not None else "",
            f"{one.fidelity:.2f}" if one.fidelity is not None else "",
            ", ".join(one.signals),
        )


def head(report: Report) -> Iterator[str]:
    """What was simulated, and on what."""
    yield (
        f"{report.model}: {report.columns:,} columns, {report.classes:,} classes; {report.members:,} members, "
        f"{report.others:,} other rows; attacks of {report.queries:,} queries, seed {report.seed}"
    )
    yield (
        f"accuracy {report.trained:.3f} on members, {report.accuracy:.3f} on others"
        + ("" if report.proper else " (which the model may have seen)")
    )


def sentences(report: Report) -> Iterator[tuple[str, str]]:
    """What the figures mean: what it is about, and the sentence."""
    for one in report.outcomes:
        yield one.setting.name, one.meaning
    if report.detection is not None:
        yield (
            "honest callers",
            f"{report.detection.honest:.1%} of {report.detection.callers} honest callers are flagged in "
            f"{report.detection.queries:,} queries each.",
        )
        for stream in report.detection.streams:
            yield stream.attack, stream.meaning
    for text in budgets(report):
        yield "budget", text


def budgets(report: Report) -> Iterator[str]:
    """What plans do to the strongest extraction of answers as they are."""
    for plan, rows in report.budget.items():
        yield meaning.budget(plan, rows, report.outcomes[0])
    if not report.budget:
        source, queries, fidelity = meaning.strongest(report.outcomes[0])
        yield (
            f"No plan limits rows: {queries:,} {source} queries (a copy of {fidelity:.0%}) take a caller as long "
            "as asking takes."
        )
