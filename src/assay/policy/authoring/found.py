"""What a piece of evidence says, turned into what a rule may demand of the next one.

Every demand is tried on the evidence that it came from; one that it does not meet is left out, and that is told.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from assay.errors import AssayError
from assay.policy import fields
from assay.policy.case import Item
from assay.policy.checks import CHECKS, bom
from assay.policy.checks.formats import FORMAT
from assay.policy.checks.interface import Document
from assay.policy.checks.reading import listed, mapping, number, objects, string
from assay.policy.evaluation.standing import document

MARGIN = 0.02
"""How far below (or above) a measured metric its threshold lies, as a part of the metric."""

_LESS_IS_BETTER = re.compile(
    r"(^|[^a-z])(loss|error|err|rmse|mse|mae|mape|wer|cer|perplexity|ppl|latency|fpr|fnr|brier|ece|distance|drift)"
)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_/-]*")


@dataclass(slots=True)
class Demanded:
    """What a rule may demand."""

    name: str
    """The rule's name."""
    require: dict[str, Any] = field(default_factory=dict)
    """Keys of ``require:`` beside evidence and signers."""
    loose: list[str] = field(default_factory=list)
    ages: bool = False
    """What it says grows old while the bytes stay the same."""


def demanded(item: Item, kind: str, now: datetime) -> Demanded:
    """What evidence of this kind (short name) demands of its successors."""
    seen = document(item, now)
    made = Demanded(_NAMES.get(kind, f"A statement of the type {kind}"))
    if (look := _LOOKS.get(kind)) is not None:
        look(seen, made)
    else:
        made.loose.append("anything that it may say is accepted")
    builder = fields.named(item.statement, "builder")
    if kind == "slsaprovenance" and isinstance(builder, str) and _sayable(builder):
        made.require["builder"] = [_literal(builder)]
    return made


def _literal(text: str) -> str:
    """``text`` as a glob that matches nothing else."""
    return re.sub(r"([*?\[])", r"[\1]", text)


def _check(seen: Document, made: Demanded, name: str, arguments: dict[str, Any], without: str) -> None:
    """Demand ``arguments`` of a check when the evidence meets them; else say what is left open."""
    try:
        holds = not list(CHECKS[name].violations(seen, CHECKS[name].prepare(arguments, name)))
    except AssayError:
        holds = False
    if holds and _sayable(arguments):
        made.require[name] = arguments
    else:
        made.loose.append(without)


def _sayable(value: Any) -> bool:
    """Whether a policy can hold it as it is: text of a stranger's may have characters that no YAML file has."""
    if isinstance(value, dict):
        return all(_sayable(key) and _sayable(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_sayable, value))
    return not isinstance(value, str) or (value.isprintable() and "${{" not in value)


def _bill(seen: Document, made: Demanded) -> None:
    bill = bom.read(seen)
    parts = [*([bill.target] if bill.target is not None else []), *bill.parts]
    formats = sorted({name for part in parts for name in bom.properties(part.raw, FORMAT)})
    if formats:
        allow = [_literal(name) for name in formats]
        _check(seen, made, "formats", {"allow": allow}, "any file format is accepted: some model file has none")
    else:
        made.loose.append("any file format is accepted: the bill names none")
    own = sorted({text for text in (bill.target.licences if bill.target is not None else []) if text})
    words = sorted({word for text in own for word in _licences(text)})
    if words:
        _check(seen, made, "licences", {"allow": words}, f"any licence is accepted: {', '.join(own)[:100]} is unclear")
    else:
        made.loose.append("any licence is accepted: the target states none")


def _licences(text: str) -> list[str]:
    """The licences of an expression, without its operators."""
    if not re.search(r"[()]|\s(AND|OR|WITH)\s", text):
        return [text]
    return [word for word in re.findall(r"[^\s()]+", text) if word not in ("AND", "OR", "WITH")]


def _evaluation(seen: Document, made: Demanded) -> None:
    made.ages = True
    bounds: dict[str, dict[str, float]] = {}
    for name, value in mapping(seen.predicate.get("metrics")).items():
        measured = number(value)
        if measured is None or not name or len(name) > 500 or len(bounds) >= 50:
            continue
        less = _LESS_IS_BETTER.search(name.lower()) is not None
        limit = _rounded(measured + abs(measured) * (MARGIN if less else -MARGIN), up=less)
        bounds[name] = {"maximum" if less else "minimum": limit}
        made.loose.append(
            f"{_shown(name)} {'<=' if less else '>='} {limit:g}, measured {measured:g} (a margin of {MARGIN:.0%})"
        )
    if not bounds:
        made.loose.append("any metrics are accepted")
        return
    arguments: dict[str, Any] = {"require": bounds}
    dataset = seen.predicate.get("dataset")
    digests = sorted(fields.strong(mapping(dataset).get("digest")))
    named = string(dataset) or string(mapping(dataset).get("name"))
    sha256 = next((digest for digest in digests if len(digest) == 64), None)
    if sha256 is not None:
        arguments["datasets"] = [f"sha256:{sha256}"]
    elif named is not None:
        arguments["datasets"] = [_literal(named)]
        made.loose.append("the data set is named and not digested: another one may have its name")
    _check(seen, made, "metrics", arguments, "any metrics are accepted: what was found cannot be demanded")


