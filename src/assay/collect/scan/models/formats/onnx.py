"""ONNX: graphs whose weights may lie in other files, and whose operators may come from other libraries.

The message is walked through its wire format; no external file is opened and no operator is run.
Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; CVE-2022-25882, -2024-5187, -2024-27318.
"""

from __future__ import annotations

import io
import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.headers import protobuf as wire
from assay.collect.scan.models.formats.telling import EXECUTION, SUPPLY, hand_on, leads_out, shown, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.collect.scan.models.rules.operations import listed
from assay.errors import DocumentError

_MODEL_FIELDS = {1: wire.VARINT, 5: wire.VARINT} | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), wire.LENGTH)
"""``ModelProto``'s fields with their wire types."""

_FIRST = frozenset(wire.tag(number, kind)[:1] for number, kind in _MODEL_FIELDS.items())
"""The bytes that a ``ModelProto`` may begin with."""

_PYTHON = frozenset({"PyOp", "PythonOp", "PythonOpGrad", "PyFunc", "PyCustomOp", "ATen"})
_REMOTE = re.compile(r"(?:Azure|OpenAI)[A-Z]\w*")
"""Operators of ONNX Runtime's extensions that send what the model is given to the address which the file names."""

_CONTEXT = frozenset({"EPContext", "TensorRTEngine", "TRT_EngineOp", "Snpe"})
_EXTERNAL_KEYS = frozenset({"location", "offset", "length", "checksum", "basepath"})
_ELEMENT_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8,
}  # fmt: skip
"""Bits of ``TensorProto.DataType``'s fixed-width types."""

_MAX_KINDS = 10_000
_HIDDEN = 1024
"""Bytes of a field that the schema does not have, from which on it is told of."""


class Onnx:
    """``.onnx``."""

    name = "onnx"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By name, or when the head reads as fields of a ``ModelProto`` up to its graph or an operator set."""
        if path.endswith(".onnx"):
            return True
        if head[:1] not in _FIRST:
            return False
        seen: set[int] = set()
        try:
            for part in wire.fields(io.BytesIO(head), 0, max(size, len(head)), limits=wire.Limits(fields=64)):
                if _MODEL_FIELDS.get(part.number) != part.wire:
                    return False
                seen.add(part.number)
                if part.number == 2 and not _is_text(head[part.start : part.end]):
                    return False  # the same numbers are a SavedModel's
                if part.end > len(head):
                    break
        except DocumentError:
            return False
        return bool(seen & {7, 8}) and bool(seen & {1, 8})

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """Paths that leave the folder, operators that are not ONNX's, tensors that are not what they say."""
        model = _Model(file, scan)
        yield from model.walk(size)
        yield from model.foreign()


def _is_text(data: bytes) -> bool:
    return all(byte >= 0x20 for byte in data[:200])


