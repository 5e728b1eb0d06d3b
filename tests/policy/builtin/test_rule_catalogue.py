"""docs/policy-rules.md is what tools/rule_catalogue.py writes today, and its links lead somewhere."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from assay.policy.bundles.builtin import names
from policy.builtin import catalogue_samples as make

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "policy-rules.md"


def test_the_page_is_up_to_date() -> None:
    written = runpy.run_path(str(ROOT / "tools" / "rule_catalogue.py"))["render"]()
    assert PAGE.read_text(encoding="utf-8") == written, "run tools/rule_catalogue.py"


def test_every_rule_and_policy_is_listed_once() -> None:
    headings = re.findall(r"^### (.+)$", PAGE.read_text(encoding="utf-8"), re.M)
    assert sorted(headings) == sorted([*make.rules(), *(f"builtin:{name}" for name in names())])


def test_links_lead_to_headings() -> None:
    text = PAGE.read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.M)
    }
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert links and {*links} <= anchors
