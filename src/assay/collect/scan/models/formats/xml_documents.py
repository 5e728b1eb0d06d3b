"""XML read with a stream parser that refuses entities: what PMML and OpenVINO's readers share.

An entity is how XML reads files, calls servers and unfolds to gigabytes, and no model needs one. Nothing external is
ever fetched here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from assay.collect.scan.models.formats.telling import DENIAL, EXECUTION, SUPPLY, leads_out, shown, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError

MAX_DEPTH = 2000
MAX_TOLD = 100

Element = Callable[[str, Mapping[str, str], int], list[Finding]]
"""Judges an element: its name without prefix, its attributes, and how deep it lies (0 for the root)."""

_CLOSED = re.compile(rb"\][ \t\r\n]{0,100}>")
_ELEMENT = re.compile(rb"<(?:[\w.-]{1,100}:)?([\w.-]{1,100})")
_STANDARD = re.compile(r"https?://(?:www\.)?(?:dmg\.org|w3\.org)/")
"""Whose document types old models refer to."""

_START = re.compile(rb"\s*(?:<\?xml|<!--|<!DOCTYPE|<[A-Za-z_])")


def root_name(head: bytes) -> str | None:
    """The name of an XML document's outermost element, without prefix; None for what is no XML, ``?`` for a document
    whose first 64 KiB do not come to it.
    """
    text = _decoded(head).lstrip()
    if not _START.match(text):
        return None
    at = 0
    for _ in range(1000):  # comments and instructions in front of it
        while text[at : at + 1].isspace():
            at += 1
        if text.startswith(b"<!--", at):
            end = text.find(b"-->", at)
        elif text.startswith(b"<?", at):
            end = text.find(b"?>", at)
        elif text.startswith(b"<!", at):
            end = text.find(b">", at)
            inner = text.find(b"[", at)
            if 0 <= inner < end:
                closed = _CLOSED.search(text, inner)
                end = closed.end() - 1 if closed else -1
        else:
            match = _ELEMENT.match(text, at)
            return match[1].decode("ascii", "replace") if match else None
        if end < 0:
            return "?"
        at = text.find(b">", end) + 1
    return "?"


def _decoded(head: bytes) -> bytes:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or head[:4] in (b"<\0?\0", b"\0<\0?"):
        encoding = "utf-16" if head[:1] in (b"\xff", b"\xfe") else "utf-16-le" if head[:1] == b"<" else "utf-16-be"
        return head[: len(head) & ~1].decode(encoding, "replace").encode()
    return head.removeprefix(b"\xef\xbb\xbf")


class _StopError(Exception):
    """Ends the parser from inside a handler."""


def walk(file: BinaryIO, size: int, scan: Scan, element: Element) -> Iterator[Finding]:
    """Parse the whole document, judging each element. Raises `DocumentError` when it is not well-formed."""
    from xml.parsers import expat  # nosec: entities are refused below

    parser = expat.ParserCreate()
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    found: list[Finding] = []
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        prefix, _, local = name.rpartition(":")
        if local == "include" and prefix:
            found.append(_danger(scan, f"an inclusion of {shown(attributes.get('href', '?'))!r}"))
        if len(found) < MAX_TOLD:
            found.extend(element(local, attributes, depth))
        depth += 1
        if depth > MAX_DEPTH:
            raise _StopError("elements are nested too deeply")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def entity(name: str, parameter: int, value: str | None, base: str | None, system: str | None, *_: object) -> None:
        what = f"the entity {shown(name, 40)!r}" + (f", which reads {shown(system)!r}" if system else "")
        found.append(_danger(scan, what))
        raise _StopError("")

    def doctype(name: str, system: str | None, public: str | None, internal: int) -> None:
        if system:
            own = leads_out(system) is None or _STANDARD.match(system) is not None
            found.append(
                tell(
                    scan,
                    "xml/doctype",
                    Tier.UNKNOWN if own else Tier.MALICIOUS,
                    Severity.MEDIUM if own else Severity.CRITICAL,
                    f"its document type is taken from {shown(system)!r}, which a parser may fetch",
                    atlas=SUPPLY if own else EXECUTION,
                )
            )

    def instruction(target: str, data: str) -> None:
        if target.lower() in ("xml-stylesheet", "php", "import", "python"):
            found.append(
                tell(
                    scan,
                    "xml/instruction",
                    Tier.UNKNOWN,
                    Severity.MEDIUM,
                    f"processing instruction {shown(target, 40)} {shown(data)}",
                    atlas=SUPPLY,
                )
            )

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.EntityDeclHandler = entity
    parser.StartDoctypeDeclHandler = doctype
    parser.ProcessingInstructionHandler = instruction
    file.seek(0)
    left = size
    try:
        while left > 0 and (data := file.read(min(1 << 20, left))):
            left -= len(data)
            parser.Parse(data, left == 0)
            yield from found
            found.clear()
    except _StopError as stop:
        yield from found
        if str(stop):
            yield tell(scan, "xml/depth", Tier.UNREADABLE, Severity.HIGH, str(stop), atlas=DENIAL)
    except (expat.ExpatError, ValueError, LookupError) as error:
        yield from found
        raise DocumentError(f"it is not well-formed XML: {shown(error)}") from None


def _danger(scan: Scan, what: str) -> Finding:
    return tell(
        scan,
        "xml/entity",
        Tier.MALICIOUS,
        Severity.CRITICAL,
        f"the document declares {what}: a parser may read files, call servers or unfold it to gigabytes",
        atlas=EXECUTION + DENIAL,
        mitigation="no model needs this: do not load it",
    )
