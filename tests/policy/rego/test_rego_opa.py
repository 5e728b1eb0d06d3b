"""The `opa` program: how it is started, and what is made of what it prints.

The program itself is not installed everywhere, so a small script stands in for it that speaks its JSON; where the real
one is on the PATH, it is held against regorus as well.
"""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from assay.errors import UndecidedError
from assay.policy.rego.contract import read_result
from assay.policy.rego.fallback import AutoEngine
from assay.policy.rego.interface import Answer, Limits, Query
from assay.policy.rego.opa import OpaEngine, read
from assay.policy.rego.regorus import RegorusEngine

NOW = datetime(2026, 6, 1, tzinfo=UTC)
REAL = shutil.which("opa")

DOUBLE = """#!{python} -IS
import json, os, sys, time
here = {here!r}
if sys.argv[1:] == ["capabilities", "--current"]:
    names = ("count", "http.send", "opa.runtime", "net.lookup_ip_addr")
    print(json.dumps({{"builtins": [{{"name": name}} for name in names]}}))
    sys.exit()
text = open("m0.rego").read()
note = {{"argv": sys.argv[1:], "env": dict(os.environ), "input": sys.stdin.read(), "files": {{}}}}
for name in os.listdir("."):
    note["files"][name] = open(name).read()
with open(os.path.join(here, "log"), "a") as file:
    file.write(json.dumps(note) + "\\n")
if "old" in text and "--v0-compatible" not in sys.argv:
    error = {{"message": "`if` keyword is required before rule body", "code": "rego_parse_error",
             "location": {{"file": "m0.rego", "row": 2, "col": 5}}}}
    print(json.dumps({{"errors": [error]}}))
    sys.exit(2)
if "sleep" in text:
    time.sleep(60)
if "big" in text:
    sys.stdout.write("x" * (3 << 20))
for line in text.splitlines():
    if line.startswith("# says "):
        sys.stdout.write(line[7:])
    if line.startswith("# prints "):
        sys.stderr.write(line[9:] + "\\n")
    if line.startswith("# ends "):
        sys.exit(int(line[7:]))
"""


def says(value: Any) -> str:
    return "# says " + json.dumps({"result": [{"expressions": [{"value": value, "text": "x"}]}]}) + "\n"


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "opa"
    path.write_text(DOUBLE.format(python=sys.executable, here=str(tmp_path)))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("OPA_SECRET", "hunter2")
    return tmp_path


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log").read_text().splitlines()]


def ask(text: str, *inputs: Any, limits: Limits | None = None, **query: Any) -> list[Answer]:
    with OpaEngine() as engine:
        query_ = Query({"rule.rego": text}, **query)
        return engine.evaluate(query_, inputs or [{}], now=NOW, limits=limits or Limits(seconds=10.0, answer=1 << 20))


def test_without_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UndecidedError, match="no opa program"):
        OpaEngine()
    with AutoEngine() as auto:
        (answer,) = auto.evaluate(Query({"a.rego": "package verify\nverify := graphql.parse(1)"}), [{}], now=NOW)
    assert answer.error is not None and "could not find function graphql.parse" in answer.error


def test_a_value_and_how_it_was_asked_for(double: Path) -> None:
    text = "package verify\n" + says({"allow": True}) + "# prints r.rego:1: hi\n"
    (answer,) = ask(text, {"x": 1}, data={"d": 2})
    assert answer == Answer({"allow": True}, True, prints=("r.rego:1: hi",))
    (note,) = log(double)
    assert json.loads(note["input"]) == {"x": 1}
    assert json.loads(note["files"]["data.json"]) == {"d": 2}
    assert note["argv"][-1] == "data.verify.verify with time.now_ns as 1780272000000000000"
    assert "--strict-builtin-errors" in note["argv"] and "--v0-compatible" not in note["argv"]
    capabilities = json.loads(note["files"]["capabilities.json"])
    assert capabilities == {"builtins": [{"name": "count"}], "allow_net": []}
    assert "OPA_SECRET" not in note["env"] and "PATH" not in note["env"]


def test_http_send_knows_the_answers_and_asks_nobody(double: Path) -> None:
    ask("package verify\n" + says(1), answers={"https://a": {"status_code": 200}}, network=("example.org",))
    (note,) = log(double)
    assert note["argv"][-1].endswith("with http.send as data.assay_http.send")
    capabilities = json.loads(note["files"]["capabilities.json"])
    assert capabilities["allow_net"] == []
    assert [item["name"] for item in capabilities["builtins"]] == ["count", "http.send"]
    assert json.loads(note["files"]["data.json"])["assay_answers"] == {"https://a": {"status_code": 200}}


