"""Whether somebody expected made a baseline file: floors and constraints in it say what counts as drift.

Whoever may edit the file could make the floors so high that nothing is above them, and the profile's own digest would
still be right. The statement that `assay baseline -o attest` signs names the whole file's digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from assay.config import Config
from assay.errors import RejectedError, UndecidedError

if TYPE_CHECKING:
    from assay.watch.constraints.baseline import Baseline


def prove(
    path: str,
    data: bytes,
    known: Baseline,
    keys: Sequence[str],
    directory: str | None,
    config: Config,
    now: datetime | None = None,
) -> str:
    """Who signed a statement about this very file, in words; ``keys`` are public key files, one of which must have.

    Raises `UndecidedError` where there is no statement about the baseline's data, `RejectedError` where none of those
    that count is about these bytes.
    """
    from assay.api.anchors import anchors_of_keys
    from assay.api.keeping import open_store
    from assay.evidence import documents
    from assay.evidence.predicates.baseline import PREDICATE_TYPE
    from assay.evidence.verification import Candidate, examine

    expected, digest = anchors_of_keys(keys), hashlib.sha256(data).hexdigest()
    contents = [one for source in known.sources if (one := source.digests.get("sha256"))]
    signed = False
    with open_store(directory, config=config) as store:
        for data_digest in contents:
            for entry in store.find(digest=data_digest, predicate_type=PREDICATE_TYPE, limit=100):
                name = f"evidence {entry.blob[:12]}"
                bundle = documents.read_documents(store.read(entry), name)[0]
                found = examine(Candidate(name, bundle, entry.seq), expected, now or datetime.now(UTC))
                if found.proof is None or found.statement is None:
                    continue
                signed = True
                if found.statement.predicate["document"]["digest"].get("sha256") == digest:
                    return str(found.proof)
    if signed:
        raise RejectedError(
            f"{path} is not the baseline that was signed: it was edited, or is another one",
            hint="take the file that 'assay baseline -o attest' wrote, or attest the data again",
        )
    raise UndecidedError(
        f"nobody expected attested the baseline {path}",
        hint="make it with: assay baseline DATA -o attest, and name who signs with --baseline-key",
    )
