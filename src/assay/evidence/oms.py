"""OpenSSF Model Signing v1.0 (ossf/model-signing-spec): the statement that lists a model's files, both ways.

Written so that ``model_signing verify`` accepts it, with sizes and BLAKE3 digests in the resources' annotations, which
the specification's schema allows. Read more strictly than its reference implementation does: an unsorted, duplicated
or escaping name, an unknown key of the predicate or an inconsistent root is an error, not a choice.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Mapping, Sequence
from itertools import islice
from operator import itemgetter, lt
from typing import Any

from assay.errors import DocumentError
from assay.evidence.claims import UNKNOWN_SIZE, Claims, Range, check_names, check_unique
from assay.evidence.envelope import expect
from assay.evidence.statement import V1, Statement
from assay.targets.interface import DIGEST, SEGMENT, Manifest

PREDICATE_TYPE = "https://model_signing/signature/v1.0"
LEGACY_TYPE = "https://model_signing/Digests/v0.1"
"""Version 0.2 of the reference implementation: the files stood in the statement's subjects."""

GIT_PATHS = (".git", ".gitattributes", ".github", ".gitignore")
"""What the reference implementation leaves out unless told otherwise; its version 1.0 did so without saying."""

_ALGORITHMS = {"sha256": 64, "blake2b": 128, "blake3": 64, "blake2": 128}
_HEX = re.compile(r"[0-9a-f]*")


