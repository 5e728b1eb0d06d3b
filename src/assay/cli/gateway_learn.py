"""`assay gateway attest|schema|calibrate`: what the gateway saw as evidence, and what it learns from evidence."""

from __future__ import annotations

import argparse
from typing import Any

from assay.cli import flags, looks, printing
from assay.errors import UsageError


def configure(actions: Any) -> None:
    """The actions' flags."""
    state = actions.add_parser(
        "attest",
        help="state how the endpoint was used, from the access log, as evidence",
        description="State from the access log, as signed evidence about the model: which version answered, what "
        "failed, who was flagged. Exit code 1: something is not as it should be, and the evidence says so.",
    )
    state.add_argument("--log", action="append", metavar="FILE", help="JSON access log (repeatable)")
    state.add_argument("--gateway", metavar="FILE", help="the gateway file: its log and its model")
    state.add_argument("--target", metavar="TARGET", help="the model that the evidence is about")
    state.add_argument("--since", default="1d", metavar="TIME", help="how far back from now (default 1d)")
    state.add_argument(
        "--failures", type=float, default=0.01, metavar="SHARE", help="of answers, tolerated (default 0.01)"
    )
    state.add_argument("--unfinished", default="10m", metavar="TIME", help="how long requests may take (default 10m)")
    state.add_argument("--no-attest", action="store_true", help="look and sign nothing")
    flags.making(state, attest)
    schema = actions.add_parser(
        "schema",
        help="infer what requests must look like from a baseline of training data",
        description="Infer what requests must look like (columns, types, ranges, known values) from a baseline of the "
        "training data, as a file to edit. In a gateway file 'schema: {baseline: FILE}' needs no such file.",
    )
    schema.add_argument("baseline", metavar="BASELINE", help="what 'assay baseline' wrote")
    schema.add_argument(
        "--slack",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="how far numbers may lie beyond the range of the data, as a share of it (default 0)",
    )
    schema.add_argument("--leave-out", action="append", default=[], metavar="COLUMN", help="the label, for instance")
    schema.add_argument("-O", "--output-file", metavar="FILE", required=True, help="write the schema here")
    schema.set_defaults(run=infer)
    learn = actions.add_parser(
        "calibrate",
        help="learn what honest callers look like: the detectors' thresholds",
        description="Learn what honest callers look like, from the training data and from callers: simulated ones "
        "(--model) or those that the gateway captured (--captured). Detectors then tell who asks otherwise.",
    )
    learn.add_argument("--data", required=True, metavar="DATA", help="the training data")
    learn.add_argument("--captured", metavar="FOLDER", help="what the gateway captured of honest callers")
    learn.add_argument("--leave-out", action="append", default=[], metavar="COLUMN", help="the label, for instance")
    learn.add_argument("--model", metavar="FILE", help="or: the model (joblib, pickle), to simulate honest callers on")
    learn.add_argument("--target", metavar="TARGET", help="folder that the model's evidence is about")
    learn.add_argument(
        "--false-alarms", type=float, default=0.01, metavar="SHARE", help="of honest callers (default 0.01)"
    )
    learn.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same calibration")
    learn.add_argument("-O", "--output-file", metavar="FILE", required=True, help="write the calibration here")
    flags.trusting(learn)
    flags.evidence(learn)
    learn.set_defaults(run=calibrate)


def attest(parsed: argparse.Namespace) -> int:
    """The endpoint's evidence."""
    from assay.api.endpoint import Limits, observe
    from assay.policy import durations

    logs, target, findings = list(parsed.log or ()), parsed.target, None
    if parsed.gateway is not None:
        from assay.guard.gateway import settings
        from assay.guard.gateway.running.saved import findings_beside
        from assay.guard.gateway.running.state import State

        read = settings.load(parsed.gateway)
        if not logs and read.log.file not in (None, "-"):
            if read.log.format != "json":
                raise UsageError(f"{parsed.gateway} logs {read.log.format}", hint="only the JSON form is read back")
            logs = [read.path(str(read.log.file))]
        findings = findings_beside(State(read).standings)
        if target is None and read.model is not None:
            target = read.model.target if ":" in read.model.target else read.path(read.model.target)
    if not logs or target is None:
        raise UsageError(
            "what was logged, and which model was it?", hint="--log FILE --target MODEL, or --gateway FILE"
        )
    seen = observe(
        logs,
        target,
        durations.parse(parsed.since, "--since"),
        limits=Limits(parsed.failures, unfinished=durations.parse(parsed.unfinished, "--unfinished")),
        findings=findings,
        sign=not parsed.no_attest,
        **flags.made_with(parsed, "reading"),
    )
    if parsed.json:
        from assay.api.monitoring import look_json

        printing.as_json(
            {"look": look_json(seen.look), "exitCode": seen.exit_code, "evidence": [one.entry for one in seen.evidence]}
        )
    elif not (parsed.quiet and seen.exit_code == 0):
        looks.show([seen.look], seen.evidence, seen.by, verbose=parsed.verbose)
    return seen.exit_code


def infer(parsed: argparse.Namespace) -> int:
    """A schema."""
    from assay.api.schemas import infer as inferred

    columns, notes = inferred(parsed.baseline, parsed.output_file, slack=parsed.slack, leave_out=parsed.leave_out)
    for note in notes:
        printing.note(f"assay: {note}")
    printing.note(f"assay: {parsed.output_file} describes {columns} column(s); edit it as you like")
    return 0


def calibrate(parsed: argparse.Namespace) -> int:
    """A calibration."""
    from assay.api.calibrating import QUERIES
    from assay.api.calibrating import calibrate as calibrated
    from assay.guard.gateway.detect.calibrating import WANTED

    model = None
    if parsed.model is not None:
        from assay import load

        how = load.Loading(flags.trust_in(parsed), directory=parsed.directory, config=_config(parsed))
        read = load.pickle if parsed.model.endswith((".pkl", ".pickle")) else load.joblib
        model = read(parsed.model, target=parsed.target, how=how)
    made = calibrated(
        parsed.data,
        parsed.output_file,
        model=model,
        captured=parsed.captured,
        leave_out=parsed.leave_out,
        false_alarms=parsed.false_alarms,
        seed=parsed.seed,
    )
    printing.note(
        f"assay: calibrated on {made.streams} caller(s); about {made.expected:.1%} of honest ones would be flagged in "
        f"{QUERIES:,} queries (calibration {made.version[:12]})"
    )
    if made.streams < WANTED:
        printing.note(f"assay: that share is a guess, until there are {WANTED} callers")
    if made.excluded:
        printing.note(f"assay: left out, too unlike the others: {', '.join(made.excluded[:10])}")
        printing.note("assay: who that is, the access log says: look for the request as extendedRequestId")
    return 0


def _config(parsed: argparse.Namespace) -> Any:
    """The configuration that ``-c`` names; None: the one that is found."""
    if parsed.config is None:
        return None
    from assay.config import load

    return load(parsed.config)