def _rounded(value: float, *, up: bool) -> float:
    """Three significant digits, away from what was measured."""
    if value == 0 or not math.isfinite(value):
        return 0.0 if value == 0 else value
    scale = 10 ** (2 - math.floor(math.log10(abs(value))))
    # Six digits more than are kept: what floating point adds at the end must not push a limit one step further.
    rounded = (math.ceil if up else math.floor)(round(value * scale, 6)) / scale
    return rounded if math.isfinite(rounded) else value


def _shown(name: str) -> str:
    return "".join(char for char in name[:60] if char.isprintable())


def _scan(seen: Document, made: Demanded) -> None:
    made.ages = True
    kind = string(seen.predicate.get("kind"))
    arguments: dict[str, Any] = {"kind": kind}
    counts = _counts(seen)
    tiers = sorted({tier for one in objects(seen.predicate.get("files")) if (tier := string(one.get("tier")))})
    if any(tier in ("unknown", "code") for tier in tiers):
        arguments["tiers"] = sorted({"none", "safe", *(tier for tier in tiers if tier in ("unknown", "code"))})
        made.loose.append(f"files may be {' or '.join(arguments['tiers'])}, as they were")
    if any(counts.values()):
        arguments["max"] = counts
        made.loose.append("findings are tolerated, as many as there were: " + _counted(counts))
    if listed(seen.predicate.get("skipped")):
        arguments["skipped"] = "allow"
        made.loose.append("files may be left out of the scan, as some were")
    scanner = string(mapping(seen.predicate.get("scanner")).get("uri"))
    if scanner is not None:
        arguments["scanners"] = [_literal(scanner)]
    _check(seen, made, "scan", arguments, "any result of the scan is accepted: what was found cannot be demanded")


def _counts(seen: Document) -> dict[str, int]:
    counts = dict.fromkeys(("critical", "high", "medium", "low"), 0)
    for file in objects(seen.predicate.get("files")):
        for finding in objects(file.get("findings")):
            severity = finding.get("severity")
            if severity != "info":
                counts[severity if isinstance(severity, str) and severity in counts else "critical"] += 1
    return counts


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _vulnerabilities(seen: Document, made: Demanded) -> None:
    made.ages = True
    for most in ({}, *({"max": {worst: 0}} for worst in ("low", "medium", "high", "critical"))):
        try:
            check = CHECKS["vulnerabilities"]
            holds = not list(check.violations(seen, check.prepare(most, "vulnerabilities")))
        except AssayError:
            holds = False
        if holds:
            made.require["vulnerabilities"] = most
            if most:
                made.loose.append(
                    f"vulnerabilities milder than {next(iter(most['max']))} are not limited, as some were found"
                )
            return
    made.loose.append("any vulnerabilities are accepted: there are critical ones, or the scan cannot be read")


def _monitoring(seen: Document, made: Demanded) -> None:
    made.ages = True
    arguments = {"kind": string(seen.predicate.get("kind"))}
    _check(
        seen, made, "monitoring", arguments, "any outcome of the monitoring is accepted: the last one was no good one"
    )


def _tests(seen: Document, made: Demanded) -> None:
    made.ages = True
    _check(seen, made, "tests", {}, "any outcome of the tests is accepted: not all of them passed")


def _findings(seen: Document, made: Demanded) -> None:
    made.ages = True
    _check(seen, made, "findings", {}, "any findings are accepted: there are some")


def _provenance(seen: Document, made: Demanded) -> None:
    build_type = string(mapping(seen.predicate.get("buildDefinition")).get("buildType"))
    if build_type is not None:
        _check(seen, made, "provenance", {"build-types": [_literal(build_type)]}, "any kind of build is accepted")
    made.loose.append("any external parameters and dependencies are accepted")


def _signature(seen: Document, made: Demanded) -> None:
    """The signature's list of files is all that it says, and it is compared anyway."""


_LOOKS: dict[str, Callable[[Document, Demanded], None]] = {
    "cyclonedx": _bill,
    "spdx": _bill,
    "evaluation": _evaluation,
    "scan": _scan,
    "vuln": _vulnerabilities,
    "monitoring": _monitoring,
    "junit": _tests,
    "test-result": _tests,
    "sarif": _findings,
    "slsaprovenance": _provenance,
    "model-signature": _signature,
}

_NAMES = {
    "cyclonedx": "A bill of materials",
    "spdx": "A bill of materials (SPDX)",
    "evaluation": "An evaluation as good as the last",
    "scan": "A scan that found no more",
    "vuln": "No more known vulnerabilities",
    "monitoring": "Monitoring without alarm",
    "junit": "Tests that passed",
    "test-result": "Tests that passed",
    "sarif": "A static analysis without findings",
    "slsaprovenance": "Built by the same builder",
    "model-signature": "Exactly the files that were signed",
}
