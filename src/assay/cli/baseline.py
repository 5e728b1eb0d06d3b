"""`assay baseline DATA`: what data are like, as the file that later data are held against."""

from __future__ import annotations

import argparse
import os

from assay.cli import flags, printing
from assay.cli.monitor_data import arguments as data_arguments
from assay.cli.monitor_data import data
from assay.cli.monitor_data import progress as telling
from assay.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        help="a file, folder or pattern (Parquet, CSV, JSON Lines, Arrow, captured), or a URL",
    )
    parser.add_argument(
        "--state",
        action="append",
        default=[],
        metavar="FILE",
        help="instead of data: a profile that was made on a cluster (repeatable, in the order of time; docs/scale.md)",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("json", "attest", "statement", "sagemaker"),
        default="json",
        help="baseline.json; with signed evidence about the data; or SageMaker's two files, -O naming a folder",
    )
    data_arguments(parser)
    group = parser.add_argument_group("what is looked at")
    group.add_argument("--column", action="append", default=[], metavar="NAME", help="only this column (repeatable)")
    group.add_argument(
        "--leave-out", action="append", default=[], metavar="NAME", help="all but this: a label (repeatable)"
    )
    group.add_argument(
        "--kind", action="append", default=[], metavar="COLUMN=KIND", help="look at a column as string, text, time, …"
    )
    group.add_argument(
        "--statistic", action="append", default=[], metavar="NAME=SQL", help="a statistic of your own, per row"
    )
    group.add_argument(
        "--function", action="append", default=[], metavar="NAME=MODULE:FUNCTION", help="the same as Python code"
    )
    group.add_argument(
        "--least", type=int, default=10, metavar="N", help="values seen less often are kept as hashes only (default 10)"
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of these hashes (default: a secret one)")
    parser.add_argument(
        "--constraints", metavar="FILE", help="write the suggested constraints as YAML there, too, to be edited"
    )
    flags.making(parser, run)


def run(parsed: argparse.Namespace) -> int:
    """Make it."""
    from assay.api import scaling
    from assay.api.baselines import Shape, baseline, baseline_of
    from assay.collect.profile.interface import Custom, Kind
    from assay.files import require_folder, write_atomic

    customs = [Custom(name, sql=text) for name, text in _pairs(parsed.statistic, "--statistic")]
    customs += [Custom(name, function=text) for name, text in _pairs(parsed.function, "--function")]
    kinds = {}
    for name, text in _pairs(parsed.kind, "--kind"):
        if text not in set(Kind):
            raise UsageError(f"{text!r} is no kind of column", hint=f"one of: {', '.join(Kind)}")
        kinds[name] = Kind(text)
    place = parsed.output_file or ("." if parsed.output == "sagemaker" else "baseline.json")
    if parsed.least < 1:
        raise UsageError("--least is a number from 1")
    # Everything that can be wrong with the place is told before a long pass over the data.
    if parsed.output == "sagemaker":
        os.makedirs(place, exist_ok=True)
    elif place != "-":
        require_folder(place)
    if parsed.constraints is not None:
        require_folder(parsed.constraints)
        if os.path.exists(parsed.constraints):
            raise UsageError(
                f"{parsed.constraints} is there already", hint="what people have edited is not overwritten"
            )
    if (parsed.data is None) == (not parsed.state):
        raise UsageError("a baseline is made of DATA, or of profiles: --state FILE")
    if parsed.state:
        if parsed.column or parsed.leave_out or kinds or customs or parsed.seed:
            raise UsageError("what is looked at was settled when the profile was made", hint="only --least changes it")
        made = baseline_of(
            [scaling.read(file) for file in parsed.state], name=place, output=parsed.output, least=parsed.least
        )
    else:
        made = baseline(
            data(parsed, parsed.data),
            name=place,
            output=parsed.output,
            shape=Shape(
                tuple(parsed.column) or None, tuple(parsed.leave_out), kinds, tuple(customs), parsed.seed, parsed.least
            ),
            progress=telling(parsed.quiet),
            workers=parsed.workers,
            **flags.made_with(parsed, "reading"),
        )
    for text in made.notes:
        printing.note(f"assay: {text}", quiet=parsed.quiet)
    if parsed.constraints is not None:
        from assay.watch.constraints import reading

        write_atomic(parsed.constraints, reading.dumps(made.baseline.constraints))
    if place == "-":
        printing.document(next(iter(made.documents.values())), None)
        return 0
    for name, document in made.documents.items():
        write_atomic(os.path.join(place, name) if parsed.output == "sagemaker" else place, document)
    if parsed.json:
        printing.as_json(
            {
                "files": [
                    os.path.join(place, name) if parsed.output == "sagemaker" else place for name in made.documents
                ],
                "rows": made.baseline.profile.rows,
                "columns": len(made.baseline.profile.columns),
                "digest": made.baseline.digest,
                "entry": made.entry,
                "by": made.by,
            }
        )
    elif not parsed.quiet:
        from assay.watch.report.terminal import profile_lines

        printing.line(f"{made.baseline.profile.rows:,} rows, {len(made.baseline.profile.columns)} columns")
        for line in profile_lines(made.baseline.profile):
            printing.line(line)
        for name in made.documents:
            printing.line(f"wrote {os.path.join(place, name) if parsed.output == 'sagemaker' else place}")
        if parsed.constraints is not None:
            printing.line(f"wrote {parsed.constraints}")
        if made.by:
            printing.line(f"attested by {made.by}")
            printing.line(f"  evidence  {(made.entry or '')[:12]} in {printing.place(made.store or '')}")
    return 0


def _pairs(texts: list[str], flag: str) -> list[tuple[str, str]]:
    made = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise UsageError(f"{flag} {text!r} has no '='", hint=f"{flag} NAME=…")
        made.append((name, value))
    return made
