"""The digest engine: from a listing to a manifest, on all cores, in memory that does not grow with the files.

Files of at most one segment are read whole, in batches; larger ones are streamed (SHA-256) or cut into windows of
segments (BLAKE3 alone). It never returns a digest of a file that changed, shrank, or was replaced since the listing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from assay.targets.digest.plan import Columns, Table, make_plan
from assay.targets.digest.pool import can_fork, run_forked, run_inline, run_threads
from assay.targets.interface import Manifest, Progress
from assay.targets.listing import Listing

MAX_WORKERS = 64
"""More would wait for memory and disk, and each costs a process."""

INLINE_BYTES = 8 * 1024 * 1024
"""Less than this, in few files, is digested at once: about the time that two forks take."""

INLINE_FILES = 200


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def digest(
    listing: Listing,
    *,
    sha256: bool,
    blake3: bool,
    single: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Read every file of ``listing`` once and digest it.

    ``workers`` is the number of processes (or threads, in a process that has threads already), by default two per
    core, so that one computes while another waits for the disk. Raises `ChangedError` for a file that is not, or does
    not stay, what was listed, and `TargetError` for one that cannot be read. Any exception, Ctrl-C too, leaves no
    process or thread behind.
    """
    columns = digest_columns(
        listing, range(len(listing.names)), sha256=sha256, blake3=blake3, workers=workers, progress=progress
    )
    return Manifest(listing.names, listing.sizes, columns.sha256, columns.blake3, columns.segments, single)


def digest_columns(
    listing: Listing,
    positions: Sequence[int],
    *,
    sha256: bool,
    blake3: bool,
    workers: int | None = None,
    progress: Progress | None = None,
    identities: bool = False,
) -> Columns:
    """As `digest`, for some positions only, in columns, with the stat that each digest belongs to if asked for."""
    cores = usable_cores()
    workers = max(1, min(workers or 2 * cores, MAX_WORKERS))
    plan = make_plan(listing, positions, sha256=sha256, blake3=blake3, cores=min(workers, cores))
    workers = max(1, min(workers, len(plan.units)))
    table = Table(plan, workers)
    if plan.units and (sha256 or blake3):
        if plan.total <= INLINE_BYTES and len(plan.small) <= INLINE_FILES:
            run_inline(plan, table, progress, identities=identities)
        elif can_fork():
            run_forked(plan, table, workers, progress, identities=identities)
        else:
            run_threads(plan, table, workers, progress, identities=identities)
        if progress is not None:
            progress(plan.total, plan.total)
    return table.columns(identities=identities)
