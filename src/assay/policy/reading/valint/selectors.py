"""valint's ``evidence:`` section as a selector: which evidence, signed by whom, made in which context.

Every field narrows what may satisfy a rule. One that assay's own statements do not have becomes a condition that they
fail, so that no filter is ever dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.policy.model import TRUSTED, Condition, IdentitySigner, Selector, SignedBy, SignerGroup, When
from assay.policy.reading.problems import near
from assay.policy.reading.valint.files import File, Path, words
from assay.policy.reading.valint.templates import Scope

ALIAS = "evidence"

SARIF = "http://docs.oasis-open.org/sarif/sarif/2.1.0"
_GENERIC = ("https://assay.dev/generic/v0.1", "http://scribesecurity.com/evidence/generic/v0.1")
_REPORTS = (
    *_GENERIC,
    "http://scribesecurity.com/evidence/*",
    "https://assay.dev/*",
    SARIF,
    "https://aquasecurity.github.io/trivy/*",
    "https://in-toto.io/attestation/vulns/*",
    "https://in-toto.io/attestation/test-result/*",
)
_FORMATS: dict[str, tuple[str, ...]] = {
    "cyclonedx-json": ("https://cyclonedx.org/bom*",),
    "cyclonedx": ("https://cyclonedx.org/bom*",),
    "spdx-json": ("https://spdx.dev/Document*",),
    "slsa": ("https://slsa.dev/provenance/*",),
    "generic": _REPORTS,
    "sarif": (SARIF,),
    "": ("https://cyclonedx.org/bom*",),  # "attest" and "statement" alone
}
_FORMAT_KEYS = ("content_body_type", "format-type", "format_type", "format")
"""Names of one field over the years."""

_TARGETS: dict[str, tuple[str, ...]] = {
    "container": ("image", "oci"),
    "image": ("image", "oci"),
    "git": ("git", "code"),
    "file": ("file",),
    "dir": ("dir",),
}
"""``target_type`` to what the caller may say of the target."""
_REPORT_TARGETS = ("data", "generic", "policy-results")
"""Not the thing under test, but the file that was turned into evidence about it."""

_CONTEXT = words(
    "context_type git_url git_commit git_branch git_tag git_ref target_git_url target_git_commit target_git_branch "
    "target_git_tag pipeline_name workflow job_name run_id build_num actor event_name"
)
_FOREIGN = words(
    "name product_version input_name input_scheme input_tag content_type tool tool_vendor tool_version "
    "format_encoding format_version gate_type gate_name sbomname sbomgroup sbompurl sbomversion sbomhashs "
    "sbomcomponents sbomtype imageID image_id image_name repoDigest tag branch git_uuid target_git_brahc "
    "target_git_uuid target_git_ref dir_id dir_path file_id file_path parser target_k8s_name target_kind "
    "target_namespace organization warning allow asset_id asset_name asset_type asset_platform timestamp"
)
"""Fields of valint's context that assay's statements do not have (``target_git_brahc`` is how valint spells it)."""
_PIPELINE = ("context_type", "git_url", "git_commit", "run_id", "build_num")
_GROUPS = ("target", "product", "pipeline", "none")

FIELDS = (
    "signed",
    "filter-by",
    "target_type",
    "predicate_type",
    "labels",
    *_FORMAT_KEYS,
    *_CONTEXT,
    *_FOREIGN,
)
"""All fields of ``evidence:``."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a rule's section came to."""

    selector: Selector
    when: When
    group: SignerGroup | None
    """The named people, where there are any."""
    notes: tuple[str, ...]


def wanted(evidence: Mapping[str, Any], identity: Any, scope: Scope, file: File, path: Path) -> Wanted:
    """The section ``evidence``, rendered, with the rule's ``identity``."""
    found = file.mapping(evidence, (*path, "evidence"), "evidence", FIELDS)
    at = (*path, "evidence")
    notes: list[str] = []
    group = _named(identity, file, (*path, "with", "identity"))
    signed = file.flag(found.get("signed"), (*at, "signed"), "signed", default=True)
    if group is not None:
        if not signed:
            notes.append("names who signs beside 'signed: false': their signature is demanded all the same")
        by = SignedBy((group.name,))
    elif signed:
        by = SignedBy((TRUSTED,))
    else:
        by = SignedBy(())
        notes.append("has 'signed: false': it accepts evidence that anybody could have written")
    types = _types(found, file, at)
    when = _when(found, file, at)
    conditions = [*_conditions(found, types, file, at), *_grouped(found, scope, file, at, notes)]
    selector = Selector(
        ALIAS, types, by, labels=_labels(found.get("labels"), file, (*at, "labels")), where=tuple(conditions)
    )
    foreign = [name for name in _FOREIGN if found.get(name) and not (name == "tool" and types == (SARIF,))]
    if foreign:
        notes.append(f"asks for {', '.join(foreign)}, which statements made by assay do not state")
    if types == ("*",):
        notes.append("names no kind of evidence: any about the target is asked")
    return Wanted(selector, when, group, tuple(notes))


