"""The page: one HTML file without scripts and addresses, that opens anywhere, prints well, and says it in words too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from assay.watch.report import charts
from assay.watch.report.drawing import shown
from assay.watch.report.interface import Chart, Material

_STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:1080px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem;border-bottom:1px solid #ddd}
.sub{color:#666}table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;color:#555;font-weight:600}td,th{padding:.25rem .6rem .25rem 0;vertical-align:top;
border-bottom:1px solid #eee}
.word{display:inline-block;min-width:6.5em;font-weight:600}
.good::before{content:"\\2713  ";color:#009e73}.bad::before{content:"\\2717  ";color:#d55e00}
.unknown::before{content:"?  ";color:#b57d00}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(440px,1fr));gap:.5rem 1rem}
.grid>figure,.wide{margin:0;break-inside:avoid}svg{max-width:100%;height:auto}
.mono{font-family:ui-monospace,monospace;font-size:12px;overflow-wrap:anywhere}
@media print{body{max-width:none;margin:0;font-size:11px}.grid{grid-template-columns:1fr 1fr}h2{break-after:avoid}}
"""

_WORDS = {"holds": ("good", "ok"), "violated": ("bad", "violations"), "undecided": ("unknown", "undecided")}
_STATES = {"OK": "good", "ALARM": "bad", "INSUFFICIENT_DATA": "unknown"}

MOST_CHECKS = 200
"""Checks of one look that are listed in words."""


def draw(material: Material) -> list[Chart]:
    """Every chart of the page, in its order. Raises `MissingExtraError`."""
    over_time = (
        charts.outcomes(material.windows, material.events),
        charts.drift_over_time(material.windows, material.events),
    )
    return [
        *(chart for chart in over_time if chart is not None),
        *charts.quality(material.windows),
        *charts.distributions(material.baseline, material.current),
    ]


def page(material: Material, drawn: Sequence[Chart]) -> str:
    """The whole file; ``drawn`` is what `draw` made of the same material."""
    columns = [chart for chart in drawn if chart.name.startswith("column-")]
    quality = [chart for chart in drawn if chart.name.startswith("quality-")]
    times = [chart for chart in drawn if chart not in columns and chart not in quality]
    last = material.windows[-1].looks if material.windows else ()
    title = escape(shown(material.title, 200))
    body = [
        f"<h1>{title}</h1>",
        f'<p class="sub">{material.current.rows:,} rows against a baseline of {material.baseline.rows:,}. '
        f"Made {material.made:%Y-%m-%d %H:%M} UTC.</p>",
        *(f'<p class="sub">{escape(shown(note, 400))}</p>' for note in material.notes),
        "<h2>Overview</h2>",
        _overview(last),
        _alarms(material),
        *(_figure(chart, "wide") for chart in times),
        _violations(last),
        *_section("Quality", quality),
        *_section("Columns: baseline and now", columns),
        "<h2>What this rests on</h2>",
        f'<p class="mono">baseline profile sha256:{escape(material.baseline.digest)}<br>'
        f"this window's profile sha256:{escape(material.current.digest)}</p>",
    ]
    return document(title, body)


def document(title: str, body: Sequence[str]) -> str:
    """A whole file of our look; ``title`` and ``body`` are HTML already."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>" + "\n".join(body) + "</body></html>\n"
    )


def _section(title: str, drawn: Sequence[Chart]) -> list[str]:
    if not drawn:
        return []
    return [f"<h2>{title}</h2>", '<div class="grid">', *(_figure(chart) for chart in drawn), "</div>"]


def _figure(chart: Chart, name: str = "") -> str:
    return f'<figure class="{name}">{chart.svg}</figure>'


def _overview(looks: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for look in looks:
        colour, word = _WORDS[look["outcome"]]
        wrong = sum(check["outcome"] == "violated" for check in look["checks"])
        rows.append(
            f'<tr><td>{escape(look["topic"])}</td><td><span class="word {colour}">{word}</span></td>'
            f"<td>{look['samples']:,}</td><td>{len(look['checks']):,}</td><td>{wrong:,}</td></tr>"
        )
    head = "<tr><th>topic</th><th>outcome</th><th>rows</th><th>checks</th><th>do not hold</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def _alarms(material: Material) -> str:
    if not material.alarms:
        return ""
    rows = [
        f'<tr><td>{escape(shown(alarm.name))}</td><td><span class="word {_STATES[alarm.state]}">{alarm.state}</span>'
        f"</td><td>{alarm.since:%Y-%m-%d %H:%M}</td><td>{escape(shown(alarm.reason, 300))}</td></tr>"
        for alarm in material.alarms
    ]
    return (
        "<h2>Alarms</h2><table><tr><th>alarm</th><th>state</th><th>since (UTC)</th><th>why</th></tr>"
        + "".join(rows)
        + "</table>"
    )


def _violations(looks: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for look in looks:
        listed = [check for check in look["checks"] if check["outcome"] != "holds"]
        for check in listed[:MOST_CHECKS]:
            colour, _ = _WORDS[check["outcome"]]
            about = check["feature"] if check["feature"] is not None else look["topic"]
            rows.append(
                f'<tr><td><span class="{colour}">{escape(shown(str(about)))}</span></td>'
                f"<td>{escape(check['check'])}</td><td>{escape(shown(check['message'], 500))}</td></tr>"
            )
        if len(listed) > MOST_CHECKS:
            rows.append(f"<tr><td>and {len(listed) - MOST_CHECKS:,} more</td><td></td><td></td></tr>")
    if not rows:
        return ""
    head = "<tr><th>what</th><th>check</th><th>in words</th></tr>"
    return f"<h2>What does not hold, or could not be told</h2><table>{head}{''.join(rows)}</table>"
