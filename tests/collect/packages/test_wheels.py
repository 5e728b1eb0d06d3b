"""Wheels that attack whoever installs them, and honest ones."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.collect.packages.wheels import Wheel, examine
from package_index import wheel

NAME = "thing-1.0-py3-none-any.whl"


def look(folder: Path, data: bytes, **how: Any) -> Wheel:
    path = folder / NAME
    path.write_bytes(data)
    return examine(str(path), **how)


def codes(made: Wheel) -> set[str]:
    return {finding.code for finding in made.findings}


def edited(data: bytes, change: Any) -> bytes:
    """The wheel with each entry's header changed by ``change``."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            change(entry)
            new.writestr(entry, content)
    return made.getvalue()


def link(entry: zipfile.ZipInfo) -> None:
    if entry.filename.endswith("__init__.py"):
        entry.create_system = 3
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16


def backslash(entry: zipfile.ZipInfo) -> None:
    if entry.filename.endswith("__init__.py"):
        entry.filename = "..\\..\\evil.py"


def test_an_honest_wheel_says_what_it_would_install(tmp_path: Path) -> None:
    files = {
        "thing/__init__.py": b"",
        "thing/_fast.cpython-311-x86_64-linux-gnu.so": b"\x7fELF....",
        "thing/hidden.bin": b"\x7fELF....",
        "thing-1.0.data/scripts/thing-run": b"#!python\n",
        "thing-1.0.dist-info/entry_points.txt": b"[console_scripts]\nthing = thing:main\n[other]\nx = y\n",
    }
    made = look(tmp_path, wheel("thing", files=files))
    assert made.findings == ()
    assert made.native == ("thing/_fast.cpython-311-x86_64-linux-gnu.so", "thing/hidden.bin")
    assert made.scripts == ("bin/thing", "thing-1.0.data/scripts/thing-run")
    assert (made.name, made.version, made.licence_expression) == ("thing", "1.0", "MIT")


EXTRA = {"thing/__init__.py": b""}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (wheel("thing", files={"../../evil.py": b""}), "traversal"),
        (wheel("thing", files={"thing/../../evil.py": b""}), "traversal"),
        (wheel("thing", files={"thing//evil.py": b""}), "traversal"),
        (wheel("thing", files={"/etc/evil": b""}), "name"),
        (wheel("thing", files={"C:/evil": b""}), "name"),
        (wheel("thing", files={"thing/\x1b[2Jevil.py": b""}), "name"),
        (edited(wheel("thing"), backslash), "name"),
        (edited(wheel("thing"), link), "link"),
        (wheel("thing", files={"thing/a.py": b"1", "thing/A.py": b"2"}), "twice"),
        (wheel("thing", unlisted={"thing/evil.py": b""}), "record"),
        (wheel("thing", record="thing/__init__.py,sha256=AAAA,3\n"), "record"),
        (wheel("thing", record="thing/__init__.py,md5=AAAA,3\n"), "record"),
        (wheel("thing", record='"unclosed\n'), "record"),
        (wheel("thing", files={**EXTRA, "evil.pth": b"import os"}), "startup"),
        (wheel("thing", files={**EXTRA, "EVIL.PTH": b"import os"}), "startup"),
        (wheel("thing", files={**EXTRA, "sitecustomize.py": b""}), "startup"),
        (wheel("thing", files={**EXTRA, "usercustomize/__init__.py": b""}), "startup"),
        (wheel("thing", files={**EXTRA, "thing-1.0.data/purelib/evil.pth": b""}), "startup"),
        (wheel("thing", files={**EXTRA, "thing-1.0.data/data/lib/python3.11/site-packages/e.pth": b""}), "startup"),
        (wheel("thing", metadata="Metadata-Version: 2.1\nName: other\nVersion: 1.0\n"), "metadata"),
        (wheel("thing", metadata="Metadata-Version: 2.1\nName: thing\nVersion: 2.0\n"), "metadata"),
        (wheel("thing", folder="other-1.0.dist-info"), "metadata"),
        (wheel("thing", files={**EXTRA, "other-1.0.dist-info/METADATA": b""}), "metadata"),
        (wheel("thing", files={"thing/zeros": bytes(200 << 20)}, compress=True), "bomb"),
        (wheel("thing")[:-30], "damaged"),
        (b"not a zip", "damaged"),
    ],
)
def test_a_wheel_that_attacks_is_found_out(tmp_path: Path, data: bytes, code: str) -> None:
    made = look(tmp_path, data)
    assert code in codes(made)
    assert all(finding.text.isprintable() and not finding.undecided for finding in made.findings)


def test_changed_bytes_inside_are_noticed_even_where_the_archive_is_consistent(tmp_path: Path) -> None:
    good = wheel("thing", files={"thing/__init__.py": b"ANSWER = 42\n"})
    record = zipfile.ZipFile(io.BytesIO(good)).read("thing-1.0.dist-info/RECORD").decode()
    made = look(tmp_path, wheel("thing", files={"thing/__init__.py": b"ANSWER = 43\n"}, record=record))
    assert [finding.text for finding in made.findings] == ["thing/__init__.py has other bytes than RECORD says"]


def test_start_up_code_can_be_accepted_by_name_only(tmp_path: Path) -> None:
    data = wheel("thing", files={**EXTRA, "thing.pth": b"import thing"})
    made = look(tmp_path, data, startup=frozenset({"thing"}))
    assert (codes(made), made.startup) == (set(), ("thing.pth",))
    assert codes(look(tmp_path, data, startup=frozenset({"other"}))) == {"startup"}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 4000), value=st.integers(0, 255), cut=st.integers(0, 300))
def test_a_damaged_wheel_never_raises_and_never_passes_with_other_contents(
    tmp_path: Path, at: int, value: int, cut: int
) -> None:
    good = wheel("thing", files={"thing/__init__.py": bytes(range(256)) * 4})
    bad = bytearray(good[: len(good) - cut])
    bad[at % len(bad)] = value
    made = look(tmp_path, bytes(bad))
    if not made.findings:
        # Only what no reader looks at may differ: a time, a version of the archiver, an attribute.
        with zipfile.ZipFile(io.BytesIO(bytes(bad))) as one, zipfile.ZipFile(io.BytesIO(good)) as other:
            assert {name: one.read(name) for name in one.namelist()} == {
                name: other.read(name) for name in other.namelist()
            }
