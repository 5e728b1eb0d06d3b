"""The system log: one RFC 5424 message to a local socket, by UDP, or by TCP with octet counting (RFC 6587).

A message is one line of printable characters, so that no title can add a line of its own to a log. UDP tells nobody
what is lost; where that matters, use TCP, a webhook or a file.
"""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from assay.alerts.finding import Alert, Severity, State
from assay.alerts.settings import SyslogSettings
from assay.alerts.sinks.interface import SinkError
from assay.alerts.wording import headline, moment, one_line, where

TIMEOUT = 10.0
"""Seconds for each step."""

LIMIT = 2048
"""Longest message in bytes: what receivers should take (RFC 5424, section 6.1)."""

_USER = 1
_LEVELS = {
    Severity.CRITICAL: 2,
    Severity.HIGH: 3,
    Severity.MEDIUM: 4,
    Severity.LOW: 5,
    Severity.INFO: 6,
}
_NOTICE = 5


def message(alert: Alert, host: str, process: int) -> bytes:
    """The RFC 5424 message, without framing."""
    level = _NOTICE if alert.state is State.RESOLVED else _LEVELS[alert.finding.severity]
    # A header field is printable ASCII without spaces (section 6): anything else in a host's name would move fields.
    name = "".join(char for char in host if "!" <= char <= "~")[:255] or "-"
    header = f"<{_USER * 8 + level}>1 {moment(alert.time)} {name} assay {process} finding-{alert.state} - "
    said = f"{headline(alert)}: {one_line(alert.finding.message)} [{where(alert)}; alert {alert.id}]"
    if len((header + said).encode()) > LIMIT:
        said = f"alert {alert.id}: {said}"  # what is cut off is at the end
    return (header + said).encode()[:LIMIT].decode("utf-8", "ignore").encode()


class SyslogSink:
    """See the module."""

    def __init__(self, settings: SyslogSettings) -> None:
        self.name = settings.name
        self._address = settings.address

    def send(self, alert: Alert) -> None:
        """Send one message."""
        data = message(alert, socket.gethostname(), os.getpid())
        try:
            if os.path.isabs(self._address):
                self._local(data)
            else:
                parts = urlsplit(self._address)
                assert parts.hostname is not None and parts.port is not None  # the settings were checked
                (self._tcp if parts.scheme == "tcp" else self._udp)(data, parts.hostname, parts.port)
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise SinkError(f"the system log at {self._address} cannot be reached: {reason}") from None

    def _local(self, data: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(self._address)
            connection.send(data)

    @staticmethod
    def _udp(data: bytes, host: str, port: int) -> None:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(address)
            connection.send(data)

    @staticmethod
    def _tcp(data: bytes, host: str, port: int) -> None:
        with socket.create_connection((host, port), timeout=TIMEOUT) as connection:
            connection.sendall(b"%d " % len(data) + data)
            connection.shutdown(socket.SHUT_WR)
            # Syslog confirms nothing. A receiver that has gone resets the connection, one that has read it closes it.
            connection.settimeout(1.0)
            try:
                connection.recv(1)
            except TimeoutError:
                return
