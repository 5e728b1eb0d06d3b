"""Requirements and locks: what is read from them, and what could let other bytes in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.packages import locks, requirements
from assay.collect.packages.locks import Locked
from assay.errors import AssayError
from helpers import one_sentence

A, B = "a" * 64, "b" * 64


def test_a_lock_is_read_as_it_was_written() -> None:
    packages = [Locked("b", "2.0", (B, A)), Locked("a", "1.0+cpu", (A,), 'python_version < "3.13"')]
    data = locks.render(packages)
    assert data == locks.render(packages[::-1])
    read, findings = locks.read(data, "x.lock")
    assert findings == []
    assert read == [Locked("a", "1.0+cpu", (A,), 'python_version < "3.13"'), Locked("b", "2.0", (A, B))]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("a==1.0", "no-hash"),
        (f"a>=1.0 --hash=sha256:{A}", "unpinned"),
        (f"a==1.* --hash=sha256:{A}", "unpinned"),
        (f"a===1.0 --hash=sha256:{A}", "unpinned"),
        (f"a==1.0,==1.1 --hash=sha256:{A}", "unpinned"),
        (f"a --hash=sha256:{A}", "unpinned"),
        (f"a==1.0 --hash=md5:{'a' * 32}", "weak-hash"),
        (f"a==1.0 --hash=sha256:{A} --hash=sha1:{'a' * 40}", "weak-hash"),
        (f"a==1.0 --hash=sha256:{A[:-1]}", "weak-hash"),
        (f"a==1.0 --hash=sha512:{'a' * 128}", "no-hash"),
        (f"a @ https://user:pass-word@host/a-1.0-py3-none-any.whl --hash=sha256:{A}", "address"),
        ("--index" + "-url https://user:pass-word@host.example/simple", "option"),
        ("--extra-" + "index-url=https://user:pass-word@host.example/simple", "option"),
        ("-ihttps://user:pass-word@host.example/simple", "option"),
        ("-f /somewhere", "option"),
        ("-r other.txt", "option"),
        ("-e .", "option"),
        ("--trusted-host host", "option"),
        ("./a-1.0-py3-none-any.whl", "unreadable"),
        ("https://user:pass-word@host/a-1.0.tar.gz", "unreadable"),
        (f"\u212a==1.0 --hash=sha256:{A}", "unreadable"),
        (f"good==1.0 --hash=sha256:{A}\nGood==1.0 --hash=sha256:{B}", "twice"),
        ("", "empty"),
        ("# only words", "empty"),
    ],
)
def test_a_line_that_could_let_other_bytes_in_is_a_finding(line: str, code: str) -> None:
    _, findings = locks.read(line.encode(), "x.lock")
    assert code in {finding.code for finding in findings}
    assert not any("pass-word" in finding.text or finding.undecided for finding in findings)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text("ab=1.0 -\\\n#;@:[]<>!,\u212a", max_size=60).map(str.encode))
def test_any_bytes_are_a_lock_or_findings(data: bytes) -> None:
    packages, findings = locks.read(data, "x.lock")
    assert packages or findings
    assert all(package.hashes for package in packages)


def ask(folder: Path, text: str, name: str = "requirements.in", **how: list[str]) -> requirements.Wanted:
    path = folder / name
    path.write_text(text)
    return requirements.read(str(path), **how)


def test_requirements_with_nested_files_and_constraints(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("two>=2 # why\n")
    (tmp_path / "limits.txt").write_text("three<3\n")
    wanted = ask(tmp_path, f"One[x] \\\n ==1.0 --hash=sha256:{A}\n-r more.txt\n-c limits.txt\n")
    assert wanted == requirements.Wanted(("One[x]==1.0", "two>=2"), ("three<3",))


def test_a_project_says_what_it_needs(tmp_path: Path) -> None:
    text = '[project]\nname = "p"\ndependencies = ["one"]\n[project.optional-dependencies]\nx = ["two"]\n'
    assert ask(tmp_path, text, "pyproject.toml").requirements == ("one",)
    assert ask(tmp_path, text, "pyproject.toml", extras=["x"]).requirements == ("one", "two")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.in", "--index" + "-url https://user:pass-word@host.example/simple\none"),
        ("requirements.in", "-ihttps://user:pass-word@host.example/simple\none"),
        ("requirements.in", "--find-links=https://user:pass-word@host.example/simple\none"),
        ("requirements.in", "one @ https://user:pass-word@host/one.whl"),
        ("requirements.in", "git+https://user:pass-word@host/one"),
        ("requirements.in", "-e ."),
        ("requirements.in", "./folder"),
        ("requirements.in", "-r requirements.in"),
        ("requirements.in", "-r nothing-there.txt"),
        ("requirements.in", "# nothing"),
        ("requirements.in", "tor\u212ah"),
        ("pyproject.toml", "[project"),
        ("pyproject.toml", "[tool.x]\n"),
        ("pyproject.toml", '[project]\nname = "p"\ndynamic = ["dependencies"]\n'),
        ("pyproject.toml", "[project]\ndependencies = [3]\n"),
        ("pyproject.toml", '[project]\ndependencies = "one"\n'),
        ("pyproject.toml", '[project]\ndependencies = ["one @ file:///pass-word"]\n'),
    ],
)
def test_what_would_make_the_resolver_look_elsewhere_is_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(AssayError) as caught:
        ask(tmp_path, text, name)
    assert caught.value.exit_code == 2
    assert "pass-word" not in one_sentence(caught.value)
