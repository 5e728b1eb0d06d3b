"""Folders of images: one data file for each, with its classes, their counts and the images' formats.

A folder counts when it holds at least `ENOUGH` images and nearly nothing else, so that the figures of a
README are no data set. Where all its images lie in folders directly beneath one folder, these are taken for
classes. No image is decoded.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO

from assay.collect.bom.data.facts import clip
from assay.collect.bom.interface import Column, DataFile

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
"""Of names, in lower case."""

ENOUGH = 10
"""Images that make a folder a data set."""

LOOKED_AT = 10_000
"""Images of a data set whose first bytes are read; the others count by their name's ending."""

_MAGIC = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"P5", "pgm"),
    (b"P6", "ppm"),
    (b"P2", "pgm"),
    (b"P3", "ppm"),
)


def read_folders(
    images: Sequence[tuple[str, int]], names: Iterable[str], open: Callable[[str], BinaryIO]
) -> list[DataFile]:
    """The data sets among ``images`` (names and sizes in bytes), given all ``names`` of the target.

    A data set's path is its folder with a trailing slash, ``./`` for the target itself.
    """
    folders: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for name, size in images:
        folders[_parent(name)].append((name, size))
    files = Counter(_parent(name) for name in names) if folders else Counter[str]()
    # At most half of a folder may be something else: labels, captions, masks' descriptions.
    folders = {folder: found for folder, found in folders.items() if 2 * len(found) >= files[folder]}
    classes: dict[str, list[str]] = defaultdict(list)
    for folder in folders:
        if folder and _parent(folder) not in folders:
            classes[_parent(folder)].append(folder)
    sets: dict[str, list[str]] = {}
    grouped = set()
    for parent, children in classes.items():
        if len(children) > 1:
            sets[parent] = children
            grouped.update(children)
    sets |= {folder: [folder] for folder in folders if folder not in grouped}
    found = []
    for root, members in sets.items():
        inside = {folder: folders[folder] for folder in members}
        if sum(map(len, inside.values())) >= ENOUGH:
            found.append(_describe(root, inside, open))
    return found


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _describe(root: str, inside: dict[str, list[tuple[str, int]]], open: Callable[[str], BinaryIO]) -> DataFile:
    path = f"{root}/" if root else "./"
    every = [image for found in inside.values() for image in found]
    formats, wrong = Counter[str](), []
    for name, _size in every[:LOOKED_AT]:
        with open(name) as file:
            format = _format(file.read(16))
        formats[format or "unknown"] += 1
        if format is None:
            wrong.append(name)
    warnings = []
    if wrong:
        warnings.append(f"{path}: {len(wrong)} files are called images and are none, first {clip(wrong[0])}")
    if len(every) > LOOKED_AT:
        warnings.append(f"{path}: formats are those of the first {LOOKED_AT} of {len(every)} images")
    metadata = {
        "bytes": str(sum(size for _, size in every)),
        "formats": ", ".join(f"{format}: {count}" for format, count in formats.most_common()),
    }
    columns = [Column("image", "image")]
    if len(inside) > 1:
        counts = {folder.rpartition("/")[2]: len(found) for folder, found in sorted(inside.items())}
        metadata["classes"] = str(len(counts))
        metadata["class_counts"] = clip(", ".join(f"{name}: {count}" for name, count in counts.items()))
        columns.append(Column("label", "class"))
    return DataFile(path, "image-folder", len(every), tuple(columns), metadata, tuple(warnings))


def _format(head: bytes) -> str | None:
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)
