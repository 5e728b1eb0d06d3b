"""Reports of other tools become predicates: SARIF, JUnit XML, CycloneDX, SPDX, OpenVEX, evaluations, any
JSON.

Whatever the report says about itself is only used to recognise its format; nothing in it is followed, fetched
or executed, and a report that is not understood is refused instead of being signed as something else.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from assay.errors import DocumentError
from assay.evidence import predicates, strict_json
from assay.evidence.predicates import cyclonedx, generic, openvex, sarif, spdx, test_result
from assay.evidence.predicates.common import ResourceDescriptor

MAX_REPORT = 256 * 1024 * 1024
"""Bytes of the largest report that is read."""

_BLANK = b" \t\r\n"


def from_report(path: str, data: bytes, type_hint: str | None = None) -> tuple[str, dict[str, Any]]:
    """``(predicateType, predicate)`` for the bytes of a report file.

    ``type_hint`` is a short name (`predicates.SHORT`) or a URI; without it the format is recognised by what
    is in it. ``path`` serves error messages and, by its base name, the record of where a converted report
    came from. Raises `DocumentError` when the report is not of that type, or not recognised.
    """
    name = predicates.printable(os.path.basename(path))[-100:] or "report"
    if len(data) > MAX_REPORT:
        raise DocumentError(f"{name} is {len(data):,} bytes, more than the {MAX_REPORT:,} that are read")
    uri = predicates.predicate_type(type_hint) if type_hint else None
    if type_hint == "junit" or data.removeprefix(b"\xef\xbb\xbf").lstrip(_BLANK).startswith(b"<"):
        if uri not in (None, test_result.PREDICATE_TYPE):
            raise DocumentError(f"{name} is XML; only JUnit XML is read, as test-result", hint="--type test-result")
        from assay.evidence.predicates.junit import from_junit

        return test_result.PREDICATE_TYPE, predicates.builtins(from_junit(name, data))
    content = strict_json.loads(data.removeprefix(b"\xef\xbb\xbf"), name, max_bytes=MAX_REPORT)
    if uri == generic.GENERIC:
        return uri, predicates.builtins(generic.Generic(report=descriptor(name, data), content=content))
    if not isinstance(content, dict):
        raise DocumentError(
            f"{name} is not a JSON object, so it cannot be a predicate as it is",
            hint="--type custom wraps any JSON",
        )
    recognised = recognise(content)
    if uri is None:
        if recognised is None:
            raise DocumentError(
                f"{name} is JSON of no type that is recognised",
                hint=f"name it with --type: {', '.join(predicates.SHORT)}, or a URI",
            )
        uri = recognised
    elif uri == spdx.PREDICATE_TYPE and recognised == spdx.PREDICATE_TYPE_2:
        uri = recognised  # "spdx" means whichever version it is
    try:
        predicates.check(uri, content)
    except DocumentError as error:
        raise DocumentError(f"{name}: {error.message}") from None
    return uri, content


def recognise(content: Mapping[str, Any]) -> str | None:
    """The predicate type that a JSON object looks like, or None. Raises `DocumentError` for what is evidence
    already.
    """
    if "predicateType" in content or "dsseEnvelope" in content or {"payloadType", "payload"} <= content.keys():
        raise DocumentError("the file is a statement or attestation already", hint="assay evidence import takes those")
    if isinstance(content.get("runs"), list) and content.get("version") == "2.1.0":
        return sarif.PREDICATE_TYPE
    if content.get("bomFormat") == "CycloneDX":
        return cyclonedx.PREDICATE_TYPE
    if str(content.get("spdxVersion")).startswith("SPDX-2."):
        return spdx.PREDICATE_TYPE_2
    context = content.get("@context")
    if "@graph" in content and "spdx.org/rdf/3." in str(context)[:1000]:
        return spdx.PREDICATE_TYPE
    if isinstance(context, str) and context.startswith(openvex.UNVERSIONED):
        return openvex.PREDICATE_TYPE
    if isinstance(content.get("metrics"), dict) and "dataset" in content:
        return generic.EVALUATION
    return None


def descriptor(name: str, data: bytes, media_type: str = "application/json") -> ResourceDescriptor:
    """The report file itself."""
    return ResourceDescriptor(name=name, digest={"sha256": hashlib.sha256(data).hexdigest()}, media_type=media_type)
