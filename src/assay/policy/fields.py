"""What one statement says that is compared across statements: when it was made, where, from what, about what.

Everything here is a claim of the signer. Edges count strong digests only; a SHA-1 commit serves to compare claims
(``same:``) and never leads from one statement to another. No function raises, whatever a stranger's document holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from assay.evidence.statement import STRONG, Statement
from assay.policy.checks.reading import dig, listed, mapping, moment, objects, string

_CYCLONEDX = "https://cyclonedx.org/bom"
_SPDX = "https://spdx.dev/Document"
_SPDX_3 = "https://spdx.dev/Document/v3"
_SLSA_1 = "https://slsa.dev/provenance/v1"
_SLSA_0 = "https://slsa.dev/provenance/v0.2"

_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128, "sha3_256": 64, "sha3_384": 96, "sha3_512": 128}
_HEX = re.compile(r"[0-9a-f]+")
_RUN = re.compile(r"/actions/runs/([0-9]{1,20})(?:/|$)")

CONTEXT = frozenset(
    f"{prefix}git_{name}" for prefix in ("", "target_") for name in ("url", "commit", "branch", "tag")
) | {
    "context_type", "git_ref", "pipeline_name", "workflow", "job_name", "run_id", "build_num", "actor", "event_name",
    "hostname", "username",
}  # fmt: skip
"""Fields of the context (`assay.collect.provenance.context.Context`) that statements can have in common."""
_OTHER = frozenset({"builder", "revision", "origin", "target", "subject"})


def known(field: str) -> bool:
    """Whether `named` can answer for ``field`` at all."""
    return field in CONTEXT or field in _OTHER or bool(re.fullmatch(r"labels\.[^\s]{1,200}", field))


def when_made(statement: Statement) -> datetime | None:
    """When a statement says it was made, in UTC: the earliest, where its annotation and its predicate both do."""
    stated = moment(_said(statement).get("time"))
    found = [time for time in (stated, *map(moment, _times(statement))) if time is not None]
    return min(found, default=None)


def named(statement: Statement, field: str) -> frozenset[str] | str | None:
    """A field that must be equal across statements (``same:``), or None where nothing is stated.

    Ours stands in the annotations; in the provenance of other builders, ``git_commit``, ``git_url``, ``git_branch``,
    ``git_tag`` and ``run_id`` are read from its source, if it names one source only.
    """
    if field == "subject":
        return outputs(statement) or None
    if field == "builder":
        predicate = statement.predicate
        return string(dig(predicate, "runDetails", "builder", "id")) or string(dig(predicate, "builder", "id"))
    said = _said(statement)
    if field.startswith("labels."):
        return string(mapping(said.get("labels")).get(field.removeprefix("labels.")))
    if field in _OTHER:
        return string(said.get(field))
    found = string(mapping(said.get("context")).get(field))
    if found is None and not said.get("context") and statement.predicate_type.startswith("https://slsa.dev/provenance"):
        found = _of_source(statement, field)
    if found is not None and field.endswith("git_commit"):
        return found.lower()
    return _plain_url(found) if found is not None and field.endswith("git_url") else found


def inputs(statement: Statement) -> frozenset[str]:
    """Strong digests (lower-case hex) of what the statement names as inputs of its subject."""
    predicate, kind = statement.predicate, statement.predicate_type
    found: Iterable[str] = ()
    if kind.startswith(_SLSA_1):
        found = _digests(dig(predicate, "buildDefinition", "resolvedDependencies"))
    elif kind == _SLSA_0 or kind.startswith("https://in-toto.io/attestation/link/"):
        found = _digests(predicate.get("materials"))
    elif kind.startswith("https://in-toto.io/attestation/reference/"):
        found = _digests(predicate.get("references"))
    elif kind.startswith("https://in-toto.io/attestation/runtime-trace/"):
        found = _digests([item for item in objects(dig(predicate, "monitorLog", "fileAccess")) if not _written(item)])
    elif kind == "https://assay.dev/evaluation/v0.1":
        found = _digests([predicate.get("dataset")])
    elif kind.startswith(_CYCLONEDX):
        found = _of_cyclonedx(predicate)
    elif kind == _SPDX_3:
        found = _of_spdx(predicate)
    return frozenset(found)


def outputs(statement: Statement) -> frozenset[str]:
    """Strong digests (lower-case hex) of what the statement is about."""
    return frozenset(digest for subject in statement.subjects for digest in subject.strong.values())


def strong(digests: object) -> Iterator[str]:
    """The strong digests of a digest set, as lower-case hex."""
    for algorithm, value in mapping(digests).items():
        if algorithm in STRONG and isinstance(value, str):
            digest = value.lower()
            if len(digest) == _LENGTHS[algorithm] and _HEX.fullmatch(digest):
                yield digest


def hashes(value: object) -> Iterator[str]:
    """The strong digests of a CycloneDX component (``alg``, ``content``) or SPDX element (``algorithm``,
    ``hashValue``).
    """
    for item in objects(value):
        algorithm = string(item.get("alg")) or string(item.get("algorithm")) or ""
        content = item.get("content") if "alg" in item else item.get("hashValue")
        name = algorithm.lower().replace("sha-", "sha").replace("-", "_")
        yield from strong({name: content})


def _said(statement: Statement) -> Mapping[str, Any]:
    return statement.subjects[0].annotations if statement.subjects else {}


def _digests(descriptors: object) -> Iterator[str]:
    for item in objects(descriptors):
        yield from strong(item.get("digest"))


def _written(access: Mapping[str, Any]) -> bool:
    """Whether a file access is said to be a write and no read: what a step makes is no input of it."""
    how = string(dig(access, "annotations", "access")) or string(dig(access, "annotations", "mode")) or ""
    return how.lower() in ("w", "write", "written", "create", "created", "delete", "deleted")


def _times(statement: Statement) -> Iterator[Any]:
    predicate, kind = statement.predicate, statement.predicate_type
    if kind == _SPDX_3:
        for element in objects(predicate.get("@graph")):
            if element.get("type") == "CreationInfo":
                yield element.get("created")
        return
    for prefix, paths in _TIMES:
        if kind.startswith(prefix):
            # A run has a start and an end; it was made when it ended.
            yield next((found for path in paths if moment(found := dig(predicate, *path)) is not None), None)
            return
    if kind.startswith("http://docs.oasis-open.org/sarif/"):
        for run in objects(predicate.get("runs")):
            for call in objects(run.get("invocations")):
                yield call.get("endTimeUtc") or call.get("startTimeUtc")


_TIMES: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    (_SLSA_1, (("runDetails", "metadata", "finishedOn"), ("runDetails", "metadata", "startedOn"))),
    (_SLSA_0, (("metadata", "buildFinishedOn"), ("metadata", "buildStartedOn"))),
    ("https://slsa.dev/verification_summary/", (("timeVerified",),)),
    ("https://in-toto.io/attestation/svr/", (("timeCreated",),)),
    (
        "https://in-toto.io/attestation/vulns/",
        (("metadata", "scanFinishedOn"), ("metadata", "scanStartedOn")),
    ),
    (
        "https://in-toto.io/attestation/runtime-trace/",
        (("metadata", "buildFinishedOn"), ("metadata", "buildStartedOn")),
    ),
    (_CYCLONEDX, (("metadata", "timestamp"),)),
    ("https://openvex.dev/ns", (("timestamp",),)),
    ("https://assay.dev/evaluation/", (("evaluatedOn",),)),
    ("https://assay.dev/scan/", (("finished",), ("started",))),
    ("https://assay.dev/monitoring/", (("period", "end"),)),
    (_SPDX, (("creationInfo", "created"),)),
)
"""Prefix of a predicate type to the fields that say when, best first."""


def _of_source(statement: Statement, field: str) -> str | None:
    """A field of the source of another builder's provenance."""
    predicate = statement.predicate
    if field == "run_id":
        run = string(dig(predicate, "runDetails", "metadata", "invocationId"))
        run = run or string(dig(predicate, "metadata", "buildInvocationId"))
        match = _RUN.search(run) if run else None
        return match[1] if match else None
    source = _source(predicate)
    if source is None:
        return None
    uri, commit = source
    if field == "git_commit":
        return commit
    # The reference follows the first @ of the path; one before the path belongs to a user's name.
    at = uri.find("@", max(0, uri.find("/", uri.find("://") + 3)))
    place, reference = (uri, "") if at < 0 else (uri[:at], uri[at + 1 :])
    if field == "git_url":
        return place
    prefix = {"git_branch": "refs/heads/", "git_tag": "refs/tags/"}.get(field)
    return reference.removeprefix(prefix) or None if prefix and reference.startswith(prefix) else None


