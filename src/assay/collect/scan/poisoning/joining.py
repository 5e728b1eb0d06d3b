"""Embeddings that lie in a file of their own: the n-th of them belongs to the n-th row of the data set.

Nothing says so but their order, so that a file of another length is refused and never cut or stretched to fit.
"""

from __future__ import annotations

from assay.collect.scan.models.judging import one_line
from assay.collect.scan.poisoning.interface import Row
from assay.collect.scan.poisoning.table import Cells, Table, read
from assay.errors import UndecidedError, UsageError
from assay.targets.interface import Target

PREFIX = "embeddings"
"""What the joined column is called; followed by a dot and its own name where the file has several."""


def join(table: Table, embeddings: Target) -> frozenset[str]:
    """Add the vectors in ``embeddings`` to the rows of ``table``; the names of the new columns.

    Raises `UsageError` where the numbers of rows differ or a name is taken, `UndecidedError` for an unreadable file.
    """
    position = {number: i for i, number in enumerate(table.order)}
    found: dict[int, Cells] = {}
    seen = 0

    def take(_row: Row, cells: Cells) -> None:
        nonlocal seen
        seen += 1
        if seen in position:
            found[position[seen]] = cells

    made = read(embeddings, sample=1, seed=b"", every=take)
    unread = [*made.broken.values(), *made.skipped.values()]
    if unread or not made.total:
        why = unread[0] if unread else "there are none"
        raise UndecidedError(f"the embeddings in {embeddings.name} cannot be read: {one_line(why, 300)}")
    if made.total != table.total:
        raise UsageError(
            f"{embeddings.name} has {made.total:,} embeddings and the data set {table.total:,} rows",
            hint="they belong together by their order: one embedding for each row",
        )
    columns = list(dict.fromkeys(name for cells in found.values() for name in cells))
    names = {name: PREFIX if len(columns) == 1 else f"{PREFIX}.{name}" for name in columns}
    if taken := set(names.values()) & set(table.columns):
        raise UsageError(f"the data set has a column {min(taken)!r} of its own: rename it")
    for i, cells in found.items():
        table.cells[i] = {**table.cells[i], **{names[name]: value for name, value in cells.items()}}
    table.columns = (*table.columns, *names.values())
    return frozenset(names.values())
