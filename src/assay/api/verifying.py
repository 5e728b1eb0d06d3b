"""`verify`: whether a target is exactly what somebody trusted signed, by a signature file or the store."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from assay.api.anchors import TrustIn, anchors
from assay.api.keeping import open_store, store_path
from assay.api.signers import read_file
from assay.config import Config, load
from assay.errors import AssayError, UsageError
from assay.evidence import documents
from assay.evidence.decision import decide
from assay.evidence.verification import Attestation, Candidate, Findings, Reader
from assay.targets.interface import Options, Target
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
        return resolve(target, replace(narrowed, paths=paths, default_ignores=default_ignores))

    narrowed = _without_signature(options, target, signature)
    with resolve(target, narrowed) as thing:
        place = os.path.realpath(thing.reference.name) if thing.reference.scheme == "dir" else None
        config = config if config is not None else load(config_path, inside=place)
        expected = anchors(trust, config, f"{thing.reference.scheme}:{thing.reference.name}")
        where, candidates, lookup = _candidates(thing, signature, directory, config, narrowed)
        reader = Reader(open_target, thing, narrowed.paths, sha256=require_sha256 or config.require_sha256)
        try:
            if byte_range is not None:
                from assay.evidence.excerpt import decide_range

                findings = decide_range(thing, candidates, expected, now, byte_range)
            else:
                findings = decide(
                    reader,
                    candidates,
                    expected,
                    now,
                    keep=_keep(narrowed.paths),
                    strict=strict,
                    lookup=lookup,
                )
        finally:
            reader.close()
        cached = getattr(thing, "from_cache", None) if options.trust_cache else None
        return Verification(
            str(thing.reference),
            findings,
            where,
            getattr(thing, "reread", None) if cached is not None else None,
            cached,
        )


def _keep(paths: tuple[str, ...]) -> Callable[[str], bool] | None:
    if not paths:
        return None
    from assay.targets.ignore import Selection

    selection = Selection.of(paths)
    return lambda name: bool(selection.hits(name))


def _without_signature(options: Options, target: str, signature: str | None) -> Options:
    """A signature file that lies inside the folder it signs is not part of it."""
    inside = []
    root = os.path.realpath(target.removeprefix("dir:"))
    if os.path.isdir(root):
        for path in (signature, os.path.join(root, "model.sig")):
            if path is not None and os.path.isfile(path):
                relative = os.path.relpath(os.path.realpath(path), root)
                if not relative.startswith("..") and (signature is not None or relative == "model.sig"):
                    inside.append("".join(f"[{char}]" if char in "*?[" else char for char in relative))
    return replace(options, ignore=(*options.ignore, *dict.fromkeys(inside)))


def _candidates(
    thing: Target, signature: str | None, directory: str | None, config: Config, options: Options
) -> tuple[str, list[Candidate], Callable[[str], Sequence[Candidate]] | None]:
    """Documents to try, most promising first, and how to find more by digest."""
    if signature is not None:
        bundles = documents.read_documents(read_file(signature), signature)
        return signature, [Candidate(signature, bundle) for bundle in bundles], None
    found: list[Candidate] = []
    lookup = None
    where = store_path(directory, config)
    if directory is not None or os.path.isdir(where):
        store = open_store(directory, config=config)
        shape = _shape(thing)
        entries = store.find(shape=shape)[:MAX_CANDIDATES] if not options.paths else []
        seen = {entry.blob for entry in entries}
        entries += [entry for entry in store.find(name=thing.name)[:MAX_CANDIDATES] if entry.blob not in seen]
        found = [candidate for entry in entries if (candidate := _read(store, entry)) is not None]

        def lookup(contents: str) -> Sequence[Candidate]:
            hits = store.find(digest=contents)[:MAX_CANDIDATES]
            return [candidate for entry in hits if (candidate := _read(store, entry)) is not None]

    for path in _beside(thing):
        if os.path.isfile(path):
            found += [Candidate(path, bundle) for bundle in documents.read_documents(read_file(path), path)]
            where += f" and {path}"
    return where, found, lookup


def _beside(thing: Target) -> tuple[str, ...]:
    """Where a signature lies when nobody says: beside the target, or in it as ``model.sig``."""
    if thing.reference.scheme not in ("dir", "file"):
        return ()
    real = os.path.realpath(thing.reference.name)
    return (real + ".sig", os.path.join(real, "model.sig"))


def _read(store: Store, entry: Entry) -> Candidate | None:
    """An entry's document. One that the store can no longer vouch for is no evidence: it cannot help a verdict."""
    try:
        bundles = documents.read_documents(store.read(entry), f"evidence {entry.blob[:12]}")
    except AssayError:
        return None
    return Candidate(f"evidence {entry.blob[:12]}", bundles[0], entry.seq) if bundles else None


def _shape(thing: Target) -> str:
    from assay.targets.interface import Manifest

    return Manifest(thing.names, thing.sizes, b"", b"").shape().hex()
