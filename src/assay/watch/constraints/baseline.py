"""The baseline file: what the data was like, as one JSON document that needs no raw rows.

It holds the published state, constraints, calibrated floors, and a summary for people. It comes from strangers: it is
read within bounds, its digest must be the state's, and a summary that says other things than the state is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from assay.collect.profile.interface import Categories, Column, Numeric, Profile, Vectors, finite
from assay.errors import DocumentError
from assay.evidence import strict_json
from assay.files import read_file, write_atomic
from assay.watch import columns
from assay.watch.constraints import reading
from assay.watch.constraints.model import Constraints

FORMAT = "assay-baseline"
_MAKE = "make one with: assay baseline DATA"
"""Key that tells what a file is; its value is the version of the format."""
VERSION = 1
MAX_BYTES = 256 << 20
"""Largest file that is read."""
MAX_STATE = 512 << 20
"""Bytes of a state that are unpacked at most."""

_KEYS = (FORMAT, "made", "rows", "columns", "constraints", "floors", "sources", "state")
_STATE_KEYS = ("sha256", "bytes", "encoding", "data")
_ENCODING = "zlib+base64"
_NEAR = 1e-9
"""Relative error of a number in the summary that another numerical library may make."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the baseline's data came from."""

    name: str
    """Of the target, such as ``file:train.parquet``."""
    digests: dict[str, str]
    """Algorithm to lower-case hex."""


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """The document."""

    state: bytes
    """Published, as `collect.profile` serialises it."""
    profile: Profile
    """The state, decoded."""
    constraints: Constraints
    made: datetime
    """UTC."""
    floors: Any = None
    """Calibrated noise floors, a JSON value that `watch.drift` reads."""
    sources: tuple[Source, ...] = field(default=())

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the state."""
        return hashlib.sha256(self.state).hexdigest()


def write(path: str, baseline: Baseline) -> None:
    """Write the file, atomically."""
    write_atomic(path, dumps(baseline))


def load(path: str) -> Baseline:
    """Read the file. Raises `UsageError` or `DocumentError`."""
    return loads(read_file(path, MAX_BYTES, hint=_MAKE), path)


def is_baseline(data: bytes) -> bool:
    """Whether bytes begin like a baseline file, without reading it."""
    return data.lstrip()[:1] == b"{" and f'"{FORMAT}"'.encode() in data[:1000]


def dumps(baseline: Baseline) -> bytes:
    """The document: equal baselines of one machine give equal bytes (compression may differ between zlib builds)."""
    import msgspec

    value = {
        FORMAT: VERSION,
        "made": baseline.made.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "rows": baseline.profile.rows,
        "columns": summary(baseline.profile),
        "constraints": reading.to_value(baseline.constraints),
        "floors": baseline.floors,
        "sources": [{"name": source.name, "digest": source.digests} for source in baseline.sources],
        "state": {
            "sha256": baseline.digest,
            "bytes": len(baseline.state),
            "encoding": _ENCODING,
            "data": base64.b64encode(zlib.compress(baseline.state, 9)).decode("ascii"),
        },
    }
    return msgspec.json.format(strict_json.dumps(value), indent=1) + b"\n"


def loads(data: bytes, name: str) -> Baseline:
    """Read a document from anybody. Raises `DocumentError` naming the field."""
    try:
        value = strict_json.loads(data, name, max_bytes=MAX_BYTES)
    except DocumentError as error:
        raise DocumentError(error.message, hint=_MAKE) from None
    if not isinstance(value, dict) or FORMAT not in value:
        raise DocumentError(f"{name} is not a baseline: it has no key {FORMAT!r}", hint=_MAKE)
    if value[FORMAT] != VERSION or isinstance(value[FORMAT], bool):
        raise DocumentError(f"{name} has version {value[FORMAT]!r} of the baseline's format, {VERSION} is known")
    _keys(value, _KEYS, name)
    state = _state(value["state"], name)
    from assay.collect.profile.partial import decode

    profile = decode(state)
    if profile.digest and profile.digest != hashlib.sha256(state).hexdigest():
        raise DocumentError(f"{name}: state is not what its digest says")
    if value["rows"] != profile.rows or not _agrees(value["columns"], summary(profile)):
        raise DocumentError(
            f"{name}: columns says other things than the state", hint="the file was edited: make the baseline again"
        )
    return Baseline(
        state,
        profile,
        reading.from_value(value["constraints"], f"{name}: constraints"),
        _time(value["made"], name),
        value["floors"],
        tuple(_source(item, name) for item in _list(value["sources"], f"{name}: sources")),
    )


def summary(profile: Profile) -> list[dict[str, Any]]:
    """What people read of each column; every number is finite or null."""
    kinds = {column.name: column.kind.value for column in profile.spec.columns}
    return [
        {"name": name, "kind": kinds.get(name, "custom"), **_column(state)} for name, state in profile.columns.items()
    ]


def _column(state: Column) -> dict[str, Any]:
    common = {"present": columns.present(state), "missing": columns.missing(state)}
    if isinstance(state, Numeric):
        shares = (0.05, 0.25, 0.5, 0.75, 0.95)
        import numpy as np

        quantiles = columns.quantiles(state, np.array(shares)).tolist()
        return {
            **common,
            "mean": finite(state.mean),
            "std": finite(state.std),
            "min": finite(state.minimum),
            "max": finite(state.maximum),
            "quantiles": {str(share): finite(value) for share, value in zip(shares, quantiles, strict=True)},
            "distinct": state.distinct,
        }
    if isinstance(state, Vectors):
        return {**common, "dimensions": len(state.centroid), "norm": finite(state.norms.mean)}
    assert isinstance(state, Categories)
    counted = [
        (int(count), state.labels[value])
        for value, count in zip(state.hashes.tolist(), state.counts.tolist(), strict=True)
        if value in state.labels
    ]
    counted.sort(key=lambda item: (-item[0], item[1]))
    return {**common, "distinct": state.distinct, "top": {label: count for count, label in counted[:10]}}


def _state(value: Any, name: str) -> bytes:
    """The state's bytes, never more than were declared, with the digest that was declared."""
    if not isinstance(value, dict):
        raise DocumentError(f"{name}: state is not an object")
    _keys(value, _STATE_KEYS, f"{name}: state")
    size, digest, data = value["bytes"], value["sha256"], value["data"]
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= MAX_STATE:
        raise DocumentError(f"{name}: state.bytes is not a number from 1 to {MAX_STATE:,}")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise DocumentError(f"{name}: state.sha256 is not 64 lower-case hex digits")
    if value["encoding"] != _ENCODING or not isinstance(data, str):
        raise DocumentError(f"{name}: state.encoding is not {_ENCODING}")
    try:
        packed = base64.b64decode(data, validate=True)
        unpacker = zlib.decompressobj()
        state = unpacker.decompress(packed, size + 1)
    except (binascii.Error, ValueError, zlib.error):
        raise DocumentError(f"{name}: state.data is not {_ENCODING}") from None
    if len(state) != size or not unpacker.eof or unpacker.unused_data:
        raise DocumentError(f"{name}: state.data does not unpack to the {size:,} bytes that it declares")
    if hashlib.sha256(state).hexdigest() != digest:
        raise DocumentError(f"{name}: state.data has another digest than state.sha256 says")
    return state


