"""What the predicate types share: resource descriptors, digest sets and times, as in-toto defines them.

Source: in-toto/attestation, spec/v1/{resource_descriptor,digest_set,field_types}.md. Unknown fields are
ignored when reading, as the specification demands. Nothing here decides whether a statement is true.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

Text = Annotated[str, Meta(min_length=1)]
"""A string that says something."""

Time = Annotated[datetime, Meta(tz=True)]
"""RFC 3339 in UTC; written with ``Z``."""

DigestSet = dict[str, Text]
"""Algorithm to lower-case hex."""

_HEX = {
    "sha256": 64,
    "sha384": 96,
    "sha512": 128,
    "sha3_256": 64,
    "sha3_384": 96,
    "sha3_512": 128,
    "blake3": 64,
}


def check_digests(digests: DigestSet, place: str) -> None:
    """Raise ``ValueError`` for an empty set, or a digest whose algorithm is known and whose form is not its
    own.
    """
    if not digests:
        raise ValueError(f"{place} is empty")
    for algorithm, value in digests.items():
        length = _HEX.get(algorithm)
        if length and not re.fullmatch(f"[0-9a-f]{{{length}}}", value):
            raise ValueError(f"{place}.{algorithm} is not {length} lower-case hex digits")


class Predicate(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base of the documents: camelCase in JSON, absent instead of null, times in UTC only."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, datetime) and value.utcoffset():
                raise ValueError(f"{name} is not in UTC")
        self.check()

    def check(self) -> None:
        """Raise ``ValueError`` for what the types alone cannot say."""


class ResourceDescriptor(Predicate, frozen=True, kw_only=True):
    """A thing, by name, place, digest or content: at least one of ``uri``, ``digest`` and ``content``."""

    name: str | None = None
    """What the producer calls it."""
    uri: Text | None = None
    """Identifies it; need not be where it can be downloaded."""
    digest: DigestSet | None = None
    """Its digests."""
    content: str | None = None
    """Base64 of less than 1 KB of content."""
    download_location: Text | None = None
    """Where it can be had, if that is not ``uri``."""
    media_type: Text | None = None
    """Its media type."""
    annotations: dict[str, Any] | None = None
    """Whatever else the producer says of it."""

    def check(self) -> None:
        """One way of identifying it must be there."""
        if self.uri is None and self.digest is None and self.content is None:
            raise ValueError("a resource needs a uri, a digest or its content")
        if self.digest is not None:
            check_digests(self.digest, "digest")
