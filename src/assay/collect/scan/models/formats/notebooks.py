"""Notebooks: code cells, shell lines, and outputs with active content.

Nothing of a notebook runs until somebody runs it, but that is what it is for; so it is code, and malicious only for
clear attacks. Source: the nbformat 4 schema; IPython's ``!command``, ``%magic`` and ``%%cell`` lines.
"""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from assay.collect.scan.models.formats.python_source import examine
from assay.collect.scan.models.formats.shells import attack, piped
from assay.collect.scan.models.formats.telling import (
    EXECUTION,
    SCRIPTING,
    SUPPLY,
    read_json,
    read_whole,
    shown,
    tell,
    tell_twice,
)
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

MAX_NOTEBOOK = 256 << 20
MAX_CODE = 2 << 20
"""Characters of all code cells together that are looked at."""

_ACTIVE = re.compile(
    r"<script|<iframe|<object|<embed|javascript:|\son(?:error|load|click|mouseover)\s*=", re.IGNORECASE
)
_SHELL_CELL = re.compile(r"%%(?:bash|sh|script|cmd|!|system|sx)")
_WRITE_CELL = re.compile(r"%%(?:writefile|file)\s+(?:-a\s+)?(\S+)")
_TEXT_CELL = re.compile(r"%%(?:html|svg|latex|markdown)\b")
_OTHER_CELL = re.compile(r"%%(?:html|javascript|js|svg|latex|markdown|perl|ruby|R|sql|cython)\b")
_TIMED = re.compile(r"^(\s*)%{1,2}(?:time|timeit|prun|memit)\s+(.*)$")
_COMMAND = re.compile(r"(?:sx|system|sc|pip|conda|mamba|run|load|loadpy)\b")
_ASKING = ("system", "getoutput", "run_cell_magic", "run_line_magic", "system_raw", "system_piped")
_LINE = re.compile(r"^(\s*)(!|%|\?)(.*)$")


