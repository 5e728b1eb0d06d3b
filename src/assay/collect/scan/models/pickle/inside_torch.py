"""Tensors that were pickled without `torch.save`: each holds a whole legacy torch file in a byte string.

``torch.storage._load_from_bytes`` loads what it is given without any restriction, so that the call is as harmless as
the programs in its argument, and only then. Those are run like any other; an argument that is not exactly such a file,
or that cannot be told, leaves the call what it is by its name.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import BinaryIO

from assay.collect.scan.models.pickle.program import Nested, Program

CALL = ("torch.storage", "_load_from_bytes")
"""The function, as the pickle names it."""

HEAD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first program of such a file: its magic number (``MAGIC_NUMBER`` in torch/serialization.py)."""

PROGRAMS = 5
"""Magic number, protocol, system, the object, keys of the storages."""

MOST = 5000
"""Calls that are followed; a network with more parameters stays unknown."""

_SECRET = os.urandom(16)
_PREFIX = 1 << 18
"""Bytes that the machine may have read ahead of a byte string that was passed over."""

Given = bytes | tuple[int, int] | None
"""An argument: itself, or where it lies in the file (begin and end); None for anything else."""


def mark(buffer: memoryview, at: int) -> None:
    """Say in a byte string that is passed over where in the file it lies; no pickle can know how."""
    buffer[:24] = _SECRET + at.to_bytes(8, "little")


def given(args: tuple[object, ...]) -> Given:
    """The argument of a call."""
    data = args[0] if len(args) == 1 else None
    if type(data) is not bytes:
        return None
    found = data.find(_SECRET, 0, _PREFIX)
    if found < 0:
        return data
    start = int.from_bytes(data[found + 16 : found + 24], "little") - found
    return start, start + len(data)


def follow(
    file: BinaryIO, calls: list[Given], program: Callable[[BinaryIO, int], Program]
) -> tuple[list[Nested], frozenset[Given]]:
    """The programs in the arguments, and the arguments that are such files and were read to their end; nothing is said
    of the others. ``program`` runs the one at the position of the file that it is given, which ends at its second
    argument.
    """
    found: list[Nested] = []
    whole: set[Given] = set()
    for call in dict.fromkeys(calls[:MOST]):
        if call is None:
            continue
        held, start, end = (io.BytesIO(call), 0, len(call)) if isinstance(call, bytes) else (file, *call)
        held.seek(start)
        if held.read(len(HEAD)) != HEAD:
            continue
        held.seek(start)
        inner = [program(held, end) for _ in range(PROGRAMS)]
        if all(one.complete for one in inner):
            whole.add(call)
            place = None if isinstance(call, bytes) else start
            found += [Nested(place, one) for one in inner if one.uses or one.flags or one.nested]
    return found, frozenset(whole)
