"""What changed between two bills of materials: files, packages, tensors and licences, each by name.

Works on CycloneDX documents, ours or other tools': what a document does not list cannot differ, and a list of
tensors that was too long to keep is said to differ without saying where.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.collect.bom.documents.facts import TENSORS, TENSORS_DIGEST
from assay.collect.bom.documents.words import clean
from assay.errors import DocumentError
from assay.evidence.predicates.cyclonedx import parse
from assay.evidence.predicates.cyclonedx_types import Component, Document

Shape = tuple[str, tuple[int, ...]]
"""A tensor's dtype and shape."""


@dataclass(frozen=True, slots=True)
class TensorChange:
    """One tensor of one model file."""

    file: str
    """Path of the model file."""
    name: str
    """The tensor's; empty when the document lists no names and only the digest of the list differs."""
    old: Shape | None
    """None: it was added."""
    new: Shape | None
    """None: it was removed."""


@dataclass(frozen=True, slots=True)
class PackageChange:
    """One package, by name."""

    name: str
    """As its component spells it."""
    old: tuple[str, ...]
    """Versions before; empty: it was added. A version that is not known is an empty string."""
    new: tuple[str, ...]
    """Versions after; empty: it was removed."""


@dataclass(frozen=True, slots=True)
class LicenceChange:
    """Licences of one component."""

    component: str
    """The package's name; empty for the target itself."""
    old: tuple[str, ...]
    """Before, sorted."""
    new: tuple[str, ...]
    """After, sorted."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that differs; false in a condition when nothing does."""

    added: tuple[str, ...] = ()
    """Files that only the new bill lists."""
    removed: tuple[str, ...] = ()
    """Files that only the old bill lists."""
    modified: tuple[str, ...] = ()
    """Files that both list, with other bytes."""
    packages: tuple[PackageChange, ...] = ()
    """Packages that came, went or changed version."""
    tensors: tuple[TensorChange, ...] = ()
    """Tensors that came, went or changed dtype or shape; only of files that both bills list."""
    licences: tuple[LicenceChange, ...] = ()
    """Licences of the target and of packages that both bills list."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.modified or self.packages or self.tensors or self.licences)


def difference(old: Mapping[str, Any] | Document, new: Mapping[str, Any] | Document) -> Difference:
    """Compare two CycloneDX documents. Raises `DocumentError` when one of them is not a readable one."""
    before, after = parse(old), parse(new)
    files = (_files(before), _files(after))
    both = sorted(files[0].keys() & files[1].keys())
    packages = (_packages(before), _packages(after))
    return Difference(
        tuple(sorted(files[1].keys() - files[0].keys())),
        tuple(sorted(files[0].keys() - files[1].keys())),
        tuple(name for name in both if _digests_differ(files[0][name], files[1][name])),
        tuple(
            PackageChange(name, a, b)
            for name in sorted(packages[0].keys() | packages[1].keys())
            if (a := _versions(packages[0].get(name))) != (b := _versions(packages[1].get(name)))
        ),
        tuple(change for name in both for change in _tensor_changes(name, files[0][name], files[1][name])),
        tuple(_licence_changes(before, after, packages)),
    )


def _components(components: Sequence[Component] | None) -> Iterator[Component]:
    """All components; other tools nest them."""
    pending = list(reversed(components or ()))
    while pending:
        component = pending.pop()
        yield component
        pending += reversed(component.components or ())


def _files(document: Document) -> dict[str, Component]:
    return {part.name: part for part in _components(document.components) if part.type == "file"}


def _packages(document: Document) -> dict[str, list[Component]]:
    found: dict[str, list[Component]] = {}
    for part in _components(document.components):
        if part.type in ("library", "framework", "application"):
            found.setdefault(f"{part.group}/{part.name}" if part.group else part.name, []).append(part)
    return found


def _versions(parts: Sequence[Component] | None) -> tuple[str, ...]:
    return tuple(sorted({part.version or "" for part in parts or ()}))


def _digests_differ(old: Component, new: Component) -> bool:
    """Different bytes; where no algorithm is in both lists, nothing shows that they are the same."""
    a = {item.alg: item.content.lower() for item in old.hashes or ()}
    b = {item.alg: item.content.lower() for item in new.hashes or ()}
    common = a.keys() & b.keys()
    return not common or any(a[alg] != b[alg] for alg in common)


def _tensor_changes(file: str, old: Component, new: Component) -> Iterator[TensorChange]:
    if old.property(TENSORS_DIGEST) == new.property(TENSORS_DIGEST):
        return
    a, b = _tensors(file, old), _tensors(file, new)
    if a is None or b is None:
        yield TensorChange(file, "", None, None)
        return
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name):
            yield TensorChange(file, name, a.get(name), b.get(name))


def _tensors(file: str, part: Component) -> dict[str, Shape] | None:
    """The listed tensors by name; empty when the file has none, None when there were too many to list."""
    text = part.property(TENSORS)
    if text is None:
        return {} if part.property(TENSORS_DIGEST) is None else None
    try:
        listed = json.loads(text)
        return {
            str(name): (str(dtype), tuple(int(length) for length in shape))
            for dtype, tensors in listed.items()
            for name, shape in tensors
        }
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise DocumentError(f"file {file[:200]!r}: {TENSORS} is not a list of tensors") from None


def _licence_changes(
    old: Document, new: Document, packages: tuple[dict[str, list[Component]], dict[str, list[Component]]]
) -> Iterator[LicenceChange]:
    mains = [[doc.metadata.component] if doc.metadata and doc.metadata.component else [] for doc in (old, new)]
    pairs = [("", mains[0], mains[1])]
    pairs += [(name, packages[0][name], packages[1][name]) for name in sorted(packages[0].keys() & packages[1].keys())]
    for name, a, b in pairs:
        if (before := _licences(a)) != (after := _licences(b)):
            yield LicenceChange(name, before, after)


def _licences(parts: Sequence[Component]) -> tuple[str, ...]:
    found = set()
    for part in parts:
        for choice in part.licenses or ():
            licence = choice.license
            found.add(choice.expression or (licence and (licence.id or licence.name)) or "")
    return tuple(sorted(found - {""}))


def describe(found: Difference) -> list[str]:
    """One sentence a change, for people; names are made safe for a terminal."""
    lines = [f"file added: {clean(name)}" for name in found.added]
    lines += [f"file removed: {clean(name)}" for name in found.removed]
    lines += [f"file modified: {clean(name)}" for name in found.modified]
    lines += [_describe_package(change) for change in found.packages]
    lines += [_describe_tensor(change) for change in found.tensors]
    for change in found.licences:
        whose = f"licence of {clean(change.component)}" if change.component else "licence"
        lines.append(f"{whose} changed: {_all(change.old)} to {_all(change.new)}")
    return lines


def _all(values: Sequence[str]) -> str:
    return ", ".join(clean(value) or "no version" for value in values) or "none"


def _describe_package(change: PackageChange) -> str:
    name = clean(change.name)
    if not change.old:
        return f"package added: {name} {_all(change.new)}"
    if not change.new:
        return f"package removed: {name} {_all(change.old)}"
    return f"package changed: {name} {_all(change.old)} to {_all(change.new)}"


def _describe_tensor(change: TensorChange) -> str:
    where = f"{clean(change.name)} in {clean(change.file)}"
    if change.old is None and change.new is None:
        return f"tensors changed: {clean(change.file)} (too many to list)"
    if change.old is None:
        return f"tensor added: {where}, {_shape(change.new)}"
    if change.new is None:
        return f"tensor removed: {where}, {_shape(change.old)}"
    return f"tensor changed: {where}, {_shape(change.old)} to {_shape(change.new)}"


def _shape(value: Shape | None) -> str:
    return f"{clean(value[0])}{list(value[1])}" if value else ""
