"""Every writer takes every decision: nothing raises, nothing steers a terminal, the same input gives the same bytes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings

from assay.evidence import predicates, strict_json
from assay.policy.documents import as_json, attestations, layout, markdown, sarif, table
from assay.policy.verdict import Decision
from policy.documents.decisions import decisions


def written(document: Any) -> bytes:
    """As a file: UTF-8, strict JSON, the same after reading it back."""
    data = strict_json.dumps(document)
    assert strict_json.loads(data, "document") == document
    return data


@settings(max_examples=150, deadline=None)
@given(decisions)
def test_documents(decision: Decision) -> None:
    for render in (as_json.render, sarif.render):
        assert written(render(decision)) == written(render(decision))
    for make in (attestations.result, attestations.vsa, attestations.svr):
        kind, predicate = make(decision)
        predicates.check(kind, predicate)
        assert written(predicate) == written(make(decision)[1])


@settings(max_examples=150, deadline=None)
@given(decisions)
def test_texts(decision: Decision) -> None:
    for verbose in (False, True):
        text = table.render(decision, verbose=verbose)
        assert text.replace("\n", "").isprintable()
        assert text == table.render(decision, verbose=verbose)
        words_of_commands = [line for line in text.split("\n") if layout.columns(line) > 80]
        commands = {need.command for result in decision.results for need in result.needs}
        assert not words_of_commands or commands - {None}
    assert markdown.render(decision) == markdown.render(decision)
    json.dumps(markdown.render(decision))
