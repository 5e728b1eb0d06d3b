"""Writes the golden files anew (``PYTHONPATH=src:tests python tests/policy/documents/write_golden.py``)."""

from __future__ import annotations

import json
from pathlib import Path

from assay.policy.documents import as_json, attestations, markdown, table
from policy.documents.decisions import ACCEPTED, EVERY, UNDECIDED

GOLDEN = Path(__file__).parent / "golden"

if __name__ == "__main__":
    (GOLDEN / "every.txt").write_text(table.render(EVERY) + "\n")
    (GOLDEN / "verbose.txt").write_text(table.render(EVERY, verbose=True, width=100) + "\n")
    (GOLDEN / "accepted.txt").write_text(table.render(ACCEPTED) + "\n")
    (GOLDEN / "undecided.txt").write_text(table.render(UNDECIDED) + "\n")
    made = dict(make(EVERY) for make in (attestations.result, attestations.svr))
    (GOLDEN / "attestations.json").write_text(json.dumps(made, indent=1) + "\n")
    (GOLDEN / "every.json").write_text(json.dumps(as_json.render(EVERY), indent=1) + "\n")
    (GOLDEN / "every.md").write_text(markdown.render(EVERY))
