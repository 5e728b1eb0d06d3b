"""The files of a target on a local disk: names, sizes and where each one is opened. Listing reads no contents."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from msgspec import Struct, field


class Listing(Struct, frozen=True):
    """Files beneath one root, sorted by name."""

    root: str
    """Absolute, resolved directory. Every file is opened beneath it, one component after the other, O_NOFOLLOW."""
    names: list[str]
    """Resource names, unique, sorted by code point."""
    sizes: array[int]
    """Bytes at the time of listing, type code ``Q``."""
    paths: Mapping[int, str] = field(default_factory=dict)
    """By position: the path beneath ``root`` where it is not the name itself (a resolved link, a wheel's file)."""

    identities: bytes = b""
    """For the trusted cache only: what stat said of each file when it was listed (`digest.plan.IDENTITY` bytes)."""

    def path(self, i: int) -> str:
        """Where resource ``i`` is opened, relative to ``root``."""
        return self.paths.get(i, self.names[i])
