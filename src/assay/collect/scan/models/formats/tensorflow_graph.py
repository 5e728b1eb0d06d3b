"""Reads the nodes of a TensorFlow graph and follows, backwards, which constants reach which argument of an operation.

Nothing is executed and no shape is inferred: what a constant is put through on its way is named, not computed.
Source: TensorFlow's ``core/framework/{node_def,attr_value,tensor}.proto``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from assay.collect.headers import protobuf
from assay.collect.headers.protobuf import Field, Limits, fields
from assay.collect.scan.models.formats.tensorflow_operations import Told
from assay.collect.scan.models.rules.operations import listed

MAX_TEXT = 4096
"""Bytes of a text that is kept: no system opens a longer path."""

_MAX_ATTRIBUTE = 256 << 10
_MAX_TEXTS = 64
_MAX_NODES = 300_000
_MAX_SOURCES = 2000
_MAX_VISITS = 500_000
"""Inputs that are followed in one graph."""


@dataclass(slots=True)
class Node:
    """One operation."""

    name: str = ""
    op: str = ""
    inputs: list[str] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    """Texts in each attribute."""
    functions: list[str] = field(default_factory=list)
    """Functions that its attributes name."""
    cut: bool = False
    """Something of it was too large to be read."""


def inside(file: BinaryIO, part: Field, limits: Limits) -> Iterator[Field]:
    """The fields of a message."""
    if part.wire == protobuf.LENGTH:
        yield from fields(file, part.start, part.end, limits=limits)


def operation(file: BinaryIO, part: Field, limits: Limits) -> str:
    """The operation of the node that lies in ``part``; empty for what can be none."""
    op = ""
    for inner in inside(file, part, limits):
        if inner.number == 2:
            op = _short(file, inner)  # the last one counts, as for every protobuf reader
    return op if op.isprintable() else ""


def read_node(file: BinaryIO, part: Field, limits: Limits) -> Node:
    """The node that lies in ``part``."""
    node = Node()
    for inner in inside(file, part, limits):
        if inner.wire != protobuf.LENGTH:
            continue
        if inner.number == 1:
            node.name = _short(file, inner)
        elif inner.number == 2:
            node.op = _short(file, inner)
        elif inner.number == 3:
            node.cut = node.cut or len(node.inputs) >= 256
            if len(node.inputs) < 256:
                node.inputs.append(_short(file, inner))
        elif inner.number == 5:
            if inner.end - inner.start < _MAX_ATTRIBUTE:
                _attribute(file, inner, limits, node)
            else:
                node.cut = True
    return node


def _attribute(file: BinaryIO, entry: Field, limits: Limits, node: Node) -> None:
    name, found = "", list[str]()
    for part in inside(file, entry, limits):
        if part.number == 1:
            name = _short(file, part)
        elif part.number == 2:
            for value in inside(file, part, limits):
                _value(file, value, limits, node, found)
    node.cut = node.cut or len(found) > _MAX_TEXTS
    node.texts.setdefault(name, []).extend(found[:_MAX_TEXTS])


def _value(file: BinaryIO, value: Field, limits: Limits, node: Node, found: list[str]) -> None:
    """An ``AttrValue``'s texts: its string, its list of strings, its tensor of strings; and its functions."""
    if value.number == 2:
        found.append(_short(file, value))
    elif value.number == 1:  # list
        for item in inside(file, value, limits):
            if item.number == 2:
                found.append(_short(file, item))
            elif item.number == 9:
                node.functions += _function_name(file, item, limits)
    elif value.number == 8:  # tensor
        for item in inside(file, value, limits):
            if item.number == 8:
                found.append(_short(file, item))
            elif item.number == 4 and item.wire == protobuf.LENGTH:
                found += _packed(file, item)
    elif value.number == 10:
        node.functions += _function_name(file, value, limits)


def _function_name(file: BinaryIO, value: Field, limits: Limits) -> list[str]:
    return [_short(file, part) for part in inside(file, value, limits) if part.number == 1][:1]


