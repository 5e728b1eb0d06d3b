"""Everybody who signed a document, among those who are expected: what a policy's groups and thresholds count.

`verification.examine` stops at the first expected signer, since one is enough for it; here each is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from assay.errors import DocumentError, SignatureError
from assay.evidence.bundle import Bundle
from assay.evidence.statement import Statement
from assay.evidence.trust.interface import Anchor, Proof
from assay.evidence.trust.key import KeyAnchor


def witnesses(bundle: Bundle, anchors: Sequence[Anchor], now: datetime) -> tuple[list[tuple[int, Proof]], str | None]:
    """The anchors (by position) that prove a signature on ``bundle``, and why there is none when there is none.

    A signature is by one key at most, so keys are not tried any more once as many have been found as there are
    signatures. That changes the work and never the answer; hints only choose which key is tried first.
    """
    hints = {bundle.key_hint, *(signature.keyid for signature in bundle.envelope.signatures)}
    left = len(bundle.envelope.signatures)
    found: list[tuple[int, Proof]] = []
    problems: dict[str, None] = {}
    for i in sorted(range(len(anchors)), key=lambda i: not _hinted(anchors[i], hints)):
        anchor = anchors[i]
        is_key = isinstance(anchor, KeyAnchor)
        if is_key and not left:
            continue
        try:
            found.append((i, anchor.prove(bundle, now)))
            left -= is_key
        except (SignatureError, DocumentError) as error:
            problems[error.message] = None
    if found:
        return found, None
    return [], "; ".join(list(problems)[:3]) or "nobody is expected to sign"


def weak(statement: Statement) -> str | None:
    """Why the statement proves nothing about anything, whoever signed it; None when some digest of it is strong."""
    if any(subject.strong for subject in statement.subjects):
        return None
    algorithms = ", ".join(sorted(statement.subjects[0].digest))
    return f"its subject has only weak digests ({algorithms}), which prove nothing"


def _hinted(anchor: Anchor, hints: set[str | None]) -> bool:
    return isinstance(anchor, KeyAnchor) and anchor.key.key_id in hints
