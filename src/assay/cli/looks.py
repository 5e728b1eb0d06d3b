"""Looks on a terminal: what was seen, which evidence it became, who signed. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from assay.cli import printing

if TYPE_CHECKING:
    from assay.api.monitoring import Attested
    from assay.watch.interface import Look


def show(looks: Iterable[Look], evidence: Iterable[Attested], by: str | None, *, verbose: bool) -> None:
    """Print looks line by line, and beneath them what was signed; ``by`` is None where nothing was."""
    from assay.watch.report.terminal import look_lines

    for look in looks:
        for text, colour in look_lines(look, verbose=verbose):
            if colour:
                print(printing.coloured(text, colour))
            else:
                printing.line(text)
    for one in evidence:
        printing.line(f"  evidence  {(one.entry or '')[:12]} ({one.topic})")
    if by:
        printing.line(f"  by        {by}")
