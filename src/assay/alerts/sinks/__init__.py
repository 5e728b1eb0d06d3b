"""One file per kind of sink, and the registry that chooses by the type of the settings.

A sink's file, with the library that it needs, is imported when something goes there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from assay.alerts.sinks.interface import Sink

if TYPE_CHECKING:
    from assay.alerts.settings import AnySink

REGISTRY = {
    "AppriseSettings": "assay.alerts.sinks.apprise:AppriseSink",
    "FileSettings": "assay.alerts.sinks.file:FileSink",
    "SyslogSettings": "assay.alerts.sinks.syslog:SyslogSink",
    "WebhookSettings": "assay.alerts.sinks.webhook:WebhookSink",
}
"""The class of a sink by the class of its settings."""


def make(settings: AnySink) -> Sink:
    """The sink for its settings. Resolves no secret and reaches for nothing."""
    module, _, name = REGISTRY[type(settings).__name__].partition(":")
    return cast(Sink, getattr(import_module(module), name)(settings))
