"""`assay attest TARGET --type TYPE --predicate FILE`."""

from __future__ import annotations

import argparse

from assay.cli import flags, printing


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    flags.target(parser)
    parser.add_argument("--predicate", required=True, metavar="FILE", help="the report: SARIF, JUnit, an evaluation, …")
    parser.add_argument("--type", metavar="TYPE", help="predicate type: a URI or a short name (default: by the report)")
    flags.making(parser, run)


def run(parsed: argparse.Namespace) -> int:
    """Attest."""
    from assay.api.attesting import attest
    from assay.cli.sign import summary

    made = attest(parsed.target, parsed.predicate, type=parsed.type, **flags.made_with(parsed, "reading"))
    if parsed.output_file:
        printing.document(made.bundle, parsed.output_file)
    if parsed.json:
        printing.as_json(summary(made))
    elif not parsed.quiet:
        printing.line(f"attested {made.reference}: {made.predicate_type}")
        printing.line(f"  by        {made.by}")
        printing.line(f"  contents  sha256:{made.contents}")
        printing.line(f"  evidence  {(made.entry or '')[:12]} in {printing.place(made.store or '')}")
    return 0
