"""`assay packages` as a user meets it, against a real index on loopback and the real pip and uv."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from assay.cli.main import COMMANDS, main
from package_index import Index, serving, wheel

TOOLS = ("pip", "uv")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert "packages" in COMMANDS
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"])
    return tmp_path


@pytest.fixture
def index(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    with serving() as made:
        made.set_pip(monkeypatch)
        yield made


@pytest.fixture
def key(place: Path) -> str:
    assert main(["keys", "generate", "-O", "ci.pem"]) == 0
    return "ci.pem"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(list(arguments))
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


def lock(capsys: pytest.CaptureFixture[str], text: str, *more: str, tool: str = "pip") -> tuple[int, str, str]:
    Path("requirements.in").write_text(text)
    return run(capsys, "packages", "lock", "requirements.in", "-O", "x.lock", "--with", tool, *more)


def days(count: float) -> str:
    return (datetime.now(UTC) - timedelta(days=count)).strftime("%Y-%m-%dT%H:%M:%SZ")


# lock


def test_pip_and_uv_lock_the_same_bytes_without_an_address(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    digests = {
        "my-thing": index.wheel("My_Thing", requires=("helper>=1",)),
        "helper": index.wheel("helper", "1.5"),
    }
    locks = []
    for tool in TOOLS:
        code, out, err = lock(capsys, "my.THING\n", tool=tool)
        assert (code, out) == (0, ""), err
        locks.append(Path("x.lock").read_text())
        assert f"by {tool} in x.lock" in err
    assert locks[0] == locks[1]
    lines = [line for line in locks[0].splitlines() if not line.startswith("#")]
    assert lines == [
        "helper==1.5 \\",
        f"    --hash=sha256:{digests['helper']}",
        "my-thing==1.0 \\",
        f"    --hash=sha256:{digests['my-thing']}",
    ]
    assert "127.0.0.1" not in locks[0] and "://" not in locks[0]


@pytest.mark.parametrize("tool", TOOLS)
def test_the_password_of_an_index_is_nowhere(
    index: Index, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    index.login = "robot:s3cret-word"
    index.set_pip(monkeypatch)
    index.wheel("thing")
    said = ["".join(map(str, lock(capsys, "thing", "-v", tool=tool))), Path("x.lock").read_text()]
    assert said[0].startswith("0")
    code, *told = lock(capsys, "thing\nnothing-there", tool=tool)
    assert code == 1
    index.login = "robot:other-word"
    monkeypatch.setenv("PIP_INDEX_URL", index.simple.replace("other-word", "wrong-word"))
    code, *more = lock(capsys, "thing", tool=tool)
    assert code in (1, 3)
    assert not any(word in text for text in (*said, *told, *more) for word in ("s3cret", "wrong-word", "robot:"))


@pytest.mark.parametrize("tool", TOOLS)
def test_a_young_release_is_not_locked(index: Index, capsys: pytest.CaptureFixture[str], tool: str) -> None:
    index.wheel("thing", "2.0", uploaded=days(2))
    code, out, err = lock(capsys, "thing", tool=tool)
    assert code == 1 and not Path("x.lock").exists(), out + err
    assert lock(capsys, "thing", "--min-age", "1d", tool=tool)[0] == 0
    assert lock(capsys, "thing", "--min-age", "0", tool=tool)[0] == 0


def test_what_pip_chose_too_young_says_since_when(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    index.wheel("thing", "2.0", uploaded=days(2))
    index.wheel("thing", "1.0")
    code, out, _ = lock(capsys, "thing")
    assert code == 1 and "less than 7 days ago (too-young)" in out
    # uv is told the date, and takes what is old enough.
    assert lock(capsys, "thing", tool="uv")[0] == 0
    assert "thing==1.0" in Path("x.lock").read_text()


def test_a_wheel_added_later_to_an_old_release_is_left_out(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    old = index.wheel("thing")
    late = index.add("thing-1.0-cp27-none-win32.whl", b"late", uploaded=days(1))
    code, _, err = lock(capsys, "thing")
    assert code == 0 and "left out: thing-1.0-cp27-none-win32.whl" in err
    assert old in Path("x.lock").read_text() and late not in Path("x.lock").read_text()


def test_an_age_that_the_index_does_not_tell_is_undecided(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    index.html = True
    index.wheel("thing")
    code, out, _ = lock(capsys, "thing")
    assert code == 3 and out.startswith("undecided") and not Path("x.lock").exists()
    for tool in TOOLS:
        assert lock(capsys, "thing", "--allow-unknown-age", "Thing", tool=tool)[0] == 0
    assert lock(capsys, "thing", "--allow-unknown-age", "other")[0] == 3


@pytest.mark.parametrize("tool", TOOLS)
def test_source_only_is_refused_by_name(index: Index, capsys: pytest.CaptureFixture[str], tool: str) -> None:
    index.add("thing-1.0.tar.gz", sdist())
    code, _, err = lock(capsys, "thing", tool=tool)
    assert code == 1 and "source only" in err and "thing" in err
    assert not Path("ran").exists()


def sdist() -> bytes:
    """A source distribution whose build leaves a file behind, so that a test sees whether it ran."""
    program = (
        "import os\n"
        "def prepare_metadata_for_build_wheel(folder, settings=None):\n"
        "    open(os.environ['RAN'], 'w').close()\n"
        "    os.mkdir(os.path.join(folder, 'thing-1.0.dist-info'))\n"
        "    path = os.path.join(folder, 'thing-1.0.dist-info', 'METADATA')\n"
        "    open(path, 'w').write('Metadata-Version: 2.1\\nName: thing\\nVersion: 1.0\\n')\n"
        "    return 'thing-1.0.dist-info'\n"
        "def build_wheel(*_):\n    raise SystemExit\n"
    )
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, text in (
            ("backend.py", program),
            ("pyproject.toml", project),
            ("PKG-INFO", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n"),
        ):
            entry = tarfile.TarInfo(f"thing-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


def test_source_runs_only_where_it_is_accepted_and_is_then_warned_of(
    index: Index, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAN", str(place / "ran"))
    digest = index.add("thing-1.0.tar.gz", sdist())
    assert lock(capsys, "thing")[0] == 1
    assert not (place / "ran").exists()
    code, _, err = lock(capsys, "thing", "--allow-sdist", "thing")
    assert code == 0 and "a source distribution, accepted: installing it runs a program" in err
    assert digest in Path("x.lock").read_text() and (place / "ran").exists()
    assert run(capsys, "packages", "vet", "x.lock")[0] == 1  # a wheelhouse holds wheels


@pytest.mark.parametrize("tool", TOOLS)
def test_a_withdrawn_release_is_not_locked(index: Index, capsys: pytest.CaptureFixture[str], tool: str) -> None:
    index.add("thing-1.0-py3-none-any.whl", wheel("thing"), yanked="steals keys")
    code, out, _ = lock(capsys, "thing==1.0", tool=tool)
    assert code == 1 and "withdrawn by its publisher: steals keys (yanked)" in out


@pytest.mark.parametrize("tool", TOOLS)
def test_a_name_on_two_indexes_is_refused_until_one_of_them_is_named(
    index: Index, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    mine = index.wheel("thing")
    with serving() as public:
        theirs = public.wheel("thing", files={"thing/evil.py": b""})
        index.set_pip(monkeypatch, public)
        code, out, _ = lock(capsys, "thing", tool=tool)
        assert code == 1 and "two-indexes" in out and "--from thing=PLACE" in out
        assert lock(capsys, "thing", "--from", "thing=elsewhere.example/simple", tool=tool)[0] == 1
        # The attack: a higher version on the public index wins the resolution. It must not win the lock.
        public.wheel("thing", "99.0")
        code, out, _ = lock(capsys, "thing", "--from", f"Thing={index.place}", tool=tool)
        assert code == 3 and not Path("x.lock").exists(), out
        code, out, _ = lock(capsys, "thing<2", "--from", f"Thing={index.place}", tool="uv")
        assert code == 0, out
        assert mine in Path("x.lock").read_text() and theirs not in Path("x.lock").read_text()


@pytest.mark.parametrize("address", ["/files/other.whl", "file:///etc/passwd"])
def test_other_bytes_than_the_page_states_are_never_locked(
    index: Index, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    index.wheel("thing")
    index.files["other.whl"] = wheel("thing", files={"thing/evil.py": b""})
    index.pages["thing"][0]["url"] = address
    code, _, err = lock(capsys, "thing")
    assert code in (1, 3) and not Path("x.lock").exists(), err


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("body", [b"[" * 100_000, b"{}", b"\xff"])
def test_a_malicious_page_locks_nothing(
    index: Index, capsys: pytest.CaptureFixture[str], tool: str, body: bytes
) -> None:
    index.raw["/simple/thing/"] = (200, {"Content-Type": "application/vnd.pypi.simple.v1+json"}, body)
    code, _, _ = lock(capsys, "thing", tool=tool)
    assert code in (1, 2, 3) and not Path("x.lock").exists()


def test_a_pip_that_lies_in_the_folder_is_not_run(
    index: Index, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "pip").mkdir()
    (place / "pip" / "__main__.py").write_text(f"open({str(place / 'ran')!r}, 'w')")
    (place / "pip" / "__init__.py").write_text("")
    index.wheel("thing")
    assert lock(capsys, "thing")[0] == 0
    assert not (place / "ran").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["lock", "nothing-there.in"],
        ["lock", "requirements.in", "--min-age", "soon"],
        ["lock", "requirements.in", "--python", "three"],
        ["lock", "requirements.in", "--python", "3.999", "--with", "pip"],
        ["lock", "requirements.in", "--from", "thing"],
        ["lock", "requirements.in", "--allow-sdist", "a b"],
        ["lock", "requirements.in", "--extra", "x"],
        ["wheelhouse", "requirements.in", "--key", "nothing.pem", "-O", "w"],
        ["wheelhouse", "requirements.in"],
        ["vet", "nothing-there.lock"],
        ["vet", "requirements.in", "--offline", "--osv", "https://osv.example"],
    ],
)
def test_wrong_usage(index: Index, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    Path("requirements.in").write_text("thing\n")
    assert run(capsys, "packages", *arguments)[0] == 2


# vet and wheelhouse


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
name: packages
rules:
  - use: sbom/licences
    with: {allow: [MIT, Apache-2.0], of: components}
  - use: vulnerabilities/none-above
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
