"""What a caller may do: an allow-list of (protocol, model, version, verb); what nobody allowed is forbidden."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from assay.guard.gateway.interface import Permission, Route, Verb

OPEN = frozenset({Verb.HEALTH})
"""What every caller who was identified may do."""


LATER = frozenset({"openai", "sagemaker"})
"""Protocols of which the body, or a header of their own, says the model or its version."""


def permitted(permissions: Iterable[Permission], route: Route, *, final: bool = False) -> bool:
    """Whether one of the permissions fits. A part that the request does not say is only covered by ``*``; where only
    the body says the model (`LATER`), it is asked again with it, and that answer is ``final``. What has no body that
    says it (a list of all models) is not asked again.
    """
    if route.verb in OPEN:
        return True
    later = route.protocol in LATER and not final and route.verb is not Verb.METADATA
    return any(
        fnmatchcase(route.protocol, one.protocol)
        and fnmatchcase(route.verb, one.verb)
        and ((later and not route.model) or _fits(route.model, one.model))
        and (later or _fits(route.version, one.version))
        for one in permissions
    )


def _fits(said: str, glob: str) -> bool:
    return glob == "*" or (bool(said) and fnmatchcase(said, glob))
