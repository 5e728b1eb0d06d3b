"""A lineage as OpenLineage run events (spec 2-0-2), one a proved step, for Marquez, DataHub and their kin.

A data set is called by its digest, since only that is proved; its name stands in a facet.
"""

from __future__ import annotations

import uuid
from typing import Any

import assay
from assay.evidence.lineage.interface import Artifact, Lineage, Step
from assay.evidence.lineage.writing import words

SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = "https://openlineage.io/spec/facets/1-0-0/{0}.json#/$defs/{0}"
_OWN = "https://assay.dev/openlineage/v0.1#/$defs/{}"
_PRODUCER = f"https://assay.dev/assay/{assay.__version__}"
_IDS = uuid.UUID("6a0c0b0e-6f1c-5f6e-9a51-0d6f3f0f5a11")
"""Namespace for runs whose statements give no UUID."""


def events(graph: Lineage) -> list[dict[str, Any]]:
    """The events in order of time."""
    ends: dict[str, tuple[list[str], list[str]]] = {}
    for _, edge in sorted(graph.edges.items()):
        if not edge.proved or edge.kind == "part":
            continue
        step, node = (edge.end, edge.start) if edge.kind == "used" else (edge.start, edge.end)
        ends.setdefault(step, ([], []))[edge.kind == "made"].append(node)
    made = [_event(graph, graph.steps[key], *ends[key]) for key in sorted(ends)]
    return sorted(made, key=lambda event: (event["eventTime"], event["run"]["runId"]))


def _event(graph: Lineage, step: Step, inputs: list[str], outputs: list[str]) -> dict[str, Any]:
    act = step.act
    added = next((piece.time for piece in step.pieces if piece.time is not None), None)
    when = act.finished or act.started or added
    facet = {
        "kind": step.kind,
        "relation": act.relation,
        "signers": list(step.signers),
        "builder": act.builder,
        "command": act.command,
        "evidence": [f"sha256:{piece.digest}" for piece in step.pieces],
    }
    return {
        "eventType": "FAIL" if act.outcome else "COMPLETE",
        "eventTime": f"{when:%Y-%m-%dT%H:%M:%SZ}" if when else "1970-01-01T00:00:00Z",
        "producer": _PRODUCER,
        "schemaURL": SCHEMA,
        "run": {"runId": _run(step), "facets": {"assay_evidence": _own("EvidenceRunFacet") | facet}},
        "job": {"namespace": "assay", "name": act.name},
        "inputs": [_dataset(graph.artifacts[key]) for key in inputs],
        "outputs": [_dataset(graph.artifacts[key]) for key in outputs],
    }


def _dataset(node: Artifact) -> dict[str, Any]:
    return {
        "namespace": "assay",
        "name": node.key,
        "facets": {
            "version": _facet("DatasetVersionDatasetFacet") | {"datasetVersion": node.key.partition(":")[2]},
            "documentation": _facet("DocumentationDatasetFacet") | {"description": words.artifact(node)},
            "assay_artifact": _own("ArtifactDatasetFacet") | {"kind": node.kind, "names": sorted(node.names)},
        },
    }


def _facet(name: str) -> dict[str, Any]:
    return {"_producer": _PRODUCER, "_schemaURL": _FACETS.format(name)}


def _own(name: str) -> dict[str, Any]:
    return {"_producer": _PRODUCER, "_schemaURL": _OWN.format(name)}


def _run(step: Step) -> str:
    try:
        return str(uuid.UUID(step.act.invocation))
    except ValueError:
        return str(
            uuid.uuid5(_IDS, step.act.invocation + (step.pieces[0].digest if step.pieces else step.id) + step.id)
        )
