"""TensorFlow's graphs: SavedModel, MetaGraph and frozen graphs, whose operations can read, write and run.

A graph is a program. Its operations are walked through the wire format, also inside functions, and never executed;
TensorFlow is never imported. Source: TensorFlow's ``core/framework/{graph,node_def,function}.proto`` and SECURITY.md.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from assay.collect.headers import protobuf
from assay.collect.headers.protobuf import Field, Limits, fields, payload, text
from assay.collect.scan.models.formats.keras import examine_config
from assay.collect.scan.models.formats.telling import EXECUTION, SUPPLY, leads_out, read_json, shown, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError

_MALICIOUS = {
    "WriteFile": "writes a file",
    "DebugIdentity": "sends tensors to a debugger's address",
    "DebugIdentityV2": "sends tensors to a debugger's address",
    "DebugIdentityV3": "sends tensors to a debugger's address",
    "TryRpc": "calls another machine",
    "Rpc": "calls another machine",
}
_CODE = {
    "PyFunc": "runs a Python function",
    "PyFuncStateless": "runs a Python function",
    "EagerPyFunc": "runs a Python function",
}
_UNKNOWN = {
    "ReadFile": "reads a file",
    "MatchingFiles": "lists files",
    "WholeFileReader": "reads files",
    "WholeFileReaderV2": "reads files",
    "TextLineReader": "reads files",
    "TextLineReaderV2": "reads files",
    "FixedLengthRecordReader": "reads files",
    "FixedLengthRecordReaderV2": "reads files",
    "TFRecordReader": "reads files",
    "TFRecordReaderV2": "reads files",
    "LMDBReader": "reads files",
    "LMDBDataset": "reads files",
    "TextLineDataset": "reads files",
    "TFRecordDataset": "reads files",
    "TFRecordDatasetV2": "reads files",
    "FixedLengthRecordDataset": "reads files",
    "FixedLengthRecordDatasetV2": "reads files",
    "CSVDataset": "reads files",
    "CSVDatasetV2": "reads files",
    "SqlDataset": "queries a database",
    "MatchingFilesDataset": "lists files",
    "SnapshotDataset": "writes files",
    "SnapshotDatasetV2": "writes files",
    "CacheDataset": "writes files",
    "CacheDatasetV2": "writes files",
    "SaveDataset": "writes files",
    "LoadDataset": "reads files",
    "DatasetToTFRecord": "writes files",
    "CreateSummaryFileWriter": "writes files",
    "CreateSummaryDbWriter": "writes a database",
    "LoadAndRemapMatrix": "reads files",
    "DataServiceDataset": "fetches from another machine",
    "DataServiceDatasetV2": "fetches from another machine",
    "RegisterDataset": "registers with another machine",
    "BigQueryReader": "fetches from another machine",
    "CloudBigtableClient": "fetches from another machine",
    "GcsConfigureCredentials": "uses cloud credentials",
    "ConfigureDistributedTPU": "configures machines",
    "RemoteCall": "runs on another device",
    "TRTEngineOp": "runs a compiled engine, which cannot be seen through",
    "XlaHostCompute": "runs on the host",
    "DumpToFile": "writes a file",
}
_PATHS = frozenset(
    {
        "ReadFile", "MatchingFiles", "Save", "SaveSlices", "SaveV2", "Restore", "RestoreSlice", "RestoreV2",
        "MergeV2Checkpoints", "InitializeTableFromTextFile", "InitializeTableFromTextFileV2", "ShardedFilename",
        "ShardedFilespec", "TextLineDataset", "TFRecordDataset", "CreateSummaryFileWriter", "WholeFileReaderV2",
    }
)  # fmt: skip
"""Operations whose constant arguments may name files: honest ones name them relative to the model, or not at all."""

_PRINT = frozenset({"PrintV2"})
_MAX_TEXT = 4096
_MAX_NODES = 300_000
_MAX_CONSTANTS = 20_000
_MAX_VISITS = 500_000
"""Inputs that are followed in one graph to find out which constants reach which operations."""

_PBTXT_TEXT = r"\"([^\"\\\n]*+(?:\\.[^\"\\\n]*+)*+)\"|'([^'\\\n]*+(?:\\.[^'\\\n]*+)*+)'"
_PBTXT_OP = re.compile(rf"\bop\s{{0,50}}:?\s{{0,50}}((?:(?:{_PBTXT_TEXT})\s{{0,50}}){{1,64}})")
_PBTXT_PIECE = re.compile(_PBTXT_TEXT)


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
        limits = Limits(fields=4_000_000)
        if shape == "text":
            yield from _text_graph(file, size, scan)
        elif shape == "keras":
            yield from _keras_metadata(file, size, limits, scan)
        elif shape == "graph":
            yield from _graph(file, Field(0, protobuf.LENGTH, 0, 0, size), limits, scan)
        elif shape == "meta":
            yield from _meta_graph(file, Field(0, protobuf.LENGTH, 0, 0, size), limits, scan)
        else:
            for part in fields(file, 0, size, limits=limits):
                if part.number == 2:
                    yield from _meta_graph(file, part, limits, scan)


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
            inside = list(_head_fields(head, first))
            if _is_node(head, inside):
                return "graph"
            if base.endswith(".meta") and inside:
                return "meta"
    except (DocumentError, IndexError):
        pass
    if base == "saved_model.pb":
        return "saved"
    return "graph" if base.endswith(".pb") and head[:1] in (b"\x0a", b"\x12", b"\x22") else None


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


def _is_node(head: bytes, inside: list[Field]) -> bool:
    """Whether fields are those of a ``NodeDef``: a name, then an operation's name."""
    if len(inside) < 2 or [part.number for part in inside[:2]] != [1, 2]:
        return False
    op = head[inside[1].start : inside[1].end]
    return inside[1].wire == protobuf.LENGTH and re.fullmatch(rb"[A-Z_][A-Za-z0-9_>]{0,100}", op) is not None


