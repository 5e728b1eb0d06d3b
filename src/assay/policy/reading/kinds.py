"""Names of predicate types in policies: a short name stands for every form of the type that assay reads."""

from __future__ import annotations

from assay.errors import DocumentError
from assay.evidence.oms import LEGACY_TYPE, PREDICATE_TYPE
from assay.evidence.predicates import SHORT, predicate_type
from assay.policy.reading.problems import near

FAMILIES: dict[str, tuple[str, ...]] = {
    "cyclonedx": ("https://cyclonedx.org/bom*",),
    "model-signature": (PREDICATE_TYPE, LEGACY_TYPE),
    "openvex": ("https://openvex.dev/ns*",),
    "release": ("https://in-toto.io/attestation/release/*",),
    "sbom": ("https://cyclonedx.org/bom*", "https://spdx.dev/Document*"),
    "slsaprovenance": ("https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v1.0"),
    "spdx": ("https://spdx.dev/Document*",),
}
"""Short names that stand for several URIs."""


def names() -> tuple[str, ...]:
    """All short names."""
    return tuple(sorted({*SHORT, *FAMILIES} - {"spdx2"}))


def types_of(name: str) -> tuple[str, ...]:
    """The URIs that a name in a policy stands for. Raises `DocumentError` for one that is neither known nor a URI."""
    if name in FAMILIES:
        return FAMILIES[name]
    if name in SHORT:
        return (SHORT[name],)
    if name.endswith("*") and "://" in name[:-1]:
        return (name,)
    try:
        return (predicate_type(name),)
    except DocumentError:
        raise DocumentError(
            f"the kind of evidence {name[:100]!r} is not known", hint=near(name, names()) or "or give its URI"
        ) from None
