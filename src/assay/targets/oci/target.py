"""``oci:`` targets: the files of one artifact, from an image layout on this disk or from a registry.

The artifact is one manifest, named by its digest; every blob is held against its descriptor. A layer with a title is a
file by that name, a layer that is a tar is the files in it. Container images are refused: their layers are changes to
a file system, which mean something only together.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from array import array
from collections.abc import Mapping
from dataclasses import replace
from typing import BinaryIO

from assay.errors import TargetError, UndecidedError
from assay.targets.ignore import DEFAULT_IGNORES, Ignore, Selection
from assay.targets.interface import Facts, Manifest, Options, Reference
from assay.targets.listing import Listing
from assay.targets.local import LocalTarget
from assay.targets.names import base_name, shown
from assay.targets.oci import documents
from assay.targets.oci.blobs import Source, save
from assay.targets.oci.reference import Place, place_of
from assay.targets.oci.unpack import MAX_FILES, Budget, check_all, layers_of, unpack

IN_MEMORY = 8 * 1024 * 1024
"""Bytes of a layout's blob that `OciTarget.open` reads at once, so that it gives out what it has checked."""

_DEPTH = 4  # an index of an index is allowed; more has no use
_CHUNK = 1 << 20


def open_oci(
    reference: Reference, options: Options, *, max_bytes: int | None = None, max_files: int = MAX_FILES
) -> OciTarget:
    """The artifact that an ``oci:`` reference names; blobs of a registry are downloaded into a temporary folder.

    ``max_bytes`` bounds what is downloaded and what it unpacks to, each. Raises `TargetError`; `UsageError` where an
    index leaves a choice; `UndecidedError` where a registry cannot be reached or ``options.offline`` forbids it.
    """
    place = place_of(reference.name)
    source, origin = _source(place, options)
    digest, manifest = _resolve(source, place.tag, reference.revision)
    choice = _Choice(options)
    temporary = tempfile.TemporaryDirectory(prefix="assay-oci-", ignore_cleanup_errors=True)
    try:
        files = _Files(source, os.path.realpath(temporary.name), choice, Budget(max_files, max_bytes))
        files.take(manifest, max_bytes)
        names = sorted(files.paths)
        what = f"the artifact {source.what}"
        choice.check(names, what)
        facts = Facts(
            origin=origin,
            revision=digest,
            digests={"sha256": digest.removeprefix("sha256:")},
            ignored=tuple(sorted(choice.ignored)),
            ignore_rules=choice.rules,
            part=options.paths,
            notes=_notes(manifest, place.tag),
        )
        listing = Listing(
            "/",
            names,
            array("Q", (files.paths[name][1] for name in names)),
            {i: files.paths[name][0].lstrip("/") for i, name in enumerate(names)},
        )
        # The cache knows files by their place on the disk, and a temporary one is never seen again.
        options = replace(options, trust_cache=False)
        pinned = Reference("oci", place.name, digest)
        return OciTarget(pinned, _name(place), facts, listing, options, files.in_place, temporary)
    except BaseException:
        temporary.cleanup()
        raise


class OciTarget(LocalTarget):
    """An artifact's files. Those that lie in a layout are held against the manifest whenever they are read."""

    def __init__(
        self,
        reference: Reference,
        name: str,
        facts: Facts,
        listing: Listing,
        options: Options,
        in_place: Mapping[str, bytes],
        temporary: tempfile.TemporaryDirectory[str],
    ) -> None:
        super().__init__(reference, name, facts, listing, options)
        self._in_place = in_place
        self._temporary = temporary

    def open(self, name: str) -> BinaryIO:
        """A seekable file of one resource. Raises `TargetError` where a layout's blob is not what it must be."""
        file = super().open(name)
        expected = self._in_place.get(name)
        if expected is None:
            return file
        try:
            if os.fstat(file.fileno()).st_size <= IN_MEMORY:
                data = file.read(IN_MEMORY + 1)
                file.close()
                self._hold(name, hashlib.sha256(data).digest())
                return io.BytesIO(data)
            digest = hashlib.sha256()
            while data := file.read(_CHUNK):
                digest.update(data)
            self._hold(name, digest.digest())
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def manifest(self, *, sha256: bool = True, blake3: bool = True) -> Manifest:
        """As `LocalTarget.manifest`; blobs of a layout are held against the manifest, whatever is asked for."""
        manifest = super().manifest(sha256=sha256 or bool(self._in_place), blake3=blake3)
        for resource in manifest:
            if resource.name in self._in_place and resource.sha256 is not None:
                self._hold(resource.name, resource.sha256)
        return manifest if sha256 else replace(manifest, sha256=b"")

    def _hold(self, name: str, found: bytes) -> None:
        if found != self._in_place[name]:
            raise TargetError(
                f"the blob of {shown(name)} has other contents than the manifest says",
                hint="the layout was changed or damaged: copy it again from where it came from",
            )

    def __exit__(self, *exc: object) -> None:
        """Remove what was downloaded and unpacked."""
        self._temporary.cleanup()


