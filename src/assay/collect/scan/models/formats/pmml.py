"""PMML: models as XML. Numbers and rules, unless it reaches for entities, scripts or classes of the evaluator's
language.

Source: https://dmg.org/pmml/v4-4-1/GeneralStructure.html; JPMML takes a function's dotted name for a Java class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from assay.collect.scan.models.formats.telling import EXECUTION, SUPPLY, shown, tell
from assay.collect.scan.models.formats.xml_documents import root_name, walk
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

_SCRIPT = re.compile(r"script|javascript|groovy|python|exec", re.IGNORECASE)
_CALL = re.compile(
    r"Runtime\.getRuntime|ProcessBuilder|java\.lang\.|javax\.script|os\.system|subprocess|eval\(|exec\(|<script|javascript:"
)
_SOURCES = frozenset({"extender", "name", "value"})


class Pmml:
    """``.pmml``."""

    name = "pmml"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By its outermost element, or by name."""
        root = root_name(head)
        return root == "PMML" or (root == "?" and path.lower().endswith(".xml")) or path.lower().endswith(".pmml")

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """Entities, scripts, and functions that are classes."""

        def element(name: str, attributes: Mapping[str, str], depth: int) -> list[Finding]:
            found: list[Finding] = []
            if any(_CALL.search(value[:10_000]) for value in attributes.values()):
                text = next(value for value in attributes.values() if _CALL.search(value[:10_000]))
                found.append(_finding(scan, "pmml/script", Tier.MALICIOUS, f"<{name}> holds a program: {shown(text)}"))
            elif name.lower() == "script":
                found.append(_finding(scan, "pmml/script", Tier.CODE, "it holds a script"))
            elif name == "Extension" and any(_SCRIPT.search(attributes.get(key, "")) for key in _SOURCES):
                what = shown(attributes.get("name") or attributes.get("extender", "?"), 80)
                found.append(_finding(scan, "pmml/script", Tier.CODE, f"extension {what!r} holds a script"))
            elif name == "Apply" and re.search(r"\w\.\w+\.\w", attributes.get("function", "")):
                what = shown(attributes["function"], 120)
                found.append(
                    _finding(
                        scan, "pmml/class", Tier.UNKNOWN, f"it calls {what!r}, a class of the evaluator's language"
                    )
                )
            elif name == "Extension" and attributes.get("extender") and not attributes.get("name"):
                found.append(
                    tell(
                        scan,
                        "pmml/extension",
                        Tier.NONE,
                        Severity.INFO,
                        f"extension of {shown(attributes['extender'], 80)!r}",
                        atlas=SUPPLY,
                    )
                )
            return found

        yield from walk(file, size, scan, element)


def _finding(scan: Scan, rule: str, tier: Tier, message: str) -> Finding:
    severity = Severity.CRITICAL if tier is Tier.MALICIOUS else Severity.HIGH
    return tell(
        scan, rule, tier, severity, message, atlas=EXECUTION, mitigation="evaluate it without extensions, or not at all"
    )