def payload(
    name: str,
    manifest: Manifest,
    *,
    ignored: Sequence[str],
    followed_links: bool,
    annotations: Mapping[str, Any],
) -> bytes:
    """The statement to sign. ``annotations`` go to the subject: contents digest, context, what was left out.

    A model that is one file is called ``.``: verifiers in the field expect that; the specification says base name.
    Built as text and not as objects: 50,000 files take 50 ms instead of a second.
    """
    encode = json.encoder.encode_basestring
    sha256, blake3 = manifest.sha256.hex(), manifest.blake3.hex()
    rows = []
    for i, resource in enumerate(manifest.names):
        at = i * 64
        label = encode("." if manifest.single else resource)
        segments = manifest.segments.get(i)
        extra = (
            f',"segments":"{segments.hex()}"' if segments else f',"blake3":"{blake3[at : at + 64]}"' if blake3 else ""
        )
        rows.append(
            f'{{"name":{label},"algorithm":"sha256","digest":"{sha256[at : at + 64]}",'
            f'"annotations":{{"size":{manifest.sizes[i]}{extra}}}}}'
        )
    head = {
        "_type": V1,
        "subject": [{"name": name, "digest": {"sha256": manifest.oms_root().hex()}, "annotations": annotations}],
        "predicateType": PREDICATE_TYPE,
    }
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": followed_links,
        "ignore_paths": sorted(ignored),
    }
    top = json.dumps(head, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    bottom = json.dumps(serialization, ensure_ascii=False, separators=(",", ":"))
    text = f'{top[:-1]},"predicate":{{"serialization":{bottom},"resources":[{",".join(rows)}]}}}}'
    return text.encode("utf-8")


def claims(statement: Statement, what: str) -> Claims:
    """The files that a model signature claims. Raises `DocumentError` for a document that is not consistent."""
    if statement.predicate_type == LEGACY_TYPE:
        return _legacy(statement, what)
    if statement.predicate_type != PREDICATE_TYPE:
        raise DocumentError(f"{what}: predicate type {statement.predicate_type[:100]!r} is not a model signature")
    if len(statement.subjects) != 1:
        raise DocumentError(f"{what} has {len(statement.subjects)} subjects, a model signature has one")
    _only(statement.predicate, {"serialization", "resources"}, f"{what}: predicate")
    serialization = expect(statement.predicate.get("serialization"), dict, f"{what}: serialization")
    _only(
        serialization,
        {"method", "hash_type", "allow_symlinks", "ignore_paths", "shard_size"},
        f"{what}: serialization",
    )
    method = serialization.get("method")
    resources = expect(statement.predicate.get("resources"), list, f"{what}: resources")
    names, hexes, used = _columns(resources, what)
    algorithm = used.pop()
    raw = bytes.fromhex("".join(hexes))
    if statement.subjects[0].digest.get("sha256") != hashlib.sha256(raw).hexdigest():
        raise DocumentError(f"{what}: the subject's digest is not the root of the resources that are listed")
    ignored = tuple(
        expect(item, str, f"{what}: ignore_paths")
        for item in expect(serialization.get("ignore_paths", list(GIT_PATHS)), list, f"{what}: ignore_paths")
    )
    links = expect(serialization.get("allow_symlinks"), bool, f"{what}: allow_symlinks")
    hash_type = serialization.get("hash_type")
    if not isinstance(hash_type, str) or hash_type not in _ALGORITHMS:
        raise DocumentError(f"{what}: hash_type {str(hash_type)[:40]!r} is unknown")
    if method == "shards":
        ranges = _shards(names, [bytes.fromhex(value) for value in hexes], algorithm, serialization, what)
        return Claims(None, ranges, ignored, links)
    if method != "files":
        raise DocumentError(f"{what}: serialization method {str(method)[:40]!r} is unknown")
    if algorithm != hash_type:
        raise DocumentError(f"{what}: a resource's algorithm is not the hash_type {hash_type!r}")
    anonymous = names == ["."]  # what the reference implementation calls a model that is one file
    if anonymous:
        names = [statement.subjects[0].name or "model"]
    check_names(names, what)
    order = _order(names, what)
    if order is not None:
        names, hexes, resources = ([column[i] for i in order] for column in (names, hexes, resources))
        raw = bytes.fromhex("".join(hexes))
    if hash_type != "sha256":
        kind = "blake2b" if hash_type == "blake2" else hash_type
        ranges = [Range(name, 0, None, kind, bytes.fromhex(value)) for name, value in zip(names, hexes, strict=True)]
        return Claims(None, ranges, ignored, links, anonymous=anonymous)
    manifest = _manifest(names, raw, resources, what, single=anonymous)
    part = statement.subjects[0].annotations.get("part") or []
    claimed = statement.subjects[0].annotations.get("contents")
    if isinstance(claimed, str) and claimed != manifest.contents().hex():
        raise DocumentError(f"{what}: the contents digest is not that of the names, sizes and digests listed")
    return Claims(
        manifest,
        (),
        ignored,
        links,
        tuple(str(glob) for glob in expect(part, list, f"{what}: part")),
        anonymous,
    )


def _only(value: Mapping[str, Any], allowed: set[str], what: str) -> None:
    unknown = sorted(set(value) - allowed)
    if unknown:
        raise DocumentError(f"{what} has the unknown key {unknown[0][:60]!r}")


def _columns(resources: list[Any], what: str) -> tuple[list[str], list[str], set[str]]:
    """Names, digests (hex) and the algorithms used. Whole columns at once: 50,000 rows leave no time for ceremony."""
    try:
        names = list(map(itemgetter("name"), resources))
        hexes = list(map(itemgetter("digest"), resources))
        algorithms = list(map(itemgetter("algorithm"), resources))
        "".join(names)
        text = "".join(hexes)
        used = set(algorithms)
        widths = set(map(len, hexes))
    except (TypeError, KeyError, IndexError):
        raise DocumentError(f"{what}: resources need name, algorithm and digest, each a string") from None
    if not names:
        raise DocumentError(f"{what} lists no file")
    if not _HEX.fullmatch(text):
        raise DocumentError(f"{what}: a resource's digest is not lower-case hex")
    if len(used) != 1 or not isinstance(algorithm := next(iter(used)), str):
        raise DocumentError(f"{what}: the resources have different algorithms")
    width = _ALGORITHMS.get(algorithm.split("-sharded-")[0])
    if width is None:
        raise DocumentError(f"{what}: resource algorithm {algorithm[:60]!r} is unknown")
    if widths != {width}:
        raise DocumentError(f"{what}: a resource's {algorithm} digest does not have {width} digits")
    return names, hexes, used


def _order(names: list[str], what: str) -> Sequence[int] | None:
    """Positions in code point order, None when that is how they stand; refuses any order that no writer uses.

    The specification sorts by name; released versions of the reference implementation sort by path component.
    """
    if all(map(lt, names, islice(names, 1, None))):
        return None  # strictly ascending, hence unique too
    check_unique(names, what)
    parts = [name.split("/") for name in names]
    if not all(map(lt, parts, islice(parts, 1, None))):
        raise DocumentError(f"{what}: the resources are not sorted by name")
    return sorted(range(len(names)), key=names.__getitem__)


def _manifest(names: list[str], sha256: bytes, rows: list[Any], what: str, *, single: bool) -> Manifest:
    """Columns, with sizes and BLAKE3 from the annotations where every resource has them."""
    unknown = Manifest(names, array("Q", [UNKNOWN_SIZE]) * len(names), sha256, b"", single=single)
    try:
        annotations = list(map(itemgetter("annotations"), rows))
        sizes = array("Q", map(itemgetter("size"), annotations))
    except KeyError:
        return unknown
    except (TypeError, OverflowError):
        raise DocumentError(f"{what}: a resource's annotated size is not a number of bytes") from None
    large = [i for i, size in enumerate(sizes) if size > SEGMENT]
    segments: dict[int, bytes] = {}
    try:
        for i in large:
            segments[i] = _segments(annotations[i]["segments"], sizes[i], f"{what}: {names[i][:200]!r}")
        if large:
            column = ["0" * 64 if i in segments else item["blake3"] for i, item in enumerate(annotations)]
        else:
            column = list(map(itemgetter("blake3"), annotations))
    except KeyError:
        return Manifest(names, sizes, sha256, b"", single=single)
    try:
        text, widths = "".join(column), set(map(len, column))
    except TypeError:
        text, widths = "", set()
    if widths != {64} or not _HEX.fullmatch(text):
        raise DocumentError(f"{what}: a blake3 annotation is not 64 digits of lower-case hex")
    return Manifest(names, sizes, sha256, bytes.fromhex(text), segments, single)


def _segments(value: object, size: int, place: str) -> bytes:
    count = -(-size // SEGMENT)
    if not isinstance(value, str) or len(value) != count * 2 * DIGEST or not _HEX.fullmatch(value):
        raise DocumentError(f"{place}: the segments annotation is not {count} BLAKE3 digests")
    return bytes.fromhex(value)


def _shards(
    names: list[str], digests: list[bytes], algorithm: str, serialization: Mapping[str, Any], what: str
) -> list[Range]:
    """``path:start:end`` resources; together they must cover each file without gap or overlap from its first byte."""
    size = serialization.get("shard_size")
    if isinstance(size, float) and size.is_integer():
        size = int(size)  # protobuf's Struct, which the reference implementation writes through, has only floats
    if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
        raise DocumentError(f"{what}: shard_size is not a positive number of bytes")
    ranges: list[Range] = []
    last: tuple[list[str], int] = ([], -1)
    base = algorithm.split("-sharded-")[0]
    if base != serialization.get("hash_type"):
        raise DocumentError(f"{what}: a resource's algorithm is not that of the hash_type")
    for name, digest in zip(names, digests, strict=True):
        path, _, bounds = name.rpartition(":")
        path, _, start_text = path.rpartition(":")
        if not path or not (start_text.isascii() and start_text.isdigit() and bounds.isascii() and bounds.isdigit()):
            raise DocumentError(f"{what}: {name[:200]!r} is not path:start:end")
        if len(start_text) > 19 or len(bounds) > 19:
            raise DocumentError(f"{what}: {name[:200]!r} is out of bounds")
        start, stop = int(start_text), int(bounds)
        if not start < stop <= start + size or start % size:
            raise DocumentError(f"{what}: {name[:200]!r} is not a shard of {size} bytes")
        if ranges and ranges[-1].name == path:
            if ranges[-1].stop != start or ranges[-1].stop - ranges[-1].start != size:
                raise DocumentError(f"{what}: the shards of {path[:200]!r} leave a gap or overlap before {start}")
        elif start != 0:
            raise DocumentError(f"{what}: the shards of {path[:200]!r} do not begin at 0")
        if (path.split("/"), start) <= last:
            raise DocumentError(f"{what}: the shards are not sorted, or {path[:200]!r} stands twice")
        last = (path.split("/"), start)
        ranges.append(Range(path, start, stop, "blake2b" if base == "blake2" else base, digest))
    check_names(sorted({item.name for item in ranges}), what)
    return ranges


def _legacy(statement: Statement, what: str) -> Claims:
    """Version 0.2: one subject a file, nothing else signed."""
    names = [subject.name for subject in statement.subjects]
    hexes = [subject.digest.get("sha256") for subject in statement.subjects]
    if any(value is None for value in hexes):
        raise DocumentError(f"{what}: a subject of a version 0.2 signature has no sha256")
    anonymous = names == ["."]
    if anonymous:
        names = ["model"]
    check_names(names, what)
    check_unique(names, what)
    rows = sorted(zip(names, hexes, strict=True))
    manifest = Manifest(
        [name for name, _ in rows],
        array("Q", [UNKNOWN_SIZE]) * len(rows),
        bytes.fromhex("".join(value or "" for _, value in rows)),
        b"",
        single=anonymous,
    )
    return Claims(manifest, ignored=GIT_PATHS, anonymous=anonymous)