def _keys(value: dict[str, Any], known: tuple[str, ...], name: str) -> None:
    for key in value:
        if key not in known:
            raise DocumentError(f"{name}: unknown key {key[:80]!r}")
    for key in known:
        if key not in value:
            raise DocumentError(f"{name} has no key {key!r}")


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise DocumentError(f"{place} is not a list")
    return value


def _source(value: Any, name: str) -> Source:
    fits = (
        isinstance(value, dict)
        and set(value) == {"name", "digest"}
        and isinstance(value["name"], str)
        and isinstance(value["digest"], dict)
        and all(isinstance(item, str) for item in value["digest"].values())
    )
    if not fits:
        raise DocumentError(f"{name}: sources has an entry that is not a name with its digests")
    return Source(value["name"], dict(value["digest"]))


def _time(value: Any, name: str) -> datetime:
    try:
        made = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        made = None
    if made is None or made.utcoffset() is None or made.utcoffset():
        raise DocumentError(f"{name}: made is not a time in UTC such as 2026-01-31T12:00:00Z")
    return made


def _agrees(said: Any, true: Any) -> bool:
    """Whether two JSON values are equal, floats up to what another numerical library rounds differently."""
    if isinstance(true, dict):
        return (
            isinstance(said, dict) and said.keys() == true.keys() and all(_agrees(said[key], true[key]) for key in true)
        )
    if isinstance(true, list):
        return (
            isinstance(said, list)
            and len(said) == len(true)
            and all(_agrees(one, other) for one, other in zip(said, true, strict=True))
        )
    if isinstance(true, float) and isinstance(said, int | float) and not isinstance(said, bool):
        return math.isclose(said, true, rel_tol=_NEAR, abs_tol=1e-300)
    return type(said) is type(true) and bool(said == true)
