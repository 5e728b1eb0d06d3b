"""`assay monitor run|schedule|list|alarms|release|retry`: a monitors file at work."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.cli import flags, printing
from assay.cli.main import printable
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.api.tending import Signing, Tended
    from assay.watch.schedule.service import Ended
    from assay.watch.settings import Monitors

DEFAULT = "monitors.yml"
_COLOURS = {"OK": "green", "ALARM": "red", "INSUFFICIENT_DATA": "yellow"}
_EXITS = {"Completed": 0, "CompletedWithViolations": 1, "Undecided": 3, "Failed": 3, "Missed": 3, "InProgress": 3}


def configure(actions: Any) -> None:
    """The actions' flags."""
    one = _parser(actions, "run", "run monitors now, then ask the alarms: one named, or all that are due", run)
    one.add_argument("name", nargs="?", metavar="NAME", help="this one, whether it is due or not")
    one.add_argument("--at", metavar="TIME", help="as if it were due then (RFC 3339); with NAME")
    serve = _parser(actions, "schedule", "run what is due, and go on until stopped", schedule)
    serve.add_argument("--once", action="store_true", help="run what is due now and end: for cron, systemd, Kubernetes")
    listing = _parser(actions, "list", "monitors, their last runs, open suspicions and recent actions", show)
    listing.add_argument("--runs", type=int, default=10, metavar="N", help="so many runs of each (default 10)")
    alarm = _parser(actions, "alarms", "how the alarms stand, what happened, and what one would set off", alarms)
    alarm.add_argument("name", nargs="?", metavar="ALARM")
    alarm.add_argument(
        "--set", dest="state", choices=tuple(_COLOURS), help="put it into a state until it is next asked"
    )
    alarm.add_argument("--reason", metavar="TEXT", help="why; with --set")
    alarm.add_argument(
        "--dry-run", choices=tuple(_COLOURS), metavar="STATE", help="what going into a state would set off"
    )
    free = _parser(actions, "release", "say that suspect data are right: retraining may go on", release)
    free.add_argument("name", metavar="NAME", help="the monitor")
    free.add_argument("--at", metavar="TIME", help="the window's end; all open suspicions without it")
    free.add_argument("--by", required=True, metavar="WHO", help="who answers for it")
    free.add_argument("--reason", required=True, metavar="TEXT", help="why it is right")
    again = _parser(actions, "retry", "carry an action out that failed, was limited or was cut off", retry)
    again.add_argument("action_key", metavar="KEY", help="the action's, as 'assay monitor list' shows it")


def _parser(actions: Any, name: str, text: str, call: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text)
    parser.add_argument("-f", "--file", default=DEFAULT, metavar="FILE", help=f"the monitors file (default {DEFAULT})")
    flags.making(parser, call)
    return parser


def run(parsed: argparse.Namespace) -> int:
    """Run one, or all that are due."""
    from assay.api import tending, watching

    monitors, signing = _ready(parsed)
    if parsed.name is None:
        if parsed.at is not None:
            raise UsageError("--at needs the NAME of a monitor")
        return _turn(parsed, monitors, signing)
    monitor = monitors.monitor(parsed.name)
    due = _moment(parsed.at) if parsed.at is not None else datetime.now(UTC).replace(microsecond=0)
    ended = watching.run_claimed(monitors, monitor.name, due, _owner(), signing=signing)
    if ended is None:
        printing.note(f"assay: the run of {monitor.name} at {due:%Y-%m-%dT%H:%M:%SZ} was made before, or is going on")
        return 3
    return _told(parsed, [(monitor.name, ended)], tending.tend(monitors, signing=signing))


def schedule(parsed: argparse.Namespace) -> int:
    """The scheduler."""
    from assay.api import watching

    monitors, signing = _ready(parsed)
    if parsed.once:
        return _turn(parsed, monitors, signing)
    if not watching.jobs(monitors):
        raise UsageError(f"{parsed.file} has no monitor with a schedule", hint="give one: schedule: '0 * * * *'")
    with _until_stopped() as stop:
        printing.note(f"assay: scheduling {len(watching.jobs(monitors))} monitor(s) as {_owner()}", quiet=parsed.quiet)
        watching.serve(
            monitors,
            _owner(),
            signing=signing,
            stop=stop,
            told=lambda name, ended: printing.line(f"{name}: {ended.state}: {ended.said}"),
            tended=lambda tended: _show_tended(tended),
        )
    return 0


def _turn(parsed: argparse.Namespace, monitors: Monitors, signing: Signing) -> int:
    from assay.api import tending, watching

    ended = watching.due(monitors, _owner(), signing=signing)
    if not ended:
        printing.note("assay: nothing is due", quiet=parsed.quiet)
    return _told(parsed, ended, tending.tend(monitors, signing=signing))


def _told(parsed: argparse.Namespace, ended: Sequence[tuple[str, Ended]], tended: Tended) -> int:
    if parsed.json:
        printing.as_json(
            {
                "runs": [
                    {"monitor": name, "state": one.state, "said": one.said, "entry": one.entry} for name, one in ended
                ],
                "transitions": [
                    {"alarm": one.alarm, "old": one.old, "new": one.new, "reason": one.reason}
                    for one in tended.transitions
                ],
                "actions": [
                    {"action": one.action, "state": one.state, "said": one.said, "key": one.key}
                    for one in tended.actions
                ],
                "warnings": list(tended.warnings),
            }
        )
    elif not parsed.quiet:
        for name, one in ended:
            printing.line(f"{name}: {one.state}: {one.said}")
        _show_tended(tended)
    codes = [_EXITS[one.state] for _, one in ended]
    return 1 if 1 in codes else 3 if 3 in codes else 0


