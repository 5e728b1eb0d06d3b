"""Scanning a target: every file is judged once, in a worker, or known from an earlier scan; every file is listed.

This is the one orchestrator. It knows no format and no rule, never opens a file twice for one judgement, and what it
could not judge is listed as unreadable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from assay.collect.scan.models import cache as caches
from assay.collect.scan.models.interface import FileResult, Finding, Limits, Rules, TargetResult
from assay.collect.scan.models.judging import Judge, Judged, judge_file, tier_of
from assay.collect.scan.models.workers import Item, Outcome, Pool, Work
from assay.targets.digest.engine import MAX_WORKERS, usable_cores
from assay.targets.interface import Target

Cache = Literal["off", "content", "stat"]
"""What is believed of earlier scans: nothing; their results for the same bytes, which are digested; and, for a file
with an unchanged stat, that its bytes are the same (what the digest cache calls trust: evidence must not rest on it).
"""

Progress = Callable[[int, int], None]
"""Called with (files done, files in all); must return quickly."""

SMALL = 16 << 20
"""Bytes up to which a file is digested even when nobody asked for its digest: less work than scanning it again."""


def scan(
    target: Target,
    *,
    rules: Rules | None = None,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    workers: int | None = None,
    cache: Cache = "content",
    digests: bool = True,
    progress: Progress | None = None,
    judge: Judge = judge_file,
    notes: Callable[[str], None] | None = None,
) -> TargetResult:
    """Judge every file of ``target``.

    ``rules`` default to those that ship with assay. ``workers`` is the number of processes, by default one per core.
    Without ``digests`` files of more than `SMALL` bytes are scanned but not digested. ``notes`` is told why the cache
    could not be used. Raises nothing for what a file holds, and `AssayError` where no worker can be started at all.
    """
    if rules is None:
        from assay.collect.scan.models.rules.ruleset import load

        rules = load()
    count = len(target.names)
    made: list[FileResult | None] = [None] * count
    rows: list[caches.Row | None] = [None] * count
    key = b"" if cache == "off" else caches.key_of(target, rules.digest, limits)
    known = caches.load(target, key, trust_stat=cache == "stat") if key else None
    if known is not None:
        for i, row in enumerate(known.by_position):
            if row is not None and known.same[i] and (row.sha256 is not None or not _digested(target, i, digests)):
                made[i], rows[i] = _remembered(row), row
    missing = [i for i, result in enumerate(made) if result is None]
    done = count - len(missing)
    # The largest first, so that none of them is left alone at the end.
    missing.sort(key=lambda i: -target.sizes[i])
    items = [
        Item(i, target.names[i], target.sizes[i], _digested(target, i, digests), _digest_of(known, i)) for i in missing
    ]
    work = Work(rules, limits, dict(zip(target.names, target.sizes, strict=True)), judge)
    with Pool(work, max(1, min(workers or usable_cores(), MAX_WORKERS, len(items)))) as pool:
        for outcome in pool.run(items, target.open):
            i = outcome.index
            row = known.by_position[i] if known is not None else None
            made[i], rows[i] = _result(target.names[i], outcome, row)
            done += 1
            if progress is not None:
                progress(done, count)
    if known is not None:
        note = known.note
        if missing or known.by_position != tuple(rows):
            note = caches.save(target, key, [row for row in rows if row is not None]) or note
        if note and notes is not None:
            notes(f"the cache of scans was not used: {note}")
    files = tuple(item for item in made if item is not None)
    return TargetResult(str(target.reference), files, rules.digest, target.facts.refused)


def _digested(target: Target, i: int, digests: bool) -> bool:
    return digests or target.sizes[i] <= SMALL


def _digest_of(known: caches.Cached | None, i: int) -> bytes | None:
    row = known.by_position[i] if known is not None else None
    return row.sha256 if row is not None else None


def _remembered(row: caches.Row) -> FileResult:
    digest = row.sha256.hex() if row.sha256 is not None else None
    return FileResult(row.path, tier_of(row.format, row.findings), row.format, digest, row.findings, cached=True)


def _result(path: str, outcome: Outcome, row: caches.Row | None) -> tuple[FileResult, caches.Row | None]:
    """The result of one file, and the row to remember it by; None where what came of it may be an accident."""
    judged = outcome.judged
    if judged is None:
        digest = outcome.sha256.hex() if outcome.sha256 is not None else None
        return FileResult(path, tier_of(None, outcome.findings), None, digest, outcome.findings), None
    if judged.known and row is not None:
        kept = caches.Row(path, judged.identity, row.sha256, row.format, row.findings)
        return _remembered(kept), kept
    return _scanned(path, judged, outcome.findings)


def _scanned(path: str, judged: Judged, findings: tuple[Finding, ...]) -> tuple[FileResult, caches.Row | None]:
    digest = judged.sha256.hex() if judged.sha256 is not None else None
    result = FileResult(path, tier_of(judged.format, findings), judged.format, digest, findings)
    if not judged.identity or any(finding.rule.startswith("scan/") for finding in findings):
        return result, None
    return result, caches.Row(path, judged.identity, judged.sha256, judged.format, findings)
