"""`verify`: whether a target is exactly what somebody trusted signed, by a signature file or the store."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.api.anchors import TrustIn, anchors
from assay.api.keeping import open_store, store_path
from assay.config import Config, load
from assay.errors import AssayError, UsageError
from assay.evidence import documents
from assay.evidence.decision import decide, doubted
from assay.evidence.verification import Attestation, Candidate, Findings, Reader
from assay.files import read_file
from assay.targets.interface import Manifest, Options, Target
from assay.targets.registry import resolve

if TYPE_CHECKING:
    from assay.evidence.stores.interface import Entry, Store

MAX_CANDIDATES = 50
"""Documents of the store that are tried for one name; the newest ones."""

_EXIT = {"accepted": 0, "rejected": 1, "undecided": 3}


@dataclass(frozen=True, slots=True)
class Verification:
    """The answer about one target."""

    reference: str
    """The target, pinned to its revision."""
    findings: Findings
    """What was proved, and what differs."""
    evidence: str
    """Where the evidence was looked for."""
    reread: int | None = None
    """Files whose bytes were read; None when the cache was not in use."""
    from_cache: int | None = None
    """Files whose digest was taken from the trusted cache."""

    @property
    def accepted(self) -> bool:
        """Only True is success; undecided is not."""
        return self.findings.verdict == "accepted"

    @property
    def exit_code(self) -> int:
        """0 accepted, 1 rejected, 3 could not decide."""
        return _EXIT[self.findings.verdict]

    def document(self) -> dict[str, Any]:
        """The answer as JSON; ``proved`` and ``said`` are kept apart for each attestation."""
        found = self.findings
        made: dict[str, Any] = {
            "target": self.reference,
            "verdict": found.verdict,
            "reason": found.reason,
            "part": list(found.part),
            "files": found.files,
            "size": found.size,
            "algorithm": found.algorithm,
            "missing": list(found.difference.missing),
            "extra": list(found.difference.extra),
            "modified": list(found.difference.modified),
            "unsigned": list(found.unsigned),
            "warnings": list(found.warnings),
            "evidence": self.evidence,
            "attestations": [_attestation(item) for item in found.attestations],
        }
        if self.from_cache is not None:
            made["reread"], made["fromCache"] = self.reread, self.from_cache
        return made


def _attestation(item: Attestation) -> dict[str, Any]:
    proof = item.proof
    return {
        "source": item.source,
        "predicateType": item.predicate_type,
        "subjects": list(item.subjects),
        "matched": list(item.matched),
        "proved": None
        if proof is None
        else {
            "method": proof.method,
            "signer": proof.signer,
            "issuer": proof.issuer,
            "algorithm": proof.algorithm,
            "time": proof.time.strftime("%Y-%m-%dT%H:%M:%SZ") if proof.time else None,
            "timeSource": proof.time_source,
        },
        "problem": item.problem,
        "said": {
            name: item.said[name]
            for name in ("time", "target", "origin", "revision", "labels", "context", "tool")
            if name in item.said
        },
    }


def verify(
    target: str,
    *,
    trust: TrustIn = TrustIn(),  # noqa: B008 - frozen
    signature: str | None = None,
    directory: str | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    byte_range: tuple[int, int] | None = None,
    require_sha256: bool = False,
    strict: bool = False,
    config: Config | None = None,
    config_path: str | None = None,
    now: datetime | None = None,
) -> Verification:
    """Hold ``target`` against evidence signed by somebody expected.

    ``signature`` is a detached document (a model signature, a bundle, an attestation of another tool); without it the
    evidence store is asked, and the signature beside the target. ``options.paths`` limit the verification to a part,
    ``byte_range`` (first byte, end, exclusive) to some bytes of the one file that they name. ``require_sha256`` refuses
    the faster signed BLAKE3 digests. ``strict`` turns every warning (unsigned names, a newer statement) into a
    rejection and never takes digests from the cache.

    Raises `AssayError`: wrong usage and unreadable input (exit code 2), nobody to trust or no evidence (3).
    """
    if strict and options.trust_cache:
        raise UsageError("--strict reads every byte: it cannot be combined with --trust-cache")
    now = now or datetime.now(UTC)

    def open_target(paths: tuple[str, ...], default_ignores: bool) -> Target:
        return resolve(target, replace(options, paths=paths, default_ignores=default_ignores))

    with resolve(target, options) as thing:
        config = config if config is not None else load(config_path)
        expected = anchors(trust, config, thing.reference)
        with _Evidence(thing, signature, directory, config, bool(options.paths)) as evidence:
            if byte_range is not None:
                from assay.evidence.excerpt import decide_range

                findings = decide_range(thing, evidence.candidates, expected, now, byte_range)
            else:
                reader = Reader(
                    open_target,
                    thing,
                    options.paths,
                    sha256=require_sha256 or config.require_sha256,
                    signatures=evidence.signatures,
                )
                keep = _keep(options.paths)
                with contextlib.closing(reader):
                    findings = decide(
                        reader, evidence.candidates, expected, now, keep=keep, strict=strict, lookup=evidence.lookup
                    )
        if evidence.problems:
            findings = doubted(findings, evidence.problems, strict=strict)
        cached = getattr(thing, "from_cache", None) if options.trust_cache else None
        return Verification(
            str(thing.reference),
            findings,
            evidence.where,
            getattr(thing, "reread", None) if cached is not None else None,
            cached,
        )


def _keep(paths: tuple[str, ...]) -> Callable[[str], bool] | None:
    if not paths:
        return None
    from assay.targets.ignore import Selection

    selection = Selection.of(paths)
    return lambda name: bool(selection.hits(name))


class _Evidence:
    """Documents that may concern a target, and where they were looked for. Use it as a context manager."""

    def __init__(self, thing: Target, signature: str | None, directory: str | None, config: Config, part: bool) -> None:
        self.problems: list[str] = []
        """Evidence that could not be read: it cannot help a verdict, and its absence may hide something newer."""
        self._store: Store | None = None
        files = (signature,) if signature is not None else tuple(filter(os.path.isfile, _beside(thing)))
        where = list(files)
        if signature is None:
            place = store_path(directory, config)
            if directory is not None or os.path.isdir(place):
                self._store = open_store(directory, config=config)
            where.insert(0, place)
        self.where = " and ".join(where)
        """For messages."""
        self.signatures = frozenset(filter(None, (_inside(thing, path) for path in files)))
        """Names under which the signature files lie in the target itself."""
        self.candidates = [*self._kept(thing, part), *(item for path in files for item in self._parse(path))]
        """Documents to try, most promising first."""

    def _parse(self, path: str) -> list[Candidate]:
        return [Candidate(path, bundle) for bundle in documents.read_documents(read_file(path), path)]

    def _kept(self, thing: Target, part: bool) -> list[Candidate]:
        if self._store is None:
            return []
        shape = Manifest(thing.names, thing.sizes, b"", b"").shape().hex()
        entries = [] if part else self._store.find(shape=shape, limit=MAX_CANDIDATES)
        seen = {entry.blob for entry in entries}
        entries += [item for item in self._store.find(name=thing.name, limit=MAX_CANDIDATES) if item.blob not in seen]
        return self._read(entries)

    def lookup(self, contents: str) -> Sequence[Candidate]:
        """Documents of the store about contents with this SHA-256 (hex)."""
        return self._read(self._store.find(digest=contents, limit=MAX_CANDIDATES)) if self._store is not None else []

    def _read(self, entries: Sequence[Entry]) -> list[Candidate]:
        found = []
        for entry in entries:
            name = f"evidence {entry.blob[:12]}"
            try:
                bundles = documents.read_documents(self._store.read(entry), name) if self._store else []
            except AssayError as error:
                self.problems.append(f"{name} cannot be read: {error.message}")
                continue
            found += [Candidate(name, bundle, entry.seq) for bundle in bundles[:1]]
        return found

    def __enter__(self) -> _Evidence:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._store is not None:
            self.problems += self._store.notes
            self._store.close()


def _inside(thing: Target, path: str) -> str | None:
    """The name of a file within a folder target; None for one that lies elsewhere."""
    if thing.reference.scheme != "dir":
        return None
    relative = os.path.relpath(os.path.realpath(path), os.path.realpath(thing.reference.name))
    return None if relative.startswith("..") else relative


def _beside(thing: Target) -> tuple[str, ...]:
    """Where a signature lies when nobody says: beside the target, or in it as ``model.sig``."""
    if thing.reference.scheme not in ("dir", "file"):
        return ()
    real = os.path.realpath(thing.reference.name)
    return (real + ".sig", os.path.join(real, "model.sig"))
