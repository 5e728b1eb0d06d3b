"""Profiles as a user meets them: learned by runs, signed, held against runs, accepted by a person, enforced."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from assay.api import profiling
from assay.api.profile_files import open_profile
from assay.api.profiling import Profiling
from assay.api.signers import SignWith, signer
from assay.cli.main import main
from assay.collect.behaviour.model import as_facts
from assay.config import load

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TRAIN = """\
import os, sys
total = 0
for name in sorted(os.listdir("data")):
    if name.endswith(".csv"):
        total += len(open(os.path.join("data", name)).read())
with open("out/model.json", "w") as file:
    file.write(str(total))
if os.path.exists("data/.fail"):
    sys.exit(3)
if os.path.exists("data/.steal"):
    open("data/.steal").read()
    try:
        open(os.environ["SECRET"]).read()
    except PermissionError:
        sys.exit(4)
"""
POLICY = """\
assay-policy: 1
id: quiet-run
name: Nothing severe in the run
version: 1
controls:
- id: run
  name: The run
  rules:
  - id: nothing-severe
    name: No severe anomaly in the run
    require: {evidence: sarif, findings: {max: {error: 0}, tools: ["assay profile"]}}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("data", "out"):
        (tmp_path / name).mkdir()
    (home / "customers.db").write_text("secret")
    (tmp_path / "train.py").write_text(TRAIN)
    for i in range(3):
        (tmp_path / "data" / f"part-{i}.csv").write_text("1\n")
    monkeypatch.setenv("SECRET", str(home / "customers.db"))
    assert main(["keys", "generate", "-O", "me.pem"]) == 0
    (tmp_path / "assay.yaml").write_text("signing: {key: me.pem}\ntrust: [{keys: [me.pub]}]\n")
    return tmp_path


def run(capfd: pytest.CaptureFixture[str], *flags: str, code: int = 0) -> dict[str, Any]:
    capfd.readouterr()
    command = ["run", "--json", "--step", "train", "--inputs", "data", "--outputs", "out", "--env", "SECRET"]
    got = main([*command, "--profile", "train.yaml", *flags, "--", sys.executable, "train.py"])
    out, err = capfd.readouterr()
    assert got == code, err
    assert "Traceback" not in err
    made: dict[str, Any] = json.loads(out)
    return made


