"""OpenSSF Model Signing v1.0: the files of a model with their digests (ossf/model-signing-spec,
schemas/v1.0).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from msgspec import Meta

from assay.evidence.predicates.common import Predicate, Text

PREDICATE_TYPE = "https://model_signing/signature/v1.0"


class Resource(Predicate, frozen=True, kw_only=True):
    """One file or shard; further keys are allowed (ours: size and BLAKE3 in ``annotations``)."""

    name: Text
    """Path inside the model, ``path:start:end`` for a shard."""
    algorithm: Text
    """Of the digest."""
    digest: Annotated[str, Meta(pattern="^[0-9a-f]{64,128}$")]
    """Lower-case hex."""


class Serialization(Predicate, frozen=True, kw_only=True, rename=None, forbid_unknown_fields=True):
    """How the model was read."""

    method: Literal["files", "shards"]
    """One resource a file, or a shard."""
    hash_type: Literal["sha256", "blake2b", "blake3"]
    """Of the resources."""
    allow_symlinks: bool
    """Whether links were followed."""
    shard_size: Annotated[int, Meta(ge=1)] | None = None
    """Bytes, for shards."""
    ignore_paths: list[str] | None = None
    """What was left out."""


class ModelSignature(Predicate, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The predicate: nothing beside these two is allowed in it."""

    serialization: Serialization
    """How the model was read."""
    resources: list[Resource]
    """Sorted by name, unique."""

    def check(self) -> None:
        """Order and uniqueness are what makes the root digest mean one list only."""
        names = [item.name for item in self.resources]
        if any(a >= b for a, b in pairwise(names)):
            raise ValueError("resources are not sorted by unique name")