@dataclass(slots=True)
class _Node:
    name: str = ""
    op: str = ""
    inputs: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def _inside(file: BinaryIO, part: Field, limits: Limits) -> Iterator[Field]:
    if part.wire == protobuf.LENGTH:
        yield from fields(file, part.start, part.end, limits=limits)


def _meta_graph(file: BinaryIO, graph: Field, limits: Limits, scan: Scan) -> Iterator[Finding]:
    for part in _inside(file, graph, limits):
        if part.number == 2:
            yield from _graph(file, part, limits, scan)
        elif part.number == 7:  # object_graph_def: objects of Keras before 2.5 keep their configuration there
            for node in _inside(file, part, limits):
                if node.number == 1:
                    for user in _inside(file, node, limits):
                        if user.number == 4:
                            yield from _metadata(file, user, limits, scan, number=3)


def _metadata(file: BinaryIO, message: Field, limits: Limits, scan: Scan, *, number: int) -> Iterator[Finding]:
    for part in _inside(file, message, limits):
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
    yield from _nodes(file, graph, 1, "", limits, scan)
    for part in _inside(file, graph, limits):
        if part.number == 2:  # library
            for function in _inside(file, part, limits):
                if function.number == 1:
                    yield from _nodes(file, function, 3, _function_name(file, function, limits), limits, scan)


def _function_name(file: BinaryIO, function: Field, limits: Limits) -> str:
    for part in _inside(file, function, limits):
        if part.number == 1:
            for inner in _inside(file, part, limits):
                if inner.number == 1:
                    return text(file, inner, limit=_MAX_TEXT)
    return "?"


def _nodes(file: BinaryIO, owner: Field, number: int, function: str, limits: Limits, scan: Scan) -> Iterator[Finding]:
    """The nodes of one graph or function body. Arguments are looked for only where some operation is worth it."""
    suspects: list[Field] = []
    for part in _inside(file, owner, limits):
        if part.number == number and part.wire == protobuf.LENGTH:
            op = ""
            for inner in _inside(file, part, limits):
                if inner.number == 2:
                    op = text(file, inner, limit=_MAX_TEXT)  # the last one counts, as for every protobuf reader
            if op in _MALICIOUS or op in _CODE or op in _UNKNOWN or op in _PATHS or op in _PRINT or ">" in op:
                suspects.append(part)
    if not suspects:
        return
    graph = _wiring(file, owner, number, limits)
    told: set[tuple[str, str | None]] = set()
    visits = _MAX_VISITS
    for part in suspects:
        node = _node(file, part, limits)
        arguments, visits = _arguments(node, graph, visits)
        for finding in _judge(node, arguments, function, scan):
            if (finding.rule + finding.message, finding.call) not in told and len(told) < 100:
                told.add((finding.rule + finding.message, finding.call))
                yield finding
    if visits <= 0:
        yield _finding(scan, Tier.UNKNOWN, "the graph is too tangled to say which files its operations use", None)


def _wiring(file: BinaryIO, owner: Field, number: int, limits: Limits) -> dict[str, _Node]:
    graph: dict[str, _Node] = {}
    for part in _inside(file, owner, limits):
        if part.number == number and part.wire == protobuf.LENGTH and len(graph) < _MAX_NODES:
            node = _node(file, part, limits)
            graph[node.name] = node
    return graph


def _node(file: BinaryIO, part: Field, limits: Limits) -> _Node:
    node = _Node()
    for inner in _inside(file, part, limits):
        if inner.wire != protobuf.LENGTH:
            continue
        if inner.number == 1:
            node.name = text(file, inner, limit=_MAX_TEXT)
        elif inner.number == 2:
            node.op = text(file, inner, limit=_MAX_TEXT)
        elif inner.number == 3 and len(node.inputs) < 256:
            node.inputs.append(text(file, inner, limit=_MAX_TEXT))
        elif inner.number == 5 and inner.end - inner.start < 256 << 10:
            node.texts += _attribute(file, inner, limits)
    return node


