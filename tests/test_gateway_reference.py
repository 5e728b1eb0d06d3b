"""docs/gateway-file.md is what tools/gateway_reference.py writes, names each key, and its links lead somewhere."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import msgspec
import pytest

from assay.guard.gateway.rules import statements
from assay.guard.gateway.settings import convert, load, model
from assay.guard.gateway.settings.words import Section

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "gateway-file.md"
TOOL = runpy.run_path(str(ROOT / "tools" / "gateway_reference.py"))


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == TOOL["render"](), "run tools/gateway_reference.py"


def test_every_section_of_the_settings_is_described() -> None:
    described = set(TOOL["SECTIONS"].values())
    written = {one for one in vars(model).values() if isinstance(one, type) and issubclass(one, Section)} - {Section}
    assert written <= described


@pytest.mark.parametrize("heading", sorted(TOOL["SECTIONS"]))
def test_every_key_has_its_row_and_a_text(heading: str) -> None:
    kind = TOOL["SECTIONS"][heading]
    part = re.split(r"^#{2,3} ", PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2], flags=re.M)[0]
    rows = re.findall(r"^\| `([a-z_-]+)` \| .+ \| .* \| (.*) \|$", part, re.M)
    wanted = [field.encode_name for field in msgspec.structs.fields(kind) if field.encode_name != "directory"]
    assert [name for name, _ in rows] == wanted
    assert [name for name, text in rows if not text] == []


def test_every_statement_of_rules_is_described() -> None:
    assert set(TOOL["STATEMENTS"]) == {*statements._READERS, *statements._OTHERS}


def test_defaults_are_those_that_the_file_is_read_with() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| .+? \| `(.*?)` \| ", PAGE.read_text(encoding="utf-8"), re.M))
    read = convert({"upstream": "http://127.0.0.1:1"}, "test", "/")
    assert rows["first-byte"] == "1m" and read.timeouts.first_byte == 60
    assert rows["rotate"] == "100MiB" and read.log.rotate == 100 << 20
    assert rows["pending"] == "1024" and read.pending == 1024


def test_links_lead_to_headings() -> None:
    text = PAGE.read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.M)
    }
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert links and {*links} <= anchors


@pytest.mark.parametrize("name", ["gateway/gateway.yaml", "gateway/edge.yaml", "demo/gateway.yaml"])
def test_example_files_can_be_read(name: str) -> None:
    assert load(str(ROOT / "examples" / name)).routes
