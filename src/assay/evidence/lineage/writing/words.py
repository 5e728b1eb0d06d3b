"""Short sentences about nodes, the same in every form."""

from __future__ import annotations

from assay.evidence.lineage.interface import Artifact, Step

KINDS = {"dataset": "data set"}


def short(key: str) -> str:
    """A key that fits on a line: ``sha256:3f1a2b3c4d5e``; a name as it is."""
    algorithm, _, value = key.partition(":")
    return key if algorithm in ("uri", "name") else f"{algorithm}:{value[:12]}"


def artifact(node: Artifact) -> str:
    """Kind and name."""
    kind = KINDS.get(node.kind, node.kind) or "artifact"
    return kind if node.name.lower() == kind else f"{kind} {node.name}"


def step(node: Step) -> str:
    """Kind and name; the kind once where the name says it too."""
    failed = f", {node.act.outcome}" if node.act.outcome else ""
    same = node.kind in node.act.name.lower() or node.act.relation != "run"
    return f"{node.act.name}{failed}" if same else f"{node.kind} {node.act.name!r}{failed}"


def signed(node: Step) -> str:
    """By whom and when."""
    when = node.act.finished or node.act.started
    by = f"signed by {', '.join(node.signers)}" if node.proved else f"NOT PROVED: {node.problem}"
    return f"{by}, {when:%Y-%m-%dT%H:%M:%SZ}" if when else by


def others(node: Step) -> str:
    """Inputs and products that are not drawn; empty when all are."""
    known = {
        "other": "others",
        "installation": "of the installation",
        "system": "of the operating system",
        "code": "of code",
        "input": "of its inputs",
    }
    parts = [
        f"{count:,} product(s)" if role == "product" else f"{count:,} {known.get(role, role)}"
        for role, count in sorted(node.others.items())
    ]
    return ", ".join(parts)


def evidence(node: Artifact) -> list[str]:
    """What hangs on an artifact: one line a kind of statement, the proved ones counted apart from the others."""
    proved: dict[str, int] = {}
    strange = node.more
    for piece in node.evidence:
        if piece.proved:
            proved[piece.said.word] = proved.get(piece.said.word, 0) + 1
        else:
            strange += 1
    lines = [f"{word} ×{count}" if count > 1 else word for word, count in proved.items()]
    return [*lines, f"{strange:,} more not proved or not shown"] if strange else lines


def plural(count: int, kind: str) -> str:
    """``2 models``, ``1 data set``."""
    word = KINDS.get(kind, kind)
    return f"{count:,} {word}" + ("" if count == 1 else "s" if word != "code" else " files")
