"""The report as CSV (RFC 4180), one line per row, for people who work in spreadsheets.

Names come from strangers' documents, and spreadsheets run what begins like a formula: such cells begin with an
apostrophe, and no control character is left in any.
"""

from __future__ import annotations

import csv
import io
import re

from assay.evidence.predicates import printable
from assay.policy.coverage.interface import Report, Row

COLUMNS = (
    "framework",
    "version",
    "section",
    "id",
    "name",
    "aliases",
    "state",
    "why",
    "met",
    "not met",
    "attestations",
    "more attestations",
    "url",
)
"""The first line."""

_FORMULA = re.compile("(^|[;,])(\\s*)([=+\\-@＝＋－＠])")
"""What spreadsheets take for the beginning of a formula, full-width forms among them (OWASP, CSV injection). After a
separator too: in many countries a file with commas is read as one with semicolons.
"""


def as_csv(report: Report) -> str:
    """The report's rows; lists in a cell are divided by semicolons."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for section in report.sections:
        for row in section.rows:
            writer.writerow([cell(value) for value in (report.framework, report.version, section.name, *_cells(row))])
    return made.getvalue()


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.id,
        row.name,
        "; ".join(row.aliases),
        row.state.value,
        row.why,
        "; ".join(item.title for item in row.measures if item.met),
        "; ".join(item.title for item in row.measures if not item.met),
        "; ".join(f"{link.digest} ({link.subject})" for link in row.links),
        str(row.more_links),
        row.url,
    )


def cell(text: str) -> str:
    """One cell that no spreadsheet takes for a formula."""
    return _FORMULA.sub(r"\1\2'\3", printable(" ".join(text.split())))