class _Files:
    """Collects an artifact's files: where each lies, and its size."""

    def __init__(self, source: Source, folder: str, choice: _Choice, budget: Budget) -> None:
        self.paths: dict[str, tuple[str, int]] = {}
        self.in_place: dict[str, bytes] = {}
        self._source, self._folder, self._choice, self._budget = source, folder, choice, budget
        self._saved: dict[str, str] = {}
        self._count = 0

    def take(self, manifest: documents.Manifest, max_bytes: int | None) -> None:
        """All layers that are wanted. Raises `TargetError`."""
        what = f"the artifact {self._source.what}"
        layers = layers_of(manifest, what)
        needed = {
            layer.descriptor.digest: layer.descriptor.size
            for layer in layers
            if layer.name is None or self._choice.wants(layer.name)
        }
        if max_bytes is not None and sum(needed.values()) > max_bytes:
            raise TargetError(f"{what} has {sum(needed.values()):,} bytes, more than the {max_bytes:,} that are read")
        names: list[str] = []
        for layer in layers:
            if layer.name is None:
                found = unpack(self._source, layer, self._new, self._choice.wants, self._budget)
                names += [name for name, _, _ in found]
                self.paths.update({name: (path, size) for name, size, path in found if path is not None})
                continue
            names.append(layer.name)
            wanted = self._choice.wants(layer.name)
            self._budget.take(layer.name, layer.descriptor.size if wanted else 0, what)
            if wanted:
                self.paths[layer.name] = (self._blob(layer.descriptor, layer.name, layer.label), layer.descriptor.size)
        check_all(names, what)

    def _blob(self, descriptor: documents.Descriptor, name: str, label: str) -> str:
        place = self._source.place(descriptor)
        if place is not None:
            self.in_place[name] = descriptor.sha256
            return place
        # One blob may be several files; the two sizes must be one, since a digest has one.
        key = f"{descriptor.digest} {descriptor.size}"
        if key not in self._saved:
            path = self._new()
            save(self._source, descriptor, path, label)
            self._saved[key] = path
        return self._saved[key]

    def _new(self) -> str:
        self._count += 1
        return os.path.join(self._folder, str(self._count))


class _Choice:
    """What of an artifact is wanted, by name: ``options`` as for every other kind of target."""

    def __init__(self, options: Options) -> None:
        self._ignore = Ignore.of((DEFAULT_IGNORES if options.default_ignores else ()) + options.ignore)
        self._selection = Selection.of(options.paths) if options.paths else None
        self._unmatched = set(range(len(options.paths)))
        self.rules = self._ignore.rules
        self.ignored: set[str] = set()

    def wants(self, name: str) -> bool:
        """Whether the file counts; an ignored one is remembered."""
        parts = name.split("/")
        for k, part in enumerate(parts):
            prefix, last = "".join(p + "/" for p in parts[:k]), k == len(parts) - 1
            if self._ignore.matches(prefix, part if last else part + "/"):
                self.ignored.add(prefix + (part if last else part + "/"))
                return False
        if self._selection is None:
            return True
        hits = self._selection.hits(name)
        self._unmatched.difference_update(hits)
        return bool(hits)

    def check(self, names: list[str], what: str) -> None:
        """After the last file: something must be there, and every glob must have matched."""
        if self._selection is not None and self._unmatched:
            raise TargetError(f"--path {self._selection.globs[min(self._unmatched)]!r} matches no file of {what}")
        if not names:
            raise TargetError(f"{what} has no files")


def _source(place: Place, options: Options) -> tuple[Source, str | None]:
    """Where the artifact lies, and its URI for evidence (none for a layout: a path of this machine says nothing)."""
    if place.path is not None:
        from assay.targets.oci.layout import open_layout

        return open_layout(place.path), None
    if options.offline:
        raise UndecidedError(
            f"the registry of {shown(place.name)} is remote, and --offline forbids to reach it",
            hint="copy the artifact into an image layout beforehand and name that: oci:FOLDER",
        )
    from assay.targets.oci.registry import Registry

    assert place.host is not None
    return Registry(place.host, place.repository), f"oci://{place.name}"


def _resolve(source: Source, tag: str | None, digest: str | None) -> tuple[str, documents.Manifest]:
    """The one manifest that is meant, through indexes that leave no choice."""
    data, digest, media_type = source.top(tag, digest)
    for _ in range(_DEPTH):
        what = f"the manifest {digest[:19]}… of {source.what}"
        document = documents.parse(data, what, media_type)
        if isinstance(document, documents.Manifest):
            documents.check_artifact(document, source.what)
            return digest, document
        descriptor = documents.only(document, what)
        data, digest, media_type = source.document(descriptor), descriptor.digest, descriptor.media_type
    raise TargetError(f"{source.what} has indexes inside each other, more than {_DEPTH} deep")


def _name(place: Place) -> str:
    if place.path is None:
        return base_name(place.repository)
    return os.path.basename(os.path.realpath(place.path)).removesuffix(".tar") or "artifact"


def _notes(manifest: documents.Manifest, tag: str | None) -> dict[str, object]:
    notes: dict[str, object] = {"config": manifest.config.media_type, "artifactType": manifest.artifact_type}
    if tag is not None:
        notes["tag"] = tag
    return {name: value for name, value in notes.items() if value}