class _Model:
    """One walk over one model."""

    def __init__(self, file: BinaryIO, scan: Scan) -> None:
        self._file, self._scan = file, scan
        self._limits = wire.Limits(fields=4_000_000)
        self._used: Counter[tuple[str, str]] = Counter()
        self._own: set[tuple[str, str]] = set()
        self._told = 0

    def _inside(self, part: wire.Field) -> Iterator[wire.Field]:
        if part.wire == wire.LENGTH:
            yield from wire.fields(self._file, part.start, part.end, limits=self._limits)

    def _text(self, part: wire.Field) -> str:
        return wire.text(self._file, part, limit=64 << 10)

    def walk(self, size: int) -> Iterator[Finding]:
        """All parts of the model."""
        graphs = 0
        for part in wire.fields(self._file, 0, size, limits=self._limits):
            if part.number == 7:
                graphs += part.wire == wire.LENGTH
                yield from self._graph(part)
            elif part.number == 20:  # training_info: initialization, algorithm
                for inner in self._inside(part):
                    if inner.number in (1, 2):
                        yield from self._graph(inner)
            elif part.number == 25:
                yield from self._function(part)
            elif part.number not in _MODEL_FIELDS and part.end - part.start >= _HIDDEN:
                yield tell(
                    self._scan,
                    "onnx/hidden-data",
                    Tier.NONE,
                    Severity.MEDIUM,
                    f"{part.end - part.start:,} bytes lie in a field that ONNX does not have: room to hide something",
                    offset=part.start,
                    atlas=SUPPLY,
                )
                yield from hand_on(self._file, part.start, part.end, f"(field {part.number})", self._scan)
        if not graphs:
            raise DocumentError("it has no graph")

    def _function(self, part: wire.Field) -> Iterator[Finding]:
        name = domain = ""
        for inner in self._inside(part):
            if inner.number == 1:
                name = self._text(inner)
            elif inner.number == 10:
                domain = self._text(inner)
            elif inner.number == 7:
                with self._limits.deeper():
                    yield from self._node(inner)
            elif inner.number == 11:  # attribute_proto: an attribute with its default
                with self._limits.deeper():
                    yield from self._attribute(inner, {})
        self._own.add((domain, name))

    def _graph(self, part: wire.Field) -> Iterator[Finding]:
        with self._limits.deeper():
            for inner in self._inside(part):
                if inner.number == 1:
                    yield from self._node(inner)
                elif inner.number == 5:
                    yield from self._tensor(inner)
                elif inner.number == 15:  # sparse: values, indices
                    for half in self._inside(inner):
                        if half.number in (1, 2):
                            yield from self._tensor(half)

    def _node(self, part: wire.Field) -> Iterator[Finding]:
        operator = domain = ""
        attributes = []
        for inner in self._inside(part):
            if inner.number == 4:
                operator = self._text(inner)
            elif inner.number == 7:
                domain = self._text(inner)
            elif inner.number == 5:
                attributes.append(inner)
        if len(self._used) < _MAX_KINDS or (domain, operator) in self._used:
            self._used[domain, operator] += 1
        texts: dict[str, str] = {}
        for attribute in attributes:
            yield from self._attribute(attribute, texts)
        if operator in _CONTEXT:
            yield from self._context(operator, texts)

    def _attribute(self, attribute: wire.Field, texts: dict[str, str]) -> Iterator[Finding]:
        """Tensors and graphs in an attribute; its text, where it has one, goes to ``texts``."""
        name = value = ""
        for inner in self._inside(attribute):
            if inner.number == 1:
                name = self._text(inner)
            elif inner.number == 4 and inner.wire == wire.LENGTH and inner.end - inner.start <= 4096:
                value = self._text(inner)
            elif inner.number in (5, 10):  # t, tensors
                yield from self._tensor(inner)
            elif inner.number in (22, 23):  # sparse_tensor(s)
                for half in self._inside(inner):
                    if half.number in (1, 2):
                        yield from self._tensor(half)
            elif inner.number in (6, 11):  # g, graphs
                yield from self._graph(inner)
        texts[name] = value

    def _context(self, operator: str, texts: dict[str, str]) -> Iterator[Finding]:
        path = texts.get("ep_cache_context", "")
        why = leads_out(path) if path.isprintable() and 0 < len(path) < 1000 else None
        if why:
            yield self._path(path, why, f"{operator} loads")
        else:
            yield tell(
                self._scan,
                "onnx/compiled",
                Tier.UNKNOWN,
                Severity.MEDIUM,
                f"{operator} runs a compiled engine, which cannot be seen through",
                atlas=SUPPLY,
            )

    def _path(self, path: str, why: str, does: str) -> Finding:
        return tell(
            self._scan,
            "onnx/external-data",
            Tier.MALICIOUS,
            Severity.HIGH,
            f"{does} {shown(path)!r}, which {why} (CVE-2022-25882, CVE-2024-27318)",
            call=f"open({path!r})",
            atlas=SUPPLY,
            mitigation="do not load it: it reads a file of your machine into the model",
        )

    def _tensor(self, part: wire.Field) -> Iterator[Finding]:
        kind, raw, name, shape, pairs = 0, None, "", list[int](), list[tuple[str, str]]()
        for inner in self._inside(part):
            if inner.number == 1:
                shape += wire.integers(self._file, inner)
            elif inner.number == 2:
                kind = inner.value
            elif inner.number == 8:
                name = self._text(inner)
            elif inner.number == 9:
                raw = inner.end - inner.start
            elif inner.number == 13:
                key = value = ""
                for half in self._inside(inner):
                    if half.number == 1:
                        key = self._text(half)
                    elif half.number == 2:
                        value = self._text(half)
                pairs.append((key, value))
        if self._told > 100:
            return
        before = self._told
        for finding in self._judge_tensor(kind, raw, name, shape, pairs):
            self._told += 1
            yield finding
        if before <= 100 < self._told:
            yield tell(self._scan, "onnx/more", Tier.UNKNOWN, Severity.LOW, "further tensors are not told of")

    def _judge_tensor(
        self, kind: int, raw: int | None, name: str, shape: list[int], pairs: list[tuple[str, str]]
    ) -> Iterator[Finding]:
        shown_name = shown(name, 80)
        elements = 1
        for length in shape[:64]:
            elements *= length
        if any(length < 0 for length in shape) or len(shape) > 64 or elements >= 1 << 56:
            yield tell(
                self._scan,
                "onnx/size",
                Tier.UNREADABLE,
                Severity.HIGH,
                f"tensor {shown_name!r} claims an impossible shape",
                atlas=SUPPLY,
            )
        elif raw is not None and kind in _ELEMENT_BITS and raw * 8 != elements * _ELEMENT_BITS[kind]:
            yield tell(
                self._scan,
                "onnx/size",
                Tier.UNREADABLE,
                Severity.HIGH,
                f"tensor {shown_name!r} has {raw:,} bytes, not what its shape and type need",
                atlas=SUPPLY,
            )
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            yield tell(
                self._scan,
                "onnx/external-twice",
                Tier.UNKNOWN,
                Severity.HIGH,
                f"tensor {shown_name!r} states where its data are twice: two readers may read two files",
                atlas=SUPPLY,
            )
        if odd := sorted(set(keys) - _EXTERNAL_KEYS):
            yield tell(
                self._scan,
                "onnx/external-key",
                Tier.UNKNOWN,
                Severity.MEDIUM,
                f"tensor {shown_name!r} has the external-data key {shown(odd[0], 40)!r}, unknown to ONNX",
            )
        numbers = {key: _number(value) for key, value in pairs if key in ("offset", "length")}
        if None in numbers.values():
            yield tell(
                self._scan,
                "onnx/size",
                Tier.UNREADABLE,
                Severity.HIGH,
                f"tensor {shown_name!r} has an offset or length that is no plain number",
            )
            return
        for key, value in pairs:
            if key in ("location", "basepath"):
                why = leads_out(value)
                if why:
                    yield self._path(value, why, f"tensor {shown_name!r} takes its data from")
                elif key == "location":
                    yield from self._sibling(value, numbers.get("offset") or 0, numbers.get("length") or 0, shown_name)

    def _sibling(self, location: str, offset: int, length: int, name: str) -> Iterator[Finding]:
        """Whether the file beside the model has what the tensor wants."""
        if not self._scan.siblings or self._scan.member is not None:
            return
        path = posixpath.normpath(posixpath.join(posixpath.dirname(self._scan.path), location))
        size = self._scan.siblings.get(path)
        if size is None:
            yield tell(
                self._scan,
                "onnx/external-missing",
                Tier.NONE,
                Severity.LOW,
                f"tensor {name!r} takes its data from {shown(location, 100)!r}, which is not there",
            )
        elif offset + length > size:
            yield tell(
                self._scan,
                "onnx/size",
                Tier.UNREADABLE,
                Severity.HIGH,
                f"tensor {name!r} reaches beyond the end of {shown(location, 100)!r}",
                atlas=SUPPLY,
            )

    def foreign(self) -> Iterator[Finding]:
        """Operators that neither ONNX nor the model itself defines."""
        own_domains = {domain for domain, _ in self._own}
        domains = listed("onnx").domains
        by_domain: dict[str, list[str]] = {}
        for domain, operator in self._used:
            if (domain, operator) in self._own:
                continue
            if operator in _PYTHON:
                yield tell(
                    self._scan,
                    "onnx/python-operator",
                    Tier.CODE,
                    Severity.HIGH,
                    f"operator {shown(domain, 60)}:{operator} runs Python, which is not in the file",
                    atlas=EXECUTION,
                    mitigation="find out which function it runs",
                )
            elif _REMOTE.fullmatch(operator):
                yield tell(
                    self._scan,
                    "onnx/remote-operator",
                    Tier.MALICIOUS,
                    Severity.HIGH,
                    f"operator {shown(domain, 60)}:{operator} sends what the model is given to an address in the file",
                    atlas=EXECUTION,
                    mitigation="do not load it: use a model that computes its answer itself",
                )
            elif operator not in domains.get("" if domain == "ai.onnx" else domain, ()):
                by_domain.setdefault(domain, []).append(operator)
        for domain, operators in sorted(by_domain.items()):
            part = " (part of its domain is defined in the model)" if domain in own_domains else ""
            named = f"of domain {shown(domain, 80)!r} " if domain else "of ONNX's own domain, and not known to it, "
            yield tell(
                self._scan,
                "onnx/custom-operator",
                Tier.UNKNOWN,
                Severity.MEDIUM,
                f"operators {named}({shown(', '.join(sorted(operators)[:5]), 150)}) need a native library that is not "
                f"in the file{part}",
                atlas=SUPPLY,
                mitigation="find out where that library comes from before you register it",
            )
        if len(self._used) >= _MAX_KINDS:
            yield tell(
                self._scan,
                "onnx/more",
                Tier.UNKNOWN,
                Severity.LOW,
                "it uses more kinds of operators than are looked at",
            )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
