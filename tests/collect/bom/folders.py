"""A folder on disk as a target, for the tests of what reads targets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from assay.targets.interface import Options, Reference, Target
from assay.targets.local import open_directory


def target_of(folder: Path, files: Mapping[str, bytes]) -> Target:
    """Write ``files`` into ``folder`` and resolve it."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return open_directory(Reference("dir", str(folder)), Options())