def _packed(file: BinaryIO, part: Field) -> list[str]:
    """The texts of ``tensor_content``: their lengths first. Nothing, where it is no list of texts."""
    file.seek(part.start)
    data = file.read(min(part.end - part.start, _MAX_ATTRIBUTE))
    at, lengths = 0, list[int]()
    while at < len(data) and at + sum(lengths) < len(data) and len(lengths) < _MAX_TEXTS:
        value = shift = 0
        while at < len(data) and shift < 35:
            byte = data[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        lengths.append(value)
    if not lengths or at + sum(lengths) != len(data):
        return []
    found = []
    for length in lengths:
        found.append(data[at : at + min(length, MAX_TEXT)].decode("utf-8", "replace"))
        at += length
    return found


def _short(file: BinaryIO, part: Field) -> str:
    if part.wire != protobuf.LENGTH:
        return ""
    file.seek(part.start)
    return file.read(min(part.end - part.start, MAX_TEXT)).decode("utf-8", "replace")


class Wiring:
    """The nodes of one graph or function body, by name."""

    def __init__(self, nodes: Iterator[Node]) -> None:
        self._nodes: dict[str, Node] = {}
        self.visits = _MAX_VISITS
        """Inputs that may still be followed."""
        for node in nodes:
            if len(self._nodes) >= _MAX_NODES:
                self.visits = 0
                break
            self._nodes[node.name] = node

    def told(self, node: Node) -> Told:
        """What a node is told: by its attributes, by the constants that reach it, and which of them name places."""
        own = [text for texts in node.texts.values() for text in texts]
        everything = Told([*own, *self.handed(node)], cut=node.cut)
        given = [name for name in node.inputs if not name.startswith("^")]
        named = listed("tensorflow").outside.get(node.op)
        if named is None:
            everything.places = everything.texts
        else:
            for place in named:
                if place.startswith("."):
                    everything.places += node.texts.get(place[1:], [])
                else:  # all of them, where the node has not the inputs that it should have
                    one = given[int(place) :][:1]
                    everything.places += self._follow(one or given, everything)
        everything.texts = [text for text in dict.fromkeys(everything.texts) if text]
        # What opens a file reads a text to its first NUL.
        heads = (text.partition("\0")[0] for text in everything.places)
        everything.places = [text for text in dict.fromkeys(heads) if text]
        return everything

    def handed(self, node: Node) -> list[str]:
        """The constants that reach its inputs."""
        return self._follow(node.inputs, Told())

    def parameters(self, node: Node) -> bool:
        """Whether what names its places comes from outside of the function that it stands in."""
        named = [place for place in listed("tensorflow").outside.get(node.op, ()) if not place.startswith(".")]
        given = [name for name in node.inputs if not name.startswith("^")]
        return any(_source(name) not in self._nodes for place in named for name in given[int(place) :][:1])

    def _follow(self, names: list[str], told: Told) -> list[str]:
        """Texts of the constants that lie behind inputs, however they were put together."""
        found, stack, seen = list[str](), list(names), set[str]()
        while stack and len(seen) < _MAX_SOURCES and self.visits > 0:
            self.visits -= 1
            name = _source(stack.pop())
            if name in seen or name not in self._nodes:
                continue
            seen.add(name)
            source = self._nodes[name]
            told.through.add(source.op)
            told.cut = told.cut or source.cut
            if source.op in ("Const", "HostConst"):
                found += source.texts.get("value", [])
            elif source.op == "StringJoin":
                found += source.texts.get("separator", [])
            stack += [inner for inner in source.inputs if not inner.startswith("^")]
        told.cut = told.cut or bool(stack)
        return found


def _source(name: str) -> str:
    return name.lstrip("^").split(":")[0]


def reaching(calls: Mapping[str, set[str]], open_: set[str]) -> set[str]:
    """Functions that are in ``open_`` or call one that is, however far below. ``calls``: function to those it calls."""
    found = set(open_)
    callers: dict[str, list[str]] = {}
    for caller, called in calls.items():
        for name in called:
            callers.setdefault(name, []).append(caller)
    stack = list(open_)
    while stack:
        for caller in callers.get(stack.pop(), ()):
            if caller not in found:
                found.add(caller)
                stack.append(caller)
    return found