def test_the_old_syntax_is_found_out_once(double: Path) -> None:
    answers = ask("package verify\n# old\n" + says(1), {}, {})
    assert [answer.value for answer in answers] == [1, 1]
    assert ["--v0-compatible" in note["argv"] for note in log(double)] == [False, True, True]
    (kept,) = ask("package verify\nimport rego.v1\n# old\n" + says(1))
    assert kept.error == "rule.rego:2: `if` keyword is required before rule body"
    (told,) = ask("package verify\n# old\n" + says(1), version="v1")
    assert told.error is not None


@pytest.mark.parametrize(
    "text",
    [
        "# ends 0",
        "# ends 1",
        '# says {"result": [{"expressions": [{"value": {"allow": true}}]}]}\n# ends 1',
        '# says {"result": [{"expressions": [{"value": {"allow": true}}]}], "errors": []}',
        '# says {"result": [{"expressions": [{"value": 1}]}, {"expressions": [{"value": {"allow": true}}]}]}',
        '# says {"result": [{"expressions": [{"value": 1}, {"value": {"allow": true}}]}]}',
        '# says {"result": [{"expressions": [{}]}]}',
        '# says {"result": {"allow": true}}',
        '# says [{"allow": true}]',
        '# says {"allow": true}',
        "# says {",
        "# says true",
        "# big",
    ],
)
def test_nothing_else_is_a_value(double: Path, text: str) -> None:
    (answer,) = ask("package verify\n" + text)
    assert not answer.defined and read_result(answer).allow is False and read_result(answer).error


def test_undefined(double: Path) -> None:
    assert ask("package verify\n# says {}") == [Answer()]


def test_a_deadline(double: Path) -> None:
    answers = ask("package verify\n# sleep", {}, {}, {}, {}, limits=Limits(seconds=0.2))
    assert [answer.error for answer in answers] == ["the rule took longer than it may"] * 4


def test_what_is_refused_before_it_is_asked(double: Path) -> None:
    with OpaEngine() as engine:
        bad = engine.evaluate(Query({"a": "x"}, entry="true"), [{}], now=NOW)
        gone = engine.evaluate(Query({"a": "import data.superset"}), [{}], now=NOW)
        numbers = engine.evaluate(Query({"a": "x"}, data={"x": float("inf")}), [{}], now=NOW)
        odd = engine.evaluate(Query({"a": "x"}), [object()], now=NOW)
    assert all(answer.error for answer in (*bad, *gone, *numbers, *odd))
    assert not (double / "log").exists()


def test_only_what_regorus_lacks_goes_to_opa(double: Path) -> None:
    with AutoEngine() as auto:
        lacks = "package verify\nverify := graphql.parse(input)\n" + says("from opa")
        assert auto.evaluate(Query({"a.rego": lacks}), [{}, {}], now=NOW)[1].value == "from opa"
        newer = 'package verify\nverify := $"{input.x}"\n' + says("newer")
        assert auto.evaluate(Query({"a.rego": newer}), [{}], now=NOW)[0].value == "newer"
        asked = len(log(double))
        for failing in ('to_number("x")', "input.x", 'http.send({"url": "x"})', "1 / 0", "1e400"):
            (answer,) = auto.evaluate(
                Query({"a.rego": f"package verify\nverify := {failing}\n{says(1)}"}), [{}], now=NOW
            )
            assert not answer.defined
        assert len(log(double)) == asked


def test_errors_name_the_users_file() -> None:
    error = {"message": "no\nway", "location": {"file": "/x/m3.rego", "row": 7, "col": 1}}
    answer = read(json.dumps({"errors": [error]}).encode(), 2, {"m3.rego": "licences.rego"})
    assert answer.error == "licences.rego:7: no way"
    for odd in ([], [1], "x", {"message": 3}, [{"location": 1}], None):
        assert read(json.dumps({"errors": odd}).encode(), 2, {}).error


RULES = [
    ('package verify\nimport rego.v1\nverify := {"allow": not "GPL" in input.l, "t": time.now_ns()}', {"l": ["MIT"]}),
    ('package verify\nimport rego.v1\nverify := {"allow": true} if not "GPL" in input.l', {}),
    ('package verify\nverify = v { v := {"allow": input.x > 1} }', {"x": 2}),
    ('package verify\nimport data.scribe\nverify := {"a": scribe.get_asset_data(input)}', {"subject": [{"name": "n"}]}),
    ('package verify\nverify := http.send({"method": "get", "url": "https://example.org"})', {}),
    ('package verify\nverify := to_number("x")', {}),
]
if REAL:  # not a skip: continuous integration allows none, and the program is not everywhere

    @pytest.mark.parametrize(("text", "given"), RULES)
    def test_the_real_program_and_regorus_agree(text: str, given: Any) -> None:
        query = Query({"rule.rego": text})
        with RegorusEngine() as first, OpaEngine(REAL) as second:
            (one,), (other,) = (engine.evaluate(query, [given], now=NOW) for engine in (first, second))
        assert (one.value, one.defined, one.error is None) == (other.value, other.defined, other.error is None)
