"""A bill of materials for people: what the target is, its models, data, packages and largest files.

Everything in it was written by strangers, so nothing is interpreted as markup and no control character
reaches the terminal.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable, Sequence
from heapq import nlargest
from typing import TYPE_CHECKING

from assay.collect.bom.build import Bom
from assay.collect.bom.documents.words import clean, number, size
from assay.collect.headers.interface import ModelFile

if TYPE_CHECKING:
    from rich.console import Console

_ROWS = 20
"""Rows of each list; the documents have all of them."""


def render(bom: Bom, *, colour: bool = False, width: int | None = None) -> str:
    """The tables as text, ``width`` columns wide (the terminal's when None); with ANSI colours when asked
    for.
    """
    from rich.console import Console

    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width or shutil.get_terminal_size((110, 24)).columns,
        force_terminal=colour,
        no_color=not colour,
        color_system="standard" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    show(bom, console)
    return buffer.getvalue()


def show(bom: Bom, console: Console) -> None:
    """Print the tables."""
    _rows(console, f"{clean(bom.name)} ({bom.kind})", ("", ""), _summary(bom))
    _rows(
        console,
        "Model files",
        ("File", "Format", "Architecture", "Parameters", "Types", "Quantisation"),
        [
            (
                file.path,
                file.format,
                file.architecture,
                number(file.parameters) if file.parameters is not None else "",
                ", ".join(sorted({tensor.dtype for tensor in file.tensors})),
                file.quantisation,
            )
            for file in bom.models
        ],
    )
    _rows(
        console,
        "Data",
        ("File", "Format", "Rows", "Columns"),
        [(f.path, f.format, "" if f.rows is None else f"{f.rows:,}", len(f.columns) or "") for f in bom.data],
    )
    _rows(
        console,
        "Packages",
        ("Package", "Version", "Scope", "Stated in"),
        [(p.name, p.version or p.requirement, p.scope, p.source) for p in bom.packages],
    )
    biggest = nlargest(_ROWS, range(len(bom.manifest)), key=lambda i: (bom.manifest.sizes[i], -i))
    _rows(
        console,
        "Files, largest first",
        ("File", "Size", "SHA-256"),
        [
            (resource.name, size(resource.size), resource.sha256.hex()[:16] + "…" if resource.sha256 else "")
            for resource in (bom.manifest[i] for i in biggest)
        ],
        total=len(bom.manifest),
    )
    _rows(console, "Could not be read", ("",), [(text,) for text in bom.all_warnings])


def _summary(bom: Bom) -> list[tuple[str, object]]:
    """One line a fact; facts that nobody states are left out."""
    cards = bom.cards
    facts: list[tuple[str, object]] = [
        ("Origin", bom.facts.origin),
        ("Revision", bom.facts.revision),
        ("Part", ", ".join(bom.facts.part)),
        ("Files", f"{len(bom.manifest):,}, {size(bom.manifest.size)}"),
        ("Contents", f"sha256:{bom.manifest.contents().hex()}"),
        ("Licence", _join(f"{item.expression} ({item.source})" for card in cards for item in card.licences)),
        ("Task", _join(card.task for card in cards)),
        ("Architecture", _join(card.architecture for card in cards)),
        ("Parameters", _parameters(bom.main_models)),
        ("Base model", _join(base for card in cards for base in card.base_models)),
        ("Data sets", _join(name for card in cards for name in card.datasets)),
        ("Languages", _join(name for card in cards for name in card.languages)),
        ("Metrics", _join(f"{m.get('type')} {m.get('value')}" for card in cards for m in card.metrics)),
    ]
    return [(name, value) for name, value in facts if value]


def _parameters(files: Sequence[ModelFile]) -> str:
    counts = [file.parameters for file in files if file.parameters is not None]
    return f"{number(sum(counts))} ({sum(counts):,})" if counts and len(counts) == len(files) else ""


def _join(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value))


def _rows(
    console: Console,
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    total: int | None = None,
) -> None:
    """One table; nothing when it would be empty."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    named = any(header)
    table = Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if named else None,
        show_header=named,
        pad_edge=False,
    )
    for name in header:
        right = name in ("Size", "Rows", "Columns", "Parameters")
        table.add_column(name, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in rows[:_ROWS]:
        table.add_row(*(Text(clean("" if cell is None else cell, 500).replace("\n", " ")) for cell in row))
    console.print(table)
    left = (total if total is not None else len(rows)) - min(len(rows), _ROWS)
    if left > 0:
        console.print(Text(f"… and {left:,} more"))
    console.print()
