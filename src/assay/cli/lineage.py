"""`assay lineage TARGET`: where it comes from, and what became of it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from assay.cli import flags, printing
from assay.cli.main import printable
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.evidence.lineage.interface import Lineage

FORMATS = ("tree", "json", "openlineage", "prov")
PICTURES = ("svg", "html", "dot")


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    flags.target(parser)
    parser.add_argument("--up", action="store_true", help="only where it comes from")
    parser.add_argument("--down", action="store_true", help="only what became of it: models, releases, services")
    parser.add_argument("--depth", type=int, metavar="N", help="at most so many steps away")
    parser.add_argument("--graph", metavar="FILE", help="draw it into FILE.svg, FILE.html or FILE.dot")
    parser.add_argument("-o", "--output", choices=FORMATS, default="tree", help="the answer's form")
    flags.trusting(parser)
    flags.reading(parser)
    flags.evidence(parser)
    flags.output(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Look it up. 0 when something was proved about the target and nothing is known to be missing, else 3."""
    from assay.api.lineage import lineage
    from assay.config import load

    if parsed.path:
        raise UsageError("lineage is about the whole target: --path cannot be combined with it")
    ending = os.path.splitext(parsed.graph)[1][1:].lower() if parsed.graph else None
    if ending is not None and ending not in PICTURES:
        hint = "end its name in .svg, .html or .dot"
        raise UsageError(f"--graph {parsed.graph!r} does not say which kind of picture", hint=hint)
    up, down = parsed.up or not parsed.down, parsed.down or not parsed.up
    made = lineage(
        parsed.target,
        up=up,
        down=down,
        depth=parsed.depth,
        trust=flags.trust_in(parsed),
        directory=parsed.directory,
        options=flags.options(parsed, "reading"),
        config=load(parsed.config),
        progress=None if parsed.quiet or not sys.stderr.isatty() else _progress,
    )
    if parsed.graph:
        from assay.evidence.lineage.writing import picture

        text = picture.page(made, up=up, down=down) if ending == "html" else getattr(picture, str(ending))(made)
        printing.document(text.encode(), parsed.graph)
    form = "json" if parsed.json else parsed.output
    if form != "tree":
        text = json.dumps(_document(form, made), indent=2, sort_keys=True, ensure_ascii=True)
        printing.document(text.encode(), parsed.output_file)
    elif parsed.output_file:
        printing.document("\n".join(_plain(made, up, down)).encode(), parsed.output_file)
    elif not parsed.quiet:
        _print(made, up, down, verbose=parsed.verbose)
    return _told(made, form, quiet=parsed.quiet)


def _document(form: str, made: Lineage) -> Any:
    if form == "json":
        from assay.evidence.lineage.writing import as_json

        return as_json.document(made)
    if form == "prov":
        from assay.evidence.lineage.writing import prov

        return prov.document(made)
    from assay.evidence.lineage.writing import openlineage

    return openlineage.events(made)


def _print(made: Lineage, up: bool, down: bool, *, verbose: bool) -> None:
    from assay.evidence.lineage.writing import tree

    for line in tree.lines(made, up=up, down=down, most=10**9 if verbose else tree.MOST_LINES):
        if line.state == "unproved":
            print(printing.coloured(printable(line.text), "yellow"))
        else:
            printing.line(line.text)
    for text in tree.summary(made, up=up, down=down):
        printing.line(text)


def _plain(made: Lineage, up: bool, down: bool) -> list[str]:
    from assay.evidence.lineage.writing import tree

    lines = [line.text for line in tree.lines(made, up=up, down=down, most=10**9)]
    return [printable(text) for text in (*lines, *tree.summary(made, up=up, down=down), "")]


def _told(made: Lineage, form: str, *, quiet: bool) -> int:
    for note in made.notes:
        printing.note(f"assay: {note}", quiet=quiet)
    if form in ("openlineage", "prov") and (count := sum(not edge.proved for edge in made.edges.values())):
        printing.note(f"assay: {count:,} edge(s) that are not proved are left out", quiet=quiet)
    for reason in made.incomplete:
        printing.note(f"assay: the answer may be incomplete: {reason}")
    if not made.known:
        printing.note(
            "assay: nothing about this target is proved: name who is expected to sign with --key, --identity or "
            "--ca, or in assay.yaml"
        )
    return 0 if made.known and not made.incomplete else 3


def _progress(done: int, total: int) -> None:
    print(f"\r{done:,} of {total:,} statements", end="" if done + 500 <= total else "\r", file=sys.stderr, flush=True)
