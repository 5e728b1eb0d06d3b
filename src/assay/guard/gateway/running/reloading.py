"""What a reload changes, and what only a restart does: sockets, processes and places that are there already stay."""

from __future__ import annotations

from msgspec.structs import replace

from assay.guard.gateway.settings import Settings

FIXED = ("listen", "workers", "state", "admin", "redis", "otlp")
"""Keys of the file that are read once."""


def taken(now: Settings, new: Settings) -> tuple[Settings, list[str]]:
    """What becomes of the settings ``now`` when ``new`` ones were read, and which keys want a restart."""
    kept = [name for name in FIXED if getattr(now, name) != getattr(new, name)]
    return replace(new, **{name: getattr(now, name) for name in kept}), kept
