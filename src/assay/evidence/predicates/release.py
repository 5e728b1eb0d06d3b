"""Release: these artifacts are the release of a package (in-toto/attestation, spec/predicates/release.md).

The page calls itself 0.2 and its examples v0.1; v0.2 renames ``releaseId`` to ``packageId``. Both are read.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from assay.evidence.predicates.common import Predicate, Text

PREDICATE_TYPE = "https://in-toto.io/attestation/release/v0.1"
NEXT = "https://in-toto.io/attestation/release/v0.2"


class Release(Predicate, frozen=True, kw_only=True):
    """The predicate; the subjects' names are file names."""

    purl: Annotated[str, Meta(pattern=r"^pkg:[a-z][a-z0-9.+-]*/.+@.+$")]
    """Package URL, with the version."""
    package_id: Text | None = None
    """The registry's own stable id of the package."""
    release_id: Text | None = None
    """The same, as v0.1 calls it."""
