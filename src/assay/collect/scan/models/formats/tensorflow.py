"""TensorFlow's graphs: SavedModel, MetaGraph and frozen graphs, whose operations can read, write and run.

A graph is a program. Its operations are walked through the wire format, also inside functions, and never executed;
TensorFlow is never imported. Source: TensorFlow's ``core/framework/{graph,node_def,function}.proto`` and SECURITY.md.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from assay.collect.headers import protobuf
from assay.collect.headers.protobuf import Field, Limits, fields, payload, text
from assay.collect.scan.models.formats import tensorflow_operations as operations
from assay.collect.scan.models.formats.keras import examine_config
from assay.collect.scan.models.formats.telling import SENSITIVE, hand_on, leads_out, read_json, shown
from assay.collect.scan.models.formats.tensorflow_graph import (
    MAX_TEXT,
    Wiring,
    inside,
    operation,
    reaching,
    read_node,
)
from assay.collect.scan.models.formats.tensorflow_operations import Told
from assay.collect.scan.models.interface import Finding, Scan, Tier
from assay.collect.scan.models.rules.operations import listed
from assay.errors import DocumentError

_ARRANGED = re.compile(r"#[^\n]*|\"((?:[^\"\\\n]|\\.)*+)\"|'((?:[^'\\\n]|\\.)*+)'|([A-Za-z_]\w*)|([:{}<>\[\]])")
"""Tokens of a text graph: comments, texts, words and what stands between them."""


class TensorFlowGraph:
    """``saved_model.pb``, frozen ``.pb``, ``.meta``, ``keras_metadata.pb`` and their text forms."""

    name = "tensorflow"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By the first messages, which have no magic number, or by name."""
        return _shape(head, size, path) is not None

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What its operations do beyond computing."""
        file.seek(0)
        shape = _shape(file.read(64 << 10), size, scan.path)
        limits = Limits(fields=6_000_000)
        if shape == "text":
            yield from _text_graph(file, size, scan)
        elif shape == "keras":
            yield from _keras_metadata(file, size, limits, scan)
        else:
            yield from _READINGS[shape or "saved"](file, size, limits, scan)
            # The messages have the same field numbers, and a loader is told by its caller which of them it reads.
            for other, reading in _READINGS.items():
                if other != shape:
                    with suppress(DocumentError):
                        yield from reading(file, size, Limits(), scan)


def _saved(file: BinaryIO, size: int, limits: Limits, scan: Scan) -> Iterator[Finding]:
    for part in fields(file, 0, size, limits=limits):
        if part.number == 2:
            yield from _meta_graph(file, part, limits, scan)


def _frozen(file: BinaryIO, size: int, limits: Limits, scan: Scan) -> Iterator[Finding]:
    yield from _graph(file, Field(0, protobuf.LENGTH, 0, 0, size), limits, scan)


def _exported(file: BinaryIO, size: int, limits: Limits, scan: Scan) -> Iterator[Finding]:
    yield from _meta_graph(file, Field(0, protobuf.LENGTH, 0, 0, size), limits, scan)


_READINGS = {"saved": _saved, "graph": _frozen, "meta": _exported}
"""What a file without any mark may be: ``SavedModel``, ``GraphDef``, ``MetaGraphDef``."""


def _shape(head: bytes, size: int, path: str) -> str | None:
    """``saved``, ``meta``, ``graph``, ``keras`` or ``text``; None for what is no graph."""
    base = path.rsplit("/", 1)[-1].lower()
    if base.endswith((".pbtxt", ".meta.txt")):
        return "text"
    if base == "keras_metadata.pb":
        return "keras"
    try:
        parts = []
        for part in fields(io.BytesIO(head), 0, max(size, len(head)), limits=Limits(fields=3)):
            parts.append(part)
            if part.end > len(head) or len(parts) == 2:
                break
        first = parts[0]
        if first.number == 1 and first.wire == protobuf.VARINT and len(parts) > 1:
            if parts[1].number == 2 and parts[1].wire == protobuf.LENGTH and _is_meta(head, parts[1]):
                return "saved"
        elif first.number == 2 and first.wire == protobuf.LENGTH and _is_meta(head, first):
            return "saved"
        elif first.number == 1 and first.wire == protobuf.LENGTH:
            within = list(_head_fields(head, first))
            if _is_node(head, within):
                return "graph"
            if base.endswith(".meta") and within:
                return "meta"
    except (DocumentError, IndexError):
        pass
    if base == "saved_model.pb":
        return "saved"
    return "graph" if base.endswith(".pb") and head[:1] in (b"\x0a", b"\x12", b"\x18", b"\x22") else None


def _head_fields(head: bytes, part: Field) -> Iterator[Field]:
    try:
        for i, inner in enumerate(fields(io.BytesIO(head), part.start, part.end, limits=Limits(fields=8))):
            yield inner
            if inner.end > len(head) or i >= 6:
                return
    except DocumentError:
        return


def _is_meta(head: bytes, part: Field) -> bool:
    """Whether a message begins as a ``MetaGraphDef``: with its info or its graph."""
    first = next(_head_fields(head, part), None)
    return first is not None and first.number in (1, 2, 3, 5) and first.wire == protobuf.LENGTH


def _is_node(head: bytes, within: list[Field]) -> bool:
    """Whether fields are those of a ``NodeDef``: its name and its operation's, in any order."""
    texts = {part.number: head[part.start : part.end] for part in within if part.wire == protobuf.LENGTH}
    return 1 in texts and re.fullmatch(rb"[A-Z_][A-Za-z0-9_>]{0,100}", texts.get(2, b"")) is not None


