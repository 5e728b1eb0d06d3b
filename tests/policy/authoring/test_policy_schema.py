"""The published schemas: up to date, and as strict and as lenient as the reader."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

import assay.policy
from assay import strict_yaml
from assay.policy.authoring import starting
from assay.policy.authoring.places import places
from assay.policy.authoring.schema import policy_schema, rule_schema
from assay.policy.bundles import BUILTIN
from assay.policy.checks import CHECKS

FOLDER = Path(assay.policy.__file__).parent
TESTS = Path(__file__).parents[2]

POLICY = Draft202012Validator(policy_schema())
RULE = Draft202012Validator(rule_schema())


def tool() -> Any:
    spec = importlib.util.spec_from_file_location("policy_schema", TESTS.parent / "tools" / "policy_schema.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def errors(validator: Draft202012Validator, document: Any) -> list[str]:
    return [f"{list(error.path)}: {error.message[:200]}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize(("name", "made"), [("schema.json", policy_schema), ("rule.schema.json", rule_schema)])
def test_the_published_files_are_what_the_reader_knows(name: str, made: Any) -> None:
    schema = made()
    Draft202012Validator.check_schema(schema)
    assert (FOLDER / name).read_text(encoding="utf-8") == tool().text(schema), "run tools/policy_schema.py"


def test_every_policy_and_rule_that_ships_is_valid() -> None:
    seen = 0
    for place in places(BUILTIN):
        document = strict_yaml.loads(place.sources.read(place.entry), place.entry)
        assert errors(RULE if place.what == "rule" else POLICY, document) == [], place.name
        seen += 1
    assert seen > 5


def test_policies_that_tests_use_are_valid() -> None:
    from assay.policy.reading import examine
    from assay.policy.sources import Packed

    seen = 0
    for path in sorted(TESTS.glob("policy/**/*.py")):
        for text in path.read_text(encoding="utf-8").split('"""'):
            if not text.lstrip("\\\n").startswith("assay-policy: 1"):
                continue
            data = text.lstrip("\\\n").encode()
            try:
                policy, problems = examine(Packed("file:p", {"p": data}), "p", _nowhere)
            except UnicodeError:
                continue
            if policy is None or any(problem.fatal for problem in problems):
                continue  # a test of what the reader refuses
            assert errors(POLICY, strict_yaml.loads(data, "p")) == [], text
            seen += 1
    assert seen >= 3


def _nowhere(name: str) -> Any:
    from assay.errors import DocumentError

    raise DocumentError(f"there is no rule {name!r}")


@pytest.mark.parametrize("strict", ["warn", "basics", "all"])
@pytest.mark.parametrize("protect", ["model", "dataset", "both"])
def test_policies_of_init_are_valid(protect: str, strict: str) -> None:
    answers = starting.Answers(protect, "github", strict)
    files = starting.files(answers, starting.Signers((), "https://github.com/o/r/.github/workflows/w.yml@refs/heads/m"))
    assert errors(POLICY, yaml.safe_load(files["policy.yml"])) == []


GOOD = {
    "assay-policy": 1,
    "controls": [
        {"rules": [{"require": {"evidence": {"a": {"type": "scan", "scan": {"kind": "pii"}}}, "same": "run_id"}}]}
    ],
}


@pytest.mark.parametrize(
    "path",
    [(), ("controls", 0), ("controls", 0, "rules", 0), ("controls", 0, "rules", 0, "require"),
     ("controls", 0, "rules", 0, "require", "evidence", "a"),
     ("controls", 0, "rules", 0, "require", "evidence", "a", "scan")],
)  # fmt: skip
def test_a_key_that_the_reader_does_not_know_is_wrong_at_every_level(path: tuple[Any, ...]) -> None:
    assert errors(POLICY, GOOD) == []
    bad = copy.deepcopy(GOOD)
    place: Any = bad
    for key in path:
        place = place[key]
    place["unheard-of"] = 1
    assert errors(POLICY, bad) != []


def test_every_key_and_every_check_has_a_description() -> None:
    schema = policy_schema()
    for name in ("control", "rule", "selector", "require"):
        for key, value in schema["$defs"][name]["properties"].items():
            assert value.get("description") or key in (*CHECKS, "type"), (name, key)
    for name in CHECKS:
        assert schema["$defs"][f"check-{name}"]["description"]
    assert json.dumps(schema)
