"""`assay scan TARGET`, `assay scan --poisoning DATASET`, `assay scan baseline TARGET`, `assay scan allow LIBRARY`."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

from assay.cli import flags, printing, scan_poisoning
from assay.errors import UsageError

FORMATS = ("table", "json", "sarif", "statement", "attest")


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.usage = (
        "assay scan [options] TARGET\n"
        "       assay scan --poisoning [options] DATASET\n"
        "       assay scan baseline TARGET -O FILE --until DATE --reason TEXT\n"
        "       assay scan allow LIBRARY [-O FILE]"
    )
    flags.target(parser)
    # "baseline" and "allow" are words of this command only with a second one behind them: a folder may be called so.
    parser.add_argument("name", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--models", action="store_true", help="scan model files for code that loading runs (default)")
    parser.add_argument(
        "-o",
        "--output",
        choices=FORMATS,
        default="table",
        help="table (default), json, sarif, statement, attest (signed and kept)",
    )
    group = parser.add_argument_group("what makes it fail")
    group.add_argument(
        "--fail-on",
        action="append",
        default=[],
        metavar="WHAT",
        help="unknown (default), code, unreadable or malicious, each with all that is worse; findings:SEVERITY "
        "(default for --poisoning: findings:medium)",
    )
    group.add_argument("--baseline", metavar="FILE", help="signed findings that somebody accepts")
    group.add_argument(
        "--baseline-key", action="append", default=[], metavar="FILE", help="who may accept them (public key, PEM)"
    )
    group = parser.add_argument_group("earlier scans")
    group.add_argument("--no-cache", action="store_true", help="scan every file again, remember nothing")
    group.add_argument(
        "--trust-cache",
        action="store_true",
        help="let also evidence rest on unchanged time stamps (a table, JSON and SARIF do)",
    )
    group = parser.add_argument_group("for 'scan baseline'")
    group.add_argument("--until", metavar="DATE", help="end of the acceptance: 2026-12-31, or 90d from now")
    group.add_argument("--reason", metavar="TEXT", help="why the findings are acceptable")
    scan_poisoning.configure(parser)
    flags.making(parser, run)


def run(parsed: argparse.Namespace) -> int:
    """Scan, or one of the other two."""
    if parsed.name is not None:
        others = {"baseline": _baseline, "allow": _allow}
        if parsed.target not in others:
            raise UsageError(f"{parsed.name!r} is one target too many", hint="scan one target at a time")
        if parsed.poisoning:
            raise UsageError(f"'assay scan {parsed.target}' is not for data sets: leave out --poisoning")
        scan_poisoning.refuse_without(parsed)
        return others[parsed.target](parsed)
    if parsed.until or parsed.reason:
        raise UsageError("--until and --reason are for 'assay scan baseline TARGET'")
    output = "json" if parsed.json and parsed.output == "table" else parsed.output
    if parsed.output_file and output == "table":
        output = "json"
    if parsed.poisoning:
        return scan_poisoning.run(parsed, output)
    scan_poisoning.refuse_without(parsed)
    return _scan(parsed, output)


def _scan(parsed: argparse.Namespace, output: str) -> int:
    from assay.api.scanning import scan
    from assay.cli import scan_table

    made = scan(
        parsed.target,
        output=output,
        fail_on=parsed.fail_on,
        baseline=parsed.baseline,
        baseline_keys=parsed.baseline_key,
        use_cache=not parsed.no_cache,
        progress=None if parsed.quiet else scan_table.progress("scanning"),
        **flags.made_with(parsed, "reading"),
    )
    for warning in made.warnings:
        printing.note(f"assay: {warning}", quiet=parsed.quiet)
    if output == "attest":
        if parsed.output_file:
            printing.document(made.document, parsed.output_file)
        _attested(parsed, made)
    elif output != "table":
        printing.document(made.document, parsed.output_file)
        if made.ignored:
            printing.note(f"{len(made.ignored):,} ignored name(s) are no part of it", quiet=parsed.quiet)
    if (output == "table" or parsed.output_file) and not parsed.json and not (parsed.quiet and made.exit_code == 0):
        scan_table.show(made, verbose=parsed.verbose)
    return made.exit_code


def _attested(parsed: argparse.Namespace, made: object) -> None:
    from assay.api.scanning import Scanned
    from assay.cli import scan_table

    assert isinstance(made, Scanned)
    if parsed.json:
        printing.as_json(
            {
                "reference": made.reference,
                "contents": made.contents,
                "verdict": made.result.tier.value,
                "by": made.by,
                "entry": made.entry,
                "store": made.store,
            }
        )
    elif not parsed.quiet:
        printing.line(f"attested {made.reference}: scan, {scan_table.counts(made)}")
        printing.line(f"  by        {made.by}")
        printing.line(f"  contents  sha256:{made.contents}")
        printing.line(f"  evidence  {(made.entry or '')[:12]} in {printing.place(made.store or '')}")
        if made.exit_code:
            scan_table.show(made, verbose=parsed.verbose)


def _baseline(parsed: argparse.Namespace) -> int:
    from assay.api.scanning import accept
    from assay.cli import scan_table
    from assay.config import load

    for flag, value in (("-O FILE", parsed.output_file), ("--until DATE", parsed.until), ("--reason", parsed.reason)):
        if not value:
            raise UsageError(f"'assay scan baseline' needs {flag}")
    made = accept(
        parsed.name,
        parsed.output_file,
        until=_until(parsed.until, datetime.now(UTC)),
        reason=parsed.reason,
        signer_choice=flags.sign_with(parsed),
        options=flags.options(parsed, "reading"),
        config=load(parsed.config),
        progress=None if parsed.quiet else scan_table.progress("scanning"),
    )
    if parsed.json:
        printing.as_json({"reference": made.reference, "findings": made.findings, "path": made.path, "by": made.by})
    else:
        printing.note(f"{made.findings:,} finding(s) in {made.reference} accepted, signed by {made.by}")
        if made.left_out:
            printing.note(f"{made.left_out:,} finding(s) are in files that could not be read: they cannot be accepted")
    return 0


def _until(text: str, now: datetime) -> datetime:
    """A date (its end), a time, or a number of days from now."""
    if text[:-1].isascii() and text[:-1].isdigit() and text.endswith("d") and len(text) <= 5:
        return (now + timedelta(days=int(text[:-1]))).replace(microsecond=0)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--until {text!r} is not a date", hint="write 2026-12-31, or 90d") from None
    if len(text) == 10:
        time = time.replace(hour=23, minute=59, second=59)
    return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _allow(parsed: argparse.Namespace) -> int:
    from assay.collect.scan.models.rules.deriving import derive
    from assay.collect.scan.models.rules.lists import render

    made = derive(parsed.name)
    printing.document(render(made.listed), parsed.output_file)
    for name, why in made.refused.items() if parsed.verbose else ():
        printing.note(f"left out: {name}: {why}")
    printing.note(f"{len(made.refused):,} class(es) left out", quiet=parsed.quiet or not made.refused)
    return 0
