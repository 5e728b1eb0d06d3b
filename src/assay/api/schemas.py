"""What requests must look like, from what training data were like: a baseline becomes a schema for the gateway."""

from __future__ import annotations

from collections.abc import Sequence

from assay.files import require_folder, write_atomic


def infer(baseline: str, output: str, *, slack: float = 0.0, leave_out: Sequence[str] = ()) -> tuple[int, list[str]]:
    """Write the schema of the columns of ``baseline`` (a file of `assay baseline`) to ``output``, without the columns
    ``leave_out``. Returns how many columns it has, and sentences on what it leaves open. Raises `AssayError`.
    """
    from assay.guard.gateway.schemas import infer as inferring
    from assay.guard.gateway.schemas import model
    from assay.watch.constraints import baseline as baselines

    require_folder(output)
    read = baselines.load(baseline)
    schema, notes = inferring.infer(read.profile, slack=slack, exclude=leave_out)
    write_atomic(output, model.dumps(schema))
    return len(schema.columns) or (schema.vector.width if schema.vector is not None else 0) or 0, notes
