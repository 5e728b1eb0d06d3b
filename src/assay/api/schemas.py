"""What requests must look like, from what training data were like: a baseline becomes a schema for the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from assay.files import require_folder, write_atomic

if TYPE_CHECKING:
    from assay.guard.gateway.schemas.model import Schema


def infer(baseline: str, output: str, *, slack: float = 0.0, leave_out: Sequence[str] = ()) -> tuple[int, list[str]]:
    """Write the schema of the columns of ``baseline`` (a file of `assay baseline`) to ``output``, without the columns
    ``leave_out``. Returns how many columns it has, and sentences on what it leaves open. Raises `AssayError`.
    """
    from assay.guard.gateway.schemas import model

    require_folder(output)
    schema, notes = inferred(baseline, slack=slack, leave_out=leave_out)
    write_atomic(output, model.dumps(schema))
    return len(schema.columns) or (schema.vector.width if schema.vector is not None else 0) or 0, notes


def inferred(baseline: str, *, slack: float = 0.0, leave_out: Sequence[str] = ()) -> tuple[Schema, list[str]]:
    """The schema itself, and the sentences. Raises `AssayError`."""
    from assay.guard.gateway.schemas import infer as inferring
    from assay.watch.constraints import baseline as baselines

    return inferring.infer(baselines.load(baseline).profile, slack=slack, exclude=leave_out)
