"""A lineage as plain JSON: all nodes and edges, each with whether it is proved, and why not."""

from __future__ import annotations

from typing import Any

from assay.evidence.lineage.interface import Artifact, Lineage, Piece, Step


def document(graph: Lineage) -> dict[str, Any]:
    """The document. Everything is sorted, so that equal graphs are equal bytes."""
    return {
        "target": graph.target,
        "artifacts": [_artifact(graph.artifacts[key]) for key in sorted(graph.artifacts)],
        "steps": [_step(graph.steps[key]) for key in sorted(graph.steps)],
        "edges": [
            {
                "from": edge.start,
                "to": edge.end,
                "kind": edge.kind,
                "proved": edge.proved,
                **({"reason": edge.reason} if edge.reason else {}),
            }
            for _, edge in sorted(graph.edges.items())
        ],
        "sources": sorted(graph.sources),
        "uses": sorted(graph.uses),
        "usesByKind": dict(graph.counted()),
        "notes": graph.notes,
        "incomplete": graph.incomplete,
    }


def _artifact(node: Artifact) -> dict[str, Any]:
    return {
        "id": node.key,
        "name": node.name,
        "names": sorted(node.names),
        "kind": node.kind or None,
        "evidence": [_piece(piece) | {"says": piece.said.word} for piece in node.evidence],
        "moreEvidence": node.more,
    }


def _step(node: Step) -> dict[str, Any]:
    act = node.act
    return {
        "id": node.id,
        "name": act.name,
        "kind": node.kind,
        "relation": act.relation,
        "buildType": act.build_type or None,
        "builder": act.builder or None,
        "command": act.command or None,
        "invocation": act.invocation or None,
        "started": _time(act.started),
        "finished": _time(act.finished),
        "outcome": act.outcome or None,
        "proved": node.proved,
        "signers": list(node.signers),
        "notDrawn": node.others,
        "evidence": [_piece(piece) for piece in node.pieces],
    }


def _piece(piece: Piece) -> dict[str, Any]:
    return {
        "entry": piece.seq,
        "digest": piece.digest,
        "predicateType": piece.said.predicate_type,
        "signers": list(piece.signers),
        "problem": piece.problem or None,
    }


def _time(value: Any) -> str | None:
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if value is not None else None