def _meta_graph(file: BinaryIO, graph: Field, limits: Limits, scan: Scan) -> Iterator[Finding]:
    for part in inside(file, graph, limits):
        if part.number == 2:
            yield from _graph(file, part, limits, scan)
        elif part.number == 6:
            yield from _asset(file, part, limits, scan)
        elif part.number == 7:  # object_graph_def: objects of Keras before 2.5 keep their configuration there
            for node in inside(file, part, limits):
                if node.number == 1:
                    for user in inside(file, node, limits):
                        if user.number == 4:
                            yield from _metadata(file, user, limits, scan, number=3)


def _asset(file: BinaryIO, asset: Field, limits: Limits, scan: Scan) -> Iterator[Finding]:
    """An ``AssetFileDef``: a file beside the model, whose path the loader hands to the graph."""
    for part in inside(file, asset, limits):
        if part.number == 2:
            path = text(file, part, limit=MAX_TEXT)
            if path.isprintable() and (why := leads_out(path)):
                yield operations.finding(
                    scan, Tier.MALICIOUS, f"its asset is {shown(path)!r}, which {why}", f"open({path!r})"
                )


def _metadata(file: BinaryIO, message: Field, limits: Limits, scan: Scan, *, number: int) -> Iterator[Finding]:
    for part in inside(file, message, limits):
        if part.number == number and part.wire == protobuf.LENGTH and part.end - part.start > 2:
            data = payload(file, part, limit=64 << 20)
            if b"class_name" in data:
                document, _ = read_json(data, "an object's metadata")
                yield from examine_config(document, scan)


def _keras_metadata(file: BinaryIO, size: int, limits: Limits, scan: Scan) -> Iterator[Finding]:
    for node in fields(file, 0, size, limits=limits):
        if node.number == 1:
            yield from _metadata(file, node, limits, scan, number=5)


def _graph(file: BinaryIO, graph: Field, limits: Limits, scan: Scan) -> Iterator[Finding]:
    bodies = [("", graph, 1)]
    for part in inside(file, graph, limits):
        if part.number == 2:  # library
            for function in inside(file, part, limits):
                if function.number == 1:
                    bodies.append((_function_name(file, function, limits), function, 3))
    own = frozenset(name for name, _, _ in bodies)
    calls: dict[str, set[str]] = {}
    open_: set[str] = set()
    for name, body, number in bodies:
        yield from _nodes(_Body(name, body, number, own), file, limits, scan, calls, open_)
    if open_:
        risky = reaching(calls, open_)
        for name, body, number in bodies:
            if calls.get(name, set()) & risky:
                yield from _handed(_Body(name, body, number, own), risky, file, limits, scan)


@dataclass(frozen=True, slots=True)
class _Body:
    """A graph or a function's body."""

    name: str
    """The function's; empty for the graph itself."""
    message: Field
    number: int
    """Field of its nodes."""
    own: frozenset[str]
    """Names of all functions that are defined beside it."""

    def nodes(self, file: BinaryIO, limits: Limits) -> Iterator[Field]:
        for part in inside(file, self.message, limits):
            if part.number == self.number and part.wire == protobuf.LENGTH:
                yield part

    def wiring(self, file: BinaryIO, limits: Limits) -> Wiring:
        return Wiring(read_node(file, part, limits) for part in self.nodes(file, limits))


def _function_name(file: BinaryIO, function: Field, limits: Limits) -> str:
    for part in inside(file, function, limits):
        if part.number == 1:
            for inner in inside(file, part, limits):
                if inner.number == 1:
                    return text(file, inner, limit=MAX_TEXT)
    return "?"


