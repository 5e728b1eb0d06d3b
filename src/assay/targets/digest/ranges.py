"""Digests of byte ranges: shards and whole files by BLAKE2b or BLAKE3 in documents of other tools, ranges of our own.

Reads through `Target.open`, several ranges at once in threads; hashing releases the interpreter's lock.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from assay.targets.interface import Target

_CHUNK = 1 << 20


class Range(Protocol):
    """Some bytes of a file and the digest that they should have."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def stop(self) -> int | None: ...  # noqa: D102
    @property
    def algorithm(self) -> str: ...  # noqa: D102
    @property
    def digest(self) -> bytes: ...  # noqa: D102


def check(target: Target, ranges: Sequence[Range]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Names (missing, extra, modified). A file counts as modified too when the ranges end before it does.

    Empty files that no range names are not extra: shards of nothing are nothing.
    """
    sizes = dict(zip(target.names, target.sizes, strict=True))
    alone = target.single and len({item.name for item in ranges}) == 1
    rename = {ranges[0].name: target.names[0]} if alone else {}
    ends: dict[str, int] = {}
    work: list[Range] = []
    missing: dict[str, None] = {}
    for item in ranges:
        name = rename.get(item.name, item.name)
        if name not in sizes:
            missing[name] = None
            continue
        ends[name] = max(ends.get(name, 0), sizes[name] if item.stop is None else item.stop)
        work.append(item)
    modified = {name for name, end in ends.items() if end != sizes[name]}
    with ThreadPoolExecutor(max_workers=_cores()) as pool:
        jobs = [pool.submit(_digest, target, rename.get(item.name, item.name), item) for item in work]
        for item, job in zip(work, jobs, strict=True):
            if job.result() != item.digest:
                modified.add(rename.get(item.name, item.name))
    extra = tuple(name for name in target.names if name not in ends and (sizes[name] or not _sharded(ranges)))
    return tuple(missing), extra, tuple(name for name in target.names if name in modified)


def _sharded(ranges: Sequence[Range]) -> bool:
    return any(item.stop is not None for item in ranges)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _hasher(algorithm: str) -> Any:
    if algorithm == "blake3":
        from blake3 import blake3

        return blake3()
    return hashlib.new(algorithm)


def _digest(target: Target, name: str, item: Range) -> bytes:
    hasher = _hasher(item.algorithm)
    with target.open(name) as file:
        file.seek(item.start)
        left = None if item.stop is None else item.stop - item.start
        while left is None or left > 0:
            chunk = file.read(_CHUNK if left is None else min(_CHUNK, left))
            if not chunk:
                break
            hasher.update(chunk)
            if left is not None:
                left -= len(chunk)
    digest: bytes = hasher.digest()
    return digest
