"""The files of what was learned: how everybody stands, what detectors remember, and beside them what is open.

A damaged one is never passed over: blocked callers would be free again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Protocol

import msgspec

from assay.alerts.finding import Finding
from assay.errors import AssayError, DocumentError
from assay.files import read_file, write_atomic
from assay.guard.gateway.interface import Level, Standing


class Restorable(Protocol):
    """Detectors, as far as their memory goes."""

    def restore_state(self, data: bytes) -> None:
        """Raises `DocumentError`."""


class _Saved(msgspec.Struct, frozen=True):
    """The file of standings. What detectors have learned is in one beside it, which is larger."""

    version: int
    standings: dict[str, tuple[int, float | None, str, bool]]
    """Key to level, end (None: none), reason, and whether a person said it."""


def findings_beside(standings: str) -> str:
    """The file of open findings (documents of `alerts.finding`), beside a file of standings."""
    return f"{standings.removesuffix('.json')}-findings.json"


def learned_beside(standings: str) -> str:
    """The file of what detectors have learned, likewise."""
    return f"{standings.removesuffix('.json')}-learned.json"


def save(place: str, standings: Mapping[str, Standing]) -> None:
    """How everybody stands, into the file ``place``. Raises `OSError`."""
    said = {
        key: (int(one.level), None if math.isinf(one.until) else one.until, one.why, one.by_hand)
        for key, one in standings.items()
    }
    write_atomic(place, msgspec.json.encode(_Saved(1, said)), mode=0o600)


def save_findings(place: str, found: Sequence[Finding]) -> None:
    """What is open, beside the standings in ``place``. Raises `OSError`."""
    written = msgspec.json.encode({"version": 1, "findings": [asdict(one) for one in found]})
    write_atomic(findings_beside(place), written, mode=0o600)


def restored(place: str, detectors: Restorable | None) -> dict[str, Standing]:
    """Standings from the file ``place``, and what detectors had learned into them. Raises `DocumentError`."""
    found: dict[str, Standing] = {}
    name = place
    try:
        if os.path.lexists(name):
            saved = msgspec.json.decode(read_file(name), type=_Saved)
            if saved.version != 1:
                raise DocumentError(f"it has the version {saved.version}, which is not known")
            for key, (level, until, why, by_hand) in saved.standings.items():
                found[key] = Standing(Level(level), math.inf if until is None else until, why, by_hand)
        name = learned_beside(place)
        if detectors is not None and os.path.lexists(name):
            detectors.restore_state(read_file(name))
    except (AssayError, msgspec.MsgspecError, ValueError) as error:
        # Blocked callers would be free again: that is for a person to decide, not for a damaged file.
        why = error.message if isinstance(error, AssayError) else str(error)
        raise DocumentError(
            f"{name} is damaged, and it says who is blocked: {why}", hint="restore it, or delete it"
        ) from None
    return found
