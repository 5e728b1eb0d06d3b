"""`assay bom TARGET`."""

from __future__ import annotations

import argparse

from assay.cli import flags, printing


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    flags.target(parser)
    parser.add_argument(
        "-o",
        "--output",
        default="json",
        metavar="FORMAT",
        help="json (CycloneDX 1.6, default), statement, attest (signed and kept), spdx-json (SPDX 3.0), table",
    )
    flags.making(parser, run)


def run(parsed: argparse.Namespace) -> int:
    """Describe."""
    from assay.api.describing import bom

    made = bom(parsed.target, format=parsed.output, **flags.made_with(parsed, "reading"))
    if made.format != "attest":
        printing.document(made.document, parsed.output_file)
        return 0
    if parsed.output_file:
        printing.document(made.document, parsed.output_file)
    if parsed.json:
        printing.as_json(
            {
                "reference": made.reference,
                "contents": made.contents,
                "by": made.by,
                "entry": made.entry,
                "store": made.store,
            }
        )
    elif not parsed.quiet:
        printing.line(f"attested {made.reference}: bill of materials")
        printing.line(f"  by        {made.by}")
        printing.line(f"  contents  sha256:{made.contents}")
        printing.line(f"  evidence  {(made.entry or '')[:12]} in {printing.place(made.store or '')}")
    return 0
