"""The functions that any engine can call: profile a part, merge parts, read a profile, make it fit to be published.

Bytes go in and out, so that an engine needs to know nothing else. It must never matter which engine called.
"""

from __future__ import annotations

import hashlib
from typing import Any

from assay.collect.profile.accumulate import Accumulator, frame_of
from assay.collect.profile.interface import Profile, Spec
from assay.errors import UsageError


def partial(table: Any, spec: Spec) -> bytes:
    """Profile of a part: any table with Arrow's PyCapsule interface (pyarrow, polars, pandas 2.2 and later).

    The spec's statistics in SQL are computed if the table has no columns of their names; functions are not called.
    """
    frame = frame_of(table)
    absent = [custom for custom in spec.customs if custom.name not in frame.columns]
    if absent:
        from assay.collect.profile.custom import extended

        functions = [custom for custom in absent if custom.function is not None]
        if functions:
            raise UsageError(
                f"the table has no column {functions[0].name!r}, which {functions[0].function} computes",
                hint="add it with assay.collect.profile.custom.extended first",
            )
        frame = extended(frame, absent)
    accumulator = Accumulator(spec)
    accumulator.add(frame)
    return accumulator.state()


def merge(*parts: bytes) -> bytes:
    """Profile of the whole from those of its parts, in any order.

    Raises `UsageError` for no part or unequal specs, `DocumentError` for bytes that are no profile.
    """
    if not parts:
        raise UsageError("there is no profile to merge")
    whole = Accumulator.read(parts[0])
    for part in parts[1:]:
        whole.absorb(Accumulator.read(part))
    return whole.state()


def decode(data: bytes, *, labels: int | None = 10) -> Profile:
    """What a profile says. ``labels``: show values that were seen at least so often; None shows all that it holds."""
    return Accumulator.read(data).decode(labels, hashlib.sha256(data).hexdigest())


def publish(data: bytes, *, least: int = 10) -> bytes:
    """The profile without the texts of values that were seen less often than ``least`` times; their hashes stay."""
    accumulator = Accumulator.read(data)
    accumulator.publish(least)
    return accumulator.state()
