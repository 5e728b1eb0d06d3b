"""`assay report --framework F`: how far the evidence in a store covers a framework."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from assay.cli import flags, printing
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.policy.coverage.interface import Report

FRAMEWORKS = ("atlas", "airmf", "slsa", "ssdf", "owasp-ml", "owasp-llm", "eu-ai-act")
FORMATS = ("html", "markdown", "json", "csv", "oscal", "navigator")
ENDINGS = {"html": "html", "htm": "html", "md": "markdown", "json": "json", "csv": "csv"}
"""The format that a file's ending means where none is named."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("--framework", required=True, choices=FRAMEWORKS, help="in whose terms")
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", *FORMATS),
        help="the report's form (default: by the file's ending, else text)",
    )
    parser.add_argument("--since", metavar="DATE", help="only evidence added since then (2026-01-31)")
    flags.trusting(parser)
    flags.evidence(parser)
    flags.output(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Report. Reporting accepts and rejects nothing: the exit code is 0 once there is a report."""
    from assay.api.reporting import report
    from assay.config import load

    made = report(
        parsed.framework,
        trust=flags.trust_in(parsed),
        directory=parsed.directory,
        config=load(parsed.config),
        since=_date(parsed.since),
        progress=None if parsed.quiet or not sys.stderr.isatty() else _progress,
    )
    for warning in made.warnings:
        printing.note(f"assay: {warning}", quiet=parsed.quiet)
    form = "json" if parsed.json else parsed.output or _form(parsed.output_file)
    if form == "text" and parsed.output_file is None:
        _print(made, verbose=parsed.verbose)
        return 0
    from assay.policy.coverage import FORMATS as writers

    printing.document(writers["markdown" if form == "text" else form](made), parsed.output_file)
    if parsed.output_file:
        from assay.policy.coverage import wording

        printing.note(wording.summary(made), quiet=parsed.quiet)
    return 0


def _form(path: str | None) -> str:
    return ENDINGS.get(path.rpartition(".")[2].lower(), "text") if path else "text"


def _date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--since {text!r} is not a date", hint="write 2026-01-31") from None
    return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _progress(done: int, total: int) -> None:
    print(f"\r{done:,} of {total:,} attestations", end="" if done + 100 <= total else "\r", file=sys.stderr, flush=True)


def _print(made: Report, *, verbose: bool) -> None:
    from assay.policy.coverage import wording
    from assay.policy.coverage.interface import State

    printing.line(wording.summary(made))
    for section in made.sections:
        printing.line(f"\n{section.name}")
        for row in section.rows:
            if verbose or row.highlighted or row.state in (State.EVIDENCE, State.CONFIGURATION):
                former = f" (formerly {', '.join(row.aliases)})" if row.aliases else ""
                printing.line(f"  {wording.WORDS[row.state].symbol} {row.id:<18} {row.name}{former}")
                printing.line(f"    {row.why}")
    if made.characteristics:
        printing.line("\nCharacteristics of trustworthy AI")
        for item in made.characteristics:
            printing.line(f"  {wording.WORDS[item.state].symbol} {item.name}: {item.why}")
    steps = wording.next_steps(made)
    if steps:
        printing.line("\nWhat to do next")
        for number, step in enumerate(steps, 1):
            printing.line(f"  {number}. {step.title} (moves {step.rows} row(s)): {step.how}")
    if not verbose:
        printing.line("\nAll rows: --verbose. A page to read and share: -O report.html")
