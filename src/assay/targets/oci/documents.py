"""Manifests and indexes of the OCI image specification 1.1, parsed strictly; pure, no I/O.

They come from strangers: a document that could be taken for a manifest and for an index, that has a key twice, or
that names a digest of another kind is refused, since two readers would see two different artifacts in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from assay.errors import TargetError, UsageError
from assay.targets.names import shown
from assay.targets.oci.reference import DIGEST

MAX_DOCUMENT = 4 << 20
"""Bytes of a manifest or index; what the distribution specification advises registries to allow at most."""

MAX_LAYERS = 10_000
"""Layers of one artifact, and manifests of one index."""

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
"""Media types of the configuration of a container image."""

REF_NAME = "org.opencontainers.image.ref.name"
"""Annotation that carries the tag in an image layout's index."""


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """Names a blob; descriptor.md of the image specification."""

    media_type: str
    """What the blob is."""
    digest: str
    """``sha256:`` and 64 digits, checked by `check`."""
    size: int
    """Bytes."""
    annotations: dict[str, str] = {}
    """Free text."""
    platform: dict[str, Any] = {}
    """In an index: for which system a manifest is meant."""

    @property
    def sha256(self) -> bytes:
        """The digest's 32 bytes."""
        return bytes.fromhex(self.digest.removeprefix("sha256:"))


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """One artifact; manifest.md."""

    schema_version: int
    """2."""
    config: Descriptor
    """Metadata of the artifact."""
    layers: list[Descriptor]
    """Its contents."""
    media_type: str = ""
    """Of the document itself."""
    artifact_type: str = ""
    """What kind of artifact it is."""
    annotations: dict[str, str] = {}
    """Free text."""


class Index(msgspec.Struct, frozen=True, rename="camel"):
    """Several manifests; image-index.md."""

    schema_version: int
    """2."""
    manifests: list[Descriptor]
    """What it lists."""
    media_type: str = ""
    """Of the document itself."""


def parse(data: bytes, what: str, media_type: str = "") -> Manifest | Index:
    """The document; ``media_type`` is what its descriptor or the registry says it is. Raises `TargetError`."""
    document = _object(data, what)
    kind: type[Manifest | Index] = Index if "manifests" in document else Manifest
    if "manifests" in document and ("layers" in document or "config" in document):
        raise TargetError(f"{what} is a manifest and an index at once")
    if "layers" not in document and "fsLayers" in document:
        raise TargetError(f"{what} is a manifest of an old version (schema 1), which has no digests to check")
    if "layers" not in document and "blobs" in document:
        raise TargetError(f"{what} is an artifact manifest of a withdrawn draft", hint="push it with a newer tool")
    try:
        made = msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise TargetError(f"{what} is not a manifest of the OCI format: {shown(str(error))[1:-1]}") from None
    if made.schema_version != 2:
        raise TargetError(f"{what} has the schema version {made.schema_version}, only 2 is read")
    allowed = INDEX_TYPES if isinstance(made, Index) else MANIFEST_TYPES
    for said in (made.media_type, media_type):
        if said and said not in allowed:
            raise TargetError(f"{what} is called {shown(said)} and is something else")
    if made.media_type and media_type and made.media_type != media_type:
        raise TargetError(f"{what} calls itself {shown(made.media_type)} and is called {shown(media_type)}")
    descriptors = made.manifests if isinstance(made, Index) else [made.config, *made.layers]
    if len(descriptors) > MAX_LAYERS:
        raise TargetError(f"{what} lists {len(descriptors):,} blobs, more than the {MAX_LAYERS:,} that are read")
    for descriptor in descriptors:
        check(descriptor, what)
    return made


def check(descriptor: Descriptor, what: str) -> None:
    """Raise `TargetError` for a descriptor whose digest or size cannot be held against anything."""
    if not DIGEST.fullmatch(descriptor.digest):
        raise TargetError(f"{what} names the digest {shown(descriptor.digest, 100)}, only SHA-256 is read")
    if not 0 <= descriptor.size < 1 << 63:
        raise TargetError(f"{what} names a blob of {descriptor.size} bytes")


def check_document(data: bytes, digest: str, what: str) -> None:
    """Raise `TargetError` unless ``data`` has the digest."""
    found = "sha256:" + hashlib.sha256(data).hexdigest()
    if found != digest:
        raise TargetError(f"{what} is not what was asked for: {found} in place of {digest}")


def only(index: Index, what: str) -> Descriptor:
    """The one manifest of an index. Raises `UsageError` that lists them, `TargetError` for none."""
    if not index.manifests:
        raise TargetError(f"{what} lists no manifest")
    if len(index.manifests) > 1:
        listed = "; ".join(described(item) for item in index.manifests[:20])
        more = f" and {len(index.manifests) - 20} more" if len(index.manifests) > 20 else ""
        raise UsageError(f"{what} lists several manifests: {listed}{more}", hint="name one of them: …@sha256:…")
    return index.manifests[0]


def described(descriptor: Descriptor) -> str:
    """A manifest in an index, for a message: its tag or platform, and its digest."""
    platform = "/".join(
        str(descriptor.platform[key]) for key in ("os", "architecture", "variant") if key in descriptor.platform
    )
    names = [shown(text, 60)[1:-1] for text in (descriptor.annotations.get(REF_NAME, ""), platform) if text]
    return " ".join([*names, descriptor.digest])


def check_artifact(manifest: Manifest, what: str) -> None:
    """Raise `TargetError` for a container image, whose layers are changes to a file system and not files."""
    if manifest.config.media_type in IMAGE_CONFIGS:
        raise TargetError(f"{what} is a container image; only artifacts are read as an oci: target")


def _object(data: bytes, what: str) -> Mapping[str, Any]:
    if len(data) > MAX_DOCUMENT:
        raise TargetError(f"{what} is larger than the {MAX_DOCUMENT:,} bytes that are read of a manifest")
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_refuse)
    except RecursionError:
        raise TargetError(f"{what} is nested too deeply") from None
    except ValueError as error:  # also of UTF-8
        raise TargetError(f"{what} is not JSON: {shown(str(error), 120)[1:-1]}") from None
    if not isinstance(document, dict):
        raise TargetError(f"{what} is not a JSON object")
    return document


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return made


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
