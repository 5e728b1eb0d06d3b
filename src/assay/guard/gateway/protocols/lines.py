"""Bodies with one row a line: CSV (RFC 4180, without line breaks inside fields) and JSON Lines.

A line ends with LF or CRLF. Whatever some reader takes for the end of a line and another does not is refused.
"""

from __future__ import annotations

import csv
import re
from typing import Any

import msgspec

from assay.guard.gateway.protocols.reading import Refused, count_keys, exact, parse, require_few, require_readable

_BLANK = re.compile(r"^\s*$", re.MULTILINE)
_ODD = re.compile("\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029\ufeff]")
_documents = msgspec.json.Decoder().decode_lines
_SEVERAL = ("instances", "inputs", "dataframe_records", "dataframe_split")


def lines(body: bytes) -> list[str]:
    """The lines, none of them empty. Raises `Refused`."""
    require_readable(body)
    require_few(body.count(b"\n"))
    text = body.decode()
    if _ODD.search(text):
        raise Refused(400, "the body has a character that some readers take for the end of a line")
    text = text.replace("\r\n", "\n").removesuffix("\n")
    if _BLANK.search(text):
        raise Refused(422, "the body has an empty line")
    return text.split("\n")


def fields(body: bytes) -> list[list[str]]:
    """Rows of CSV, all of one width. Raises `Refused`."""
    found = lines(body)
    if b'"' in body:
        try:
            rows = list(csv.reader(found, strict=True))
        except csv.Error:
            rows = []
        if len(rows) != len(found):
            raise Refused(422, "the body is no CSV, or has a line break inside a field")
    else:
        rows = [line.split(",") for line in found]
    if len(set(map(len, rows))) != 1:
        raise Refused(422, "the rows are uneven")
    return rows


def documents(body: bytes) -> list[Any]:
    """Rows of JSON Lines: lists of plain values, or objects of plain values and lists of them. Raises `Refused`."""
    found = lines(body)
    rows = parse(_documents, "\n".join(found).encode())
    if len(rows) != len(found):
        raise Refused(422, "a line is one row: a list or an object of plain values")
    for row in rows:
        values = row if type(row) is list else _values(row) if type(row) is dict else [[[]]]
        for value in values:
            inner = value if type(value) is list and type(row) is dict else [value]
            if any(type(one) in (list, dict) for one in inner):
                raise Refused(422, "a line is one row: a list or an object of plain values")
    if body.count(b":") != sum(map(count_keys, rows)):
        exact(f"[{','.join(found)}]".encode())
    return rows


def _values(row: dict[str, Any]) -> list[Any]:
    if any(type(row.get(name)) is list for name in _SEVERAL):
        raise Refused(422, "a line is one row, not several")
    return list(row.values())
