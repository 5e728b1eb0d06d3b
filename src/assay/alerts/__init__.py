"""Telling people and systems about findings: each once when it is new and once when it is resolved.

`report` is what everything else calls. It writes to the outbox, lets another process do the sending, and returns: a
sink can never delay or change a verdict, and an alert that does not arrive is said with every later report.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from assay.alerts.finding import Alert, Finding, Severity, State
from assay.errors import AssayError

if TYPE_CHECKING:
    from assay.alerts.deliver import Delivered
    from assay.alerts.outbox import Delivery, Outbox
    from assay.alerts.settings import AnySink, Settings

__all__ = [
    "Alert",
    "Finding",
    "Reported",
    "Severity",
    "State",
    "Status",
    "dismiss",
    "flush",
    "report",
    "send_test",
    "status",
]


@dataclass(frozen=True, slots=True)
class Reported:
    """What one call of `report` changed."""

    new: tuple[Alert, ...] = ()
    resolved: tuple[Alert, ...] = ()
    undelivered: int = 0
    """Deliveries that failed at least once and are not made yet, or were given up."""
    warnings: tuple[str, ...] = ()
    """Sentences to show: what could not be recorded, and who could not be told."""


@dataclass(frozen=True, slots=True)
class Status:
    """What is in an outbox, of every configuration that uses it."""

    open: tuple[Alert, ...]
    """Findings that are open, oldest first."""
    undelivered: tuple[Delivery, ...]
    """Pending and given up."""
    delivered: tuple[Delivery, ...]
    """Of the last 90 days, with those that were dismissed."""


def report(
    scope: str,
    findings: Iterable[Finding],
    settings: Settings,
    now: datetime,
    *,
    outbox_path: str | None = None,
    background: bool = True,
) -> Reported:
    """Say that ``findings`` are all there is in ``scope`` at the moment. Never raises: what fails is a warning.

    Without sinks nothing is kept and nothing happens. ``now`` is UTC. ``background=False`` leaves the sending to a
    later `flush`. Do not call it for something that could not be examined: an empty list resolves what is open.
    """
    if not settings.sinks:
        return Reported()
    from assay.alerts import background as process

    path = _path(settings, outbox_path)
    try:
        with _open(settings, path) as outbox:
            alerts = outbox.record(scope, findings, now, settings.sinks)
            late = _late(outbox)
            due = outbox.next_due([sink.name for sink in settings.sinks])
    except AssayError as error:
        return Reported(warnings=(f"alerts could not be recorded: {error.message}",))
    except Exception as error:  # whatever is wrong with a finding must not stop the verdict that it comes from
        return Reported(warnings=(f"alerts could not be recorded: unexpected {type(error).__name__}",))
    warnings = _warnings(late)
    if background and due is not None and due <= now and (problem := process.start(settings, path)):
        warnings.append(problem)
    return Reported(
        tuple(alert for alert in alerts if alert.state is State.NEW),
        tuple(alert for alert in alerts if alert.state is State.RESOLVED),
        len(late),
        tuple(warnings),
    )


def status(settings: Settings, *, outbox_path: str | None = None) -> Status:
    """What is open, on its way, and given up. Raises `StoreError`."""
    from assay.alerts.outbox import DeliveryState

    path = _path(settings, outbox_path)
    if not os.path.lexists(path):
        return Status((), (), ())
    with _open(settings, path) as outbox:
        return Status(
            tuple(outbox.open_findings()),
            tuple(outbox.deliveries(DeliveryState.PENDING, DeliveryState.GIVEN_UP)),
            tuple(outbox.deliveries(DeliveryState.DELIVERED, DeliveryState.DISMISSED)),
        )


def flush(
    settings: Settings,
    now: datetime,
    *,
    outbox_path: str | None = None,
    deadline_seconds: float = 60.0,
    given_up: bool = False,
) -> Delivered:
    """Send everything that is pending now, without waiting for its turn; with ``given_up`` also what was given up.

    Returns at the deadline at the latest. Raises `StoreError`.
    """
    from assay.alerts.deliver import deliver

    with _open(settings, _path(settings, outbox_path)) as outbox:
        outbox.retry(now, given_up=given_up)
        return deliver(outbox, settings.sinks, now, deadline_seconds)


def dismiss(settings: Settings, *, outbox_path: str | None = None) -> int:
    """Mark what was given up as seen, so that nothing warns of it any more. Returns how many. Raises `StoreError`."""
    with _open(settings, _path(settings, outbox_path)) as outbox:
        return outbox.dismiss()


def send_test(sink: AnySink, now: datetime) -> None:
    """Send one harmless alert straight to a sink, past the outbox. Raises `SinkError` or `MissingExtraError`."""
    import uuid

    from assay.alerts.sinks import make

    finding = Finding(
        key="assay-alerts-test",
        title="Test: nothing is wrong",
        severity=Severity.INFO,
        message=f"Somebody tests that alerts reach the sink {sink.name}.",
        source="assay alerts test",
    )
    make(sink).send(Alert(str(uuid.uuid4()), State.NEW, now, "assay alerts test", finding))


def _path(settings: Settings, outbox_path: str | None) -> str:
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.abspath(outbox_path or settings.outbox or os.path.join(state, "assay", "alerts.db"))


def _open(settings: Settings, path: str) -> Outbox:
    from assay.alerts.outbox import Outbox

    return Outbox(path, settings.owner)


def _late(outbox: Outbox) -> list[Delivery]:
    from assay.alerts.outbox import DeliveryState

    found = outbox.deliveries(DeliveryState.PENDING, DeliveryState.GIVEN_UP)
    return [delivery for delivery in found if delivery.last_error or delivery.state is DeliveryState.GIVEN_UP]


def _warnings(late: list[Delivery]) -> list[str]:
    """One sentence for each sink that has not been told."""
    warnings = []
    for sink in sorted({delivery.sink for delivery in late}):
        mine = [delivery for delivery in late if delivery.sink == sink]
        lost = sum(delivery.state == "given-up" for delivery in mine)
        kinds = f"{lost} given up, {len(mine) - lost} to be tried again" if lost else "to be tried again"
        warnings.append(
            f"{len(mine)} alert(s) did not reach the sink {sink!r} ({kinds}): {mine[-1].last_error}; "
            "see 'assay alerts list'"
        )
    return warnings
