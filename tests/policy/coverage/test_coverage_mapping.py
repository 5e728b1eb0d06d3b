"""The mapping is complete, strict, and names nothing that does not exist."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from assay.config import load_yaml
from assay.errors import DocumentError, UsageError
from assay.policy.coverage import FRAMEWORKS, assess, conditions, mapping
from assay.policy.coverage.interface import State
from assay.policy.coverage.mapping import framework, measures, row_key
from helpers import NOW, one_sentence

COUNTS = {
    "atlas": {"techniques": 170, "mitigations": 35},
    "airmf": {"GOVERN": 19, "MAP": 18, "MEASURE": 22, "MANAGE": 13},
    "slsa": {"build-l1": 5, "build-l2": 3, "build-l3": 3, "verification": 3},
    "owasp-ml": {"risks": 10},
    "owasp-llm": {"risks": 10},
    "eu-ai-act": {"annex-iv": 9, "articles": 11},
}
SSDF = {"PO": 13, "PS": 4, "PW": 16, "RV": 9}
SSDF_AI = {"PO.5.3", "PS.1.2", "PS.1.3", "PW.3.1", "PW.3.2", "PW.3.3"}

ARTICLE = {
    "AML.T0019": ("Publish Poisoned Datasets", None),
    "AML.T0020": ("Poison Training Data", None),
    "AML.T0010": ("AI Supply Chain Compromise", "ML Supply Chain Compromise"),
    "AML.T0015": ("Evade AI Model", "Evade ML Model"),
    "AML.T0050": ("Command and Scripting Interpreter", None),
    "AML.T0018": ("Manipulate AI Model", "Backdoor ML Model"),
    "AML.T0048": ("External Harms", "System Misuse for External Effect"),
    "AML.M0005": ("Control Access to AI Models and Data at Rest", "Control Access to ML Models and Data at Rest"),
    "AML.M0007": ("Sanitize Training Data", None),
    "AML.M0011": ("Restrict Library Loading", None),
    "AML.M0013": ("Code Signing", None),
    "AML.M0014": ("Verify AI Artifacts", "Verify ML Artifacts"),
    "AML.M0016": ("Vulnerability Scanning", None),
}


@pytest.mark.parametrize("id", COUNTS)
def test_all_rows_are_listed(id: str) -> None:
    assert {section.id: len(section.rows) for section in framework(id).sections} == COUNTS[id]


def test_all_tasks_of_ssdf_are_listed() -> None:
    ids = [row.id for row in framework("ssdf").rows]
    base = [id for id in ids if id not in SSDF_AI]
    assert set(ids) >= SSDF_AI
    assert {group: sum(id.startswith(group) for id in base) for group in SSDF} == SSDF
    assert len(base) == 42


def test_the_matrix_has_all_tactics_and_every_technique_stands_in_it() -> None:
    atlas = framework("atlas")
    assert len(atlas.columns) == 16
    known = {id for id, _ in atlas.columns}
    for row in atlas.sections[0].rows:
        assert row.columns and set(row.columns) <= known, row.id
        assert row.parent is None or row.id.startswith(f"{row.parent}.")
    assert [id for id, _ in framework("airmf").columns] == ["GOVERN", "MAP", "MEASURE", "MANAGE"]


def test_links_between_techniques_and_mitigations_go_both_ways() -> None:
    atlas = framework("atlas")
    techniques, mitigations = (section.rows for section in atlas.sections)
    forth = {(row.id, other) for row in techniques for other in row.related}
    back = {(other, row.id) for row in mitigations for other in row.related}
    assert forth == back
    assert ("AML.T0018", "AML.M0013") in forth


@pytest.mark.parametrize("id", ARTICLE)
def test_the_articles_rows_have_todays_names_and_the_old_ones_as_aliases(id: str) -> None:
    name, former = ARTICLE[id]
    row = next(row for row in assess("atlas", [], {}, now=NOW).rows if row.id == id)
    assert row.name == name
    assert row.aliases == ((former,) if former else ())
    assert row.highlighted
    assert row.url == f"https://atlas.mitre.org/{'techniques' if '.T' in id else 'mitigations'}/{id}"


def test_only_the_articles_rows_are_highlighted() -> None:
    assert {row.id for row in framework("atlas").rows if row.mapped.highlighted} == set(ARTICLE)


@pytest.mark.parametrize("id", FRAMEWORKS)
def test_every_report_names_the_framework_its_version_source_and_licence(id: str) -> None:
    report = assess(id, [], {}, now=NOW)
    assert report.framework == id
    assert all((report.name, report.version, report.source, report.licence))


def test_the_version_of_atlas_is_the_catalogues() -> None:
    catalogue = json.loads(files("assay.policy").joinpath("frameworks", "atlas.json").read_bytes())
    assert framework("atlas").version == catalogue["version"] == "5.6.0"
    assert catalogue["commit"] in framework("atlas").source


@pytest.mark.parametrize("id", FRAMEWORKS)
def test_rows_have_what_a_reader_needs(id: str) -> None:
    rows = assess(id, [], {}, now=NOW).rows
    assert len({row.id for row in rows}) == len(rows)
    for row in rows:
        assert row.id and row.name and row.why.endswith("."), row.id
        if row.state is State.NOT_ASSESSABLE:
            assert len(row.why) > 20
        else:
            assert row.state is State.NOTHING and row.measures, row.id
            assert all(item.how and not item.met and item.note for item in row.measures)


def test_every_measure_is_used_by_some_row() -> None:
    used = {id for name in FRAMEWORKS for row in framework(name).rows for id in row.mapped.measures}
    assert used == set(measures())


def test_a_technique_is_cut_down_only_to_measures_that_its_mitigations_have() -> None:
    rows = {row.id: row for row in framework("atlas").rows}
    for row in rows.values():
        theirs = {id for other in row.mitigations for id in rows[other].mapped.measures}
        assert set(row.mapped.only or ()) <= theirs, row.id


def test_what_happens_outside_has_no_mitigation_that_could_be_assessed() -> None:
    rows = {row.id: row for row in framework("atlas").rows}
    for row in rows.values():
        if row.parent is None and not row.mapped.assessable and ".T" in row.id:
            assert not any(rows[other].mapped.assessable for other in row.mitigations), row.id


def test_the_seven_characteristics_of_trustworthy_ai() -> None:
    names = [item.name for item in framework("airmf").characteristics]
    assert names == [
        "Valid and reliable",
        "Safe",
        "Secure and resilient",
        "Accountable and transparent",
        "Explainable and interpretable",
        "Privacy-enhanced",
        "Fair, with harmful bias managed",
    ]


def test_all_files_load_strictly() -> None:
    folder = files("assay.policy").joinpath("frameworks")
    names = [item.name for item in folder.iterdir() if item.name.endswith(".yaml")]
    assert sorted(names) == sorted(["measures.yaml", *(f"{id}.yaml" for id in FRAMEWORKS)])
    for name in names:
        assert load_yaml(folder.joinpath(name).read_bytes(), name)


def test_an_unknown_framework_is_a_usage_error() -> None:
    with pytest.raises(UsageError) as caught:
        assess("iso-42001\x1b[31m", [], {}, now=NOW)
    one_sentence(caught.value)


@pytest.mark.parametrize(
    ("written", "row"),
    [("map-4.1", "MAP 4.1"), ("MAP 4.1", "MAP 4.1"), ("aml.m0013", "AML.M0013"), ("llm03", "LLM03:2025")],
)
def test_ids_may_be_written_as_people_write_them(written: str, row: str) -> None:
    found = {other for id in FRAMEWORKS for other in framework(id).names.get(row_key(written), ())}
    assert found == {row}


@pytest.mark.parametrize(
    "text",
    [
        "measures: [{id: a, title: t, kind: evidence, how: h}]",
        "measures: [{id: a, title: t, kind: configuration, how: h, proofs: [{types: [x], claim: c}]}]",
        "measures: [{id: a, title: t, kind: evidence, how: h, proofs: [{types: [x], claim: c, when: [{path: p}]}]}]",
        "measures: [{id: a, title: t, kind: evidence, how: h, sure: true, proofs: [{types: [x], claim: c}]}]",
        "measures: &a [*a]",
    ],
)
def test_a_mapping_that_is_not_as_it_must_be_is_refused(text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        mapping._convert(load_yaml(text.encode(), "m.yaml"), dict[str, list[mapping.MeasureSpec]], "m.yaml")
    assert "m.yaml" in one_sentence(caught.value)


def test_a_mapping_of_what_does_not_exist_is_refused() -> None:
    row = mapping.RowPlan("X.1", "x", mapping.Mapped(measures=["no-such-measure"]))
    with pytest.raises(DocumentError, match="no-such-measure"):
        mapping._check("x.yaml", {"X.1": row}, [])
    with pytest.raises(DocumentError, match=r"X\.2"):
        mapping._check("x.yaml", {}, [mapping.CharacteristicSpec(id="c", name="C", rows=["X.2"])])
    silent = mapping.RowPlan("X.3", "x", mapping.Mapped(assessable=False))
    with pytest.raises(DocumentError, match=r"X\.3"):
        mapping._check("x.yaml", {"X.3": silent}, [])
    rows = mapping._Rows(mapping.FrameworkFile(id="x", name="x", version="1", source="s", licence="l", outside=["X.4"]))
    with pytest.raises(DocumentError, match=r"X\.4"):
        rows.check("x.yaml")


def condition(**fields: object) -> conditions.Condition:
    return mapping._convert(fields, conditions.Condition, "c.yaml")


@pytest.mark.parametrize(
    ("fields", "document", "holds"),
    [
        ({"path": "a.b", "is": ["x"]}, {"a": {"b": "x"}}, True),
        ({"path": "a.b", "is": ["x"]}, {"a": ["b", "x"]}, False),
        ({"path": "a[].b", "is": ["x"]}, {"a": [{"b": "y"}, 7, None, {"b": "x"}]}, True),
        ({"path": "a", "is": [True]}, {"a": 1}, False),
        ({"path": "a", "is": [1]}, {"a": True}, False),
        ({"path": "a", "is": [True]}, {"a": True}, True),
        ({"path": "a{}", "like": ["*fair*"]}, {"a": {"Unfairness": 1}}, True),
        ({"path": "a{}", "like": ["*fair*"]}, {"a": ["fair"]}, False),
        ({"path": "a", "like": ["x*"]}, {"a": 12}, False),
        ({"path": "a", "exists": True}, {"a": []}, False),
        ({"path": "a", "exists": True}, {"a": {}}, False),
        ({"path": "a", "exists": True}, {"a": 0}, False),
        ({"path": "a", "exists": True}, {"a": [None]}, True),
        ({"path": "a[]", "exists": True}, {"a": [None]}, False),
        ({"path": "a", "empty": True}, {"a": []}, True),
        ({"path": "a", "empty": True}, {"a": None}, False),
        ({"path": "a", "empty": True}, {}, False),
        ({"path": "a", "empty": True}, {"a": {}}, False),
    ],
)
def test_conditions(fields: dict[str, object], document: object, holds: bool) -> None:
    assert condition(**fields).holds(document) is holds
