"""Model signatures in the form that we write, read ten times as fast: straight into typed rows.

A document that differs from that form in any way, valid or not, is left to `assay.evidence.oms`, whose errors are the
ones that users see. So nothing is accepted here that the slow reader would refuse; the property tests hold the two
against each other.
"""

from __future__ import annotations

import hashlib
from array import array
from itertools import islice
from operator import attrgetter, lt

import msgspec

from assay.errors import DocumentError
from assay.evidence import statement, strict_json
from assay.evidence.claims import Claims, check_names
from assay.evidence.oms import PREDICATE_TYPE
from assay.evidence.statement import Statement
from assay.targets.interface import DIGEST, SEGMENT, Manifest

WORTH_IT = 1 << 16
"""Bytes from which on the second reader pays for its own import."""


class _Annotations(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    size: int
    blake3: str = ""
    segments: str = ""


class _Row(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str
    algorithm: str
    digest: str
    annotations: _Annotations


class _Serialization(msgspec.Struct, forbid_unknown_fields=True):
    method: str
    hash_type: str
    allow_symlinks: bool
    ignore_paths: list[str]


class _Predicate(msgspec.Struct, forbid_unknown_fields=True):
    serialization: _Serialization
    resources: list[_Row]


class _Document(
    msgspec.Struct, forbid_unknown_fields=True, rename={"kind": "_type", "predicate_type": "predicateType"}
):
    kind: str
    subject: msgspec.Raw
    predicate_type: str
    predicate: _Predicate


_decoder = msgspec.json.Decoder(_Document)

_KEYS = 4 + 2 + 4
"""Keys of the document, its predicate and its serialization."""

_COLONS = 2
"""Colons inside of strings: those of the two URIs, whose values are compared."""

_ROW_KEYS = 4 + 2
"""Keys of one row: its own and its annotations'."""


def read(payload: bytes, what: str) -> tuple[Statement, Claims] | None:
    """The statement and its claims, or None when the document is not in our own form.

    The statement's predicate holds the serialization alone: the resources are in the claims.
    """
    try:
        document = _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    subject = bytes(document.subject)
    rows = document.predicate.resources
    form = document.predicate.serialization
    if (
        document.predicate_type != PREDICATE_TYPE
        or document.kind != statement.V1
        or form.method != "files"
        or form.hash_type != "sha256"
        or not rows
        or _repeats_a_key(payload, subject, len(rows))
    ):
        return None
    subjects = strict_json.loads(subject, what)
    head = strict_json.dumps({"_type": statement.V1, "subject": subjects, "predicateType": PREDICATE_TYPE})
    made = statement.parse(head, what)
    manifest = _manifest(rows)
    first = made.subjects[0]
    if (
        manifest is None
        or len(made.subjects) != 1
        or first.digest.get("sha256") != hashlib.sha256(manifest.sha256).hexdigest()
        or first.annotations.get("contents", "") != manifest.contents().hex()
    ):
        return None
    try:
        check_names(manifest.names, what)
    except DocumentError:
        return None
    part = first.annotations.get("part", [])
    if not isinstance(part, list):
        return None
    predicate = {"serialization": msgspec.to_builtins(form)}
    claims = Claims(manifest, (), tuple(form.ignore_paths), form.allow_symlinks, tuple(str(glob) for glob in part))
    return Statement(made.subjects, PREDICATE_TYPE, predicate), claims


def _repeats_a_key(payload: bytes, subject: bytes, rows: int) -> bool:
    """Whether a key might stand twice in one object, which the decoder would not tell.

    Every key is followed by one colon, and the types fix how many different keys there are. More colons would mean a
    repeated key or a file's name with a colon in it: either way the slow reader looks. Escapes go there too.
    """
    colons = payload.count(b":") - subject.count(b":")
    return b"\\" in payload or colons != _KEYS + _COLONS + _ROW_KEYS * rows


def _manifest(rows: list[_Row]) -> Manifest | None:
    """Columns; None unless every row is exactly as we write it."""
    names = list(map(attrgetter("name"), rows))
    if not all(map(lt, names, islice(names, 1, None))) or names == ["."]:
        return None
    annotations = list(map(attrgetter("annotations"), rows))
    try:
        sizes = array("Q", map(attrgetter("size"), annotations))
    except OverflowError:
        return None
    large = [i for i, size in enumerate(sizes) if size > SEGMENT]
    column = list(map(attrgetter("blake3"), annotations))
    segments: dict[int, bytes] = {}
    for i in large:
        if column[i] or (found := _hex([annotations[i].segments], 2 * DIGEST * -(-sizes[i] // SEGMENT))) is None:
            return None
        segments[i] = found
        column[i] = "0" * 64
    if len(large) != sum(map(bool, map(attrgetter("segments"), annotations))):
        return None
    blake3 = _hex(column, 64)
    sha256 = _hex(list(map(attrgetter("digest"), rows)), 64)
    if blake3 is None or sha256 is None or set(map(attrgetter("algorithm"), rows)) != {"sha256"}:
        return None
    return Manifest(names, sizes, sha256, blake3, segments)


def _hex(column: list[str], width: int) -> bytes | None:
    """The bytes of a column of lower-case hex, each ``width`` digits; None for anything else."""
    if set(map(len, column)) != {width}:
        return None
    text = "".join(column)
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return None
    return data if data.hex() == text else None  # fromhex also takes capitals and white space