def _source(predicate: Mapping[str, Any]) -> tuple[str, str] | None:
    """URI and commit of the one repository that was built; None when there is none, or more than one."""
    found: set[tuple[str, str]] = set()
    for item in objects(dig(predicate, "buildDefinition", "resolvedDependencies") or predicate.get("materials")):
        digests = mapping(item.get("digest"))
        uri = string(item.get("uri"))
        commit = string(digests.get("gitCommit")) or string(digests.get("sha1"))
        if uri and commit and re.fullmatch("[0-9a-fA-F]{40}|[0-9a-fA-F]{64}", commit):
            found.add((uri, commit.lower()))
    return found.pop() if len(found) == 1 else None


def _plain_url(url: str) -> str:
    """A repository's URL without what does not tell repositories apart: ``git+``, ``.git``, the host's case."""
    plain = url.strip().removeprefix("git+").rstrip("/").removesuffix(".git")
    scheme, mark, rest = plain.partition("://")
    if not mark:
        return plain
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}://{host.rpartition('@')[2].lower()}{slash}{path}"


def _of_cyclonedx(bom: Mapping[str, Any]) -> Iterator[str]:
    """Base models, the data sets of a model's card, and the inputs of what formed it; never mere components."""
    main = mapping(dig(bom, "metadata", "component"))
    for ancestor in objects(dig(main, "pedigree", "ancestors")):
        yield from hashes(ancestor.get("hashes"))
    wanted = {ref for item in objects(dig(main, "modelCard", "modelParameters", "datasets")) if (ref := _ref(item))}
    for formula in objects(bom.get("formulation")):
        for workflow in objects(formula.get("workflows")):
            for step in (workflow, *objects(workflow.get("tasks"))):
                for item in objects(step.get("inputs")):
                    for key in ("resource", "source"):
                        yield from hashes(dig(item, key, "externalReference", "hashes"))
                    if ref := _ref(item.get("resource")):
                        wanted.add(ref)
    # The target itself is never its own input.
    wanted.discard(string(main.get("bom-ref")) or "")
    for component in objects(bom.get("components")) if wanted else ():
        if component.get("bom-ref") in wanted and isinstance(component.get("bom-ref"), str):
            yield from hashes(component.get("hashes"))


def _ref(value: object) -> str | None:
    return string(mapping(value).get("ref"))


def _of_spdx(document: Mapping[str, Any]) -> Iterator[str]:
    """What the root was trained or tested on, made from or descends from."""
    graph = document.get("@graph")
    roots: set[str] = set()
    for element in objects(graph):
        if element.get("type") == "SpdxDocument":
            roots |= {item for item in listed(element.get("rootElement")) if isinstance(item, str)}
    wanted: set[str] = set()
    for element in objects(graph):
        kind = element.get("relationshipType")
        start, ends = element.get("from"), [item for item in listed(element.get("to")) if isinstance(item, str)]
        if kind in ("trainedOn", "testedOn", "finetunedOn", "hasInput", "descendantOf") and _in(start, roots):
            wanted.update(ends)
        elif kind == "ancestorOf" and isinstance(start, str) and not roots.isdisjoint(ends):
            wanted.add(start)
    wanted -= roots
    for element in objects(graph):
        if _in(element.get("spdxId"), wanted):
            yield from hashes(element.get("verifiedUsing"))


def _in(value: object, among: set[str]) -> bool:
    return isinstance(value, str) and value in among
