"""Bodies with one row a line: CSV (RFC 4180, without line breaks inside fields) and JSON Lines.

A line ends with LF or CRLF. Whatever some reader takes for the end of a line and another does not is refused.
"""

from __future__ import annotations

import csv
import re
from typing import Any

from assay.guard.gateway.protocols.base import any_json
from assay.guard.gateway.protocols.reading import Refused, count_keys, exact, parse

_ODD = re.compile("\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029\ufeff]")
_SEVERAL = ("instances", "inputs", "dataframe_records", "dataframe_split")


def lines(body: bytes) -> list[str]:
    """The lines, none of them empty. Raises `Refused`."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Refused(400, "the body is no UTF-8") from None
    if _ODD.search(text):
        raise Refused(400, "the body has a character that some readers take for the end of a line")
    found = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if not all(line.strip() for line in found):
        raise Refused(422, "the body has an empty line")
    return found


def fields(body: bytes) -> list[list[str]]:
    """Rows of CSV, all of one width. Raises `Refused`."""
    found = lines(body)
    if b'"' in body:
        try:
            rows = [next(csv.reader((line,), strict=True)) for line in found]
        except csv.Error:
            raise Refused(422, "the body is no CSV, or has a line break inside a field") from None
    else:
        rows = [line.split(",") for line in found]
    if len(set(map(len, rows))) != 1:
        raise Refused(422, "the rows are uneven")
    return rows


def documents(body: bytes) -> list[Any]:
    """Rows of JSON Lines: lists of plain values, or objects of plain values and lists of them. Raises `Refused`."""
    found = lines(body)
    rows = [parse(any_json, line.encode()) for line in found]
    for row in rows:
        values = row if type(row) is list else _values(row) if type(row) is dict else [[[]]]
        for value in values:
            inner = value if type(value) is list and type(row) is dict else [value]
            if any(type(one) in (list, dict) for one in inner):
                raise Refused(422, "a line is one row: a list or an object of plain values")
    if body.count(b":") != sum(map(count_keys, rows)):
        for line in found:
            exact(line.encode())
    return rows


def _values(row: dict[str, Any]) -> list[Any]:
    if any(type(row.get(name)) is list for name in _SEVERAL):
        raise Refused(422, "a line is one row, not several")
    return list(row.values())
