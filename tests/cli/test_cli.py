"""The command line as a user meets it: words, exit codes, files; and no traceback, whatever it is given."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.cli.main import main


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.bin").write_bytes(os.urandom(5000))
    (tmp_path / "model" / "config.json").write_text("{}")
    assert main(["keys", "generate", "-O", "ci.pem"]) == 0
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(list(arguments))
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


def test_the_published_words(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`bom TARGET -o attest`, then `verify TARGET`, with -d for the evidence directory and nothing else."""
    assert run(capsys, "keys", "generate")[0] == 0
    code, out, _ = run(capsys, "bom", "model", "-o", "attest", "-d", "att", "-L", "stage=ci")
    assert code == 0 and "attested dir:model" in out
    code, out, _ = run(capsys, "verify", "model", "-d", "att")
    assert code == 0 and out.startswith("accepted dir:model: 2 file(s) exactly as signed")


def test_git_clone_verifies_against_evidence_about_its_origin(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    origin = place / "wtp-bert-tiny.git"
    subprocess.run([*git, "init", "-q", str(place / "work")], check=True)
    (place / "work" / "model.txt").write_text("weights")
    subprocess.run([*git, "-C", str(place / "work"), "add", "."], check=True)
    subprocess.run([*git, "-C", str(place / "work"), "commit", "-qm", "x"], check=True)
    subprocess.run([*git, "clone", "-q", "--bare", str(place / "work"), str(origin)], check=True)
    code, _, _ = run(capsys, "bom", f"git:file://{origin}", "-o", "attest", "--key", "ci.pem", "-d", "att")
    assert code == 0
    subprocess.run([*git, "clone", "-q", str(origin)], check=True)
    code, out, _ = run(capsys, "verify", "git:wtp-bert-tiny", "--key", "ci.pub", "-d", "att")
    assert code == 0 and "accepted git:wtp-bert-tiny@" in out
    (place / "wtp-bert-tiny" / "model.txt").write_text("other")
    assert run(capsys, "verify", "git:wtp-bert-tiny", "--key", "ci.pub", "-d", "att")[0] == 0  # not committed
    subprocess.run([*git, "-C", "wtp-bert-tiny", "commit", "-qam", "y"], check=True)
    code, out, _ = run(capsys, "verify", "git:wtp-bert-tiny", "--key", "ci.pub", "-d", "att")
    assert code == 1 and "modified:   model.txt" in out


def test_sign_verify_and_tamper(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "sign", "model", "--key", "ci.pem", "-d", "att")
    assert code == 0 and "model.sig" in out
    assert run(capsys, "verify", "model", "--key", "ci.pub", "--signature", "model.sig")[0] == 0
    (place / "model" / "config.json").write_text("[]")
    code, out, _ = run(capsys, "verify", "model", "--key", "ci.pub", "--signature", "model.sig")
    assert code == 1 and "config.json" in out
    code, out, _ = run(capsys, "verify", "model", "--key", "ci.pub", "--signature", "model.sig", "--json")
    assert code == 1 and json.loads(out)["modified"] == ["config.json"]


def test_verify_without_anybody_says_what_to_add(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "sign", "model", "--key", "ci.pem", "--no-store")
    code, _, err = run(capsys, "verify", "model", "--signature", "model.sig")
    assert code == 3 and "--key" in err and "--identity" in err


def test_sign_without_a_key_says_what_to_do(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "sign", "model", "-d", "att")
    assert code == 3 and "assay keys generate" in err
    assert not (place / "att").exists()


def test_keys_are_never_overwritten(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (place / "ci.pem").read_bytes()
    assert run(capsys, "keys", "generate", "-O", "ci.pem")[0] == 2
    assert (place / "ci.pem").read_bytes() == before
    assert (place / "ci.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("algorithm", ["ecdsa-p384", "ed25519", "ml-dsa-65"])
def test_encrypted_keys_of_every_kind(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    (place / "secret").write_text("correct horse\n")
    code, _, _ = run(capsys, "keys", "generate", "-O", "k.pem", "--algorithm", algorithm, "--passphrase-file", "secret")
    assert code == 0 and b"ENCRYPTED" in (place / "k.pem").read_bytes()
    assert run(capsys, "sign", "model", "--key", "k.pem", "--no-store")[0] == 3  # no terminal to ask at
    monkeypatch.setenv("ASSAY_PASSPHRASE", "wrong")
    code, _, err = run(capsys, "sign", "model", "--key", "k.pem", "--no-store")
    assert code == 2 and "passphrase" in err
    assert run(capsys, "sign", "model", "--key", "k.pem", "--no-store", "--passphrase-file", "secret")[0] == 0
    assert run(capsys, "verify", "model", "--key", "k.pub", "--signature", "model.sig")[0] == 0
    assert run(capsys, "keys", "show", "k.pub")[0] == 0


def test_private_key_where_the_public_one_belongs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "sign", "model", "--key", "ci.pem", "--no-store")
    code, _, err = run(capsys, "verify", "model", "--key", "ci.pem", "--signature", "model.sig")
    assert code == 2 and "private key" in err


def test_evidence_commands(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "bom", "model", "-o", "attest", "--key", "ci.pem", "-d", "att")
    (place / "model" / "config.json").write_text('{"model_type": "bert"}')
    (place / "model" / "new.txt").write_text("x")
    run(capsys, "bom", "model", "-o", "attest", "--key", "ci.pem", "-d", "att")
    code, out, _ = run(capsys, "evidence", "list", "-d", "att", "--json")
    entries = json.loads(out)
    assert code == 0 and [entry["entry"] for entry in entries] == [2, 1]
    code, out, _ = run(capsys, "evidence", "diff", "1", "2", "-d", "att")
    assert code == 1 and "new.txt" in out and "config.json" in out
    assert run(capsys, "evidence", "diff", "1", "1", "-d", "att")[0] == 0
    code, out, _ = run(capsys, "evidence", "show", entries[0]["digest"][:12], "-d", "att")
    assert code == 0 and "cyclonedx" in out
    assert run(capsys, "evidence", "export", "-d", "att", "-O", "all.intoto.jsonl")[0] == 0
    code, out, _ = run(capsys, "evidence", "import", "all.intoto.jsonl", "-d", "copy")
    assert code == 0 and len(out.splitlines()) == 2
    assert run(capsys, "verify", "model", "--key", "ci.pub", "-d", "copy")[0] == 0
    code, out, _ = run(capsys, "evidence", "check", "-d", "att")
    assert code == 0 and "head" in out
    assert run(capsys, "evidence", "discard", "2", "--reason", "wrong licence", "-d", "att")[0] == 0
    code, out, _ = run(capsys, "evidence", "list", "-d", "att", "--discarded")
    assert "(discarded)" in out
    assert run(capsys, "evidence", "download", "1", "-d", "att", "-O", "one.json")[0] == 0
    assert json.loads((place / "one.json").read_bytes())["mediaType"].startswith("application/vnd.dev.sigstore")


def test_evidence_check_names_what_was_replaced(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "sign", "model", "--key", "ci.pem", "-d", "att")
    blob = next(path for path in (place / "att").rglob("*.json") if path.stat().st_size > 1500)
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes()[:-5])
    code, out, _ = run(capsys, "evidence", "check", "-d", "att")
    assert code == 1 and blob.stem[:12] in out


def test_bom_formats(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "bom", "model")
    assert code == 0 and json.loads(out)["specVersion"] == "1.6"
    code, out, _ = run(capsys, "bom", "model", "-o", "spdx-json")
    assert code == 0 and "@graph" in json.loads(out)
    code, out, _ = run(capsys, "bom", "model", "-o", "table")
    assert code == 0 and "weights.bin" in out
    code, out, _ = run(capsys, "bom", "model", "-o", "statement", "-O", "statement.json")
    assert code == 0 and out == "" and json.loads((place / "statement.json").read_text())["_type"]
    code, _, err = run(capsys, "bom", "model", "-o", "xml")
    assert code == 2 and "one of" in err


def test_attest_a_report(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "junit.xml").write_text(
        '<testsuite name="s" tests="2" failures="1"><testcase classname="a" name="b"/>'
        '<testcase classname="a" name="c"><failure/></testcase></testsuite>'
    )
    code, out, _ = run(
        capsys, "attest", "model", "--type", "junit", "--predicate", "junit.xml", "--key", "ci.pem", "-d", "att"
    )
    assert code == 0 and "test-result" in out
    (place / "bad.json").write_text('{"result": "MAYBE"}')
    kind = "https://in-toto.io/attestation/test-result/v0.1"
    code, _, err = run(capsys, "attest", "model", "--type", kind, "--predicate", "bad.json", "--key", "ci.pem")
    assert code == 2 and "result" in err


def test_doctor(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "doctor")
    assert code == 0 and "assay[keyless]" in out and "git" in out
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for extra in project["optional-dependencies"]:
        assert extra == "all" or f"assay[{extra}]" in out


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["baseline", "data.csv"], "watch"),
        (["monitor", "check", "--baseline", "baseline.json", "--data", "data.csv"], "watch"),
        (["gateway", "calibrate", "--data", "data.csv", "--captured", "kept", "-O", "calibration.json"], "gateway"),
    ],
)
def test_a_missing_extra_is_named(tmp_path: Path, arguments: list[str], extra: str) -> None:
    (tmp_path / "data.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "baseline.json").write_text("{}")
    code = (
        "import sys; sys.modules.update(numpy=None, polars=None)\n"  # as where neither is installed
        "from assay.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    said = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 3 and "Traceback" not in said.stderr, said.stderr
    assert f"needs the extra '{extra}'" in said.stderr and f"pip install '.[{extra}]'" in said.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "nowhere"],
        ["verify", "ftp://example.com/x"],
        ["verify", "model", "--range", "5"],
        ["bom", "model", "--path", "../x"],
        ["bom", "model", "--path", "nothing-matches"],
        ["bom", "model", "-L", "novalue"],
        ["sign", "model", "--key", "nowhere.pem"],
        ["sign", "model", "--key", "ci.pub"],
        ["sign", "model", "--cert", "x.pem"],
        ["verify", "model", "--key", "ci.pub", "--signature", "nowhere.sig"],
        ["verify", "model", "--key", "model/weights.bin"],
        ["verify", "model", "-c", "nowhere.yaml"],
        ["evidence", "list", "-d", "nowhere"],
        ["evidence", "show", "99", "-d", "nowhere"],
        ["keys", "generate", "--algorithm", "rot13", "-O", "r.pem"],
        ["bom", "model", "--workers", "0"],
    ],
)
def test_wrong_usage_is_a_sentence(place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code, _, err = run(capsys, *arguments)
    assert code in (2, 3) and err.startswith("assay: ") and len(err.splitlines()) <= 3


def _mutations() -> dict[str, Callable[[dict[str, Any]], bytes]]:
    def field(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], bytes]:
        def made(document: dict[str, Any]) -> bytes:
            change(document)
            return json.dumps(document).encode()

        return made

    def payload(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], bytes]:
        def made(document: dict[str, Any]) -> bytes:
            statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
            change(statement)
            document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
            return json.dumps(document).encode()

        return made

    return {
        "truncated": lambda d: json.dumps(d).encode()[:-20],
        "duplicate key": lambda d: json.dumps(d).encode()[:-1] + b',"mediaType":"' + d["mediaType"].encode() + b'"}',
        "nested deeply": lambda d: b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        "not JSON": lambda d: b"PK\x03\x04",
        "payload type": field(lambda d: d["dsseEnvelope"].update(payloadType="application/json")),
        "loose base64": field(lambda d: d["dsseEnvelope"].update(payload=d["dsseEnvelope"]["payload"] + "\n")),
        "base64 bits": field(lambda d: d["dsseEnvelope"]["signatures"][0].update(sig="QR==")),
        "no signature": field(lambda d: d["dsseEnvelope"].update(signatures=[])),
        "empty signature": field(lambda d: d["dsseEnvelope"]["signatures"][0].update(sig="")),
        "no material": field(lambda d: d.pop("verificationMaterial")),
        "two materials": field(lambda d: d["verificationMaterial"].update(certificate={"rawBytes": "AAAA"})),
        "media type": field(lambda d: d.update(mediaType="text/html")),
        "subject without digest": payload(lambda s: s["subject"][0].update(digest={})),
        "weak digest": payload(lambda s: s["subject"][0].update(digest={"md5": "0" * 32})),
        "no subject": payload(lambda s: s.update(subject=[])),
        "other digest": payload(lambda s: s["predicate"]["resources"][0].update(digest="0" * 64)),
        "other predicate": payload(lambda s: s.update(predicateType="https://example.com/other")),
        "file left out": payload(lambda s: s["predicate"]["resources"].pop()),
    }


