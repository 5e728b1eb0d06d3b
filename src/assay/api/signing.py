"""`sign`: an OpenSSF model signature for a target, as a detached file and in the evidence store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from assay.api.keeping import keep, store_path
from assay.api.signers import SignWith, signer
from assay.api.subjects import described
from assay.config import Config, load
from assay.evidence import oms
from assay.files import write_atomic
from assay.targets.interface import Manifest, Options
from assay.targets.registry import resolve


@dataclass(frozen=True, slots=True)
class Signed:
    """What signing made."""

    reference: str
    """The target, pinned."""
    files: int
    size: int
    """Bytes."""
    contents: str
    """SHA-256 (hex) of names, sizes and digests."""
    by: str
    """Who signed, in words."""
    predicate_type: str
    bundle: bytes
    """The signed document."""
    path: str | None
    """File that it was written to."""
    entry: str | None
    """Digest under which the store keeps it."""
    store: str | None
    """Directory of that store."""
    ignored: tuple[str, ...] = ()
    """Names that the statement does not cover."""


def sign(
    target: str,
    *,
    signature: str | None = None,
    signer_choice: SignWith = SignWith(),  # noqa: B008 - frozen
    directory: str | None = None,
    store: bool = True,
    options: Options = Options(),  # noqa: B008 - frozen
    labels: Mapping[str, str] | None = None,
    config: Config | None = None,
    identify: bool = False,
    now: datetime | None = None,
) -> Signed:
    """Digest every file of ``target``, sign the list, write it to ``signature`` and keep it in the evidence store.

    ``signature`` is the detached file (a Sigstore bundle that ``model_signing verify`` reads too); by default it lies
    beside a local target and is called ``NAME.sig``. ``labels`` are recorded in the signed statement. ``now`` is for
    reproducible tests. Raises `AssayError`.
    """
    config = config if config is not None else load(None)
    now = now or datetime.now(UTC)
    secret, by = signer(signer_choice, config)
    with resolve(target, _rules(options, target, signature)) as thing:
        path = signature or _beside(thing.reference.scheme, thing.reference.name)
        manifest = thing.manifest()
        said = described(
            thing, manifest, options, now=now, labels={**config.labels, **(labels or {})}, identify=identify
        )
        payload = oms.payload(
            thing.name,
            manifest,
            ignored=sorted({*oms.GIT_PATHS, *(name.rstrip("/") for name in thing.facts.ignored)}),
            followed_links=thing.facts.followed_links,
            annotations=said,
        )
        bundle = secret.sign(payload)
        entry = None
        if store:
            entry = keep(bundle, thing, directory, config, now, said)
        if path is not None:
            write_atomic(path, bundle.raw)
        return Signed(
            str(thing.reference),
            *_counts(manifest),
            by,
            oms.PREDICATE_TYPE,
            bundle.raw,
            path,
            entry,
            store_path(directory, config) if store else None,
            thing.facts.ignored,
        )


def _counts(manifest: Manifest) -> tuple[int, int, str]:
    return len(manifest), manifest.size, manifest.contents().hex()


def _rules(options: Options, target: str, signature: str | None) -> Options:
    """Options that leave out what other verifiers of model signatures leave out, and the signature itself."""
    # At the root only: deeper ones are content to those verifiers.
    left_out = [f"./{name}" for name in oms.GIT_PATHS] if options.default_ignores else []
    root = os.path.realpath(target.removeprefix("dir:"))
    if signature is not None and os.path.isdir(root):
        relative = os.path.relpath(os.path.realpath(signature), root)
        if not relative.startswith(".."):
            left_out.append("./" + "".join(f"[{char}]" if char in "*?[" else char for char in relative))
    return replace(options, ignore=(*options.ignore, *left_out))


def _beside(scheme: str, name: str) -> str | None:
    """``NAME.sig`` beside a local target; in it, it would become part of what it signs."""
    return os.path.realpath(name) + ".sig" if scheme in ("dir", "file") else None
