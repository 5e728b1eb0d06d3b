"""Any of the services that Apprise knows (extra ``alerts``): Slack, Teams, Matrix, e-mail, PagerDuty, ...

An Apprise URL is itself a secret: it comes from the environment, and what Apprise says about a failure is kept only
without any part of that URL. Nothing of it may reach a log that somebody else set up.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from assay.alerts.finding import Alert, Severity, State
from assay.alerts.references import expand, scrub
from assay.alerts.settings import AppriseSettings
from assay.alerts.sinks.interface import SinkError
from assay.alerts.wording import headline, one_line, paragraphs
from assay.errors import MissingExtraError

TIMEOUT = 30.0
"""Seconds for one alert."""


class AppriseSink:
    """See the module."""

    def __init__(self, settings: AppriseSettings) -> None:
        self.name = settings.name
        self._url = settings.url

    def send(self, alert: Alert) -> None:
        """Notify the service."""
        try:
            import apprise
        except ImportError:
            raise MissingExtraError("an alert by Apprise", "alerts") from None
        url = expand(self._url)
        asset = apprise.AppriseAsset(
            app_id="assay",
            # Nothing in a title of strangers is an escape or an emoji, nothing is kept on disk, no thread is left over.
            interpret_escapes=False,
            interpret_emojis=False,
            storage_mode=apprise.PersistentStoreMode.MEMORY,
            service_timeout=TIMEOUT,
            http_redirects=False,
        )
        with _said() as lines:
            service = apprise.Apprise(asset=asset)
            if not service.add(url):
                raise SinkError("Apprise does not understand the url", hint="compare it with Apprise's documentation")
            done = service.notify(
                title=headline(alert),
                body=paragraphs(alert),
                notify_type=apprise.NotifyType(_kind(alert)),
                body_format=apprise.NotifyFormat.TEXT,
                timeout=TIMEOUT,
            )
        if not done:
            reason = one_line(scrub(lines[-1], url, self._url))[:300] if lines else "it does not say why"
            raise SinkError(f"Apprise could not deliver: {reason}")


def _kind(alert: Alert) -> str:
    if alert.state is State.RESOLVED:
        return "success"
    severity = alert.finding.severity
    return {Severity.CRITICAL: "failure", Severity.HIGH: "failure", Severity.MEDIUM: "warning"}.get(severity, "info")


_GUARD = threading.Lock()


@contextmanager
def _said() -> Iterator[list[str]]:
    """What Apprise logs meanwhile, kept away from every other handler: its lines may hold parts of the URL."""
    logger = logging.getLogger("apprise")
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    with _GUARD:  # one at a time: the logger is the process's
        handler, propagate, others = Keep(logging.WARNING), logger.propagate, list(logger.handlers)
        logger.propagate, logger.handlers = False, [handler]
        try:
            yield lines
        finally:
            logger.propagate, logger.handlers = propagate, others
