"""What several tests of evidence need: small models on disk, their manifests, and statements about them."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import blake3

from assay.evidence import oms
from assay.evidence.bundle import Bundle, parse
from assay.targets.interface import SEGMENT, Manifest

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""A time of verification for everything that names its own times."""

FILES = {
    "a-b/weights.bin": b"\x00\x01" * 300,
    "a/b/deep.bin": b"nested",
    "a/weights.bin": b"",
    "config.json": b'{"layers": 2}\n',
    "naïve modèle.txt": "été\n".encode(),
    "with space.bin": b" ",
    "模型/权重.bin": b"\xff" * 64,
}
"""Names whose order by code point and by path component differ, and names that need care in JSON."""


def write_model(folder: Path, files: Mapping[str, bytes] = FILES) -> Path:
    """A model's files below ``folder``."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def manifest_of(path: Path) -> Manifest:
    """The manifest of a folder or a single file, by the obvious way."""
    files = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
    named = sorted((path.name if item == path else item.relative_to(path).as_posix(), item) for item in files)
    data = [item.read_bytes() for _, item in named]
    return Manifest(
        [name for name, _ in named],
        array("Q", map(len, data)),
        b"".join(hashlib.sha256(content).digest() for content in data),
        b"".join(bytes(32) if len(item) > SEGMENT else blake3.blake3(item).digest() for item in data),
        {
            i: b"".join(blake3.blake3(item[at : at + SEGMENT]).digest() for at in range(0, len(item), SEGMENT))
            for i, item in enumerate(data)
            if len(item) > SEGMENT
        },
        single=path.is_file(),
    )


def model_statement(path: Path) -> bytes:
    """The statement that signing the model makes."""
    manifest = manifest_of(path)
    annotations = {"contents": manifest.contents().hex()}
    return oms.payload(path.name, manifest, ignored=(), followed_links=False, annotations=annotations)


def statement(text: str = "model", **changes: Any) -> bytes:
    """A small statement of any type."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": text, "digest": {"sha256": digest}}],
        "predicateType": "https://example.com/predicate/v1",
        "predicate": {"note": text},
    }
    return json.dumps(document | changes).encode()


def as_bundle(document: Any) -> Bundle:
    """A bundle from its JSON value."""
    return parse(json.dumps(document).encode(), "test.sigstore.json")


def one_sentence(error: BaseException) -> str:
    """The error's text, after checking that it is fit for a user."""
    message = str(getattr(error, "message", error))
    assert message and "\n" not in message and len(message) < 500 and message.isprintable(), message
    assert "Traceback" not in message
    return message


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path to a value inside a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))
