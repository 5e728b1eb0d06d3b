"""`assay packages vet` and `wheelhouse` as a user meets them, against a real index on loopback and the real pip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from package_commands import days, lock, run
from package_index import Index, wheel


def locked(index: Index, capsys: pytest.CaptureFixture[str], **made: Any) -> None:
    index.wheel("thing", requires=("helper",), **made)
    index.wheel("helper", "1.5", licence="Apache-2.0")
    assert lock(capsys, "thing")[0] == 0


def vet(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
    code, out, err = run(capsys, "packages", "vet", "x.lock", "-o", "json", *more)
    return code, json.loads(out) if out else {"error": err}


def codes(document: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in document["findings"]}


def export(folder: Path, *severities: str) -> str:
    (folder / "osv").mkdir(exist_ok=True)
    for i, severity in enumerate(severities):
        record = {
            "id": f"GHSA-{i}",
            "modified": "2026-01-01T00:00:00Z",
            "database_specific": {"severity": severity},
            "affected": [
                {
                    "package": {"ecosystem": "PyPI", "name": "helper"},
                    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.6"}]}],
                }
            ],
        }
        (folder / "osv" / f"{i}.json").write_text(json.dumps(record))
    return str(folder / "osv")


def test_vet_accepts_what_lock_made_and_says_what_it_did_not_do(
    index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    locked(index, capsys)
    index.pages["thing"][0]["provenance"] = f"{index.url}/provenance"
    code, document = vet(capsys)
    assert (code, document["verdict"], document["findings"]) == (0, "accepted", [])
    assert document["packages"] == ["helper==1.5", "thing==1.0"] and len(document["wheels"]) == 2
    assert document["attestationsOffered"] == 1 and document["vulnerabilities"] is None
    assert any("none was verified" in text for text in document["notDone"])
    assert any("--osv" in text for text in document["notDone"])


def test_vet_notices_what_has_become_of_a_lock(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    locked(index, capsys)
    index.pages["thing"][0]["yanked"] = True
    assert (vet(capsys)[0], codes(vet(capsys)[1])) == (1, {"yanked"})
    index.pages["thing"][0]["yanked"] = False
    index.pages["thing"][0]["upload-time"] = days(1)
    assert codes(vet(capsys)[1]) == {"too-young"}
    del index.pages["thing"]
    code, document = vet(capsys)
    assert (code, codes(document)) == (1, {"not-served"})


def test_vet_rejects_a_lock_that_pins_nothing(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    locked(index, capsys)
    with Path("x.lock").open("a") as file:
        file.write("--extra-" + "index-url https://user:pass-word@evil.example/simple\nloose>=1\n")
    code, out, err = run(capsys, "packages", "vet", "x.lock")
    assert code == 1 and "--extra-" + "index-url" in out and "loose" in out and "pass-word" not in out + err


def test_offline_is_undecided_and_asks_nobody(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    locked(index, capsys)
    index.asked.clear()
    code, document = vet(capsys, "--offline")
    assert (code, document["verdict"], index.asked) == (3, "undecided", [])


def test_known_vulnerabilities_reject_where_no_policy_decides(
    index: Index, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    locked(index, capsys)
    code, document = vet(capsys, "--osv", export(place, "LOW"))
    assert (code, [item["id"] for item in document["vulnerabilities"]]) == (1, ["GHSA-0"])
    assert document["vulnerabilities"][0]["fixed"] == ["1.6"]


def test_vet_finds_what_a_wheel_hides(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    locked(index, capsys, files={"thing/__init__.py": b"", "thing.pth": b"import thing"})
    code, document = vet(capsys)
    assert (code, codes(document)) == (1, {"startup"})
    assert vet(capsys, "--allow-startup", "thing")[0] == 0


def house(capsys: pytest.CaptureFixture[str], name: str, key: str, *more: str) -> tuple[int, str, str]:
    return run(capsys, "packages", "wheelhouse", "x.lock", "-O", name, "--key", key, "-d", "store", *more)


def test_a_wheelhouse_is_signed_reproducible_and_installs_without_network(
    index: Index, place: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    locked(index, capsys)
    for name in ("one", "two"):
        code, out, err = house(capsys, name, key)
        assert code == 0, out + err
    one, two = ({path.name: path.read_bytes() for path in (place / name).iterdir()} for name in ("one", "two"))
    assert one == two and len(one) == 4
    assert b"127.0.0.1" not in one["wheelhouse.json"] + one["requirements.txt"]
    assert house(capsys, "one", key)[0] == 2  # it is there already
    assert run(capsys, "verify", "one", "--key", "ci.pub", "-d", "store")[0] == 0
    index.asked.clear()
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", "one"]
    command += ["--require-hashes", "--only-binary", ":all:", "-r", "one/requirements.txt", "--target", "installed"]
    subprocess.run(command, check=True)
    assert (place / "installed" / "thing" / "__init__.py").exists() and index.asked == []


def test_a_wheelhouse_with_one_wheel_more_or_other_is_rejected(
    index: Index, place: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    locked(index, capsys)
    assert house(capsys, "w", key)[0] == 0
    verify = ("verify", "w", "--key", "ci.pub", "-d", "store")
    extra = place / "w" / "thing-9.0-py3-none-any.whl"
    extra.write_bytes(wheel("thing", "9.0"))
    assert run(capsys, *verify)[0] == 1
    code, document = vet(capsys, "--wheelhouse", "w")
    assert (code, codes(document)) == (1, {"wrong-wheel"})
    extra.unlink()
    assert run(capsys, *verify)[0] == 0
    (place / "w" / "thing-1.0-py3-none-any.whl").write_bytes(wheel("thing", files={"thing/evil.py": b""}))
    assert run(capsys, *verify)[0] == 1
    assert codes(vet(capsys, "--wheelhouse", "w")[1]) == {"wrong-wheel", "missing-wheel"}


@pytest.mark.parametrize("address", [None, "file:///etc/passwd", "/redirect"])
def test_an_index_that_serves_other_bytes_leaves_nothing(
    index: Index, place: Path, key: str, capsys: pytest.CaptureFixture[str], address: str | None
) -> None:
    locked(index, capsys)
    index.files["thing-1.0-py3-none-any.whl"] = wheel("thing", files={"thing/evil.py": b""})
    index.raw["/redirect"] = (302, {"Location": "file:///etc/passwd"}, b"")
    if address is not None:
        index.pages["thing"][0]["url"] = address + "#/thing-1.0-py3-none-any.whl"
    before = sorted(os.listdir(place))
    code, _, err = house(capsys, "w", key, "--label", "a=b")
    assert code in (1, 3), err
    assert sorted(os.listdir(place)) == before and index.asked


POLICY = """\
assay-policy: 1
id: packages
name: Packages
controls:
- id: packages
  name: Packages that may be used
  rules:
  - uses: sbom/licences@v1
    with: {allow: [MIT, Apache-2.0], of: components}
  - uses: vulnerabilities/none-above@v1
    with: {max: {high: 0}}
