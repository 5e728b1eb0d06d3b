"""What a caller may do: an allow-list of (protocol, model, version, verb); what nobody allowed is forbidden."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from assay.guard.gateway.interface import Permission, Route, Verb

OPEN = frozenset({Verb.HEALTH})
"""What every caller who was identified may do."""


def permitted(permissions: Iterable[Permission], route: Route) -> bool:
    """Whether one of the permissions fits. A part that the request does not say is only covered by ``*``; where the
    body says the model (``openai``), it is asked again with it.
    """
    if route.verb in OPEN:
        return True
    later = route.protocol == "openai" and not route.model
    return any(
        fnmatchcase(route.protocol, one.protocol)
        and fnmatchcase(route.verb, one.verb)
        and (later or _fits(route.model, one.model))
        and _fits(route.version, one.version)
        for one in permissions
    )


def _fits(said: str, glob: str) -> bool:
    return glob == "*" or (bool(said) and fnmatchcase(said, glob))
