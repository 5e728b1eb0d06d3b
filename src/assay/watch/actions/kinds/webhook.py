"""An event as a CloudEvents 1.0 document by HTTP POST, with the care of the alerts' webhook."""

from __future__ import annotations

import json
from dataclasses import asdict
from urllib.parse import quote

from assay.watch.actions.interface import ActionError, Event
from assay.watch.actions.settings import WebhookAction


class Webhook:
    """See the module. The receiver knows a repetition by ``webhook-id`` and the document's ``id``."""

    repeatable = True

    def __init__(self, settings: WebhookAction) -> None:
        self._settings = settings

    def perform(self, event: Event, key: str) -> str:
        """See `Action.perform`."""
        from assay.alerts.sinks.interface import SinkError
        from assay.alerts.sinks.webhook import post

        try:
            post(self._settings.webhook(), key, document(event, key))
        except SinkError as error:
            raise ActionError(error.message, hint=error.hint) from None
        return "the webhook took it"

    def rehearse(self, event: Event) -> str:
        """See `Action.rehearse`. The address may be a secret, so it is not told."""
        return f"posts the change of {event.alarm} to {event.state} to its webhook"


def document(event: Event, key: str) -> bytes:
    """The event in CloudEvents' structured JSON, one line."""
    time = event.time.isoformat().replace("+00:00", "Z")
    return json.dumps(
        {
            "specversion": "1.0",
            "id": key,
            "source": f"/assay/alarm/{quote(event.alarm, safe='')}",
            "type": "dev.assay.alarm.state-change",
            "time": time,
            "datacontenttype": "application/json",
            "data": {**asdict(event), "time": time},
        },
        sort_keys=True,
    ).encode()
