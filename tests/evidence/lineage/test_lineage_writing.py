"""The forms of the answer: other readers accept them, only proved edges leave, and no name breaks out."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from assay.evidence.lineage.interface import Lineage
from assay.evidence.lineage.writing import as_json, layout, openlineage, picture, prov, tree
from assay.evidence.statement import Subject
from lineage_making import LINK, SLSA, Place, key, provenance, resource, sha

EVIL = "</text><script>alert(1)</script>\"'&\\ \x1b]0;x\x07\u202e]]>"


@pytest.fixture
def graph(tmp_path: Path) -> Lineage:
    place = Place(tmp_path)
    place.pipeline()
    place.step("steal", ["model"], ["stolen"], by=place.stranger)
    return place.of("model")


@pytest.fixture
def evil(tmp_path: Path) -> Lineage:
    place = Place(tmp_path)
    evil = Subject(EVIL, {"sha256": sha("evil")})
    inputs = [resource("data") | {"name": EVIL}]
    place.say([evil], SLSA, provenance(EVIL, inputs, startedOn="2026-05-01T10:00:00Z"))
    place.say(
        [Subject(EVIL, {"sha256": sha("more")})],
        LINK,
        {"name": EVIL, "materials": [resource("evil")], "command": [EVIL]},
        by=place.stranger,
    )
    return place.of(key("evil"))


# OpenLineage 2-0-2, the parts that a run event uses (openlineage.io/spec/2-0-2), written after the specification.
FACETS = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "required": ["_producer", "_schemaURL"],
        "properties": {"_producer": {"format": "uri"}, "_schemaURL": {"format": "uri"}},
    },
}
DATASETS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["namespace", "name"],
        "properties": {"namespace": {"type": "string"}, "name": {"type": "string"}, "facets": FACETS},
        "additionalProperties": False,
    },
}
RUN_EVENT = {
    "type": "object",
    "required": ["eventTime", "producer", "schemaURL", "run", "job"],
    "properties": {
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "eventTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
        "producer": {"type": "string", "format": "uri"},
        "schemaURL": {"type": "string", "format": "uri"},
        "run": {
            "type": "object",
            "required": ["runId"],
            "properties": {"runId": {"type": "string", "format": "uuid"}, "facets": FACETS},
            "additionalProperties": False,
        },
        "job": {
            "type": "object",
            "required": ["namespace", "name"],
            "properties": {"namespace": {"type": "string"}, "name": {"type": "string", "minLength": 1}},
            "additionalProperties": False,
        },
        "inputs": DATASETS,
        "outputs": DATASETS,
    },
    "additionalProperties": False,
}


def test_openlineage_events_have_the_specifications_form_and_only_proved_edges(graph: Lineage, evil: Lineage) -> None:
    check = jsonschema.Draft202012Validator(RUN_EVENT, format_checker=jsonschema.FormatChecker())
    for made in (openlineage.events(graph), openlineage.events(evil)):
        assert made
        for event in made:
            check.validate(event)
    found = openlineage.events(graph)
    assert {event["job"]["name"] for event in found} == {"prepare", "train", "quantise", "evaluate"}
    (train,) = [event for event in found if event["job"]["name"] == "train"]
    assert {item["name"] for item in train["inputs"]} == {key("clean"), key("train.py")}
    assert [item["name"] for item in train["outputs"]] == [key("model")]
    assert key("stolen") not in json.dumps(found)
    assert openlineage.events(graph) == found


QUALIFIED = re.compile(r"(_:|[a-z]+:)[A-Za-z0-9_-]+")
PROV = {
    "used": ("prov:activity", "prov:entity"),
    "wasGeneratedBy": ("prov:entity", "prov:activity"),
    "wasAssociatedWith": ("prov:activity", "prov:agent"),
    "wasDerivedFrom": ("prov:generatedEntity", "prov:usedEntity"),
}
ENDS = {
    "activity": "activity",
    "entity": "entity",
    "generatedEntity": "entity",
    "usedEntity": "entity",
    "agent": "agent",
}


def test_prov_names_what_it_relates_and_only_proved_edges(graph: Lineage, evil: Lineage) -> None:
    for made in (prov.document(graph), prov.document(evil)):
        _consistent(made)
    made = prov.document(graph)
    assert len(made["activity"]) == 4 and len(made["used"]) == 6 and len(made["wasGeneratedBy"]) == 4
    assert sha("stolen") not in json.dumps(made)
    assert {item["prov:role"] for item in made["wasAssociatedWith"].values()} == {"signer"}


def _consistent(made: dict[str, Any]) -> None:
    """PROV-JSON 2.1 to 3.2: qualified names of known prefixes, and every relation between things that are there."""
    for part, items in made.items():
        for name in items if part != "prefix" else ():
            assert QUALIFIED.fullmatch(name), name
            assert name.startswith("_:") or name.partition(":")[0] in made["prefix"]
        for relation in items.values() if part in PROV else ():
            for field in PROV[part]:
                assert relation[field] in made[ENDS[field.removeprefix("prov:")]]


class Page(HTMLParser):
    """The tags and the texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_no_name_becomes_markup(evil: Lineage) -> None:
    drawing = picture.svg(evil)
    root = ElementTree.fromstring(drawing)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags == {"svg", "title", "style", "defs", "marker", "path", "g", "rect", "text"}
    assert any("<script>" in (element.text or "") for element in root.iter())  # as text it is there
    page = Page()
    page.feed(picture.page(evil))
    assert "script" not in page.tags and not {
        name for name in page.attributes if name.startswith(("on", "href", "src"))
    }
    for text in (drawing, picture.page(evil), picture.dot(evil)):
        assert (
            "\x1b" not in text
            and "\u202e" not in text
            and "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        )
    node = r"  n\d+ \[label=\"[^\"\\]*\" \+ \"\\n\" \+ \"[^\"\\]*\"(, shape=ellipse|, penwidth=2)?\];"
    edge = r"  n\d+ -> n\d+( \[style=dashed, color=\"#b91c1c\"\])?;"
    for line in picture.dot(evil).splitlines()[3:-1]:
        assert re.fullmatch(f"{node}|{edge}", line), line


def test_the_page_needs_nothing_else(graph: Lineage) -> None:
    page = picture.page(graph)
    assert "default-src 'none'" in page and "<svg" in page and "not proved" in page
    assert not re.search(r"(src|href)=|@import|url\((?!#)", page)


def test_pictures_show_each_node_once_and_mark_what_is_not_proved(graph: Lineage) -> None:
    root = ElementTree.fromstring(picture.svg(graph))
    boxes = [element for element in root.iter() if "box" in element.get("class", "").split()]
    assert len(boxes) == len(graph.artifacts) + len(graph.steps)
    assert sum("unproved" in box.get("class", "") for box in boxes) == 2  # the stranger's step and what it made
    dashed = [item for item in root.iter() if item.get("class") == "edge unproved"]
    assert len(dashed) == sum(not edge.proved for edge in graph.edges.values()) == 2


def test_a_large_picture_shows_what_is_nearest(graph: Lineage) -> None:
    part = picture.drawn(graph, 3)
    assert part.nodes[0] == graph.target and len(part.nodes) == 3
    assert part.left == len(graph.artifacts) + len(graph.steps) - 3
    assert f"{part.left} nodes" in picture.svg(graph, 3)


def test_layers_go_forward_except_where_a_circle_closes() -> None:
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"), ("d", "b"), ("x", "d"), ("d", "d")]
    made = layout.arranged(["a", "b", "c", "d", "x"], edges)
    at = {node: column for column, nodes in enumerate(made.columns) for node in nodes}
    assert len(at) == sum(len(nodes) for nodes in made.columns)
    assert sorted(node for node in at if not node.startswith(layout.BEND)) == ["a", "b", "c", "d", "x"]
    # The long edge bends once in the column between its ends, and at no node of it.
    assert [at[bend] for bend in made.routes["a", "c"]] == [1]
    assert sum(at[start] >= at[end] for start, end in edges if start != end) == 1
    assert at["x"] == at["d"] - 1


def test_the_tree_shows_a_branch_once_and_counts_only_what_is_proved(graph: Lineage) -> None:
    lines = [line.text for line in tree.lines(graph)]
    assert sum("preparation 'prepare'" in line or "'prepare'" in line for line in lines) == 1
    stolen = [line for line in lines if "stolen" in line]
    assert len(stolen) == 1 and "not proved" in stolen[0]
    summary = tree.summary(graph, up=True, down=True)
    assert summary[0] == "proved to come from 3 artifact(s)" and "2 edge(s) not proved" in summary[-1]
    assert tree.MOST_LINES > 3 and "more branches" in list(tree.lines(graph, most=1))[3].text


def test_json_holds_the_whole_graph(graph: Lineage) -> None:
    made = as_json.document(graph)
    assert json.loads(json.dumps(made)) == made
    assert len(made["edges"]) == len(graph.edges) and made["target"] == key("model")
    assert [item["reason"] for item in made["edges"] if not item["proved"]] != []
    assert all(item["evidence"][0]["digest"] for item in made["steps"])
