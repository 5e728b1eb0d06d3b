"""`assay monitor report NAME`: what a monitor saw, as one page and as pictures."""

from __future__ import annotations

import argparse
from typing import Any

from assay.cli import printing
from assay.cli.monitor_jobs import DEFAULT


def configure(actions: Any) -> None:
    """The action's flags."""
    parser = actions.add_parser("report", help="what a monitor saw, as one HTML page and as pictures")
    parser.add_argument("name", metavar="NAME", help="the monitor")
    parser.add_argument("-f", "--file", default=DEFAULT, metavar="FILE", help=f"the monitors file (default {DEFAULT})")
    parser.add_argument("-O", "--output-file", metavar="FILE", help="the page (default: NAME.html)")
    parser.add_argument("--pictures", metavar="DIR", help="each chart as SVG and PNG, too")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Draw it."""
    from assay.api.monitor_pictures import of_monitor, write
    from assay.watch.settings import load

    written = write(
        of_monitor(load(parsed.file), parsed.name), parsed.output_file or f"{parsed.name}.html", parsed.pictures
    )
    if not parsed.quiet:
        printing.line(f"wrote {written[0]}" + (f" and {len(written) - 1} pictures" if len(written) > 1 else ""))
    return 0
