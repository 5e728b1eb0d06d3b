"""`assay run` as a user calls it: what it holds, what it says, what it leaves behind, and how it ends."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway_making import until

LINK = "https://in-toto.io/attestation/link/v0.3"
TRACE = "https://in-toto.io/attestation/runtime-trace/v0.1"
SLSA = "https://slsa.dev/provenance/v1"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a key and an input; the home folder lies elsewhere."""
    home = tmp_path / "home"
    home.mkdir()
    work = tmp_path / "work"
    (work / "data").mkdir(parents=True)
    (work / "data" / "a.csv").write_text("1,2\n")
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(work)
    assay("keys", "generate", code=0)
    return work


def assay(*words: str, code: int, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "assay", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr or words[0] == "run"
    return done


def step(place: Path, source: str, *flags: str, code: int = 0, **environment: str) -> dict[str, Any]:
    """Run a Python program as a step; the result as JSON."""
    (place / "step.py").write_text(source)
    words = ["run", "--json", "--step", "train", "--inputs", "data", "step.py", "--outputs", "out", *flags]
    done = assay(*words, "--", sys.executable, "step.py", code=code, environment=environment)
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def statement(made: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What was signed."""
    done = assay("evidence", "show", made["evidence"][kind], "--json", code=0)
    return find_statement(json.loads(done.stdout))


def find_statement(document: Any) -> dict[str, Any]:
    """The statement in whatever form the store shows it."""
    if isinstance(document, dict):
        if "predicateType" in document and "subject" in document:
            return document
        if isinstance(document.get("payload"), str):
            return find_statement(json.loads(base64.b64decode(document["payload"])))
        for value in document.values():
            if found := find_statement(value):
                return found
    return {}


COPY = "open('out/model.bin', 'w').write(open('data/a.csv').read())"


def test_a_step_leaves_three_statements_about_what_it_wrote(place: Path) -> None:
    made = step(place, COPY)
    assert (made["outcome"], made["exitCode"]) == ("success", 0)
    assert [item["name"] for item in made["products"]] == ["out/model.bin"]
    assert set(made["evidence"]) == {LINK, TRACE, SLSA}
    link = statement(made, LINK)
    assert [subject["name"] for subject in link["subject"]] == ["out", "out/model.bin"]
    assert {"data", "data/a.csv"} <= {item["name"] for item in link["predicate"]["materials"]}
    built = statement(made, SLSA)["predicate"]["buildDefinition"]
    assert built["externalParameters"]["inputs"] == ["data", "step.py"]


def test_its_provenance_is_found_by_a_policy_about_what_it_wrote(place: Path) -> None:
    step(place, COPY)
    (place / "policy.yml").write_text(
        "assay-policy: 1\nid: p\nname: P\nversion: 1\ncontrols:\n- id: c\n  name: C\n  rules:\n"
        "  - {id: built, name: B, require: {evidence: slsaprovenance, provenance: {digested: true}}}\n"
        "  - {id: alone, name: A, require: {evidence: runtime-trace, isolated: {}}}\n"
    )
    assay("verify", "out", "-p", "policy.yml", code=0)
    (place / "out" / "model.bin").write_text("other")
    assay("verify", "out", "-p", "policy.yml", code=3)


TALK = """
import socket, threading
server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=lambda: server.accept()[0].sendall(b"x"), daemon=True).start()
assert socket.create_connection(server.getsockname()).recv(1) == b"x"
"""


def test_a_step_that_talks_to_itself_is_isolated(place: Path) -> None:
    made = step(place, TALK + COPY)
    assert made["network"] and {item["scope"] for item in made["network"]} == {"step"}
    (place / "policy.yml").write_text(
        "assay-policy: 1\nid: p\nname: P\nversion: 1\ncontrols:\n- id: c\n  name: C\n  rules:\n"
        "  - {id: alone, name: A, require: {evidence: runtime-trace, isolated: {}}}\n"
    )
    assay("verify", "out", "-p", "policy.yml", code=0)


def test_a_step_that_fails_ends_as_it_did_and_vouches_for_nothing(place: Path) -> None:
    made = step(place, COPY + "\nraise SystemExit(7)", code=7)
    assert made["outcome"] == "failed"
    assert set(made["evidence"]) == {LINK, TRACE}
    (subject,) = statement(made, LINK)["subject"]
    assert subject["name"].startswith("run:")


def test_outputs_may_be_written_as_targets_are(place: Path) -> None:
    (place / "step.py").write_text(COPY)
    assay("run", "--inputs", "dir:data", "step.py", "--outputs", "dir:out", "--", sys.executable, "step.py", code=0)
    assert (place / "out" / "model.bin").exists() and not (place / "dir:out").exists()


def test_inputs_are_matched_to_what_was_attested_about_them(place: Path) -> None:
    assay("bom", "data", "-o", "attest", code=0)
    made = step(place, COPY)
    materials = statement(made, LINK)["predicate"]["materials"]
    (attested,) = next(item for item in materials if item["name"] == "data")["annotations"]["attestations"]
    assert attested["predicateType"].startswith("https://cyclonedx.org/bom")
    assert re.fullmatch("[0-9a-f]{64}", attested["digest"])


def test_nothing_is_written_but_outputs_and_the_message_says_what_to_do(place: Path) -> None:
    made = step(place, "open('model.bin', 'w')", code=1)
    assert not (place / "model.bin").exists()
    assert any("model.bin" in text and "--outputs" in text for text in made["refused"])


def test_the_network_is_closed_and_attempts_are_named(place: Path) -> None:
    made = step(place, "import socket\nsocket.create_connection(('192.0.2.1', 443), 5)", code=1)
    (contact,) = made["network"]
    assert (contact["address"], contact["port"], contact["decision"]) == ("192.0.2.1", 443, "denied")


def test_only_named_variables_pass_and_secrets_stay_out_of_the_evidence(place: Path) -> None:
    source = (
        "import os\n"
        "assert 'CLOUD_TOKEN' not in os.environ\n"
        "assert os.environ['SEED'] == '7' and os.environ['KEY'] == 'hunter2'\n" + COPY
    )
    flags = ("--env", "SEED=7", "--secret", "KEY=env:CI_SECRET")
    made = step(place, source, *flags, CLOUD_TOKEN="t0ken", CI_SECRET="hunter2")
    said = "".join(json.dumps(statement(made, kind)) for kind in made["evidence"])
    assert "hunter2" not in said and "t0ken" not in said
    assert statement(made, LINK)["predicate"]["environment"]["secrets"] == ["KEY"]


def test_an_input_that_changes_while_it_runs_is_said(place: Path) -> None:
    source = "import time\nopen('data/a.csv').read()\nopen('out/ready', 'w').close()\ntime.sleep(600)"
    (place / "step.py").write_text(source)
    words = ["run", "--json", "--inputs", "data", "step.py", "--outputs", "out", "--", sys.executable, "step.py"]
    running = subprocess.Popen(
        [sys.executable, "-m", "assay", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    until(lambda: (place / "out" / "ready").exists() or running.poll() is not None, "the step runs")
    (place / "data" / "a.csv").write_text("9,9\n")
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    made = json.loads(out)
    assert running.returncode == 130
    assert made["outcome"] == "interrupted"
    assert "data/a.csv: modified during the run" in made["warnings"]


def test_a_time_limit_ends_it_with_everything_that_it_started(place: Path) -> None:
    source = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(9999)']).wait()"
    (place / "step.py").write_text(source)
    words = ["run", "--json", "--time-limit", "2s", "--inputs", "step.py", "--", sys.executable, "step.py"]
    done = subprocess.run([sys.executable, "-m", "assay", *words], capture_output=True, text=True, check=False)
    made = json.loads(done.stdout)
    assert done.returncode != 0 and made["outcome"] == "interrupted"
    assert made["costs"]["wallSeconds"] < 9999


def test_the_flow_log_has_a_line_for_each_attempt(place: Path) -> None:
    step(place, "import socket\nsocket.create_connection(('192.0.2.1', 443), 5)", "--flow-log", "flows.log", code=1)
    fields = (place / "flows.log").read_text().split()
    assert (fields[0], fields[4], fields[6], fields[7], fields[12]) == ("2", "192.0.2.1", "443", "6", "REJECT")
    (entry,) = [json.loads(line) for line in (place / "flows.log.jsonl").read_text().splitlines()]
    assert entry["dstaddr"] == "192.0.2.1" and entry["program"].endswith(tuple("0123456789n"))


def test_a_notebook_is_a_step(place: Path) -> None:
    pytest.importorskip("nbclient", reason="the extra 'notebook' is not installed")
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [], "source": COPY}
    document = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}
    (place / "train.ipynb").write_text(json.dumps(document))
    done = assay("run", "--json", "--inputs", "data", "--outputs", "out", "--", "train.ipynb", code=0)
    made = json.loads(done.stdout)
    assert made["step"] == "train"
    assert {item["name"] for item in made["products"]} == {"out/model.bin", "out/train.ipynb"}
    dependencies = statement(made, SLSA)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert any(item["name"] == "train.ipynb" and item["annotations"].get("form") == "cells" for item in dependencies)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run",), 2, "no command is named"),
        (("run", "--inputs", "data", "true"), 2, "no command is named after '--'"),
        (("run", "--key", "no.pem", "--", "true"), 2, "assay keys generate -O no.pem"),
        (("run", "--profile", "no.yaml", "--", "true"), 2, "with --learn the first run"),
        (("run", "--", "no-such-program"), 2, "there is no program 'no-such-program'"),
        (("run", "--inputs", "missing", "--", "true"), 2, "'missing' is not on this disk"),
        (("run", "--net", "none", "pypi.org:443", "--", "true"), 2, "stand alone"),
        (("run", "--net", "pypi.org", "--", "true"), 2, "has no port"),
        (("run", "--env", "NOT_SET_HERE", "--", "true"), 2, "NOT_SET_HERE is not set"),
        (("run", "--secret", "X=vault:1", "--", "true"), 2, "the secret X"),
        (("run", "--memory-limit", "lots", "--", "true"), 2, "--memory-limit 'lots'"),
        (("run", "--trace", "magic", "--", "true"), 2, "unknown tracer 'magic'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(place: Path, words: tuple[str, ...], code: int, said: str) -> None:
    assert said in assay(*words, code=code).stderr


def test_nobody_to_sign_as_is_said_before_anything_runs(place: Path, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path / "nobody")}
    (tmp_path / "nobody").mkdir()
    done = assay("run", "--outputs", "out", "--", "touch", "out/x", code=3, environment=environment)
    assert "nobody to sign as" in done.stderr and not (place / "out" / "x").exists()