class Notebook:
    """``.ipynb``."""

    name = "notebook"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By name, or as JSON with cells and a notebook's version."""
        if path.endswith(".ipynb"):
            return True
        return head.lstrip().startswith(b"{") and b'"cells"' in head[:4096] and b'"nbformat"' in head + tail

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What its cells would do, and what its outputs do when they are shown."""
        document, twice = read_json(read_whole(file, size, MAX_NOTEBOOK, "the notebook"), "the notebook")
        yield from tell_twice(scan, twice, "the notebook")
        left = MAX_CODE
        for number, cell in enumerate(_cells(document)):
            where = f"cell {number + 1}"
            source = _joined(cell.get("source", cell.get("input", "")))
            if cell.get("cell_type") == "code" and len(source) > left:
                yield tell(
                    scan,
                    "notebook/not-examined",
                    Tier.CODE,
                    Severity.HIGH,
                    "code cell that was not examined, as the notebook has too much code",
                    within=where,
                )
            elif cell.get("cell_type") == "code":
                left -= len(source)
                yield from _code(source, scan, where)
            elif cell.get("cell_type") == "markdown" and _ACTIVE.search(source[: 1 << 20]):
                yield _active(scan, where, "text")
            outputs = cell.get("outputs")
            for output in outputs[:1000] if isinstance(outputs, list) else ():
                yield from _output(output, scan, where)


def _cells(document: Any) -> Iterator[dict[str, Any]]:
    """Cells of nbformat 4, and of 3 with its worksheets."""
    if not isinstance(document, dict):
        return
    sheets = document.get("worksheets")
    for holder in [document, *(sheets if isinstance(sheets, list) else ())]:
        cells = holder.get("cells") if isinstance(holder, dict) else None
        for cell in cells[:20_000] if isinstance(cells, list) else ():
            if isinstance(cell, dict):
                yield cell


def _joined(value: Any) -> str:
    if isinstance(value, list):
        return "".join(item for item in value if isinstance(item, str))
    return value if isinstance(value, str) else ""


def _code(source: str, scan: Scan, where: str) -> Iterator[Finding]:
    commands: list[str] = []
    first, _, rest = source.lstrip().partition("\n")
    if _SHELL_CELL.match(first):
        commands, source = [rest], ""
    elif written := _WRITE_CELL.match(first):
        yield _written(first, scan, where)
        commands, source = ([rest] if attack(rest) else []), (rest if written[1].endswith(".py") else "")
    elif _OTHER_CELL.match(first):
        if _ACTIVE.search(html.unescape(source[: 1 << 20])) or "javascript" in first:
            yield _active(scan, where, "cell")
        elif not _TEXT_CELL.match(first):
            yield _written(first, scan, where)
        source = ""
    elif re.match(r"%%\w", first):
        source = rest
    lines = []
    for line in source.split("\n"):
        while timed := _TIMED.match(line):
            line = timed[1] + timed[2]
        match = _LINE.match(line)
        assigned = re.match(r"^\s*\w+\s*=\s*!(.*)$", line)
        if match and match[2] == "!":
            commands.append(match[3].removeprefix("!"))
        elif match and _COMMAND.match(match[3]):
            commands.append(match[3])
        elif assigned:
            commands.append(assigned[1])
        # A magic leaves a statement behind, so that an indented block is not left empty.
        lines.append(f"{match[1]}pass" if match else "pass" if assigned else line)
    code = "\n".join(lines)
    for command in [*commands, *_asked(code)]:
        yield from _command(command, scan, where)
    for finding in examine(code, scan, within=where):
        # Running a cell is a person's own act; only attacks are worth more than being told of.
        yield (
            finding
            if finding.tier is Tier.MALICIOUS
            else replace(
                finding,
                message=finding.message.replace(
                    "when the model is loaded with trust_remote_code", "when the cell is run"
                ),
            )
        )


def _asked(code: str) -> list[str]:
    """Commands that code hands to IPython by its functions, ``get_ipython().system("…")``, as far as they are texts."""
    if not any(name in code for name in _ASKING):
        return []
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # said by `examine`
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ASKING:
            texts = [part.value for part in node.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            if texts and (node.func.attr != "system" or attack(texts[-1])):
                found.append(texts[-1])
    return found


def _written(first: str, scan: Scan, where: str) -> Finding:
    return tell(
        scan,
        "notebook/other-language",
        Tier.CODE,
        Severity.LOW,
        f"cell that writes a file or runs another language: {shown(first, 80)}",
        call=first,
        atlas=SCRIPTING,
        within=where,
    )


def _command(command: str, scan: Scan, where: str) -> Iterator[Finding]:
    does = attack(command)
    yield tell(
        scan,
        "notebook/shell-attack" if does else "notebook/shell",
        Tier.MALICIOUS if does else Tier.CODE,
        Severity.CRITICAL if does else Severity.HIGH if piped(command) else Severity.LOW,
        f"shell command that {does}"
        if does
        else "shell command" + (" that runs a download unseen" if piped(command) else ""),
        call=f"!{command.strip()}",
        atlas=SCRIPTING,
        within=where,
    )


def _output(output: Any, scan: Scan, where: str) -> Iterator[Finding]:
    data = output.get("data") if isinstance(output, dict) else None
    if not isinstance(data, dict):
        return
    for kind, value in data.items():
        text = html.unescape(_joined(value)[: 1 << 20])
        if "javascript" in kind or (re.search(r"html|svg|markdown|xml", kind) and _ACTIVE.search(text)):
            yield _active(scan, where, f"output ({shown(kind, 40)})")
            return


def _active(scan: Scan, where: str, what: str) -> Finding:
    return tell(
        scan,
        "notebook/active-content",
        Tier.CODE,
        Severity.MEDIUM,
        f"{what} with active content, which runs when the notebook is shown and trusted",
        atlas=EXECUTION + SUPPLY,
        within=where,
    )