@pytest.mark.parametrize("name", list(_mutations()))
def test_bad_signatures_are_refused_in_one_sentence(place: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    run(capsys, "sign", "model", "--key", "ci.pem", "--no-store")
    document = json.loads((place / "model.sig").read_bytes())
    (place / "model.sig").write_bytes(_mutations()[name](document))
    code, out, err = run(capsys, "verify", "model", "--key", "ci.pub", "--signature", "model.sig")
    assert code in (1, 2)
    assert (out + err).startswith(("assay: ", "rejected ")) and "accepted" not in out
    assert len(err.splitlines()) <= 2


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fuzzed_signatures_are_never_accepted(
    place: Path, capsys: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    signature = place / "model.sig"
    if not signature.exists():
        run(capsys, "sign", "model", "--key", "ci.pem", "--no-store")
        (place / "good.sig").write_bytes(signature.read_bytes())
    good = (place / "good.sig").read_bytes()
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(bad) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if kind == "flip":
            bad[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut":
            del bad[at : at + data.draw(st.integers(1, 50))]
        else:
            bad[at:at] = data.draw(st.binary(min_size=1, max_size=20))
    signature.write_bytes(bytes(bad))
    code = run(capsys, "verify", "model", "--key", "ci.pub", "--signature", "model.sig", "--json")[0]
    if code == 0:
        # Only what is not signed may differ: the hint, white space, an unknown field's bytes. The signed part may not.
        document = json.loads(bytes(bad))
        assert document["dsseEnvelope"]["payload"] == json.loads(good)["dsseEnvelope"]["payload"]


def test_escape_sequences_do_not_reach_the_terminal(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from assay.evidence import keys
    from assay.evidence.signers.key import KeySigner
    from assay.evidence.statement import Statement, Subject

    evil = "\x1b]0;owned\x07"
    key = keys.load_private((place / "ci.pem").read_bytes(), "k", lambda _: b"")
    subject = Subject("model", {"sha256": "0" * 64}, {"time": evil, "labels": {evil: evil}})
    bundle = KeySigner(key).sign(Statement((subject,), "https://example.com/x", {"a": evil}).dump())
    (place / "evil.sig").write_bytes(bundle.raw)
    assert run(capsys, "evidence", "import", "evil.sig", "-d", "att")[0] == 0
    for arguments in (
        ["verify", "model", "--key", "ci.pub", "-d", "att", "-v"],
        ["verify", "model", "--key", "ci.pub", "-d", "att", "--json"],
        ["evidence", "show", "1", "-d", "att"],
        ["evidence", "list", "-d", "att"],
    ):
        _, out, err = run(capsys, *arguments)
        assert "\x1b" not in out + err and "\x07" not in out + err


def test_as_a_process(place: Path) -> None:
    """The installed program: exit code, and a closed pipe that is not a traceback."""
    done = subprocess.run([sys.executable, "-m", "assay", "verify", "nowhere"], capture_output=True, check=False)
    assert done.returncode == 2 and b"Traceback" not in done.stderr
    piped = subprocess.run(
        f"{sys.executable} -m assay bom model | head -c 1", shell=True, capture_output=True, check=False
    )
    assert b"Traceback" not in piped.stderr
