"""The statement as valint's published rules in Rego expect it, and the whole input of such a rule.

What the document says stands under ``evidence``, what the verifier proved under ``verified`` and ``verifier``; this
file copies from one place to the other never. Large documents are shared, not copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from assay.evidence.predicates.generic import GENERIC
from assay.evidence.predicates.sarif import PREDICATE_TYPE as SARIF
from assay.evidence.statement import V1, Statement

CYCLONEDX = "https://cyclonedx.org/bom"
VALINT_GENERIC = "http://scribesecurity.com/evidence/generic/v0.1"

_HUB = ("huggingface.co", "www.huggingface.co", "hf.co")


def rego_input(
    statement: Statement | None,
    arguments: Mapping[str, Any],
    verified: Mapping[str, Any],
    *,
    wrapped: bool = True,
    original: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The input document of a rule in Rego; ``statement`` is None for a rule that asks for no evidence.

    ``original`` is the predicate as it was signed where a wrapper was taken off: with ``wrapped`` it is used as it is.
    """
    made: dict[str, Any] = {
        "config": {"args": dict(arguments)},
        "verified": dict(verified),
        "verifier": _verifier(verified),
        "stores": {},
    }
    if statement is not None:
        made["evidence"] = wrap(statement, original) if wrapped else plain(statement)
    return made


def plain(statement: Statement) -> dict[str, Any]:
    """The whole statement as it reads."""
    subjects = []
    for subject in statement.subjects:
        item: dict[str, Any] = {"name": subject.name, "digest": dict(subject.digest)}
        if subject.annotations:
            item["annotations"] = subject.annotations
        subjects.append(item)
    return {
        "_type": V1,
        "subject": subjects,
        "predicateType": statement.predicate_type,
        "predicate": statement.predicate,
    }


def wrap(statement: Statement, original: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The statement in the published shape: bills of materials, SARIF and generic evidence lie beside an
    ``environment``; everything else (SLSA provenance, …) is as it reads.
    """
    made = plain(statement)
    if statement.predicate_type == GENERIC:
        made["predicateType"] = VALINT_GENERIC
    if original is not None:
        made["predicate"] = original
        return made
    predicate, kind = statement.predicate, statement.predicate_type
    if kind == CYCLONEDX or kind.startswith(f"{CYCLONEDX}/"):
        made["predicate"] = {"environment": environment(statement), "bom": _named_by_origin(statement)}
    elif kind == SARIF:
        made["predicate"] = {
            "environment": environment(statement),
            "mimeType": "application/sarif+json",
            "content": predicate,
        }
    elif kind == GENERIC:
        report = predicate.get("report")
        media = report.get("mediaType") if isinstance(report, Mapping) else None
        made["predicate"] = {
            "environment": environment(statement),
            "mimeType": media if isinstance(media, str) else "application/json",
            "content": predicate.get("content"),
        }
    return made


def environment(statement: Statement) -> dict[str, Any]:
    """What the statement says of its subject, by the names of valint's context."""
    said = statement.subjects[0].annotations
    context, labels = said.get("context"), said.get("labels")
    made: dict[str, Any] = dict(context) if isinstance(context, Mapping) else {}
    if isinstance(labels, Mapping):
        made["labels"] = [f"{name}={value}" for name, value in labels.items()]
    for name, key in (("timestamp", "time"), ("target_git_commit", "gitCommit"), ("input_name", "target")):
        if isinstance(said.get(key), str):
            made.setdefault(name, said[key])
    made["sbomname"] = statement.subjects[0].name
    made["sbomversion"] = "sha256:" + statement.subjects[0].digest.get("sha256", "")
    return made


def _named_by_origin(statement: Statement) -> Mapping[str, Any]:
    """The bill of materials, its main component called by the URL that it came from, as valint calls a repository."""
    bom = statement.predicate
    origin = origin_of(statement)
    metadata = bom.get("metadata")
    component = metadata.get("component") if isinstance(metadata, Mapping) else None
    if origin is None or not isinstance(metadata, Mapping) or not isinstance(component, Mapping):
        return bom
    return {**bom, "metadata": {**metadata, "component": {**component, "name": origin}}}


def origin_of(statement: Statement) -> str | None:
    """Where the target came from, as the statement says; a model of the hub always as ``https://huggingface.co/…``."""
    origin = statement.subjects[0].annotations.get("origin")
    if not isinstance(origin, str) or not origin:
        return None
    if "://" not in origin and origin.startswith("git@") and ":" in origin:
        origin = "ssh://" + origin.removeprefix("git@").replace(":", "/", 1)
    try:
        parts = urlsplit(origin)
        host = (parts.hostname or "").lower()
    except ValueError:
        return origin
    return f"https://huggingface.co/{parts.path.strip('/')}" if host in _HUB and parts.path.strip("/") else origin


def _verifier(verified: Mapping[str, Any]) -> dict[str, Any]:
    """valint's name for who signed. The names are those that were proved; a key has none."""
    signers = verified.get("signers")
    signers = signers if isinstance(signers, list | tuple) else ()
    names = [item["signer"] for item in signers if isinstance(item, Mapping) and item.get("method") != "key"]
    return {
        "signed": verified.get("signed") is True,
        "identity": {
            "emails": [name for name in names if "@" in name and "://" not in name],
            "uris": [name for name in names if "://" in name],
            "common-names": [name for name in names if "@" not in name and "://" not in name],
        },
    }
