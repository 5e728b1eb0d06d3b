"""What one statement says about lineage: its steps, its subjects, the files of its folder, and a word about the rest.

Pure, and the same for every statement, whoever signed it. Reads assay's own types and those of SLSA (v0.1 to v1),
in-toto (link, release, reference), witness, CycloneDX, SPDX and model signatures.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from assay.evidence.claims import UNKNOWN_SIZE, Claims
from assay.evidence.lineage import bills, spdx
from assay.evidence.lineage.interface import EMPTY, STATED, Act, Said, Thing
from assay.evidence.lineage.things import descriptors, items, keys, mapping, once, subject, text, thing, time
from assay.evidence.statement import Statement

_CYCLONEDX = "https://cyclonedx.org/bom"
_SPDX = "https://spdx.dev/"
_WITNESS = ("https://witness.testifysec.com/attestation-collection/", "https://witness.dev/attestation-collection/")
_OMS = "https://model_signing/"
_SLSA = "https://slsa.dev/provenance/"
_SERVICES = ("oci:", "docker", "pkg:oci", "pkg:docker", "k8s:", "https://")
"""How the resource of a verification summary begins where it is a deployment, and not a file somewhere."""

_MOST = 200_000
"""Files of one folder that are kept for being found by; what has more is found as a whole."""


def read(statement: Statement, claims: Claims | None = None) -> Said:
    """What a statement says. Never raises: what has not the form of its type says nothing."""
    kind, predicate = statement.predicate_type, statement.predicate
    subjects = once(subject(item) for item in statement.subjects)
    same = tuple(tuple(found) for item in statement.subjects if len(found := keys(item.digest)) > 1)
    members: tuple[str, ...] = ()
    if claims is not None and claims.manifest is not None and not claims.part:
        subjects, members = _folder(statement, claims, subjects)
    return Said(
        kind,
        subjects,
        _acts(kind, predicate, statement, subjects),
        _word(kind, predicate),
        _kind(kind, predicate, statement),
        same,
        members,
    )


def _folder(
    statement: Statement, claims: Claims, subjects: tuple[Thing, ...]
) -> tuple[tuple[Thing, ...], tuple[str, ...]]:
    """A signed list of files: its subject is the contents' digest where the list has sizes, which that digest needs."""
    manifest = claims.manifest
    assert manifest is not None
    name = subjects[0].name if subjects else ""
    if UNKNOWN_SIZE not in manifest.sizes or manifest.single:
        subjects = (Thing(f"sha256:{manifest.contents().hex()}", name, folder=not manifest.single),)
    if manifest.single or len(manifest) > _MOST:
        return subjects, ()
    column = manifest.sha256.hex()
    found = (f"sha256:{column[at : at + 64]}" for at in range(0, len(column), 64))
    return subjects, tuple(key for key in dict.fromkeys(found) if key != EMPTY)


def _target_scheme(statement: Statement) -> str:
    said = statement.subjects[0].annotations.get("target")
    return said.partition(":")[0] if isinstance(said, str) else ""


def _acts(
    kind: str, predicate: Mapping[str, Any], statement: Statement, subjects: tuple[Thing, ...]
) -> tuple[Act, ...]:
    if kind.startswith(_CYCLONEDX):
        return bills.acts(predicate, subjects)
    if kind.startswith(_SPDX):
        return spdx.acts(predicate, subjects)
    for start, reader in _READERS.items():
        if kind.startswith(start):
            act = reader(predicate, subjects)
            return (act,) if act is not None else ()
    return ()


def _slsa(predicate: Mapping[str, Any], subjects: tuple[Thing, ...]) -> Act:
    definition, details = mapping(predicate.get("buildDefinition")), mapping(predicate.get("runDetails"))
    said, external = mapping(details.get("metadata")), mapping(definition.get("externalParameters"))
    workflow, build_type = mapping(external.get("workflow")), text(definition.get("buildType"))
    return _made(
        text(external.get("step")) or text(workflow.get("path")) or _last(build_type),
        descriptors(definition.get("resolvedDependencies")),
        subjects,
        build_type=build_type,
        command=_command(external.get("command")),
        builder=text(mapping(details.get("builder")).get("id")),
        invocation=text(said.get("invocationId") or said.get("invocationID")),
        started=time(said.get("startedOn")),
        finished=time(said.get("finishedOn")),
    )


def _slsa_before_v1(predicate: Mapping[str, Any], subjects: tuple[Thing, ...]) -> Act:
    """SLSA v0.1 and v0.2, which the GitHub generators still write."""
    said = mapping(predicate.get("metadata"))
    recipe, source = mapping(predicate.get("recipe")), mapping(mapping(predicate.get("invocation")).get("configSource"))
    build_type = text(predicate.get("buildType")) or text(recipe.get("type"))
    return _made(
        text(source.get("entryPoint")) or text(recipe.get("entryPoint")) or _last(build_type),
        descriptors(predicate.get("materials")),
        subjects,
        build_type=build_type,
        builder=text(mapping(predicate.get("builder")).get("id")),
        invocation=text(said.get("buildInvocationID") or said.get("buildInvocationId")),
        started=time(said.get("buildStartedOn")),
        finished=time(said.get("buildFinishedOn")),
    )


def _link(predicate: Mapping[str, Any], subjects: tuple[Thing, ...]) -> Act:
    outcome = text(mapping(predicate.get("byproducts")).get("outcome"), 20)
    failed = bool(outcome) and outcome != "success"
    return _made(
        text(predicate.get("name")),
        descriptors(predicate.get("materials")),
        () if failed else subjects,  # a failed run's statement is about the run, and about nothing that it left
        command=_command(predicate.get("command")),
        outcome=outcome if failed else "",
    )