def _nodes(
    body: _Body, file: BinaryIO, limits: Limits, scan: Scan, calls: dict[str, set[str]], open_: set[str]
) -> Iterator[Finding]:
    """The nodes of one body. Arguments are looked for only where some operation is worth it.

    Notes which functions it calls, and whether it is told files or machines by whoever calls it.
    """
    suspects: list[Field] = []
    called = calls.setdefault(body.name, set())
    for part in body.nodes(file, limits):
        op = operation(file, part, limits)
        if operations.suspicious(op, body.own):
            suspects.append(part)
        elif op in body.own or op in listed("tensorflow").domains["calling"]:
            called.update(name for name in (op, *read_node(file, part, limits).functions) if name in body.own)
    if not suspects:
        return
    wiring = body.wiring(file, limits)
    told: set[tuple[str, str | None]] = set()
    for part in suspects:
        node = read_node(file, part, limits)
        said = wiring.told(node)
        if wiring.parameters(node):
            open_.add(body.name)
            said.cut = said.cut or not body.name  # a graph that is read in parts: what it is told lies in another
        for finding in operations.judge(node.op, said, body.name, scan):
            if (finding.rule + finding.message, finding.call) not in told and len(told) < 100:
                told.add((finding.rule + finding.message, finding.call))
                yield finding
        if operations.runs_a_graph(node.op):
            yield from _carried(body, file, limits, scan)
    if wiring.visits <= 0:
        yield operations.finding(
            scan, Tier.UNKNOWN, "the graph is too tangled to say which files its operations use", None
        )


def _handed(body: _Body, risky: set[str], file: BinaryIO, limits: Limits, scan: Scan) -> Iterator[Finding]:
    """Constants that lead out, and are handed to a function which opens what it is told."""
    wiring = body.wiring(file, limits)
    for part in body.nodes(file, limits):
        node = read_node(file, part, limits)
        if not risky.isdisjoint((node.op, *node.functions)):
            for path in wiring.handed(node):
                if why := leads_out(path.partition("\0")[0]):
                    called = next(name for name in (node.op, *node.functions) if name in risky)
                    yield operations.finding(
                        scan,
                        Tier.MALICIOUS if SENSITIVE.search(path) else Tier.UNKNOWN,
                        f"the function {shown(called, 60)}, which opens what it is told, is told {shown(path)!r}, "
                        f"which {why}",
                        f"{called}({path!r})",
                    )
                    break


def _carried(body: _Body, file: BinaryIO, limits: Limits, scan: Scan) -> Iterator[Finding]:
    """Graphs in the constants and attributes of a body that runs what it carries."""
    for part in body.nodes(file, limits):
        for attribute in inside(file, part, limits):
            if attribute.number != 5:
                continue
            for entry in inside(file, attribute, limits):
                for value in inside(file, entry, limits) if entry.number == 2 else ():
                    held = [value] if value.number == 2 else inside(file, value, limits) if value.number == 8 else ()
                    for item in held:
                        if item.wire == protobuf.LENGTH and item.end - item.start > 8 and item.number in (2, 8):
                            yield from hand_on(file, item.start, item.end, "(graph in a constant)", scan)


def _text_graph(file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
    if size > 64 << 20:
        raise DocumentError(f"text graph of {size:,} bytes is too large")
    file.seek(0)
    data = file.read(size).decode("utf-8", "replace")
    ops, texts, functions = dict[str, None](), dict[str, None](), set[str]()
    for key, value in _pairs(data):
        if key == "op":
            ops[value] = None
        elif key in ("s", "string_val", "b"):
            texts[value] = None
        elif key == "name":
            functions.add(value)  # of nodes too: an operation that is called like a node is a function's name
    own = functions if "library" in data else frozenset[str]()
    outside = [text for text in texts if leads_out(text)]
    for op in ops:
        if operations.suspicious(op, own):
            yield from operations.judge(op, Told(outside, outside), "", scan)


def _pairs(data: str) -> Iterator[tuple[str, str]]:
    """The fields of a text message whose values are texts; adjacent texts are one, whatever stands between them."""
    key, value, after = "", "", False
    for match in _ARRANGED.finditer(data):
        piece = match[1] if match[1] is not None else match[2]
        if piece is not None:
            value, after = value + _unescape(piece), True
        elif match[3] is not None:
            if after:
                yield key, value
            key, value, after = match[3], "", False
        elif match[4] is not None and match[4] not in ":[]":
            if after:
                yield key, value
            key, value, after = "", "", False
    if after:
        yield key, value


def _unescape(piece: str) -> str:
    return re.sub(
        r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))",
        lambda m: chr(int(m[1], 16)) if m[1] else chr(int(m[2], 8)) if m[2] else m[3],
        piece,
    )