def _types(found: Mapping[str, Any], file: File, at: Path) -> tuple[str, ...]:
    stated = {key: file.text(found[key], (*at, key), key) for key in _FORMAT_KEYS if found.get(key) is not None}
    formats = {value.removeprefix("attest").removeprefix("statement").lstrip("-") for value in stated.values()}
    predicate = file.text(found.get("predicate_type"), (*at, "predicate_type"), "predicate_type")
    if len(formats) > 1:
        key = list(stated)[1]
        raise file.wrong((*at, key), f"{' and '.join(stated)} are names of one field and differ")
    if formats and (name := formats.copy().pop()) not in _FORMATS:
        key = next(iter(stated))
        raise file.wrong(
            (*at, key), f"the format {stated[key][:60]!r} is not known", near(name, [*filter(None, _FORMATS)])
        )
    if predicate:
        if not predicate.isprintable() or "*" in predicate or len(predicate) > 500:
            raise file.wrong((*at, "predicate_type"), f"{predicate[:60]!r} is no predicate type")
        return _GENERIC if predicate in _GENERIC else (predicate,)
    return _FORMATS[formats.pop()] if formats else ("*",)


def _when(found: Mapping[str, Any], file: File, at: Path) -> When:
    kind = file.text(found.get("target_type"), (*at, "target_type"), "target_type")
    if not kind or kind in _REPORT_TARGETS:
        return When()
    if kind not in _TARGETS:
        hint = near(kind, (*_TARGETS, *_REPORT_TARGETS))
        raise file.wrong((*at, "target_type"), f"the target_type {kind[:60]!r} is not known", hint)
    return When(targets=_TARGETS[kind])


def _conditions(found: Mapping[str, Any], types: tuple[str, ...], file: File, at: Path) -> list[Condition]:
    made = []
    for name in (*_CONTEXT, *_FOREIGN):
        value = file.text(found.get(name), (*at, name), name)
        if not value:
            continue
        path: tuple[str | int, ...] = ("context", name)
        root = "said"
        if name == "tool" and types == (SARIF,):
            # What valint calls the tool of a SARIF log is its driver's full name, where it has one.
            path, root = ("runs", "*", "tool", "driver", "fullName" if " " in value else "name"), "predicate"
        made.append(Condition(path, "==", value, f"{name} == {value}", root=root))
    return made


def _grouped(found: Mapping[str, Any], scope: Scope, file: File, at: Path, notes: list[str]) -> list[Condition]:
    """``filter-by``: evidence is always of the target itself here; that of the same pipeline can be demanded."""
    groups = file.texts(found.get("filter-by"), (*at, "filter-by"), "filter-by")
    for name in groups:
        if name not in _GROUPS:
            raise file.wrong((*at, "filter-by"), f"filter-by {name[:60]!r} is not known", near(name, _GROUPS))
    if "none" in groups or (groups and "target" not in groups):
        notes.append("does not filter by target: assay asks for evidence about the target all the same")
    if "product" in groups:
        notes.append("filters by product: assay knows no products, and asks for evidence about the target itself")
    if "pipeline" not in groups:
        return []
    known = {name: scope.context[name] for name in _PIPELINE if scope.context.get(name)}
    if not {"run_id", "git_commit"} & {*known}:
        raise file.wrong(
            (*at, "filter-by"),
            "filter-by pipeline needs the run or the commit of this pipeline, and neither is known here",
            "run it in the pipeline, or demand what you need by name, such as git_commit",
        )
    return [
        Condition(("context", name), "==", value, f"{name} == {value}", root="said") for name, value in known.items()
    ]


def _labels(value: Any, file: File, at: Path) -> dict[str, str]:
    """``name=value`` as a name and a glob that matches this value only; a bare name with any value."""
    made: dict[str, str] = {}
    for text in file.texts(value, at, "labels"):
        name, divided, wanted_value = text.partition("=")
        exact = "".join(f"[{c}]" if c in "*?[" else c for c in wanted_value) if divided else "*"
        if not name or made.setdefault(name, exact) != exact:
            raise file.wrong(at, f"the label {text[:60]!r} has no name, or is demanded with two values")
    return made


def _named(value: Any, file: File, path: Path) -> SignerGroup | None:
    """The people of ``identity:``, or None where nobody is named."""
    found = file.mapping(value, path, "identity", ("emails", "uris", "common-names"))
    names = [name for key in found for name in file.texts(found[key], (*path, key), key)]
    if not names:
        return None
    # No issuer is named: whoever the caller trusts under that name is meant, and nobody else.
    members = tuple(IdentitySigner(name, "") for name in dict.fromkeys(names))
    return SignerGroup(f"{TRUSTED} as {' or '.join(dict.fromkeys(names))}", members)
