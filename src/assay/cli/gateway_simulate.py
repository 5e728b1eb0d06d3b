"""`assay gateway simulate`: what attackers get out of your model, setting by setting."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from assay.cli import flags, printing

if TYPE_CHECKING:
    from assay.guard.gateway.simulate.interface import Report


def configure(actions: Any) -> None:
    """The action's flags."""
    parser = actions.add_parser(
        "simulate",
        help="attack a copy of your model, and see what each setting buys",
        description="Attack a copy of your model on this machine: copies, membership inference and inversion, with "
        "each way of hardening answers; then let the detectors look at each attacker. No request leaves the machine.",
    )
    parser.add_argument("--model", required=True, metavar="FILE", help="a scikit-learn model (joblib or pickle)")
    parser.add_argument("--data", required=True, metavar="FILE", help="rows that it was trained on, with labels")
    parser.add_argument("--holdout", metavar="FILE", help="rows that it has never seen, with labels")
    parser.add_argument("--label", metavar="COLUMN", help="the column with the labels")
    parser.add_argument(
        "--leave-out", action="append", default=[], metavar="COLUMN", help="one that the model is not asked with"
    )
    parser.add_argument("--config", metavar="FILE", help="gateway file: its hardenings, detectors and budgets")
    parser.add_argument("--queries", type=int, default=2500, metavar="N", help="most queries of an attack (2500)")
    parser.add_argument("--callers", type=int, default=200, metavar="N", help="honest callers (200); 0: no detectors")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same report")
    parser.add_argument("--allow", action="append", default=[], metavar="NAME", help="module.Class of the model file")
    parser.add_argument("--target", metavar="TARGET", help="folder that the model's evidence is about")
    parser.add_argument("-p", "--policy", metavar="POLICY", help="what the model's evidence must satisfy")
    parser.add_argument("-d", "--directory", metavar="DIR", help="evidence directory")
    parser.add_argument("-O", "--output-file", metavar="FILE", help="a page with pictures (HTML)")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    flags.trusting(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Load the model by its evidence, attack it, and tell."""
    from assay.api.simulating import Asked, simulate
    from assay.files import require_folder, write_atomic

    if parsed.output_file is not None:
        require_folder(parsed.output_file)
    asked = Asked(
        parsed.data,
        parsed.holdout,
        parsed.label,
        parsed.config,
        parsed.queries,
        parsed.seed,
        parsed.callers,
        tuple(parsed.leave_out),
    )
    report = simulate(
        _model(parsed), asked, printing.place(parsed.model), progress=None if parsed.quiet else _progress()
    )
    if parsed.output_file is not None:
        from assay.api.simulation_page import page

        write_atomic(parsed.output_file, page(report))
        printing.note(f"wrote {parsed.output_file}", quiet=parsed.quiet)
    if parsed.json:
        from assay.guard.gateway.simulate.report import as_json

        printing.as_json(as_json(report))
    else:
        _show(report)
    return 0


def _model(parsed: argparse.Namespace) -> Any:
    """The object in the file, once somebody trusted has vouched for its bytes: a pickle is a program."""
    from assay import load

    how = load.Loading(flags.trust_in(parsed), parsed.policy, directory=parsed.directory, allow=tuple(parsed.allow))
    read = load.pickle if parsed.model.endswith((".pkl", ".pickle")) else load.joblib
    return read(parsed.model, target=parsed.target, how=how)


def _progress() -> Any:
    """Lines on standard error, the last one over itself on a terminal."""
    terminal = sys.stderr.isatty()

    def tell(what: str, done: int, steps: int) -> None:
        if terminal:
            print(f"\r\x1b[K{done}/{steps} {what}", end="" if done < steps else "\r\x1b[K", file=sys.stderr, flush=True)
        elif done < steps:
            print(f"{done}/{steps} {what}", file=sys.stderr, flush=True)

    return tell


def _show(report: Report) -> None:
    from assay.guard.gateway.simulate import report as words

    for text in words.head(report):
        printing.line(text)
    printing.line()
    _table(
        f"copies of {report.queries:,} queries, areas of membership inference",
        words.SETTINGS,
        words.settings_rows(report),
    )
    if report.detection is not None:
        _table("detectors", words.STREAMS, words.stream_rows(report))
    for about, text in words.sentences(report):
        printing.line(f"{about}: {text}")
    printing.line()
    for note in report.notes:
        printing.line(note)


def _table(title: str, heads: Any, rows: Any) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_edge=False, padding=(0, 1))
    for i, head in enumerate(heads):
        table.add_column(head, justify="left" if i == 0 or head == "by" else "right", no_wrap=i == 0)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    terminal = sys.stdout.isatty()
    Console(file=sys.stdout, highlight=False, width=None if terminal else 140).print(table)
    printing.line()