def _attribute(file: BinaryIO, entry: Field, limits: Limits) -> list[str]:
    """The texts in an attribute: its string, its list of strings, its tensor of strings."""
    found: list[str] = []
    for part in _inside(file, entry, limits):
        if part.number != 2:
            continue
        for value in _inside(file, part, limits):
            if value.number == 2 and value.wire == protobuf.LENGTH:
                found.append(_short(file, value))
            elif value.number == 1:  # list
                found += [_short(file, item) for item in _inside(file, value, limits) if item.number == 2][:64]
            elif value.number == 8:  # tensor
                found += [_short(file, item) for item in _inside(file, value, limits) if item.number == 8][:64]
    return found


def _short(file: BinaryIO, part: Field) -> str:
    if part.wire != protobuf.LENGTH:
        return ""
    file.seek(part.start)
    return file.read(min(part.end - part.start, _MAX_TEXT)).decode("utf-8", "replace")


def _arguments(node: _Node, graph: dict[str, _Node], visits: int) -> tuple[list[str], int]:
    """The text constants that reach a node, however they were put together, and what is left of ``visits``."""
    found, stack, seen = list(node.texts), list(node.inputs), set[str]()
    while stack and len(seen) < 2000 and visits > 0:
        visits -= 1
        name = stack.pop().lstrip("^").split(":")[0]
        if name in seen or name not in graph:
            continue
        seen.add(name)
        source = graph[name]
        if source.op == "Const":
            found += source.texts
        stack += source.inputs
    return [text for text in dict.fromkeys(found) if text][:_MAX_CONSTANTS], visits


def _judge(node: _Node, arguments: list[str], function: str, scan: Scan) -> Iterator[Finding]:
    op = node.op
    where = f" in function {shown(function, 60)}" if function else ""
    call = f"tf.raw_ops.{op}({', '.join(repr(text)[:80] for text in arguments[:4])})"
    outside = [text for text in arguments if len(text) < 1000 and leads_out(text)] if op in _PATHS else []
    if op in _PRINT:
        streams = [text for text in arguments if text.startswith("file://")]
        if streams:
            yield _finding(scan, Tier.MALICIOUS, f"{op} appends to the file {shown(streams[0], 80)!r}{where}", call)
    elif outside:
        does = (_UNKNOWN.get(op) or _MALICIOUS.get(op) or "uses files").split()[0]
        tier = Tier.UNKNOWN if op.startswith("Initialize") and outside[0].startswith("/") else Tier.MALICIOUS
        why = leads_out(outside[0])
        yield _finding(scan, tier, f"{op} {does} {shown(outside[0], 100)!r}, a path that {why}{where}", call)
    elif op in _MALICIOUS:
        if op.startswith("Debug") and not any("://" in text for text in arguments):
            return
        yield _finding(scan, Tier.MALICIOUS, f"the graph's operation {op} {_MALICIOUS[op]}{where}", call)
    elif op in _CODE:
        yield _finding(scan, Tier.CODE, f"the graph's operation {op} {_CODE[op]}{where}", call)
    elif op in _UNKNOWN:
        yield _finding(scan, Tier.UNKNOWN, f"the graph's operation {op} {_UNKNOWN[op]}{where}", call)
    elif ">" in op:
        yield _finding(
            scan, Tier.UNKNOWN, f"{shown(op, 80)} comes from a library that is not TensorFlow's{where}", None
        )


def _finding(scan: Scan, tier: Tier, message: str, call: str | None) -> Finding:
    severity = {Tier.MALICIOUS: Severity.CRITICAL, Tier.CODE: Severity.HIGH}.get(tier, Severity.MEDIUM)
    return tell(
        scan,
        "tensorflow/unsafe-operation",
        tier,
        severity,
        message,
        call=call,
        atlas=EXECUTION if tier is not Tier.UNKNOWN else SUPPLY,
        mitigation="run it without access to files and network, or not at all",
    )


def _text_graph(file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
    if size > 64 << 20:
        raise DocumentError(f"text graph of {size:,} bytes is too large")
    file.seek(0)
    data = file.read(size).decode("utf-8", "replace")
    told = set()
    for match in _PBTXT_OP.finditer(data):
        op = "".join(_unescape(a or b) for a, b in _PBTXT_PIECE.findall(match[1]))
        if op not in told and (op in _MALICIOUS or op in _CODE or op in _UNKNOWN or ">" in op):
            told.add(op)
            yield from _judge(_Node(op=op), ["://"] if op.startswith("Debug") else [], "", scan)


def _unescape(piece: str) -> str:
    return re.sub(
        r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))",
        lambda m: chr(int(m[1], 16)) if m[1] else chr(int(m[2], 8)) if m[2] else m[3],
        piece,
    )
