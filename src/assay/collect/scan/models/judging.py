"""Judging one open file, inside a worker: its digest, its format, its findings. Whatever goes wrong is a finding.

It must never raise for what a file holds, never call a file better than what was found in it, and never believe that
the bytes which were digested are the ones that were judged unless the file stood still.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

from assay.collect.scan.models.interface import Finding, Limits, Rules, Severity, Tier
from assay.errors import AssayError
from assay.targets.digest.plan import identity_of

Judge = Callable[[BinaryIO, int, str, Rules, Limits, Mapping[str, int]], tuple[str | None, Iterator[Finding]]]
"""From an open file, its size, its path in the target, rules, limits and the target's files to its format and findings.
"""

MAX_FINDINGS = 1000
"""Findings of one file that are kept. Those beyond count for its tier, and their number is told."""

LONGEST = 1000
"""Characters of a message or call."""

_CHUNK = 1 << 20
_LFS = b"version https://git-lfs.github.com/spec/"
_POINTER = 1024
"""A Git LFS pointer is smaller than this (its specification)."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one file, beside its findings."""

    format: str | None
    """Recognised by its content."""
    sha256: bytes | None
    """None where none was asked for, or the file could not be read."""
    identity: bytes
    """What stat said of it (`digest.plan.IDENTITY` bytes), the same before and after; empty where it did not stay."""
    known: bool = False
    """Its digest is the one whose result the caller has already; it was not scanned."""


def judge_file(
    file: BinaryIO, size: int, path: str, rules: Rules, limits: Limits, siblings: Mapping[str, int]
) -> tuple[str | None, Iterator[Finding]]:
    """The format that the bytes have, and what is wrong with them: the scanners of `formats`, pickles by the engine."""
    from assay.collect.scan.models.formats.scanning import scan_stream
    from assay.collect.scan.models.pickle.engine import run_pickle

    return scan_stream(file, size, path, rules, limits, run_pickle, siblings=siblings)


def judge(
    file: BinaryIO,
    path: str,
    listed: int,
    rules: Rules,
    limits: Limits,
    siblings: Mapping[str, int],
    by: Judge,
    report: Callable[[Finding], None],
    *,
    digest: Callable[[bytes], None] | None,
    known: bytes | None,
) -> Judged:
    """Judge ``file``, which was listed with ``listed`` bytes; each finding goes to ``report`` when it is found.

    ``digest`` is told the SHA-256 before anything of the file is parsed; without it none is computed. With ``known``,
    the digest that an earlier scan saw, the same bytes are not scanned again.
    """
    before = os.fstat(file.fileno())
    form: str | None = None
    sha256: bytes | None = None
    try:
        if digest is not None:
            sha256 = _digest(file)
            digest(sha256)
            if sha256 == known and identity_of(os.fstat(file.fileno())) == identity_of(before):
                return Judged(None, sha256, identity_of(before), known=True)
            file.seek(0)
        head = file.read(len(_LFS)) if before.st_size < _POINTER else b""
        file.seek(0)
        if head == _LFS:
            form = "git-lfs-pointer"
            report(pointer())
        else:
            form, findings = by(file, before.st_size, path, rules, limits, siblings)
            bounded(findings, report)
    except AssayError as error:
        report(trouble("scan/unreadable", f"it could not be read to its end: {error.message}"))
    except OSError as error:
        report(trouble("scan/unreadable", f"it could not be read to its end: {error.strerror or error}"))
    except MemoryError:
        report(trouble("scan/limit", "reading it takes more memory than one file may use"))
    except RecursionError:
        report(trouble("scan/limit", "it is nested more deeply than one file may be"))
    except Exception as error:
        report(trouble("scan/failed", f"its scanner failed on it ({type(error).__name__}: {error})"))
    after = os.fstat(file.fileno())
    if identity_of(after) != identity_of(before) or before.st_size != listed:
        report(trouble("scan/changed", "it changed while it was scanned, so that nothing is known about it"))
        return Judged(form, None, b"")
    return Judged(form, sha256, identity_of(before))


def _digest(file: BinaryIO) -> bytes:
    made = hashlib.sha256()
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    descriptor = file.fileno()
    at = 0
    while count := os.preadv(descriptor, [view], at):
        made.update(view[:count])
        at += count
    return made.digest()


def bounded(findings: Iterator[Finding], report: Callable[[Finding], None]) -> None:
    """Report at most `MAX_FINDINGS`, and any that is worse than all before it: a flood must not hide the attack."""
    kept = dropped = 0
    worst = -1
    for finding in findings:
        if kept < MAX_FINDINGS or finding.tier.rank > worst:
            kept += 1
            worst = max(worst, finding.tier.rank)
            report(cleaned(finding))
        else:
            dropped += 1
    if dropped:
        report(
            Finding(
                "scan/more-findings", Tier.NONE, Severity.INFO, f"{dropped:,} more findings of no worse tier follow"
            )
        )


def cleaned(finding: Finding) -> Finding:
    """The finding with texts of one printable line each, of bounded length; a stranger's file wrote parts of them."""
    return replace(
        finding,
        rule=one_line(finding.rule) or "scan/unnamed",
        message=one_line(finding.message) or "no message",
        member=one_line(finding.member) if finding.member is not None else None,
        call=one_line(finding.call) if finding.call is not None else None,
        mitigation=one_line(finding.mitigation),
    )


def one_line(text: str, limit: int = LONGEST) -> str:
    """One printable line: blanks for white space, ``\\x1b`` for what could steer a terminal or cannot be encoded."""
    text = " ".join(text[: 2 * limit].split())
    if not text.isprintable():
        text = "".join(
            char if char.isprintable() else f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"
            for char in text
        )
    return text if len(text) <= limit else text[: limit - 1] + "…"


def trouble(rule: str, message: str) -> Finding:
    """The finding for a file that could not be judged. Rules that start with ``scan/`` are never cached."""
    return Finding(
        rule,
        Tier.UNREADABLE,
        Severity.HIGH,
        one_line(message),
        mitigation="Do not load it before it is known why; a damaged file is to be fetched again.",
    )


def pointer() -> Finding:
    """The finding for a Git LFS pointer: the model itself is elsewhere, and was not seen."""
    return Finding(
        "scan/lfs-pointer",
        Tier.UNKNOWN,
        Severity.MEDIUM,
        "it is a Git LFS pointer: the content that it stands for is not here and was not scanned",
        mitigation="Run 'git lfs pull', and scan again.",
    )


def tier_of(form: str | None, findings: tuple[Finding, ...]) -> Tier:
    """The worst tier of the findings; without any, `Tier.SAFE` for a format that was seen through, else `Tier.NONE`."""
    base = Tier.NONE if form is None else Tier.SAFE
    return max((base, *(finding.tier for finding in findings)), key=lambda tier: tier.rank)
