"""The predicate types that assay knows: their URIs, short names, and whether a predicate has its type's form.

Each type is one module, imported when it is met. A type that is not known is allowed (its name must be an
absolute URI) and says nothing to assay; a known type that is malformed is an error, never a different type.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from assay.errors import DocumentError

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!/*$)[^\s<>\"{}|\\^`\x00-\x20\x7f]+")

KNOWN: dict[str, tuple[str, str]] = {
    "https://slsa.dev/provenance/v1": ("provenance", "Provenance"),
    "https://slsa.dev/provenance/v1.0": ("provenance", "Provenance"),
    "https://slsa.dev/verification_summary/v1": ("vsa", "VerificationSummary"),
    "https://in-toto.io/attestation/svr/v0.2": ("svr", "SimpleVerificationResult"),
    "https://in-toto.io/attestation/scai/v0.3": ("scai", "AttributeReport"),
    "https://in-toto.io/attestation/vulns/v0.2": ("vulns", "Vulnerabilities"),
    "https://in-toto.io/attestation/test-result/v0.1": ("test_result", "TestResult"),
    "https://in-toto.io/attestation/release/v0.1": ("release", "Release"),
    "https://in-toto.io/attestation/release/v0.2": ("release", "Release"),
    "https://in-toto.io/attestation/link/v0.3": ("link", "Link"),
    "https://in-toto.io/attestation/reference/v0.1": ("reference", "Reference"),
    "https://in-toto.io/attestation/runtime-trace/v0.1": ("runtime_trace", "RuntimeTrace"),
    "https://cyclonedx.org/bom": ("cyclonedx_types", "Document"),
    "https://cyclonedx.org/bom/v1.3": ("cyclonedx_types", "Document"),
    "https://cyclonedx.org/bom/v1.4": ("cyclonedx_types", "Document"),
    "https://cyclonedx.org/bom/v1.5": ("cyclonedx_types", "Document"),
    "https://cyclonedx.org/bom/v1.6": ("cyclonedx_types", "Document"),
    "https://spdx.dev/Document/v3": ("spdx", "AnyDocument"),
    "https://spdx.dev/Document": ("spdx", "Document2"),
    "https://spdx.dev/Document/v2.2": ("spdx", "Document2"),
    "https://spdx.dev/Document/v2.3": ("spdx", "Document2"),
    "http://docs.oasis-open.org/sarif/sarif/2.1.0": ("sarif", "Log"),
    "https://openvex.dev/ns": ("openvex", "Vex"),
    "https://openvex.dev/ns/v0.2.0": ("openvex", "Vex"),
    "https://model_signing/signature/v1.0": ("model_signature", "ModelSignature"),
    "https://assay.dev/action/v0.1": ("action", "Action"),
    "https://assay.dev/baseline/v0.1": ("baseline", "Baseline"),
    "https://assay.dev/evaluation/v0.1": ("generic", "Evaluation"),
    "https://assay.dev/generic/v0.1": ("generic", "Generic"),
    "https://assay.dev/monitoring/v0.1": ("monitoring", "Monitoring"),
    "https://assay.dev/profile/v0.1": ("profile", "ProfileState"),
    "https://assay.dev/scan/v0.1": ("scan", "Scan"),
    "https://assay.dev/scan-baseline/v0.1": ("scan_baseline", "ScanBaseline"),
    "https://assay.dev/verdict/v0.1": ("verdict", "Verdict"),
}
"""Predicate type to (module of this package, class)."""

SHORT: dict[str, str] = {
    "action": "https://assay.dev/action/v0.1",
    "baseline": "https://assay.dev/baseline/v0.1",
    "custom": "https://assay.dev/generic/v0.1",
    "cyclonedx": "https://cyclonedx.org/bom",
    "evaluation": "https://assay.dev/evaluation/v0.1",
    "junit": "https://in-toto.io/attestation/test-result/v0.1",
    "link": "https://in-toto.io/attestation/link/v0.3",
    "monitoring": "https://assay.dev/monitoring/v0.1",
    "openvex": "https://openvex.dev/ns/v0.2.0",
    "reference": "https://in-toto.io/attestation/reference/v0.1",
    "release": "https://in-toto.io/attestation/release/v0.1",
    "runtime-trace": "https://in-toto.io/attestation/runtime-trace/v0.1",
    "sarif": "http://docs.oasis-open.org/sarif/sarif/2.1.0",
    "scai": "https://in-toto.io/attestation/scai/v0.3",
    "scan": "https://assay.dev/scan/v0.1",
    "scan-baseline": "https://assay.dev/scan-baseline/v0.1",
    "slsaprovenance": "https://slsa.dev/provenance/v1",
    "spdx": "https://spdx.dev/Document/v3",
    "spdx2": "https://spdx.dev/Document/v2.3",
    "svr": "https://in-toto.io/attestation/svr/v0.2",
    "test-result": "https://in-toto.io/attestation/test-result/v0.1",
    "verdict": "https://assay.dev/verdict/v0.1",
    "vsa": "https://slsa.dev/verification_summary/v1",
    "vuln": "https://in-toto.io/attestation/vulns/v0.2",
}
"""What ``--type`` accepts beside a URI."""


def predicate_type(name: str) -> str:
    """The URI for a short name, or ``name`` itself when it is an absolute URI. Raises `DocumentError` for
    neither.
    """
    if name in SHORT:
        return SHORT[name]
    if len(name) > 500 or not _URI.fullmatch(name):
        raise DocumentError(
            f"the predicate type {name[:100]!r} is neither known nor an absolute URI",
            hint=f"one of {', '.join(SHORT)}; or a URI of your own",
        )
    return name


def read(uri: str, predicate: object) -> Any:
    """The typed document of a known type. Raises `DocumentError` with the path of the field that is wrong."""
    if uri not in KNOWN:
        raise DocumentError(f"the predicate type {uri[:200]!r} is not one that assay knows")
    import msgspec

    module, name = KNOWN[uri]
    try:
        return msgspec.convert(predicate, getattr(import_module(f"{__name__}.{module}"), name))
    except msgspec.ValidationError as error:
        reason, _, path = printable(str(error)).partition(" - at `$")
        place = "predicate" + path.rstrip("`")
        raise DocumentError(f"{place[:150]}: {reason[:200]} (predicate type {uri})") from None
    except RecursionError:
        raise DocumentError(f"predicate: nested too deeply (predicate type {uri})") from None


def printable(text: str) -> str:
    """``text`` for an error message: what a stranger put into a document must not reach a terminal as it is."""
    if text.isprintable():  # nearly all of it is
        return text
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def check(predicate_type: str, predicate: object) -> None:
    """Raise `DocumentError` when a known type's predicate is malformed, or an unknown type is no absolute
    URI.
    """
    if predicate_type in KNOWN:
        read(predicate_type, predicate)
    elif len(predicate_type) > 500 or not _URI.fullmatch(predicate_type):
        raise DocumentError(f"the predicate type {predicate_type[:100]!r} is not an absolute URI")


def builtins(document: object) -> dict[str, Any]:
    """A typed document as JSON-like values: what a statement carries as its predicate."""
    import msgspec

    made: dict[str, Any] = msgspec.to_builtins(document)
    return made
