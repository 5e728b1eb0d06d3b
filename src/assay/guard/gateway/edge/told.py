"""Which of a request's headers the decision service is told: those that callers, routes and rules look at.

What an edge uses up, or writes itself, is never told in a caller's words: it could choose its own address, or end the
question in another place.
"""

from __future__ import annotations

from assay.errors import DocumentError
from assay.guard.gateway import ruled
from assay.guard.gateway.edge import words
from assay.guard.gateway.headers import HOP
from assay.guard.gateway.service import asking
from assay.guard.gateway.settings import Settings

ASKED = ("authorization", "x-request-id", "user-agent")
"""Headers that the service is told in any case; those that a setting or rule looks at are added."""
_LENGTH = "content-length"
"""The service is told of it as `asking.LENGTH`."""
_GONE = frozenset(name.decode() for name in HOP | asking.OURS | {b"expect"})


def told(settings: Settings) -> tuple[str, ...]:
    """Names in lower case. Raises `DocumentError` for one that the service cannot be told."""
    found = [*ASKED, header(settings.callers.header, "callers.header")]
    found += [header(name, where) for name, where in ruled.headers(settings)]
    if settings.trusted_proxies:  # nobody else's is believed
        found.append("x-forwarded-for")
    return tuple(name for name in dict.fromkeys(found) if name != _LENGTH)


def header(name: str, key: str) -> str:
    """A header's checked name. Raises `DocumentError`."""
    checked = words.header(name, key)
    if checked in _GONE or checked.startswith("x-assay-"):
        raise DocumentError(
            f"{key}: {checked} ends at an edge, or is the edge's own: the decision service does not see a caller's",
            hint="serve with the gateway itself (assay gateway --config), which does",
        )
    return checked
