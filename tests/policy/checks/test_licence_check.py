"""Licences: SPDX expressions, other names, and whose licence is meant, in the bills of several tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DocumentError
from assay.policy.checks import CHECKS
from policy.checks.asking import SPDX2, SPDX3, ask, bill


def of(*stated: str | None, **fields: Any) -> dict[str, Any]:
    """A CycloneDX bill whose target has these licences."""
    choices = [{"expression": text} if text is not None else {"license": {}} for text in stated]
    target = {"type": "application", "name": "thing", "licenses": choices}
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"component": target}, **fields}


@pytest.mark.parametrize(
    ("stated", "allow", "deny"),
    [
        ("MIT", ["MIT"], []),
        ("mit", ["MIT"], []),
        ("MIT", ["mit"], []),
        ("apache-2.0", ["Apache-2.0"], []),
        ("GPL-2.0", ["GPL-2.0-only"], []),
        ("GPL-2.0-only", ["GPL-2.0"], []),
        ("GPL-3.0+", ["GPL-3.0-or-later"], []),
        ("MIT OR GPL-3.0-only", ["MIT"], []),
        ("GPL-3.0-only or mit", ["MIT"], []),
        ("MIT AND BSD-3-Clause", ["MIT", "BSD-3-Clause"], []),
        ("MIT AND (Zlib OR GPL-3.0-only)", ["MIT", "Zlib"], []),
        ("MIT OR Zlib AND GPL-3.0-only", ["MIT"], []),
        ("Apache-2.0 WITH LLVM-exception", ["Apache-2.0"], []),
        ("GPL-2.0-only WITH Classpath-exception-2.0", ["GPL-2.0-only WITH Classpath-exception-2.0"], []),
        ("GPL-2.0-only WITH Classpath-exception-2.0", ["GPL-2.0 with classpath-exception-2.0"], ["GPL-2.0"]),
        ("LicenseRef-acme", ["LicenseRef-acme"], []),
        ("MIT AND LicenseRef-acme", ["MIT", "licenseref-ACME"], []),
        ("llama2", ["llama2"], []),
        ("Llama2", ["llama2"], []),
        ("bigscience-openrail-m", ["*openrail*"], []),
        ("Llama 3  Community License", ["llama 3 community license"], []),
        ("CC-BY-4.0", ["CC-BY-*"], []),
        ("MIT", [], ["GPL-*"]),
        ("MIT OR GPL-3.0-only", [], ["GPL-*"]),
        ("BSD-3-Clause", [], []),
    ],
)
def test_acceptable(stated: str, allow: list[str], deny: list[str]) -> None:
    # With an exception that is allowed by itself, the licence's own entry on the deny list does not matter.
    assert ask("licences", {"allow": allow, "deny": deny}, of(stated)) == []


@pytest.mark.parametrize(
    ("stated", "allow", "deny"),
    [
        ("GPL-3.0-only", ["MIT"], []),
        ("MIT AND GPL-3.0-only", ["MIT"], []),
        ("MIT AND (Zlib OR GPL-3.0-only)", ["MIT"], []),
        ("(MIT OR Zlib) AND GPL-3.0-only", ["MIT"], []),
        ("GPL-3.0-or-later", ["GPL-3.0-only"], []),
        ("GPL-3.0-only", [], ["GPL-*"]),
        ("GPL-2.0", [], ["GPL-2.0-only"]),
        ("GPL-2.0-only", [], ["GPL-2.0"]),
        ("GPL-2.0+", [], ["gpl-2.0-or-later"]),
        ("MIT AND GPL-3.0-only", [], ["GPL-*"]),
        ("GPL-2.0-only WITH Classpath-exception-2.0", [], ["GPL-2.0-only"]),
        ("MIT License", ["MIT"], []),
        ("MIT with some restrictions", ["MIT"], []),
        ("MIT (non-commercial)", ["MIT"], []),
        ("MIT OR", ["MIT"], []),
        ("MIT OR GPL", ["MIT"], []),
        ("MITX", ["MIT"], []),
        ("openrail", [], ["GPL-*"]),
        ("see LICENSE", [], ["GPL-*"]),
        ("LicenseRef-GPL-3.0", [], ["GPL-*"]),
        ("MIT AND LicenseRef-secret", [], ["GPL-*"]),
        ("other", [], []),
        ("NOASSERTION", ["MIT"], []),
        ("NONE", [], []),
        ("other", ["*"], []),
        ("(" * 200 + "MIT" + ")" * 199, ["MIT"], []),
        ("MIT AND " * 5000 + "MIT", ["MIT"], []),
    ],
)
def test_not_acceptable(stated: str, allow: list[str], deny: list[str]) -> None:
    assert len(ask("licences", {"allow": allow, "deny": deny}, of(stated))) == 1


def test_all_that_is_stated_counts() -> None:
    assert ask("licences", {"allow": ["MIT"]}, of("MIT", "GPL-3.0-only")) == [
        "licence 'GPL-3.0-only' of 'thing' is not on the allow list"
    ]
    assert ask("licences", {"allow": ["MIT"]}, of("MIT", None)) == ["'thing' states a licence that can't be read"]


def test_nothing_stated() -> None:
    assert ask("licences", {"allow": ["MIT"]}, of()) == ["'thing' states no licence"]
    assert ask("licences", {}, of()) == ["'thing' states no licence"]
    assert ask("licences", {"deny": ["GPL-*"], "unknown": "allow"}, of()) == []
    assert ask("licences", {"deny": ["GPL-*"], "unknown": "allow"}, of("see LICENSE")) == []
    assert ask("licences", {"deny": ["other"], "unknown": "allow"}, of("other")) != []
    # With an allow list, what is stated must be on it, whatever becomes of what is not stated.
    assert ask("licences", {"allow": ["MIT"], "unknown": "allow"}, of("see LICENSE")) != []
    assert ask("licences", {"allow": ["MIT"]}, {"bomFormat": "CycloneDX", "components": []}) != []


def test_components_by_the_official_library() -> None:
    licences = LicenseFactory()
    made = Bom()
    made.metadata.component = Component(name="app", type=ComponentType.APPLICATION, bom_ref="app")
    parts = [("a", "MIT"), ("b", "MIT OR GPL-3.0-only"), ("c", "GPL-3.0-only"), ("d", "Custom words")]
    for name, licence in parts:
        made.components.add(Component(name=name, version="1", licenses=[licences.make_from_string(licence)]))
    made.components.add(Component(name="e"))
    made.register_dependency(made.metadata.component, made.components)
    predicate = json.loads(JsonV1Dot6(made).output_as_string())
    wrong = ask("licences", {"allow": ["MIT"], "of": "components"}, predicate)
    assert sorted(wrong) == [
        "'e' states no licence",
        "licence 'Custom words' of 'd 1' is not on the allow list",
        "licence 'GPL-3.0-only' of 'c 1' is not on the allow list",
    ]
    assert "'app' states no licence" in ask("licences", {"allow": ["MIT"], "of": "all"}, predicate)


def test_nested_components_count() -> None:
    inner: dict[str, Any] = {"type": "library", "name": "deep", "licenses": [{"license": {"id": "GPL-3.0-only"}}]}
    outer = {"type": "library", "name": "outer", "licenses": [{"license": {"id": "MIT"}}], "components": [inner]}
    wrong = ask("licences", {"allow": ["MIT"], "of": "components"}, of("MIT", components=[outer]))
    assert wrong == ["licence 'GPL-3.0-only' of 'deep' is not on the allow list"]


def test_no_component_to_look_at() -> None:
    assert ask("licences", {"allow": ["MIT"], "of": "components"}, of("MIT")) != []
    assert ask("licences", {"allow": ["MIT"], "of": "components", "unknown": "allow"}, of("MIT")) == []


CARD = b"---\nlicense: %s\n---\n# A model\n"


@pytest.mark.parametrize("format", ["json", "spdx-json"])
def test_our_own_bills(tmp_path: Path, format: str) -> None:
    kind = SPDX3 if format == "spdx-json" else ""
    files = {"README.md": CARD % b"llama2", "config.json": b'{"model_type": "llama", "architectures": ["L"]}'}
    predicate = bill(tmp_path / "a", files, format)
    assert ask("licences", {"allow": ["llama2"]}, predicate, kind) == []
    assert len(ask("licences", {"allow": ["MIT"]}, predicate, kind)) == 1
    two = bill(tmp_path / "b", {**files, "README.md": CARD % b"[mit, cc-by-4.0]"}, format)
    assert ask("licences", {"allow": ["MIT", "CC-BY-4.0"]}, two, kind) == []
    assert len(ask("licences", {"allow": ["MIT"]}, two, kind)) == 1
    none = bill(tmp_path / "c", {"config.json": files["config.json"]}, format)
    assert ask("licences", {"allow": ["MIT"]}, none, kind) == ["'c' states no licence"]
    assert len(ask("licences", {"of": "components", "deny": ["GPL-*"]}, none, kind)) == 1


def test_spdx_2() -> None:
    def package(id: str, **fields: Any) -> dict[str, Any]:
        return {"SPDXID": id, "name": id.lower(), "downloadLocation": "NOASSERTION", **fields}

    predicate = {
        "spdxVersion": "SPDX-2.3",
        "documentDescribes": ["SPDXRef-app"],
        "packages": [
            package("SPDXRef-app", licenseDeclared="MIT", licenseConcluded="NOASSERTION"),
            package("SPDXRef-a", licenseDeclared="NOASSERTION", licenseConcluded="Apache-2.0"),
            package("SPDXRef-b", licenseDeclared="MIT", licenseConcluded="GPL-2.0-only"),
            package("SPDXRef-c", licenseDeclared="NONE"),
        ],
    }
    assert ask("licences", {"allow": ["MIT"]}, predicate, SPDX2) == []
    wrong = ask("licences", {"allow": ["MIT", "Apache-2.0"], "of": "all"}, predicate, SPDX2)
    assert wrong == [
        "licence 'GPL-2.0-only' of 'spdxref-b' is not on the allow list",
        "licence 'NONE' of 'spdxref-c' names no licence",
    ]
    predicate["documentDescribes"] = ["SPDXRef-app", "SPDXRef-a"]
    assert ask("licences", {"allow": ["MIT"]}, predicate, SPDX2) == [
        "the document is about 2 things, so that none of them is the target"
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"allow": ["MIT OR GPL-3.0"]},
        {"allow": ["(MIT)"]},
        {"allow": ["MIT"], "deny": ["mit"]},
        {"of": "it"},
        {"allow": "MIT"},
    ],
)
def test_refused_arguments(arguments: Any) -> None:
    with pytest.raises(DocumentError, match="^p"):
        CHECKS["licences"].prepare(arguments, "p")


IDS = ("MIT", "Zlib", "ISC", "Apache-2.0")
EXPRESSIONS = st.recursive(
    st.sampled_from(IDS),
    lambda inner: st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(EXPRESSIONS, st.sets(st.sampled_from(IDS), min_size=1))
def test_expressions_agree_with_boolean_logic(expression: str, allowed: set[str]) -> None:
    """The oracle: Python's own ``and`` and ``or`` over the same text."""
    python = expression.replace("AND", "and").replace("OR", "or")
    for name in IDS:
        python = python.replace(name, str(name in allowed))
    assert (ask("licences", {"allow": sorted(allowed)}, of(expression)) == []) == eval(python)
