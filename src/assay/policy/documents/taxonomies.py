"""The frameworks that rules speak for, as SARIF taxonomies (3.19.3): each a component with the ids that were named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from assay.policy.documents.words import clean
from assay.policy.verdict import RuleResult

KNOWN = {
    "atlas": ("MITRE ATLAS", "MITRE", "https://atlas.mitre.org"),
    "airmf": ("NIST AI RMF", "NIST", "https://www.nist.gov/itl/ai-risk-management-framework"),
    "slsa": ("SLSA", "OpenSSF", "https://slsa.dev"),
    "ssdf": ("NIST SSDF", "NIST", "https://csrc.nist.gov/projects/ssdf"),
    "owasp-ml": ("OWASP Machine Learning Security Top Ten", "OWASP", "https://mltop10.info"),
    "owasp-llm": ("OWASP Top 10 for LLM Applications", "OWASP", "https://genai.owasp.org/llm-top-10/"),
    "eu-ai-act": ("EU AI Act", "European Union", "https://eur-lex.europa.eu/eli/reg/2024/1689/oj"),
}
"""Framework id to its name, who publishes it, and where."""

_ATLAS = {"T": "techniques", "M": "mitigations", "TA": "tactics"}


class Taxonomies:
    """The taxonomies that some results need, and references into them."""

    def __init__(self, results: Iterable[RuleResult]) -> None:
        ids: dict[str, dict[str, None]] = {}
        for result in results:
            for framework, named in result.frameworks.items():
                if named:
                    ids.setdefault(framework, {}).update(dict.fromkeys(named))
        self._index = {framework: i for i, framework in enumerate(sorted(ids))}
        self._taxa = {framework: {id: i for i, id in enumerate(sorted(ids[framework]))} for framework in self._index}

    def components(self) -> list[dict[str, Any]]:
        """``run.taxonomies``."""
        return [self._component(framework) for framework in self._index]

    def references(self) -> list[dict[str, Any]]:
        """``driver.supportedTaxonomies``."""
        return [_reference(framework, index) for framework, index in self._index.items()]

    def taxa(self, result: RuleResult) -> list[dict[str, Any]]:
        """``result.taxa``."""
        return [
            {
                "id": id,
                "index": self._taxa[framework][id],
                "toolComponent": _reference(framework, self._index[framework]),
            }
            for framework, named in result.frameworks.items()
            for id in dict.fromkeys(named)
        ]

    def relationships(self, result: RuleResult) -> list[dict[str, Any]]:
        """``rule.relationships``."""
        return [{"target": taxon, "kinds": ["relevant"]} for taxon in self.taxa(result)]

    def _component(self, framework: str) -> dict[str, Any]:
        name, organization, uri = KNOWN.get(framework, (framework, "", ""))
        made: dict[str, Any] = {
            "name": name,
            "isComprehensive": False,  # only what the policy names
            "taxa": [_taxon(framework, id) for id in self._taxa[framework]],
        }
        if organization:
            made |= {"organization": organization, "informationUri": uri}
        if framework == "atlas":
            made["version"] = _atlas()[0]
        return made


def _reference(framework: str, index: int) -> dict[str, Any]:
    return {"name": KNOWN.get(framework, (framework,))[0], "index": index}


def _taxon(framework: str, id: str) -> dict[str, Any]:
    texts = _atlas()[1] if framework == "atlas" else _airmf() if framework == "airmf" else {}
    text = texts.get(id, id)
    made: dict[str, Any] = {"id": id, "shortDescription": {"text": clean(text) or "-"}}
    if framework == "atlas" and (match := re.fullmatch(r"AML\.(TA|T|M)[0-9.]+", id)):
        made["name"] = clean(text)
        made["helpUri"] = f"https://atlas.mitre.org/{_ATLAS[match[1]]}/{id}"
    return made


@cache
def _atlas() -> tuple[str, dict[str, str]]:
    """ATLAS's version, and the name of each id in it."""
    document = _shipped("atlas.json")
    listed = (item for part in ("tactics", "techniques", "mitigations") for item in document[part])
    return document["version"], {item["id"]: item["name"] for item in listed}


@cache
def _airmf() -> dict[str, str]:
    """The text of each function, category and subcategory of the AI RMF."""

    def rows(items: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
        for item in items:
            yield item["id"], item["text"]
            yield from rows(item.get("categories", item.get("subcategories", ())))

    return dict(rows(_shipped("airmf.json")["functions"]))


def _shipped(name: str) -> Any:
    return json.loads(files("assay.policy").joinpath("frameworks", name).read_bytes())
