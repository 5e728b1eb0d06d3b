"""What every statement of ours says of its subject: digests, origin, how it was read, by what, in what context.

It stands in the subject's annotations, the one place that every predicate type leaves free. `gitCommit` and `gitTree`
stand there too and not among the digests: Sigstore clients refuse statements whose digests are not SHA-2 or SHA-3.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import assay
from assay.evidence.statement import Subject
from assay.targets.interface import Manifest, Options, Target

MAX_IGNORED = 1000
"""Ignored names that are recorded one by one; beyond that their number is."""


def subject(target: Target, manifest: Manifest, annotations: Mapping[str, Any]) -> Subject:
    """The target as a subject. Its SHA-256 is `Manifest.contents`: of a folder, names and contents."""
    return Subject(target.name, {"sha256": manifest.contents().hex()}, annotations)


def described(
    target: Target,
    manifest: Manifest,
    options: Options,
    *,
    now: datetime,
    labels: Mapping[str, str],
    identify: bool = False,
) -> dict[str, Any]:
    """Facts about a target in JSON. Empty ones are left out."""
    from assay.collect.provenance.context import context

    facts = target.facts
    local = target.reference.name if target.reference.scheme in ("dir", "file", "git") else None
    place = local if local is not None and os.path.exists(local) else None
    made: dict[str, Any] = {
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "contents": manifest.contents().hex(),
        "shape": manifest.shape().hex(),
        "files": len(manifest),
        "size": manifest.size,
        "target": public_reference(target),
        "origin": facts.origin,
        "revision": facts.revision,
        **facts.digests,
        "part": list(facts.part),
        "followedLinks": facts.followed_links,
        "ignored": list(facts.ignored[:MAX_IGNORED]),
        "ignoredMore": max(0, len(facts.ignored) - MAX_IGNORED),
        "ignoreRules": list(facts.ignore_rules),
        "labels": dict(labels),
        "context": context(place, os.environ, identify=identify).document(),
        "tool": {"name": "assay", "version": assay.__version__, "options": recorded(options)},
    }
    return {name: value for name, value in made.items() if value not in (None, [], {}, 0, False) or name == "size"}


def recorded(options: Options) -> dict[str, Any]:
    """The options that change what is read, as they go into the evidence."""
    made = {
        "paths": list(options.paths),
        "ignore": list(options.ignore),
        "defaultIgnores": options.default_ignores,
        "followLinks": options.follow_links,
        "trustCache": options.trust_cache,
    }
    return {name: value for name, value in made.items() if value not in ([], False)}


def public_reference(target: Target) -> str:
    """The target's reference without a path of this machine: a local one is called by its base name."""
    reference = target.reference
    if reference.scheme in ("dir", "file", "env") or (
        reference.scheme in ("git", "oci") and os.path.exists(reference.name)
    ):
        return f"{reference.scheme}:{target.name}" + (f"@{reference.revision}" if reference.revision else "")
    return str(reference)
