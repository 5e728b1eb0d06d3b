"""The page of a simulation: one HTML file with its picture, that says in words what each figure means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from assay.guard.gateway.simulate import report as words
from assay.guard.gateway.simulate.interface import Report
from assay.watch.report.drawing import BASELINE, LIMIT, figure, shown
from assay.watch.report.page import document

if TYPE_CHECKING:
    from assay.watch.report.interface import Chart

_SIZE = (9.6, 3.2)
"""Inches of a picture."""


def page(report: Report) -> bytes:
    """The whole file. Raises `MissingExtraError` without matplotlib."""
    title = f"What attackers learn from {shown(report.model)}"
    parts = [f"<h1>{escape(title)}</h1>", *(_text(line) for line in words.head(report))]
    parts += [_figure(chart) for chart in (_copies(report), _membership(report))]
    parts += ["<h2>Settings</h2>", _table(words.SETTINGS, words.settings_rows(report)), _text(_LEGEND)]
    if any(one.setting.own for one in report.outcomes):
        parts.append(_text("* from your own file"))
    if report.detection is not None:
        parts += [
            "<h2>Detectors</h2>",
            _text(
                f"{report.detection.honest:.1%} of {report.detection.callers} honest callers are flagged; they "
                f"and each attacker ask {report.detection.queries:,} times."
            ),
            _figure(_alarms(report)),
            _table(words.STREAMS, words.stream_rows(report)),
        ]
    parts += ["<h2>What this means</h2>", _table(("about", "in words"), words.sentences(report))]
    parts += ["<h2>What does not help</h2>", *(_text(note) for note in report.notes)]
    return document(escape(title), parts).encode()


_LEGEND = (
    "Under the names of sources: how often a copy made of that many queries answers as the model does on honest rows. "
    "Confidence, learned, copies: the area under the ROC curve of three ways to tell who was in the training, 0.5 is "
    "guessing. Inversion: how alike a class and what is reconstructed of it are. Accuracy and change are what honest "
    "callers see: right labels, and how far off a probability is on average."
)


def _text(text: str) -> str:
    return f'<p class="sub">{escape(shown(text, 1000))}</p>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(shown(cell, 1000))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _figure(chart: Chart) -> str:
    return f'<figure class="wide">{chart.svg}</figure>'


def _copies(report: Report) -> Chart:
    """Fidelity of copies by source, one group of bars a setting."""
    names = [one.setting.name for one in report.outcomes]
    title = f"How good a copy {report.queries:,} queries make, by setting"
    alt = "; ".join(f"{row[0]}: " + ", ".join(row[1:5]) for row in words.settings_rows(report))
    with figure("copies", title, alt, wide=_SIZE[0], high=_SIZE[1]) as (axes, made):
        width = 0.8 / len(words.SOURCES)
        for i, (source, name) in enumerate(words.SOURCES.items()):
            places = [j + (i - (len(words.SOURCES) - 1) / 2) * width for j in range(len(names))]
            values = [one.extraction[source][report.queries] for one in report.outcomes]
            axes.bar(places, values, width * 0.92, label=name, hatch=("", "//", "..", "xx")[i], edgecolor="white")
        axes.set_xticks(range(len(names)), [shown(name, 16) for name in names])
        axes.set_ylim(0, 1.2)
        axes.set_ylabel("answers like the model")
        axes.legend(loc="upper center", ncols=4, fontsize=8)
    return made[0]


def _membership(report: Report) -> Chart:
    """Areas of membership inference, before and in each setting."""
    names = [one.setting.name for one in report.outcomes]
    title = "Membership inference, by setting: 0.5 is guessing"
    alt = "; ".join(f"{row[0]}: " + ", ".join(row[5:8]) for row in words.settings_rows(report))
    with figure("membership", title, alt, wide=_SIZE[0], high=_SIZE[1]) as (axes, made):
        for name, mark in (("confidence", "o"), ("learned", "s"), ("copies", "^")):
            values = [one.membership[name] for one in report.outcomes]
            axes.plot(range(len(names)), values, marker=mark, linestyle="none", label=name)
        axes.axhline(0.5, color=BASELINE, linewidth=1, linestyle="--")
        axes.set_xticks(range(len(names)), [shown(name, 16) for name in names])
        axes.set_ylim(0.4, 1.05)
        axes.set_ylabel("area under the curve")
        axes.legend(loc="upper right", ncols=3, fontsize=8)
    return made[0]


def _alarms(report: Report) -> Chart:
    """Queries until half of the attackers are flagged."""
    assert report.detection is not None
    streams = report.detection.streams
    never = report.detection.queries * 2
    alt = "; ".join(f"{row[0]}: {row[1]}" for row in words.stream_rows(report))
    with figure("alarms", "Queries until half of the attackers are flagged", alt, wide=9.6, high=3.0) as (axes, made):
        values = [one.median if one.median is not None else never for one in streams]
        colours = [LIMIT if one.median is None else "#0072b2" for one in streams]
        axes.barh(range(len(streams)), values, color=colours)
        for i, one in enumerate(streams):
            axes.text(
                values[i] * 1.05, i, f"{one.median:,}" if one.median is not None else "never", va="center", fontsize=8
            )
        axes.set_yticks(range(len(streams)), [one.attack for one in streams])
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
        axes.set_xticks([], minor=True)
        axes.set_xlim(0.8, never * 3)
    return made[0]
