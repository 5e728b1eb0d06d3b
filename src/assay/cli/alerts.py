"""`assay alerts list|flush|test|dismiss`."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.cli import printing
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.alerts import Alert
    from assay.alerts.outbox import Delivery
    from assay.alerts.settings import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, summary: str, run: Any) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        made.add_argument("-c", "--config", metavar="FILE", help="configuration instead of assay.yaml")
        made.add_argument("--json", action="store_true", help="the result as JSON on standard output")
        made.set_defaults(run=run)
        return made

    listing = action("list", "findings that are open, and alerts that have not arrived", list_alerts)
    listing.add_argument("--all", action="store_true", help="alerts that have arrived too (of the last 90 days)")
    send = action("flush", "send now what has not arrived; exit code 3 when something is left", flush_alerts)
    send.add_argument("--given-up", action="store_true", help="also what was given up or dismissed")
    send.add_argument("--deadline", type=float, default=60.0, metavar="SECONDS", help="stop waiting (default: 60)")
    test = action("test", "send a harmless alert to one sink or to all; exit code 3 when one fails", test_sinks)
    test.add_argument("sink", nargs="?", metavar="SINK", help="a sink's name (default: all)")
    action("dismiss", "warn no more about alerts that were given up", dismiss_alerts)


def _settings(parsed: argparse.Namespace) -> Settings:
    from assay.alerts.settings import parse
    from assay.config import load

    config = load(parsed.config)
    return parse(config.alerts, parsed.config or os.path.join(config.directory, "assay.yaml"))


def list_alerts(parsed: argparse.Namespace) -> int:
    """List."""
    from assay.alerts import status

    found = status(_settings(parsed))
    deliveries = [*found.undelivered, *(found.delivered if parsed.all else ())]
    if parsed.json:
        printing.as_json(
            {"open": [_finding(alert) for alert in found.open], "alerts": list(map(_delivery, deliveries))}
        )
        return 0
    for alert in found.open:
        printing.line(f"open      {alert.time:%Y-%m-%d %H:%M:%SZ}  {alert.finding.severity:8}  {_title(alert)}")
        printing.line(f"          {_one_line(alert.scope)}")
    for delivery in deliveries:
        printing.line(
            f"{delivery.state:9} {delivery.alert.time:%Y-%m-%d %H:%M:%SZ}  {delivery.alert.state:8}  "
            f"{_title(delivery.alert)} -> {delivery.sink}"
        )
        if delivery.last_error:
            printing.line(f"          {delivery.attempts} attempt(s), the last: {_one_line(delivery.last_error)}")
    if not found.open and not deliveries:
        printing.note("no open findings, and every alert has arrived")
    return 0


def flush_alerts(parsed: argparse.Namespace) -> int:
    """Send what is pending."""
    from assay.alerts import flush, status

    if not 0 < parsed.deadline <= 3600:
        raise UsageError("--deadline is a number of seconds up to 3600")
    settings = _settings(parsed)
    done = flush(settings, datetime.now(UTC), deadline_seconds=parsed.deadline, given_up=parsed.given_up)
    left = [delivery for delivery in status(settings).undelivered if delivery.owner == settings.owner]
    if parsed.json:
        printing.as_json({"sent": done.sent, "left": list(map(_delivery, left)), "problems": done.problems})
    else:
        printing.line(f"sent {done.sent}, {len(left)} left")
        for problem in done.problems:
            printing.note(_one_line(problem))
    return 3 if left or done.problems else 0


def test_sinks(parsed: argparse.Namespace) -> int:
    """Send a test alert."""
    from assay.alerts import send_test
    from assay.errors import AssayError

    settings = _settings(parsed)
    sinks = [sink for sink in settings.sinks if parsed.sink in (None, sink.name)]
    if not sinks:
        names = ", ".join(sink.name for sink in settings.sinks)
        raise UsageError(
            f"there is no sink {parsed.sink!r}" if names else "no sinks are configured",
            hint=f"there are: {names}" if names else "name some in assay.yaml under alerts: sinks:",
        )
    problems = {}
    for sink in sinks:
        try:
            send_test(sink, datetime.now(UTC))
        except AssayError as error:
            problems[sink.name] = str(error)
    if parsed.json:
        printing.as_json({sink.name: problems.get(sink.name, "sent") for sink in sinks})
    else:
        for sink in sinks:
            printing.line(f"{sink.name}: {problems.get(sink.name, 'sent')}")
    return 3 if problems else 0


def dismiss_alerts(parsed: argparse.Namespace) -> int:
    """Dismiss what was given up."""
    from assay.alerts import dismiss

    count = dismiss(_settings(parsed))
    if parsed.json:
        printing.as_json({"dismissed": count})
    else:
        printing.line(f"dismissed {count} alert(s); 'assay alerts list --all' still shows them")
    return 0


def _one_line(text: str) -> str:
    from assay.alerts.wording import one_line

    return one_line(text)


def _title(alert: Alert) -> str:
    return _one_line(alert.finding.title)


def _finding(alert: Alert) -> dict[str, Any]:
    import json

    from assay.alerts.wording import cloud_event

    return {"id": alert.id, "time": alert.time.strftime("%Y-%m-%dT%H:%M:%SZ"), **json.loads(cloud_event(alert))["data"]}


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.alert.id,
        "alert": delivery.alert.state,
        "title": delivery.alert.finding.title,
        "scope": delivery.alert.scope,
        "sink": delivery.sink,
        "configuration": delivery.owner,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "nextAttempt": delivery.next_attempt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lastError": delivery.last_error,
    }
