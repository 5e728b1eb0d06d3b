"""The ``alerts:`` section of `assay.yaml` as typed values: where alerts are kept, and the sinks that they go to.

It never holds a secret: addresses that are secrets are references to environment variables, resolved when sending.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from assay.alerts import references
from assay.alerts.finding import Alert, Severity, State
from assay.errors import DocumentError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class SinkSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab", tag_field="type"
):
    """What all sinks have."""

    name: str
    """Unique; the outbox knows the sink by it."""
    severity: Severity = Severity.INFO
    """The least severe findings that go there."""
    states: tuple[State, ...] = (State.NEW, State.RESOLVED)
    """Which changes go there. (Not ``on``: YAML 1.1 reads that bare word as a truth value.)"""

    def wants(self, alert: Alert) -> bool:
        """Whether an alert goes there."""
        return alert.state in self.states and alert.finding.severity.rank >= self.severity.rank


class AppriseSettings(SinkSettings, frozen=True, kw_only=True, tag="apprise"):
    """Any of the services that Apprise knows."""

    url: str
    """Apprise URL, with a reference in it: ``${ASSAY_ALERT_SLACK}``."""


class WebhookSettings(SinkSettings, frozen=True, kw_only=True, tag="webhook"):
    """A CloudEvents document by HTTP POST."""

    url: str
    """https, or http to this machine. May hold references."""
    secret: str | None = None
    """A reference to the secret that signs each request (Standard Webhooks)."""
    secret_file: str | None = None
    """The same from a file."""
    insecure: bool = False
    """Allow http to other machines."""


class FileSettings(SinkSettings, frozen=True, kw_only=True, tag="file"):
    """JSON Lines, one CloudEvents document a line."""

    path: str
    """Relative to the configuration."""


class SyslogSettings(SinkSettings, frozen=True, kw_only=True, tag="syslog"):
    """The system log (RFC 5424)."""

    address: str = "/dev/log"
    """A socket's path, or ``udp://host:port``, or ``tcp://host:port``."""


AnySink = AppriseSettings | WebhookSettings | FileSettings | SyslogSettings


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The whole section."""

    sinks: tuple[AnySink, ...] = ()
    outbox: str | None = None
    """The outbox's file, relative to the configuration; None for the user's own."""
    place: str = ""
    """The configuration's path; set while parsing."""

    @property
    def owner(self) -> str:
        """Whose scopes and sinks these are in an outbox that several configurations share.

        An outbox that the configuration names is its own, wherever a build checks it out this time.
        """
        return "" if self.outbox else os.path.dirname(self.place)


def parse(raw: Mapping[str, Any], place: str) -> Settings:
    """The section ``raw`` of the configuration file ``place``. Raises `DocumentError` naming file and field."""
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        raise DocumentError(f"{place}: {str(error).replace('`$', '`alerts')}") from None
    if settings.place:
        raise DocumentError(f"{place}: alerts: 'place' is not a field of this file")
    names = [sink.name for sink in settings.sinks]
    for i, sink in enumerate(settings.sinks):
        if wrong := _problem(sink, names[:i]):
            raise DocumentError(f"{place}: alerts.sinks[{i}] ({sink.name[:63]!r}): {wrong}")
    folder = os.path.dirname(os.path.abspath(place))
    return Settings(
        tuple(_absolute(sink, folder) for sink in settings.sinks),
        settings.outbox and _path(settings.outbox, folder),
        os.path.realpath(place),
    )


def _problem(sink: AnySink, before: list[str]) -> str | None:
    """What is wrong with a sink beside the types of its fields."""
    if not _NAME.fullmatch(sink.name):
        return "name: small letters, digits, '.', '_' and '-', at most 63"
    if sink.name in before:
        return "name: another sink has it"
    if not sink.states:
        return "states: name 'new', 'resolved' or both"
    if isinstance(sink, AppriseSettings):
        if "${" not in sink.url:
            return "url: an Apprise URL holds a secret; put it into the environment and write ${ASSAY_ALERT_...} here"
        wrong = references.problem(sink.url)
        return wrong and f"url: {wrong}"
    if isinstance(sink, WebhookSettings):
        return _webhook_problem(sink)
    if isinstance(sink, SyslogSettings):
        return _syslog_problem(sink.address)
    return None if sink.path else "path: is empty"


def _webhook_problem(sink: WebhookSettings) -> str | None:
    if wrong := references.problem(sink.url):
        return f"url: {wrong}"
    if "${" not in sink.url and urlsplit_or_none(sink.url) is None:
        return "url: must be https://... or http://..."
    if sink.secret is not None and sink.secret_file is not None:
        return "secret and secret-file exclude each other"
    if sink.secret is None:
        return None
    if not references.REFERENCE.fullmatch(sink.secret):
        return "secret: is never written into this file; write ${ASSAY_ALERT_...}, or name a secret-file"
    wrong = references.problem(sink.secret)
    return wrong and f"secret: {wrong}"


def urlsplit_or_none(url: str) -> tuple[str, str, int | None, str] | None:
    """Scheme, host, port and request target of an http or https URL without credentials; None for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or not url.isascii():
        return None
    if any(char <= " " or char == "\x7f" for char in url):
        return None
    return parts.scheme, parts.hostname, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _syslog_problem(address: str) -> str | None:
    if os.path.isabs(address):
        return None
    try:
        parts = urlsplit(address)
        fine = parts.scheme in ("udp", "tcp") and parts.hostname and parts.port and not parts.path
    except ValueError:
        fine = False
    return None if fine else "address: must be a socket's absolute path, udp://host:port or tcp://host:port"


def _path(path: str, folder: str) -> str:
    return os.path.normpath(os.path.join(folder, os.path.expanduser(path)))


def _absolute(sink: AnySink, folder: str) -> AnySink:
    if isinstance(sink, FileSettings):
        return msgspec.structs.replace(sink, path=_path(sink.path, folder))
    if isinstance(sink, WebhookSettings) and sink.secret_file is not None:
        return msgspec.structs.replace(sink, secret_file=_path(sink.secret_file, folder))
    return sink