def _witness(predicate: Mapping[str, Any], subjects: tuple[Thing, ...]) -> Act | None:
    """A collection of witness: materials and products are attestations in it. (in-toto/witness, docs/attestors.)"""
    found: dict[str, Mapping[str, Any]] = {}
    for item in map(mapping, items(predicate.get("attestations"))):
        found.setdefault(text(item.get("type")).rstrip("/").rpartition("/attestations/")[2].partition("/")[0], item)
    materials, products = (mapping(mapping(found.get(name)).get("attestation")) for name in ("material", "product"))
    outputs = once(thing(mapping(value).get("digest"), text(name)) for name, value in products.items())
    if not outputs and not materials:
        return None
    run = mapping(found.get("command-run"))
    return _made(
        text(predicate.get("name")),
        once(thing(mapping(value).get("digest") or value, text(name)) for name, value in materials.items()),
        outputs or subjects,
        command=_command(mapping(run.get("attestation")).get("cmd")),
        started=time(run.get("starttime")),
        finished=time(run.get("endtime")),
    )


def _release(predicate: Mapping[str, Any], subjects: tuple[Thing, ...]) -> Act | None:
    return _sent("released", text(predicate.get("purl")), subjects)


def _admitted(predicate: Mapping[str, Any], subjects: tuple[Thing, ...]) -> Act | None:
    """A verification summary that let an artifact pass at a place where it is deployed."""
    place = text(predicate.get("resourceUri"))
    if predicate.get("verificationResult") != "PASSED" or not place.startswith(_SERVICES):
        return None
    return _sent("admitted to deployment", place, subjects)


def _sent(name: str, place: str, subjects: tuple[Thing, ...]) -> Act | None:
    return Act(name, subjects, (Thing(f"uri:{place}", place, place=True),), STATED) if place else None


def _made(name: str, inputs: tuple[Thing, ...], outputs: tuple[Thing, ...], **more: Any) -> Act:
    """A run. What it found and left as it was, it did not make: an evaluation is no second producer of a model."""
    there = {item.key for item in inputs}
    made = tuple(item for item in outputs if item.key not in there)
    return Act(name or "a step without a name", inputs, made, **more)


def _command(value: object) -> str:
    words = [item for item in items(value)[:50] if isinstance(item, str)]
    return text(shlex.join(words), 300)


def _last(uri: str) -> str:
    """The part of a URI that tells most: its last one that is no version."""
    parts = [part for part in uri.partition("://")[2].split("/") if part]
    return next((part for part in reversed(parts) if not part[:2].strip("v").isdigit()), uri)


_READERS: dict[str, Callable[[Mapping[str, Any], tuple[Thing, ...]], Act | None]] = {
    f"{_SLSA}v0.": _slsa_before_v1,
    f"{_SLSA}v1": _slsa,
    "https://in-toto.io/attestation/link/": _link,
    "https://in-toto.io/attestation/release/": _release,
    "https://slsa.dev/verification_summary/": _admitted,
    _WITNESS[0]: _witness,
    _WITNESS[1]: _witness,
}
"""By how the predicate type begins."""


def _kind(kind: str, predicate: Mapping[str, Any], statement: Statement) -> str:
    if kind.startswith(_OMS):
        return "model"
    if kind.startswith(_CYCLONEDX):
        return bills.kind(predicate)
    if kind.startswith(_SPDX):
        return spdx.kind(predicate)
    return {"env": "environment", "git": "code"}.get(_target_scheme(statement), "")


def _word(kind: str, predicate: Mapping[str, Any]) -> str:
    """A statement in a few words."""
    name = kind.rstrip("/").rpartition("://")[2]
    short = next((word for start, word in _WORDS.items() if kind.startswith(start)), text(name, 60))
    for field in ("verificationResult", "result", "verdict", "status"):
        if isinstance(value := predicate.get(field), str):
            return f"{short}: {text(value, 40)}"
    references = len(items(predicate.get("references")))
    return f"{short}: {references} document(s)" if references else short


_WORDS = {
    _CYCLONEDX: "bill of materials",
    _SPDX: "bill of materials (SPDX)",
    _OMS: "model signature",
    _SLSA: "provenance",
    "https://slsa.dev/verification_summary/": "verification summary",
    "https://in-toto.io/attestation/link/": "link",
    "https://in-toto.io/attestation/runtime-trace/": "runtime trace",
    "https://in-toto.io/attestation/test-result/": "test result",
    "https://in-toto.io/attestation/svr/": "verification result",
    "https://in-toto.io/attestation/release/": "release",
    "https://in-toto.io/attestation/reference/": "references",
    "https://in-toto.io/attestation/vulns/": "vulnerabilities",
    "https://in-toto.io/attestation/scai/": "attributes",
    "https://assay.dev/scan/": "scan",
    "https://assay.dev/scan-baseline/": "scan baseline",
    "https://assay.dev/evaluation/": "evaluation",
    "https://assay.dev/monitoring/": "monitoring report",
    "https://assay.dev/baseline/": "baseline of its values",
    "https://assay.dev/action/": "action of its monitor",
    "https://assay.dev/verdict/": "verdict",
    "https://assay.dev/profile/": "profile",
    "https://assay.dev/generic/": "report",
    "http://docs.oasis-open.org/sarif/": "SARIF report",
    "https://openvex.dev/": "VEX",
    _WITNESS[0]: "witness collection",
    _WITNESS[1]: "witness collection",
}
"""By how the predicate type begins."""


def is_step(kind: str) -> bool:
    """Whether statements of this type tell of steps, so that they are drawn and not hung on."""
    return kind.startswith((_SLSA, "https://in-toto.io/attestation/link/", *_WITNESS))
