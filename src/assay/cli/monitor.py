"""`assay monitor`: data and predictions in service, looked at once, on a schedule, and in pictures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from assay.cli import flags, looks, printing
from assay.cli.monitor_data import arguments as data_arguments
from assay.cli.monitor_data import data
from assay.cli.monitor_data import progress as telling
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.api.monitoring import Checked
    from assay.watch.interface import Window

TOPICS = ("data-quality", "drift", "poisoning")
"""What can be looked at without a monitors file."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    from assay.cli import monitor_jobs, monitor_report

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _check(actions)
    monitor_jobs.configure(actions)
    monitor_report.configure(actions)
    job = actions.add_parser(
        "container", help="one job of SageMaker Model Monitor's container contract, told by environment variables"
    )
    job.set_defaults(run=container)


def container(_parsed: argparse.Namespace) -> int:
    """The image's entry point: everything is in the environment, and the exit code is the platform's."""
    from assay.watch.sagemaker.byoc import main

    return main()


def _check(actions: Any) -> None:
    parser = actions.add_parser(
        "check", help="hold data against a baseline, once (0 holds, 1 violations, 3 too little)"
    )
    parser.add_argument("--baseline", required=True, metavar="FILE", help="what 'assay baseline' wrote")
    rows = parser.add_mutually_exclusive_group(required=True)
    rows.add_argument("--data", metavar="DATA", help="a file, folder, pattern or a database's URL")
    rows.add_argument("--state", metavar="FILE", help="the window's profile, made on a cluster (docs/scale.md)")
    data_arguments(parser)
    group = parser.add_argument_group("what is looked at")
    group.add_argument("--topic", action="append", choices=TOPICS, help="default: data-quality and drift (repeatable)")
    group.add_argument("--constraints", metavar="FILE", help="constraints instead of the baseline's own")
    group.add_argument("--least", type=int, metavar="N", help="rows below which nothing is said")
    group.add_argument("--start", metavar="TIME", help="from here (RFC 3339), inclusive")
    group.add_argument("--end", metavar="TIME", help="to here, exclusive")
    group.add_argument("--time", metavar="COLUMN", help="says when a row happened, for --start and --end")
    group.add_argument("--reference", metavar="DATA", help="what the baseline was made from: for --topic poisoning")
    group.add_argument("--label-column", metavar="COLUMN", help="the labels, for the same")
    group.add_argument("--source-column", metavar="COLUMN", help="who contributed a row, for the same")
    group.add_argument(
        "--ignore-column", action="append", default=[], metavar="COLUMN", help="no content, for the same"
    )
    group.add_argument(
        "--function",
        action="append",
        default=[],
        metavar="NAME=MODULE:FUNCTION",
        help="a baseline's own statistic: run it",
    )
    parser.add_argument(
        "--baseline-key", action="append", default=[], metavar="FILE", help="who must have signed the baseline (PEM)"
    )
    parser.add_argument(
        "--target", metavar="TARGET", help="the model that is monitored: makes signed evidence about it"
    )
    parser.add_argument("--sagemaker", metavar="DIR", help="write statistics.json and constraint_violations.json there")
    parser.add_argument("--report", metavar="FILE", help="write one HTML page with pictures")
    flags.making(parser, check)


def check(parsed: argparse.Namespace) -> int:
    """Look once."""
    from assay.api import monitoring, scaling
    from assay.api.looking import Question, Signers
    from assay.api.rows import ALWAYS
    from assay.collect.profile.interface import Custom
    from assay.watch.interface import Topic

    customs = []
    for text in parsed.function:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--function {text!r} is not NAME=MODULE:FUNCTION")
        customs.append(Custom(name, function=value))
    topics = tuple(Topic(one) for one in parsed.topic or ("data-quality", "drift"))
    window, made, keys = _window(parsed), flags.made_with(parsed, "reading"), tuple(parsed.baseline_key)
    checked = monitoring.check(
        Question(
            parsed.baseline,
            data(parsed, parsed.data),
            window if window is not None else ALWAYS,
            parsed.time,
            parsed.constraints,
            topics,
            parsed.least,
            reference=data(parsed, parsed.reference) if parsed.reference is not None else None,
            label=parsed.label_column,
            source=parsed.source_column,
            ignore=tuple(parsed.ignore_column),
            customs=customs,
            workers=parsed.workers,
            signers=Signers(keys, parsed.directory, made["config"]) if keys else None,
            state=scaling.read(parsed.state) if parsed.state is not None else None,
        ),
        target=parsed.target,
        progress=telling(parsed.quiet),
        **made,
    )
    if parsed.sagemaker:
        monitoring.write_sagemaker(checked, parsed.sagemaker)
    if parsed.report:
        from assay.api import monitor_pictures

        monitor_pictures.write(
            monitor_pictures.of_check(checked, f"{parsed.data or parsed.state} against {parsed.baseline}"),
            parsed.report,
        )
    if parsed.output_file:
        import json

        printing.document(
            json.dumps(monitoring.as_json(checked), indent=2, sort_keys=True).encode(), parsed.output_file
        )
    if parsed.json:
        printing.as_json(monitoring.as_json(checked))
    elif not (parsed.quiet and checked.exit_code == 0):
        _show(checked, verbose=parsed.verbose)
    return checked.exit_code


def _window(parsed: argparse.Namespace) -> Window | None:
    from datetime import UTC, datetime

    from assay.watch.interface import Window

    if parsed.start is None and parsed.end is None:
        if parsed.time is not None:
            raise UsageError("--time needs --start and --end")
        return None
    if parsed.start is None or parsed.end is None:
        raise UsageError("a window has a --start and an --end")
    moments = []
    for name, text in (("--start", parsed.start), ("--end", parsed.end)):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(f"{name} {text!r} is no time", hint="as 2026-01-31T06:00:00Z") from None
        moments.append(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC))
    if moments[0] >= moments[1]:
        raise UsageError("--end is not after --start")
    return Window(*moments)


def _show(checked: Checked, *, verbose: bool) -> None:
    for note in checked.seen.notes:
        printing.note(f"assay: {note}")
    looks.show(checked.seen.looks, checked.evidence, checked.by, verbose=verbose)