def _show_tended(tended: Tended) -> None:
    for one in tended.transitions:
        text = f"alarm {one.alarm}: {one.old} -> {one.new}"
        print(printing.coloured(printable(text), _COLOURS[one.new]), flush=True)
        printing.line(f"  {one.reason}")
    for entry in tended.actions:
        printing.line(f"  action {entry.action}: {entry.state}{f': {entry.said}' if entry.said else ''}")
    for warning in tended.warnings:
        printing.note(f"assay: {warning}")


def show(parsed: argparse.Namespace) -> int:
    """Everything there is to know at a glance."""
    from assay.api import monitor_listing

    monitors = _file(parsed)
    listed = monitor_listing.listed(monitors, runs=parsed.runs)
    if parsed.json:
        printing.as_json(monitor_listing.listed_json(listed))
        return 0
    for found in listed.monitors:
        following = f", next {found.following:%Y-%m-%d %H:%M}Z" if found.following else ""
        printing.line(f"{found.name} ({found.schedule or 'when asked'}{following})")
        for one in found.runs:
            printing.line(f"  {one.due:%Y-%m-%dT%H:%MZ}  {one.state:<24}{one.said}")
    for suspicion in listed.suspicions:
        # The whole sentence names every signal: a line each is enough at a glance.
        said = suspicion.said if parsed.verbose else suspicion.said.partition("; ")[0]
        printing.line(f"suspicion open: {suspicion.monitor} {suspicion.due:%Y-%m-%dT%H:%MZ}: {said}")
    for entry in listed.actions:
        printing.line(f"action {entry.key[:12]} {entry.action} {entry.state}: {entry.event.alarm}: {entry.said}")
    return 0


def alarms(parsed: argparse.Namespace) -> int:
    """The alarms. 1 when one is in ALARM, 3 when one knows too little."""
    from assay.api import monitor_listing, tending

    monitors, signing = _opened(parsed)
    if parsed.dry_run is not None:
        if parsed.name is None:
            raise UsageError("--dry-run needs the ALARM")
        said = tending.rehearse(monitors, parsed.name, parsed.dry_run, signing=signing)
        for text in said or ["nothing"]:
            printing.line(text)
        return 0
    if parsed.state is not None:
        if parsed.name is None or not parsed.reason:
            raise UsageError("--set needs the ALARM and a --reason")
        tending.set_state(monitors, parsed.name, parsed.state, parsed.reason)
        _show_tended(tending.act(monitors, signing=signing))
        return 0
    standings, events = monitor_listing.standings(monitors, parsed.name)
    if parsed.json:
        printing.as_json(monitor_listing.standings_json(standings, events))
    else:
        for standing in standings:
            text = f"{standing.state:<18} {standing.name} since {standing.since:%Y-%m-%d %H:%M:%S}Z: {standing.reason}"
            print(printing.coloured(printable(text), _COLOURS[standing.state]))
        for event in events if parsed.name is not None or parsed.verbose else ():
            printing.line(
                f"  {event.time:%Y-%m-%d %H:%M:%S}Z {event.alarm}: {event.old} -> {event.new}: {event.reason}"
            )
    states = {str(standing.state) for standing in standings}
    return 1 if "ALARM" in states else 3 if "INSUFFICIENT_DATA" in states or not states else 0


def release(parsed: argparse.Namespace) -> int:
    """A person answers for suspect data."""
    from assay.api import tending

    monitors, signing = _opened(parsed)
    at = _moment(parsed.at) if parsed.at is not None else None
    released, going_on = tending.release(monitors, parsed.name, at, parsed.by, parsed.reason, signing=signing)
    if not released:
        printing.note(f"assay: no suspicion about {parsed.name} is open")
        return 3
    for one in released:
        printing.line(f"released {one.monitor} {one.due:%Y-%m-%dT%H:%MZ} ({one.pattern}) by {parsed.by}")
    _show_tended(going_on)
    return 0


def retry(parsed: argparse.Namespace) -> int:
    """A person wants an action carried out again."""
    from assay.api import tending

    monitors, signing = _opened(parsed)
    _show_tended(tending.retry(monitors, parsed.action_key, signing=signing))
    return 0


def _opened(parsed: argparse.Namespace) -> tuple[Monitors, Signing]:
    from assay.api.tending import Signing

    made = flags.made_with(parsed, "reading")
    return _file(parsed), Signing(
        made["signer_choice"], made["directory"], made["config"], made["identify"], made["options"], made["labels"]
    )


def _ready(parsed: argparse.Namespace) -> tuple[Monitors, Signing]:
    """As `_opened`, and everything that would fail later is told now."""
    from assay.api import tending

    monitors, signing = _opened(parsed)
    tending.ready(monitors, signing)
    return monitors, signing


def _file(parsed: argparse.Namespace) -> Monitors:
    from assay.watch.settings import load

    return load(parsed.file)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time", hint="as 2026-01-31T06:00:00Z") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def _until_stopped() -> Iterator[threading.Event]:
    """Set by SIGTERM or SIGINT: a run that has begun is finished; a second signal ends at once."""
    stop = threading.Event()

    def asked(number: int, _frame: object) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
