"""Writes docs/policy-rules.md, the list of built-in policies and rules, from their files.

python tools/rule_catalogue.py            write it
python tools/rule_catalogue.py --check    exit 1 when it is not up to date
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from assay import strict_yaml
from assay.policy.bundles.builtin import builtin, catalogue, names
from assay.policy.model import FRAMEWORKS

PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "policy-rules.md")

FAMILIES = {
    "model": "Models",
    "dataset": "Data sets",
    "training": "Training runs",
    "evaluation": "Evaluations and tests",
    "monitoring": "Monitoring",
    "sbom": "Bills of materials",
    "vulnerabilities": "Known vulnerabilities",
    "scan": "Other scans",
    "sarif": "Static analysis",
    "slsa": "SLSA provenance",
    "git": "Code",
    "images": "Container images",
    "verdict": "Verdicts of other policies",
}
"""Folder of rules to its heading, in the order of the page."""

_TITLES = {
    "atlas": "MITRE ATLAS",
    "airmf": "NIST AI RMF",
    "slsa": "SLSA",
    "ssdf": "NIST SSDF",
    "owasp-ml": "OWASP ML",
    "owasp-llm": "OWASP LLM",
    "eu-ai-act": "EU AI Act",
}
"""What to call a framework in a line."""

_INTRODUCTION = """\
# Built-in policies and rules

<!-- Written by tools/rule_catalogue.py from src/assay/policy/builtin: change the files there. -->

A built-in policy is used by its name, and its inputs are set on the command line or in `assay.yaml`:

```console
$ assay verify MODEL -p builtin:ml-baseline --set scans=error --set 'licences=[MIT, Apache-2.0]'
```

A rule of the catalogue is used in a policy of your own:

```yaml
assay-policy: 1
id: our-models
controls:
  - id: licences
    rules:
      - uses: sbom/licences@v1
        level: warning
        with: {allow: [MIT, Apache-2.0]}
```

A rule passes when some evidence satisfies it that those signed who are expected to; rules about scans, tests and
monitoring look at the newest report only. A rule's `level`, `when`, `labels`, `name` and texts can be replaced where it
is used. An input that has no default and is not marked as required is left out when it is not given.

Many rules have these inputs, which are not repeated below:
"""

_COMMON = 5
"""An input that more rules than this have in the same form is described once."""


def render() -> str:
    """The page."""
    rules = _rules()
    policies = {name: _policy(name) for name in names()}
    users: dict[str, list[str]] = {}
    for name, policy in policies.items():
        for used in dict.fromkeys(_uses(policy)):
            users.setdefault(used, []).append(name)
    common = _common(rules)
    lines = [_INTRODUCTION, *_inputs(list(common)), "## Policies", ""]
    for name, policy in policies.items():
        lines += _describe_policy(name, policy)
    for family, heading in FAMILIES.items():
        lines += [f"## {heading}", ""]
        for name, rule in rules.items():
            if name.startswith(f"{family}/"):
                lines += _describe_rule(name, rule, users.get(name, []), common)
    return "\n".join(lines).rstrip() + "\n"


def _rules() -> dict[str, dict[str, Any]]:
    sources = catalogue()
    files = [name for name in sources.names() if name.startswith("rules/")]
    found = {name[len("rules/") : -len(".yaml")]: strict_yaml.loads(sources.read(name), name) for name in files}
    unknown = {name.partition("/")[0] for name in found} - FAMILIES.keys()
    if unknown:
        raise SystemExit(f"rule_catalogue: give these families a heading: {', '.join(sorted(unknown))}")
    return found


def _policy(name: str) -> dict[str, Any]:
    sources, entry = builtin(name)
    made: dict[str, Any] = strict_yaml.loads(sources.read(entry), entry)
    return made


def _uses(policy: Mapping[str, Any]) -> Iterator[str]:
    for control in policy["controls"]:
        for rule in control["rules"]:
            yield rule["uses"].partition("@")[0]


def _describe_policy(name: str, policy: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"### builtin:{name}", "", f"{policy['name']}. {policy['description']}", "")
    yield from ("| control | rule | level | uses |", "|---|---|---|---|")
    defaults = {f"${{{{ inputs.{item['name']} }}}}": item.get("default") for item in policy["inputs"]}
    for control in policy["controls"]:
        gate = f" (gate {control['when']['gate']})" if "gate" in control.get("when", {}) else ""
        for rule in control["rules"]:
            level = rule.get("level", "error")
            shown = f"{defaults[level]} (input)" if level in defaults else level
            used = rule["uses"].partition("@")[0]
            yield f"| {_cell(control['name'])}{gate} | `{rule['id']}` | {shown} | [{used}](#{_anchor(used)}) |"
    yield ""
    yield from _inputs(policy["inputs"])


def _common(rules: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Inputs that many rules have in the same form."""
    counted = Counter(json.dumps(item) for rule in rules.values() for item in rule["inputs"])
    return [json.loads(text) for text, count in counted.items() if count > _COMMON]


def _describe_rule(
    name: str, rule: Mapping[str, Any], users: list[str], common: Collection[Mapping[str, Any]]
) -> Iterator[str]:
    yield from (f"### {name}", "", f"**{rule['name']}.** {rule['description']}", "")
    yield f"- Risk: {rule['risk']}"
    yield f"- Mitigation: {rule['mitigation']}"
    if "when" in rule:
        targets = rule["when"]["target"]
        yield f"- For: {', '.join(targets) if isinstance(targets, list) else targets}"
    spoken = [f"{_TITLES[key]} {', '.join(rule[key])}" for key in FRAMEWORKS if key in rule]
    if spoken:
        yield f"- Speaks for: {'; '.join(spoken)}"
    if users:
        yield f"- Used by: {', '.join(f'`builtin:{user}`' for user in users)}"
    if kept := [f"`{item['name']}`" for item in rule["inputs"] if item in common]:
        yield f"- Common inputs: {', '.join(kept)}"
    yield ""
    yield from _inputs([item for item in rule["inputs"] if item not in common])


def _inputs(declared: list[Mapping[str, Any]]) -> Iterator[str]:
    if not declared:
        return
    yield from ("| input | type | default | |", "|---|---|---|---|")
    for item in declared:
        default = "required" if item.get("required") else _default(item)
        kind = " or ".join(f"`{choice}`" for choice in item["choices"]) if "choices" in item else item["type"]
        yield f"| `{item['name']}` | {kind} | {default} | {_cell(item['description'])} |"
    yield ""


def _default(item: Mapping[str, Any]) -> str:
    if item.get("default") is None:
        return ""
    value = item["default"]
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _anchor(name: str) -> str:
    """The anchor that GitHub gives a heading."""
    return name.replace("/", "")


if __name__ == "__main__":
    from pages import write

    sys.exit(write(PAGE, render(), "tools/rule_catalogue.py"))