"""


def test_a_policy_reads_the_evidence_of_a_wheelhouse(
    index: Index, place: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    locked(index, capsys)
    (place / "policy.yml").write_text(POLICY)
    verify = ("-p", "policy.yml", "--key", "ci.pub", "-d", "store")
    assert house(capsys, "silent", key)[0] == 0
    assert run(capsys, "verify", "silent", *verify)[0] == 3  # nobody looked for vulnerabilities
    assert house(capsys, "mild", key, "--osv", export(place, "LOW"), "-p", "policy.yml")[0] == 0
    assert run(capsys, "verify", "mild", *verify)[0] == 0
    (place / "strict.yml").write_text(POLICY.replace("MIT, ", ""))
    assert run(capsys, "verify", "mild", "-p", "strict.yml", *verify[2:])[0] == 1  # a licence
    code, out, _ = house(capsys, "bad", key, "--osv", export(place, "HIGH"), "-p", "policy.yml")
    assert code == 1 and "GHSA-0" in out
    assert not (place / "bad").exists() and not (place / "bad.sig").exists()


def test_a_policy_decides_about_a_lock(index: Index, place: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    locked(index, capsys)
    (place / "policy.yml").write_text(POLICY)
    how = ("--key", key, "-d", "store", "-p", "policy.yml")
    assert vet(capsys, *how)[0] == 3
    assert vet(capsys, *how, "--osv", export(place, "LOW"))[0] == 0
    assert vet(capsys, *how, "--osv", export(place, "CRITICAL"))[0] == 1
