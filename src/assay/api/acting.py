"""What actions need of the rest of the house: the alert sinks, a step in isolation, and evidence of what was done."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING

from assay.api.announcing import tell as announce
from assay.api.signers import signer
from assay.api.stating import state
from assay.errors import AssayError
from assay.targets.registry import resolve
from assay.watch.actions.interface import ActionError, Event
from assay.watch.actions.ledger import Entry

if TYPE_CHECKING:
    from assay.api.tending import Signing
    from assay.config import Config
    from assay.watch.actions.settings import RetrainAction


def tell(event: Event, severity: str, config: Config) -> str:
    """Say to the alert sinks that an alarm went off, or that it is over. Raises `ActionError`."""
    from assay.alerts.finding import Finding, Severity

    finding = Finding(
        key=event.alarm,
        title=f"{event.alarm} is {event.state}",
        severity=Severity(severity),
        message=event.reason,
        source=f"monitor {event.monitor}" if event.monitor else "monitoring",
        target_name=os.path.basename(event.target) if os.path.isabs(event.target) else event.target,
        mitigation="Find out what changed: the world (train again), the input (mend the pipeline) or the callers.",
        details=event.details,
    )
    if not config.alerts:
        raise ActionError("nobody is told: assay.yaml names no alert sinks", hint="see docs/alerts.md")
    warnings = announce(f"alarm {event.alarm}", [] if event.state == "OK" else [finding], config)
    if any("could not be recorded" in text or "nobody is told" in text for text in warnings):
        raise ActionError(warnings[0])
    return "the alert sinks know" + (f" ({warnings[0]})" if warnings else "")


def retrain(action: RetrainAction, event: Event, folder: str, signing: Signing) -> str:
    """Run the step that trains anew, in isolation and with evidence. Raises `ActionError` where it failed."""
    from assay.api.running import run
    from assay.api.steps import Step

    def place(path: str) -> str:
        return os.path.join(folder, path)

    network = None if "open" in action.net else tuple(one for one in action.net if one != "none")
    step = Step(
        action.command,
        action.step,
        tuple(place(path) for path in action.inputs),
        tuple(place(path) for path in action.outputs),
        network,
        parameters={"alarm": event.alarm, "key": event.key(action.name)},
    )
    before = os.getcwd()
    try:
        os.chdir(folder)
        ran = run(step, signer_choice=signing.choice, directory=signing.directory, config=signing.settled())
    except AssayError as error:
        raise ActionError(f"the step {action.step} did not start: {error.message}", hint=error.hint) from None
    finally:
        os.chdir(before)
    if ran.exit_code:
        raise ActionError(f"the step {action.step} ended with {ran.exit_code} ({ran.outcome})")
    return f"the step {action.step} trained anew; its evidence is in {os.path.basename(ran.store)}"


def state_action(entry: Entry, kind: str, signing: Signing, now: datetime) -> str | None:
    """Evidence about the event's target of how an action ended, or why it waits; the store's entry."""
    import msgspec

    from assay.evidence.predicates import action as predicate

    event = entry.event
    cause = {"alarm": event.alarm, "state": event.state, "before": event.before, "time": event.time}
    said = {
        "name": entry.action,
        "kind": kind,
        "key": entry.key,
        "cause": {**cause, **({"reason": event.reason} if event.reason else {})},
        "outcome": entry.state.value,
        "attempts": entry.attempts,
        "finished": entry.changed.replace(microsecond=0),
        **({"said": entry.said} if entry.said else {}),
        **({"monitor": event.monitor} if event.monitor else {}),
    }
    document = msgspec.to_builtins(msgspec.convert(said, predicate.Action))
    config = signing.settled()
    secret, _ = signer(signing.choice, config)
    with resolve(event.target, signing.options) as thing:
        made = state(
            thing,
            thing.manifest(blake3=False),
            (predicate.PREDICATE_TYPE, document),
            secret=secret,
            directory=signing.directory,
            options=signing.options,
            labels={"monitor": event.monitor} if event.monitor else {},
            config=config,
            identify=signing.identify,
            now=now,
        )
    return made.entry
