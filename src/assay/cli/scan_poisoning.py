"""`assay scan --poisoning DATASET`: its flags, and its answer in words."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from assay.cli import flags, printing
from assay.errors import TargetError, UsageError

if TYPE_CHECKING:
    from assay.api.poisoning import Examined
    from assay.collect.scan.poisoning.settings import Section

_COLOURS = {"safe": "green", "none": "green", "unknown": "yellow", "findings": "yellow"}
"""Everything else is red."""

_ONLY = (
    "text",
    "source",
    "ignore_column",
    "no_label",
    "embeddings",
    "since",
    "since_key",
    "sample",
    "seed",
    "pictures",
)
"""Flags that mean nothing without ``--poisoning``."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument(
        "--poisoning", action="store_true", help="scan a data set (table, texts, embeddings) for poisoned rows"
    )
    group = parser.add_argument_group("for --poisoning (defaults: assay.yaml; --label COLUMN names the labels' column)")
    group.add_argument("--no-label", action="store_true", help="no column has labels")
    group.add_argument("--text", action="append", default=[], metavar="COLUMN", help="a column with text (repeatable)")
    group.add_argument("--source", metavar="COLUMN", help="column that says who contributed a row")
    group.add_argument(
        "--ignore-column", action="append", default=[], metavar="COLUMN", help="a column that is no content"
    )
    group.add_argument("--embeddings", metavar="FILE", help="a vector for each row, in the rows' order (.npy, .npz)")
    group.add_argument(
        "--since",
        action="append",
        default=[],
        metavar="VERSION",
        help="an attested earlier version: a path or target, @REVISION in git, or its digest (repeatable)",
    )
    group.add_argument(
        "--since-key", action="append", default=[], metavar="FILE", help="who must have attested it (public key, PEM)"
    )
    group.add_argument("--sample", type=int, metavar="N", help="so many rows of a larger data set are enough")
    group.add_argument("--seed", type=int, metavar="N", help="of every random step (default: 0)")
    group.add_argument("--pictures", metavar="DIR", help="write pictures (SVG) of the rows and the reasons here")


def refuse_without(parsed: argparse.Namespace) -> None:
    """Stops: flags that a scan of models would silently pass over."""
    for name in _ONLY:
        if getattr(parsed, name) not in (None, False, []):
            raise UsageError(f"--{name.replace('_', '-')} is for 'assay scan --poisoning DATASET'")


def run(parsed: argparse.Namespace, output: str) -> int:
    """Scan the data set."""
    from assay.api.poisoning import examine

    for name in ("models", "baseline", "baseline_key"):
        if getattr(parsed, name):
            raise UsageError(f"--{name.replace('_', '-')} cannot be combined with --poisoning")
    section = _section(parsed)
    made = examine(
        parsed.target,
        output=output,
        chosen=section,
        progress=_progress(parsed.quiet),
        **flags.made_with(parsed, "reading"),
    )
    for warning in made.warnings:
        printing.note(f"assay: {warning}", quiet=parsed.quiet)
    if parsed.pictures:
        _draw(made, parsed.pictures, quiet=parsed.quiet)
    if output == "attest":
        if parsed.output_file:
            printing.document(made.document, parsed.output_file)
        _attested(parsed, made)
    elif output != "table":
        printing.document(made.document, parsed.output_file)
    if (output == "table" or parsed.output_file) and not parsed.json and not (parsed.quiet and made.exit_code == 0):
        _show(made, verbose=parsed.verbose)
    if made.exit_code == 3:
        for why in made.undecided:
            printing.note(f"assay: not decided: {why}", quiet=parsed.quiet)
    return made.exit_code


def _section(parsed: argparse.Namespace) -> Section:
    """What the flags choose. ``--label`` without a ``=`` names a column, with one it is a label of the evidence."""
    from assay.collect.scan.poisoning.settings import Section

    columns = [text for text in parsed.label if "=" not in text]
    parsed.label = [text for text in parsed.label if "=" in text]
    if len(columns) + parsed.no_label > 1:
        raise UsageError("labels stand in one column at most: give one --label COLUMN, or --no-label")
    return Section(
        label="" if parsed.no_label else columns[0] if columns else None,
        text=parsed.text,
        source=parsed.source,
        ignore=parsed.ignore_column,
        embeddings=parsed.embeddings,
        since=parsed.since,
        since_keys=parsed.since_key,
        sample=parsed.sample,
        seed=parsed.seed if parsed.seed is not None else 0,
        fail_on=parsed.fail_on,
    )


def _show(made: Examined, *, verbose: bool) -> None:
    from assay.collect.scan.poisoning import rendering

    first, *rest = rendering.lines(made.result, verbose=verbose)
    word, _, text = first.partition(" ")
    print(printing.coloured(word, _COLOURS.get(word, "red")), end=" ")
    for line in (text, *rest):
        printing.line(line)
    if made.ignored:
        few = ", ".join(made.ignored if verbose else made.ignored[:5])
        printing.line(f"  left out: {few}{' …' if not verbose and len(made.ignored) > 5 else ''}")


def _attested(parsed: argparse.Namespace, made: Examined) -> None:
    from assay.collect.scan.models.predicate import verdict

    word = verdict(made.result.scanned)
    if parsed.json:
        printing.as_json(
            {
                "reference": made.reference,
                "contents": made.contents,
                "verdict": word,
                "by": made.by,
                "entry": made.entry,
                "store": made.store,
            }
        )
    elif not parsed.quiet:
        printing.line(f"attested {made.reference}: scan for poisoning of {made.result.rows:,} rows, {word}")
        printing.line(f"  by        {made.by}")
        printing.line(f"  contents  sha256:{made.contents}")
        printing.line(f"  evidence  {(made.entry or '')[:12]} in {printing.place(made.store or '')}")
        if made.exit_code:
            _show(made, verbose=parsed.verbose)


def _draw(made: Examined, folder: str, *, quiet: bool) -> None:
    from assay.collect.scan.poisoning.pictures import pictures
    from assay.files import write_atomic

    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise TargetError(f"pictures cannot be written to {folder!r}: {error.strerror}") from None
    for name, data in pictures(made.result).items():
        write_atomic(os.path.join(folder, name), data)
    printing.note(f"pictures: {os.path.join(folder, 'rows.svg')}, reasons.svg", quiet=quiet)


def _progress(quiet: bool) -> Callable[[str], None]:
    """Tells on a terminal which step it is."""
    if quiet or not sys.stderr.isatty():
        return lambda _step: None

    def tell(step: str) -> None:
        print(f"assay: {step} …", file=sys.stderr, flush=True)

    return tell
