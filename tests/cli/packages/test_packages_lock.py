"""`assay packages lock` as a user meets it, against a real index on loopback and the real pip and uv."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from package_commands import days, lock, run
from package_index import Index, serving, wheel

TOOLS = ("pip", "uv")


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
        pinned = ("--from", f"Thing={index.place}")
        assert lock(capsys, "thing", *pinned, tool="uv")[0] == 2  # uv does not say whose dependencies it believed
        assert lock(capsys, "thing", "--from", "thing=elsewhere.example/simple")[0] == 1
        # The attack: a higher version on the public index wins the resolution. It must not win the lock.
        public.pages.clear()
        public.wheel("thing", "99.0")
        code, out, _ = lock(capsys, "thing", *pinned)
        assert code == 1 and "has no such version" in out and not Path("x.lock").exists()
        code, out, _ = lock(capsys, "thing<2", *pinned, tool="auto")
        assert code == 0, out
        assert mine in Path("x.lock").read_text() and theirs not in Path("x.lock").read_text()


def test_another_index_smuggles_no_dependency_into_a_lock(
    index: Index, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = index.wheel("thing")
    with serving() as public:
        public.wheel("thing", requires=("evil",))
        evil = public.wheel("evil")
        for places in ((index, public), (public, index)):
            places[0].set_pip(monkeypatch, places[1])
            code, out, _ = lock(capsys, "thing", "--from", f"thing={index.place}", tool="auto")
            if code == 0:
                assert mine in Path("x.lock").read_text() and evil not in Path("x.lock").read_text()
                Path("x.lock").unlink()
            else:
                assert code == 1 and "no index that may serve it has a file with these bytes" in out


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
