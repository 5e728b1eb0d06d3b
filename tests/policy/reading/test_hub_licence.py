"""The hub's answer about a licence, given from attested evidence: never more permissive than what is attested."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.evidence.statement import Statement, Subject
from assay.policy.rego.huggingface import answers, spelled


def bill(licences: Any, name: str = "https://huggingface.co/org/model", **said: Any) -> Statement:
    component = {"name": name, "version": "c0ffee", "licenses": licences}
    subject = Subject("model", {"sha256": "00" * 32}, said)
    return Statement((subject,), "https://cyclonedx.org/bom", {"metadata": {"component": component}})


def ids(*names: str) -> list[dict[str, Any]]:
    return [{"license": {"id": name}} for name in names]


def licence(statement: Statement, *allowed: str) -> str:
    found = answers(statement, {"licenses": list(allowed)})
    return found["https://huggingface.co/api/models/org/model"]["body"]["cardData"]["license"]


@pytest.mark.parametrize(
    ("stated", "allowed", "answer"),
    [
        (ids("MIT"), ["mit"], "mit"),
        (ids("MIT"), ["MIT"], "MIT"),
        (ids("MIT"), [], "mit"),
        (ids("Apache-2.0"), ["mit", "APACHE-2.0"], "APACHE-2.0"),
        (ids("Apache-2.0"), ["mit"], "apache-2.0"),
        (ids("GPL-3.0-only"), ["GPL-3.0"], "GPL-3.0"),
        (ids("GPL-3.0-or-later"), ["gpl-3.0"], "gpl-3.0-or-later"),
        ([{"license": {"name": "llama2"}}], ["llama2"], "llama2"),
        ([{"license": {"name": "MIT or later"}}], ["mit"], "mit or later"),
        ([{"license": {"name": "Permissive"}}], ["mit"], "permissive"),
        ([{"expression": "Apache-2.0 OR MIT"}], ["mit"], "mit"),
        ([{"expression": "Apache-2.0 AND MIT"}], ["mit"], "apache-2.0 and mit"),
        ([{"expression": "Apache-2.0 AND MIT"}], ["mit", "apache-2.0"], "mit"),
        ([{"expression": "MIT OR (GPL-3.0-only AND X)"}], ["mit"], "mit"),
        ([{"expression": "(MIT OR GPL-3.0-only) AND X"}], ["mit"], "(mit or gpl-3.0-only) and x"),
        ([{"expression": "GPL-2.0-only WITH Classpath-exception-2.0"}], ["GPL-2.0-only"], None),
        ([{"expression": "MIT WITH x"}], ["mit with x"], "mit with x"),
        (ids("MIT", "GPL-3.0-only"), ["mit"], "(mit) and (gpl-3.0-only)"),
        ([*ids("MIT"), {}], ["mit"], "(mit) and (unknown)"),
        ([*ids("MIT"), "x"], ["mit"], "(mit) and (unknown)"),
        ([{"expression": "(MIT"}], ["mit"], "(mit"),
        ([{"expression": "MIT)"}], ["mit"], "mit)"),
        ([{"expression": "MIT OR"}], ["mit"], "mit or"),
        ([{"expression": "OR MIT"}], ["mit"], "or mit"),
        ([{"expression": "MIT MIT"}], ["mit"], "mit mit"),
        ([{"expression": "(" * 500 + "MIT" + ")" * 500}], ["mit"], None),
        ([{"expression": "MIT OR " * 1000 + "MIT"}], ["mit"], None),
    ],
)
def test_spelled_as_the_rule_spells_it(stated: Any, allowed: list[str], answer: str | None) -> None:
    found = licence(bill(stated), *allowed)
    assert found == answer if answer is not None else found not in allowed


@pytest.mark.parametrize(
    "statement",
    [
        bill([]),
        bill(None),
        bill("MIT"),
        bill(ids("MIT"), name=""),
        Statement((Subject("m", {"sha256": "0" * 64}, {}),), "https://cyclonedx.org/bom", {}),
        Statement(
            (Subject("m", {"sha256": "0" * 64}, {}),), "https://cyclonedx.org/bom", {"metadata": {"component": 1}}
        ),
        Statement((Subject("m", {"sha256": "0" * 64}, {}),), "https://slsa.dev/provenance/v1", {"license": "mit"}),
    ],
)
def test_no_licence_no_answer(statement: Statement) -> None:
    assert answers(statement, {"licenses": ["mit"]}) == {}


def test_addresses_and_revision() -> None:
    found = answers(bill(ids("MIT"), name="model", origin="https://huggingface.co/org/model.git", revision="beef"), {})
    assert set(found) == {
        "https://huggingface.co/api/models/org/model",
        "https://huggingface.co/api/models/org/model/revision/beef",
    }
    response = found["https://huggingface.co/api/models/org/model"]
    assert response["status_code"] == 200
    assert response["body"] == {
        "id": "org/model",
        "cardData": {"license": "mit"},
        "tags": ["license:mit"],
        "sha": "beef",
    }
    data = answers(bill(ids("MIT"), name="https://huggingface.co/datasets/org/data"), {})
    assert {
        "https://huggingface.co/api/datasets/org/data",
        "https://huggingface.co/api/models/datasets/org/data",
    } < set(data)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"licenses": None},
        {"licenses": 7},
        {"licenses": [{"id": "mit"}]},
        {"licenses": {"mit": True}},
        {"other": "mit"},
    ],
)
def test_odd_arguments_allow_nothing(arguments: dict[str, Any]) -> None:
    found = answers(bill([{"expression": "X OR mit"}]), arguments)
    assert found["https://huggingface.co/api/models/org/model"]["body"]["cardData"]["license"] == "x or mit"


EXPRESSIONS = st.recursive(
    st.sampled_from("ABCD"),
    lambda inner: st.tuples(st.sampled_from(["AND", "OR"]), inner, inner),
    max_leaves=8,
)


def _text(tree: Any) -> str:
    return tree if isinstance(tree, str) else f"({_text(tree[1])} {tree[0]} {_text(tree[2])})"


def _holds(tree: Any, allowed: set[str]) -> bool:
    if isinstance(tree, str):
        return tree in allowed
    both = (_holds(tree[1], allowed), _holds(tree[2], allowed))
    return all(both) if tree[0] == "AND" else any(both)


@given(EXPRESSIONS, st.sets(st.sampled_from("ABCD")))
@settings(max_examples=300, deadline=None)
def test_an_allowed_spelling_only_where_the_expression_holds(tree: Any, allowed: set[str]) -> None:
    assert (spelled([_text(tree)], sorted(allowed)) in allowed) == _holds(tree, allowed)


@given(st.text(alphabet="MITANDORWH() ", max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_has_some_spelling(text: str) -> None:
    assert isinstance(spelled([text], ["MIT"]), str)
