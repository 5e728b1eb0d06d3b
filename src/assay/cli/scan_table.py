"""A scan as a table, and how far it is: words for people about what strangers' files hold."""

from __future__ import annotations

import atexit
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from assay.cli import printing

if TYPE_CHECKING:
    from assay.api.scanning import Scanned
    from assay.collect.scan.models.interface import FileResult, Finding

SHOWN_FILES = 20
"""Files that are shown one by one; all of them with --verbose or --json."""

SHOWN_FINDINGS = 5
"""Findings of one file that are shown."""

_COLOURS = {"safe": "green", "none": "green", "unknown": "yellow", "findings": "yellow"}
"""Everything else is red."""

_WAIT = 0.5
"""Seconds after which a wait is long enough to explain."""

_PLAIN_EVERY = 10.0
"""Seconds between plain lines."""


def show(made: Scanned, *, verbose: bool) -> None:
    """The answer, the files that are to be looked at, and what was left out."""
    from assay.collect.scan.models.predicate import verdict

    result = made.result
    word = verdict(result)
    print(printing.coloured(word, _COLOURS.get(word, "red")), end=" ")
    printing.line(f"{made.reference}: {counts(made)}")
    shown = [item for item in result.files if verbose or _worth(item, made)]
    shown.sort(key=lambda item: (-item.tier.rank, item.path))
    told: set[str] = set()
    for item in shown if verbose else shown[:SHOWN_FILES]:
        for text in _file(item, made, told, verbose=verbose):
            printing.line(text)
    if not verbose and len(shown) > SHOWN_FILES:
        printing.line(f"  … and {len(shown) - SHOWN_FILES:,} more files (--verbose lists them)")
    for path, why in result.skipped.items():
        printing.line(f"  not scanned  {path}: {why}")
    if made.ignored:
        few = ", ".join(made.ignored if verbose else made.ignored[:5])
        printing.line(f"  left out: {few}{' …' if not verbose and len(made.ignored) > 5 else ''}")
    if made.baseline.marks and made.baseline.until is not None:
        until = f"{made.baseline.until:%Y-%m-%d}"
        printing.line(f"  accepted until {until} by {made.baseline.by}: {made.baseline.reason}")


def counts(made: Scanned) -> str:
    """``3 files: 1 malicious, 2 safe (2 known from an earlier scan)``."""
    files = made.result.files
    tiers = Counter(item.tier for item in files)
    parts = [f"{tiers[tier]:,} {tier.value}" for tier in sorted(tiers, key=lambda tier: -tier.rank)]
    cached = sum(item.cached for item in files)
    return (
        f"{len(files):,} {'file' if len(files) == 1 else 'files'}: {', '.join(parts)}"
        + (f" ({cached:,} known from an earlier scan)" if cached else "")
        + (f", {len(made.result.skipped):,} not scanned" if made.result.skipped else "")
    )


def _worth(item: FileResult, made: Scanned) -> bool:
    return item.tier.rank > 1 or any(finding.severity not in ("info", "low") for finding in item.findings)


def _file(item: FileResult, made: Scanned, told: set[str], *, verbose: bool) -> Iterator[str]:
    form = f" ({item.format})" if item.format else ""
    accepted = " [accepted]" if item.findings and made.baseline.tier(item) is not item.tier else ""
    yield f"  {item.tier.value:<11}  {item.path}{form}{accepted}"
    findings = sorted(item.findings, key=lambda finding: -finding.tier.rank)
    for finding in findings if verbose else findings[:SHOWN_FINDINGS]:
        yield from _finding(item, finding, made, told)
    if not verbose and len(findings) > SHOWN_FINDINGS:
        yield f"    … and {len(findings) - SHOWN_FINDINGS:,} more findings"


def _finding(item: FileResult, finding: Finding, made: Scanned, told: set[str]) -> Iterator[str]:
    """``told`` is the advice that was given: the same is not given twice."""
    place = f" in {finding.member}" if finding.member else ""
    place += f" at byte {finding.offset:,}" if finding.offset is not None else ""
    accepted = " (accepted)" if made.baseline.accepts(item, finding) else ""
    yield f"    {finding.severity.value:<8}  {finding.rule}{place}: {finding.message}{accepted}"
    if finding.call and finding.call not in finding.message:
        yield f"              {finding.call}"
    if finding.mitigation and finding.mitigation not in told:
        told.add(finding.mitigation)
        yield f"              → {finding.mitigation}"


def progress(label: str) -> Callable[[int, int], None]:
    """A callback for (files done, files in all): a bar on a terminal, a line now and then elsewhere."""
    return _Bar(label) if sys.stderr.isatty() else _Lines(label)


class _Lines:
    def __init__(self, label: str) -> None:
        self._label = label
        self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said >= _PLAIN_EVERY:
            self._said = now
            print(f"{self._label}: {done:,} of {total:,} files", file=sys.stderr, flush=True)


class _Bar:
    def __init__(self, label: str) -> None:
        self._label = label
        self._started = time.monotonic()
        self._bar: object | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None and (done >= total or time.monotonic() - self._started < _WAIT):
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Rich

        if self._bar is None:
            bar = Rich(
                "{task.description}",
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
                auto_refresh=False,  # a refreshing thread would forbid forking workers
            )
            bar.start()
            atexit.register(bar.stop)  # an interrupted command gives the terminal its cursor back, too
            bar.add_task(self._label, total=total, completed=done, rate="")
            self._bar = bar
        assert isinstance(self._bar, Rich)
        rate = done / max(time.monotonic() - self._started, _WAIT)  # rich's own is None until it has seen two steps
        self._bar.update(self._bar.task_ids[0], completed=done, rate=f"{rate:,.0f}/s")
        if done % 16 == 0 or done >= total:
            self._bar.refresh()
        if done >= total:
            self._bar.stop()
            self._bar = None
