"""A lineage as W3C PROV in its JSON form (PROV-JSON, W3C member submission of 24 April 2013): the proved edges."""

from __future__ import annotations

import hashlib
from typing import Any

from assay.evidence.lineage.interface import Lineage

_PREFIXES = {
    "assay": "https://assay.dev/prov/v0.1#",
    "artifact": "https://assay.dev/prov/artifact/",
    "step": "https://assay.dev/prov/step/",
    "signer": "https://assay.dev/prov/signer/",
}


def document(graph: Lineage) -> dict[str, Any]:
    """The document. Names are values and never identifiers: those are digests and numbers."""
    entities: dict[str, Any] = {_entity(graph.target): _described(graph, graph.target)}
    activities: dict[str, Any] = {}
    agents: dict[str, Any] = {}
    used: dict[str, Any] = {}
    made: dict[str, Any] = {}
    members: dict[str, Any] = {}
    by: dict[str, Any] = {}
    for number, (_, edge) in enumerate(sorted(graph.edges.items()), 1):
        if not edge.proved:
            continue
        for key in (edge.start, edge.end):
            if key in graph.artifacts:
                entities[_entity(key)] = _described(graph, key)
            else:
                activities[_activity(key)] = _told(graph, key)
                for signer in graph.steps[key].signers:
                    agents[_agent(signer)] = {"prov:label": signer, "prov:type": _type("assay:Signer")}
                    by[f"_:by{key.removeprefix('step:')}_{_agent(signer)[7:15]}"] = {
                        "prov:activity": _activity(key),
                        "prov:agent": _agent(signer),
                        "prov:role": "signer",
                    }
        if edge.kind == "used":
            used[f"_:used{number}"] = {"prov:activity": _activity(edge.end), "prov:entity": _entity(edge.start)}
        elif edge.kind == "made":
            made[f"_:made{number}"] = {"prov:entity": _entity(edge.end), "prov:activity": _activity(edge.start)}
        else:
            members[f"_:part{number}"] = {
                "prov:generatedEntity": _entity(edge.end),
                "prov:usedEntity": _entity(edge.start),
                "prov:type": _type("assay:PartOf"),
            }
    parts = {
        "entity": entities,
        "activity": activities,
        "agent": agents,
        "used": used,
        "wasGeneratedBy": made,
        "wasDerivedFrom": members,
        "wasAssociatedWith": by,
    }
    return {"prefix": _PREFIXES, **{name: value for name, value in parts.items() if value}}


def _described(graph: Lineage, key: str) -> dict[str, Any]:
    node = graph.artifacts[key]
    made: dict[str, Any] = {"prov:label": node.name, "assay:key": key}
    return made | ({"prov:type": _type(f"assay:{node.kind}")} if node.kind else {})


def _told(graph: Lineage, key: str) -> dict[str, Any]:
    step = graph.steps[key]
    made: dict[str, Any] = {"prov:label": step.act.name, "prov:type": _type(f"assay:{step.kind}")}
    for name, time in (("prov:startTime", step.act.started), ("prov:endTime", step.act.finished)):
        if time is not None:
            made[name] = f"{time:%Y-%m-%dT%H:%M:%SZ}"
    if step.act.command:
        made["assay:command"] = step.act.command
    return made | {"assay:evidence": [f"sha256:{piece.digest}" for piece in step.pieces]}


def _type(name: str) -> dict[str, str]:
    return {"$": name, "type": "prov:QUALIFIED_NAME"}


def _entity(key: str) -> str:
    """A qualified name that no text can break: the digest, or the digest of a name."""
    algorithm, _, value = key.partition(":")
    if algorithm in ("uri", "name"):
        return f"artifact:{algorithm}-{hashlib.sha256(value.encode()).hexdigest()}"
    return f"artifact:{algorithm}-{value}"


def _activity(key: str) -> str:
    return f"step:s{key.removeprefix('step:').replace('.', '-')}"


def _agent(name: str) -> str:
    return f"signer:{hashlib.sha256(name.encode()).hexdigest()}"
