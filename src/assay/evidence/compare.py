"""Holding claimed files against the files that are there. Pure: two manifests in, names out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from assay.evidence.claims import UNKNOWN_SIZE, Claims
from assay.targets.interface import DIGEST, Manifest


@dataclass(frozen=True, slots=True)
class Difference:
    """What separates a target from what was signed, by name. Nothing in any of the three means: exactly as signed."""

    missing: tuple[str, ...] = ()
    """Signed, not there."""
    extra: tuple[str, ...] = ()
    """There, not signed."""
    modified: tuple[str, ...] = ()
    """There with other bytes."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.modified)

    def __len__(self) -> int:
        return len(self.missing) + len(self.extra) + len(self.modified)


def compare(claimed: Manifest, actual: Manifest) -> Difference:
    """Compare by SHA-256 where ``actual`` has it, else by BLAKE3, which ``claimed`` then must have.

    Sizes that the claim does not state are not compared. Raises `ValueError` when no digest is on both sides.
    """
    if not claimed.names or not actual.names:  # a part of the target of which nothing was signed, for example
        return Difference(missing=tuple(claimed.names), extra=tuple(actual.names))
    if actual.sha256 and claimed.sha256:
        same, column = _column(lambda manifest: manifest.sha256)
    elif actual.blake3 and claimed.blake3:
        same, column = _blake3, (lambda manifest: manifest.blake3)
    else:
        raise ValueError("the two manifests have no digest in common")
    sized = UNKNOWN_SIZE not in claimed.sizes
    if (
        claimed.names == actual.names
        and column(claimed) == column(actual)
        and (not sized or claimed.sizes == actual.sizes)
        and (actual.sha256 or claimed.segments == actual.segments)
    ):
        return Difference()  # whole columns at once: the honest case costs nothing, whatever the number of files
    there = {name: i for i, name in enumerate(actual.names)}
    missing, modified = [], []
    for i, name in enumerate(claimed.names):
        j = there.pop(name, None)
        if j is None:
            missing.append(name)
        elif not same(claimed, i, actual, j) or claimed.sizes[i] not in (UNKNOWN_SIZE, actual.sizes[j]):
            modified.append(name)
    return Difference(tuple(missing), tuple(there), tuple(modified))


_Same = Callable[[Manifest, int, Manifest, int], bool]


def _column(column: Callable[[Manifest], bytes]) -> tuple[_Same, Callable[[Manifest], bytes]]:
    def same(a: Manifest, i: int, b: Manifest, j: int) -> bool:
        return column(a)[i * DIGEST : (i + 1) * DIGEST] == column(b)[j * DIGEST : (j + 1) * DIGEST]

    return same, column


def _blake3(a: Manifest, i: int, b: Manifest, j: int) -> bool:
    """Equal digests of equally cut files; a file that one side has in segments and the other whole differs."""
    return (
        a.sizes[i] == b.sizes[j]
        and a.segments.get(i) == b.segments.get(j)
        and a.blake3[i * DIGEST : (i + 1) * DIGEST] == b.blake3[j * DIGEST : (j + 1) * DIGEST]
    )


def restrict(claims: Claims, keep: Callable[[str], bool]) -> Claims:
    """The claims about some of the files only."""
    if claims.manifest is None:
        from dataclasses import replace

        return replace(claims, ranges=[item for item in claims.ranges if keep(item.name)])
    old = claims.manifest
    chosen = [i for i, name in enumerate(old.names) if keep(name)]
    return Claims(select(old, chosen), (), claims.ignored, claims.followed_links, claims.part, claims.anonymous)


def select(manifest: Manifest, chosen: list[int]) -> Manifest:
    """The resources at some positions, which must ascend."""

    def cut(column: bytes) -> bytes:
        return b"".join(column[i * DIGEST : (i + 1) * DIGEST] for i in chosen) if column else b""

    segments = {at: manifest.segments[i] for at, i in enumerate(chosen) if i in manifest.segments}
    return Manifest(
        [manifest.names[i] for i in chosen],
        type(manifest.sizes)("Q", [manifest.sizes[i] for i in chosen]),
        cut(manifest.sha256),
        cut(manifest.blake3),
        segments,
        manifest.single,
    )