def say(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capfd.readouterr()
    code = main([*arguments])
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


def test_learn_alarm_accept(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for i in range(3):
        made = run(capfd, "--learn")
        assert "learned" in made["profile"]["learned"] and made["profile"]["runs"] == i
    assert not run(capfd)["profile"]["severe"]

    # The step does what it never did: exit code 1, evidence, nothing learned, and a run that waits.
    (place / "data" / ".steal").write_text("")
    before = (place / "train.yaml").read_bytes()
    made = run(capfd, "--learn", code=1)
    assert made["outcome"] == "success" and made["profile"]["severe"]
    found = {item["key"]: item for item in made["profile"]["findings"]}
    stolen = next(item for key, item in found.items() if key.endswith("/customers.db"))
    assert stolen["severity"] == "high" and stolen["atlas"] == ["AML.T0037"]
    assert "never seen in 3 earlier runs (p < 1/5)" in stolen["message"]
    assert (place / "train.yaml").read_bytes() == before

    code, out, _ = say(capfd, "profile", "diff", "train.yaml")
    assert code == 1 and any(line.startswith("+ reads") and "customers.db" in line for line in out.splitlines())
    code, _, err = say(capfd, "profile", "accept", "train.yaml", "--by", " ", "--reason", "x")
    assert code == 2 and "says why" in err
    code, out, _ = say(capfd, "profile", "accept", "train.yaml", "--by", "Ada", "--reason", "the new source")
    assert code == 0 and "customers.db" in out and not os.path.exists("train.yaml.waiting")
    code, out, _ = say(capfd, "profile", "show", "train.yaml", "--json")
    shown = json.loads(out)
    assert code == 0 and shown["state"] == {"action": "accepted", "by": "Ada", "reason": "the new source"}
    assert shown["runs"] == 4
    assert not run(capfd)["profile"]["severe"]


def test_a_policy_asks_for_a_quiet_run_in_one_line(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (place / "policy.yml").write_text(POLICY)
    run(capfd, "--learn")
    assert say(capfd, "verify", "dir:out", "-p", "policy.yml")[0] == 1  # a first run was compared with nothing
    run(capfd, "--learn")
    assert say(capfd, "verify", "dir:out", "-p", "policy.yml")[0] == 0
    (place / "data" / ".steal").write_text("")
    (place / "data" / "part-9.csv").write_text("1\n")  # another model, so that nothing is said about it yet
    run(capfd, code=1)
    code, out, _ = say(capfd, "verify", "dir:out", "-p", "policy.yml")
    assert code == 1 and "nothing-severe" in out


def test_throwing_the_profile_away_makes_nothing_better(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (place / "policy.yml").write_text(POLICY)
    for _ in range(2):
        run(capfd, "--learn")
    (place / "data" / ".steal").write_text("")
    (place / "data" / "part-9.csv").write_text("1\n")
    for name in ("train.yaml", "train.yaml.sigstore.json"):
        (place / name).unlink()
    run(capfd, "--learn")
    assert say(capfd, "verify", "dir:out", "-p", "policy.yml")[0] == 1


def test_a_profile_that_was_changed_does_not_count(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(capfd, "--learn")
    text = (place / "train.yaml").read_text()
    (place / "train.yaml").write_text(text.replace("  reads:\n", '  reads:\n    "/etc/passwd": 1\n'))
    arguments = ["run", "--step", "train", "--inputs", "data", "--outputs", "out", "--profile", "train.yaml"]
    (place / "out" / "model.json").unlink()
    code, _, err = say(capfd, *arguments, "--", sys.executable, "train.py")
    assert code == 1 and "changed after it was signed" in err
    assert not (place / "out" / "model.json").exists()  # the step never started
    assert say(capfd, "profile", "show", "train.yaml")[0] == 1

    # Somebody else's signature is none either, and no signature is no answer.
    assert main(["keys", "generate", "-O", "other.pem"]) == 0
    accept = ["profile", "accept", "train.yaml", "--by", "Eve", "--reason", "because"]
    assert say(capfd, *accept, "--key", "other.pem")[0] == 0
    assert say(capfd, *arguments, "--", sys.executable, "train.py")[0] == 1
    (place / "train.yaml.sigstore.json").unlink()
    code, _, err = say(capfd, *arguments, "--", sys.executable, "train.py")
    assert code == 3 and "nobody signed" in err

    # A person who is trusted may change it by hand.
    assert say(capfd, *accept[:3], "--by", "Ada", "--reason", "read it")[0] == 0
    assert say(capfd, *arguments, "--", sys.executable, "train.py")[0] == 0


def test_a_waiting_run_of_somebody_else_is_not_accepted(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(capfd, "--learn")
    (place / "data" / ".steal").write_text("")
    run(capfd, code=1)
    text = (place / "train.yaml.waiting").read_text()
    (place / "train.yaml.waiting").write_text(text.replace("customers.db", "others.db"))
    code, _, err = say(capfd, "profile", "accept", "train.yaml", "--by", "Ada", "--reason", "fine")
    assert code == 1 and "changed after it was signed" in err


def test_one_profile_is_for_one_step(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(capfd, "--learn")
    code, _, err = say(capfd, "run", "--step", "evaluate", "--profile", "train.yaml", "--", sys.executable, "train.py")
    assert code == 2 and "'train'" in err and "'evaluate'" in err
    code, _, err = say(capfd, "run", "--learn", "--", sys.executable, "train.py")
    assert code == 2 and "--profile" in err


def test_a_failed_run_is_not_learned(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(capfd, "--learn")
    before = (place / "train.yaml").read_bytes()
    (place / "data" / ".fail").write_text("")
    made = run(capfd, "--learn", code=3)
    assert made["outcome"] == "failed" and "did not succeed" in made["profile"]["learned"]
    assert (place / "train.yaml").read_bytes() == before


def test_enforced_the_step_can_do_what_it_did_and_nothing_else(
    place: Path, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        run(capfd, "--learn")
    flags = ["--inputs", "data", "--outputs", "out", "--program", sys.executable]
    code, out, _ = say(capfd, "profile", "enforce", "train.yaml", "--json", *flags)
    rules = json.loads(out)
    assert code == 0
    assert str(place / "data") in rules["read"] and str(place / "train.py") in rules["read"]
    assert rules["write"] == [str(place / "out")] and rules["network"] == []
    assert not {"/", str(place), str(home)} & {*rules["read"], *rules["write"]}

    assert run(capfd, "--enforce")["outcome"] == "success"
    (place / "data" / ".steal").write_text("")
    made = run(capfd, "--enforce", code=4)
    assert made["outcome"] == "failed"  # the kernel refused the file
    stolen = next(item for item in made["profile"]["findings"] if item["key"].endswith("/customers.db"))
    assert stolen["details"]["tried"] is True


def test_a_run_that_failed_or_was_held_back_does_not_wait(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        run(capfd, "--learn")
    (place / "data" / ".steal").write_text("")
    run(capfd, "--enforce", code=4)
    run(capfd, "--enforce", "--learn", code=4)
    assert not (place / "train.yaml.waiting").exists()
    assert json.loads(say(capfd, "profile", "show", "train.yaml", "--json")[1])["runs"] == 2


def test_people_are_told_once_and_told_when_it_is_over(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with (place / "assay.yaml").open("a") as file:
        file.write("alerts: {outbox: state/alerts.db, sinks: [{name: log, type: file, path: alerts.jsonl}]}\n")
    run(capfd, "--learn")
    (place / "data" / ".steal").write_text("")
    run(capfd, code=1)
    opened = json.loads(say(capfd, "alerts", "list", "--json")[1])["open"]
    stolen = [item for item in opened if "customers.db" in json.dumps(item)]
    assert len(stolen) == 1 and "profile train" in json.dumps(stolen) and "AML.T0037" in json.dumps(stolen)
    (place / "data" / ".steal").unlink()
    run(capfd)
    assert not json.loads(say(capfd, "alerts", "list", "--json")[1])["open"]


def test_what_was_accepted_while_the_step_ran_stays(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(capfd, "--learn")
    mine = open_profile("train.yaml", config=load(None))
    (place / "data" / ".steal").write_text("")
    run(capfd, code=1)
    assert say(capfd, "profile", "accept", "train.yaml", "--by", "Ada", "--reason", "fine")[0] == 0
    # The run that began before the acceptance ends now, with the profile in its hands that it began with.
    wish, secret = Profiling("train.yaml", learn=True), signer(SignWith(), load(None))[0]
    said = profiling._learn(wish, mine.profile, mine.sha256, as_facts(mine.profile), secret, load(None), NOW)
    assert said.startswith("learned: 3 runs")
    shown = json.loads(say(capfd, "profile", "show", "train.yaml", "--json")[1])
    assert any(name.endswith("customers.db") for name in shown["facts"]["reads"])


def test_evidence_is_kept_when_the_profile_cannot_be_written(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(capfd, "--learn")
    (place / "data" / ".steal").write_text("")
    (place / "train.yaml.waiting").mkdir()
    made = run(capfd, "--learn", code=1)
    assert made["evidence"] and "cannot be written" in made["profile"]["learned"]


def test_the_profile_lies_where_the_step_cannot_reach_it(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path, said in (("out/train.yaml", "where the step may write"), ("nowhere/train.yaml", "no folder")):
        command = ["run", "--step", "train", "--inputs", "data", "--outputs", "out", "--profile", path, "--learn"]
        code, _, err = say(capfd, *command, "--", sys.executable, "train.py")
        assert code == 2 and said in err and not (place / "out" / "model.json").exists()
