"""Secrets of sinks: taken from the environment when something is sent, and taken out of every text that is kept.

Only variables called ``ASSAY_ALERT_...`` can be referred to. A configuration that came with somebody's repository could
otherwise send any variable of this process (cloud keys, tokens) to an address of its choice.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from assay.alerts.sinks.interface import SinkError

REFERENCE = re.compile(r"\$\{([^}]*)\}")
"""A reference: ``${ASSAY_ALERT_SLACK}``."""

ALLOWED = re.compile(r"ASSAY_ALERT_[A-Z0-9_]{1,100}")
"""The variables that may be named."""

_PIECES = re.compile(r"[\s/:@?&=#,;+|]+")
_HARMLESS = frozenset({"https", "http", "localhost", "127.0.0.1"})
_SHORTEST = 4


def expand(text: str) -> str:
    """``text`` with its references replaced. Raises `SinkError` naming the variable that is not set."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        found = os.environ.get(name) if ALLOWED.fullmatch(name) else None
        if not found:
            raise SinkError(f"the environment variable {name} is not set", hint="set it where assay runs")
        return found

    return REFERENCE.sub(value, text).strip()


def problem(text: str) -> str | None:
    """What is wrong with the references in ``text``: a sentence, or None."""
    for name in REFERENCE.findall(text):
        if not ALLOWED.fullmatch(name):
            return f"refers to the variable {name!r}; only names that begin with ASSAY_ALERT_ are read"
    if "${" in REFERENCE.sub("", text):
        return "has a '${' without its '}'"
    return None


def scrub(text: str, *secrets: str) -> str:
    """``text`` without any of the ``secrets``, their parts between separators, and their percent-encoded forms."""
    found: set[str] = set()
    for secret in secrets:
        for form in (secret, unquote(secret)):
            found.update((form, *_PIECES.split(form)))
    for piece in sorted(found - _HARMLESS, key=len, reverse=True):
        if len(piece) >= _SHORTEST:
            text = text.replace(piece, "***")
    return text
