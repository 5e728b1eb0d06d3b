"""Verifying some bytes of one file against the signed digests of its segments, without reading the rest.

The answer is about these bytes alone and says so; it says nothing of the file's other bytes or of other files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from assay.errors import UsageError
from assay.evidence.compare import Difference
from assay.evidence.trust.interface import Anchor
from assay.evidence.verification import Candidate, Findings, examine
from assay.targets.digest.partial import range_digests
from assay.targets.interface import DIGEST, SEGMENT, Target


def decide_range(
    target: Target,
    candidates: Sequence[Candidate],
    anchors: Sequence[Anchor],
    now: datetime,
    span: tuple[int, int],
) -> Findings:
    """Findings about bytes ``span[0]`` to ``span[1]`` (exclusive) of the one file that the target was limited to."""
    start, stop = span
    if len(target.names) != 1:
        raise UsageError(
            f"a byte range is of one file, and {len(target.names)} are named",
            hint="name it with one --path FILE",
        )
    name, size = target.names[0], target.sizes[0]
    if not 0 <= start < stop <= size:
        raise UsageError(f"bytes {start} to {stop} are not within the {size:,} bytes of {name!r}")
    examined = [examine(candidate, anchors, now) for candidate in candidates]
    part = (f"{name}[{start}:{stop}]",)
    for i, attestation in enumerate(examined):
        claimed = attestation.claims.manifest if attestation.proof and attestation.claims else None
        if claimed is None or not claimed.blake3 or not attestation.proof:
            continue
        at = 0 if target.single and len(claimed) == 1 else _position(claimed.names, name)
        if at is None:
            continue
        signed = claimed.segments.get(at) or claimed.blake3[at * DIGEST : (at + 1) * DIGEST]
        found = range_digests(target, name, start, stop)
        same = claimed.sizes[at] == size and all(
            signed[number * DIGEST : (number + 1) * DIGEST] == digest for number, digest in found.items()
        )
        read = sum(min(SEGMENT, size - number * SEGMENT) for number in found)
        others = tuple(item for j, item in enumerate(examined) if j != i)
        made = Findings(
            "rejected",
            f"modified: {name!r}",
            algorithm="blake3",
            part=part,
            files=1,
            size=read,
        )
        if same:
            first = replace(attestation, matched=attestation.subjects[:1] or ("",))
            return replace(
                made,
                verdict="accepted",
                reason=f"bytes {start} to {stop} of {name!r} as signed",
                attestations=(first, *others),
            )
        return replace(made, attestations=(attestation, *others), difference=Difference(modified=(name,)))
    problem = next((item.problem for item in examined if item.problem), None)
    if problem is not None:
        return Findings("rejected", problem, tuple(examined), part=part)
    return Findings("undecided", f"no signed segment digests for {name!r}", tuple(examined), part=part)


def _position(names: Sequence[str], name: str) -> int | None:
    return list(names).index(name) if name in names else None
