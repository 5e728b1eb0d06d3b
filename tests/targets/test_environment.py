"""``env:`` targets on real virtual environments, filled by a real installer."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import AssayError, TargetError
from assay.targets.environment import EnvironmentTarget, distributions, find_environment, open_environment
from assay.targets.installed import Distribution, parse_record
from assay.targets.interface import Options, Reference

METADATA = """\
Metadata-Version: 2.4
Name: Demo.Pkg
Version: 1.2+local
License-Expression: MIT
License: MIT License
Classifier: License :: OSI Approved :: MIT License
Classifier: Programming Language :: Python
Requires-Dist: numpy>=1; extra == "x"

A description
"""


def wheel(folder: Path) -> Path:
    """A wheel with a package, a console script and a data file beyond site-packages."""
    files = {
        "demo_pkg/__init__.py": b"def main(): pass\n",
        "demo_pkg/data/é.txt": b"data",
        "demo_pkg-1.2+local.data/data/share/demo.txt": b"shared",
        "demo_pkg-1.2+local.dist-info/METADATA": METADATA.encode(),
        "demo_pkg-1.2+local.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "demo_pkg-1.2+local.dist-info/entry_points.txt": b"[console_scripts]\ndemo = demo_pkg:main\n",
    }
    record = "".join(f"{name},sha256={b64(data)},{len(data)}\n" for name, data in files.items())
    files["demo_pkg-1.2+local.dist-info/RECORD"] = (record + "demo_pkg-1.2+local.dist-info/RECORD,,\n").encode()
    path = folder / "demo_pkg-1.2+local-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@pytest.fixture
def env(tmp_path: Path) -> Path:
    path = tmp_path / "my-env"
    venv.create(path, symlinks=True, with_pip=False)
    command = [sys.executable, "-m", "uv", "pip", "install", "-q", "--no-index", "--offline", "--link-mode=copy"]
    command += ["--python", str(path / "bin" / "python"), str(wheel(tmp_path))]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "VIRTUAL_ENV"))}
    done = subprocess.run(command, env=clean | {"UV_CACHE_DIR": str(tmp_path / "uv")}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return path


def site(env: Path) -> Path:
    return next(env.glob("lib/python3*/site-packages"))


def info(env: Path) -> Path:
    return site(env) / "demo_pkg-1.2+local.dist-info"


def open_(name: object, **options: Any) -> EnvironmentTarget:
    return open_environment(Reference("env", str(name)), Options(**options))


def names(target: EnvironmentTarget) -> list[str]:
    return [name for name in target.names if name.startswith("Demo")]


def test_files_and_facts(env: Path) -> None:
    with open_(env) as target:
        manifest = target.manifest()
        found = {resource.name: resource.sha256 for resource in manifest}
        with target.open("Demo.Pkg-1.2+local/demo_pkg/data/é.txt") as file:
            assert file.read() == b"data"
    assert target.name == "my-env"
    for name, path in (
        ("demo_pkg/__init__.py", site(env) / "demo_pkg" / "__init__.py"),
        ("demo_pkg-1.2+local.dist-info/RECORD", info(env) / "RECORD"),
        ("bin/demo", env / "bin" / "demo"),
        ("share/demo.txt", env / "share" / "demo.txt"),
    ):
        assert found["Demo.Pkg-1.2+local/" + name] == hashlib.sha256(path.read_bytes()).digest()
    notes = target.facts.notes
    (described,) = notes["distributions"]  # type: ignore[misc]
    direct = described.pop("direct_url")
    assert direct["url"].startswith("file://")
    assert described == {
        "name": "Demo.Pkg",
        "version": "1.2+local",
        "installer": "uv",
        "license_expression": "MIT",
        "license": "MIT License",
        "classifiers": ["License :: OSI Approved :: MIT License"],
        "requires": ['numpy>=1; extra == "x"'],
    }
    assert notes["modified"] == [] and notes["system_site_packages"] is False
    assert str(notes["python"]).startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")
    assert "missing" not in notes and "outside" not in notes and "unrecorded" not in notes
    json.dumps(notes)


def test_the_ways_to_name_it(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = open_(env).manifest()
    assert open_(env / "bin" / "python").manifest() == expected
    monkeypatch.chdir(env)
    assert open_("bin/python3").manifest() == expected
    assert open_(".").name == "my-env"
    for name, message in (
        (env / "nope", "there is no environment"),
        (env / "pyvenv.cfg", "not a Python interpreter"),
        (env / "bin", "not a Python environment"),
    ):
        with pytest.raises(TargetError, match=message):
            open_(name)


def test_the_running_environment() -> None:
    environment = find_environment("")
    found = {one.name.lower(): one for one in distributions(environment)}
    assert found["pytest"].version == pytest.__version__
    assert ("pytest/__init__.py") in dict(found["pytest"].files)
    target = open_("", paths=("pytest-*/pytest",))
    assert f"pytest-{pytest.__version__}/pytest/__init__.py" in target.names
    assert target.manifest() and target.facts.notes["modified"] == []


def test_a_named_environment_is_not_run(env: Path, tmp_path: Path) -> None:
    for program in (env / "bin").glob("python*"):
        program.unlink()
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        program.chmod(0o755)
    (site(env) / "sitecustomize.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    open_(env).manifest()
    open_(env / "bin" / "python").manifest()
    assert not (tmp_path / "ran").exists()


def test_modified_missing_and_planted_files(env: Path) -> None:
    before = open_(env).manifest()
    (site(env) / "demo_pkg" / "__init__.py").write_text("evil()\n")
    (env / "share" / "demo.txt").unlink()
    (site(env) / "evil.pth").write_text("import evil\n")
    with open_(env) as target:
        assert "modified" not in target.facts.notes
        after = target.manifest()
        assert target.facts.notes["modified"] == ["Demo.Pkg-1.2+local/demo_pkg/__init__.py"]
        assert target.facts.notes["missing"] == ["Demo.Pkg-1.2+local/share/demo.txt"]
    planted = set(after.names) - set(before.names)
    assert [name.rsplit("/", 1)[1] for name in planted] == ["evil.pth"]
    assert next(iter(planted)).startswith("unlisted/lib/python3")
    with open_(env) as target:
        target.manifest(sha256=False)
        assert "modified" not in target.facts.notes


def test_paths_and_ignores(env: Path) -> None:
    (site(env) / "demo_pkg" / "__pycache__").mkdir(exist_ok=True)
    (site(env) / "demo_pkg" / "__pycache__" / "x.pyc").write_bytes(b"1")
    with open_(env, ignore=("share/",)) as target:
        assert "Demo.Pkg-1.2+local/share/" in target.facts.ignored
        assert any(name.endswith("demo_pkg/__pycache__/") for name in target.facts.ignored)
        assert not any("share" in name or "pycache" in name for name in target.names)
    with open_(env, paths=("Demo.Pkg-*/demo_pkg/**",)) as target:
        assert [name.rsplit("/", 1)[1] for name in names(target)] == ["__init__.py", "é.txt"]
        assert target.facts.part
    assert any(name.endswith("x.pyc") for name in open_(env, default_ignores=False).names)
    with pytest.raises(TargetError, match="'numpy-\\*' matches no file"):
        open_(env, paths=("Demo*", "numpy-*"))


def test_a_record_that_points_elsewhere(env: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    record = info(env) / "RECORD"
    record.write_text(record.read_text() + f"../../../../secret,,\n{tmp_path}/secret,,\n/etc/hostname,,\n")
    with open_(env) as target:
        assert len(target.facts.notes["outside"]) == 3  # type: ignore[arg-type]
        assert not any("secret" in name or "hostname" in name for name in target.names)
        assert all(".." not in name.split("/") for name in target.names)


def test_links_are_not_followed(env: Path, tmp_path: Path) -> None:
    path = site(env) / "demo_pkg" / "__init__.py"
    path.rename(tmp_path / "moved.py")
    path.symlink_to(tmp_path / "moved.py")
    with pytest.raises(TargetError, match="demo_pkg/__init__.py' is a link"):
        open_(env)
    path.unlink()
    (tmp_path / "moved.py").rename(path)
    (site(env) / "demo_pkg").rename(tmp_path / "moved")
    (site(env) / "demo_pkg").symlink_to(tmp_path / "moved")
    with pytest.raises(TargetError, match="is a link"):
        open_(env)
    (site(env) / "demo_pkg").unlink()
    (tmp_path / "moved").rename(site(env) / "demo_pkg")
    (env / "share").rename(tmp_path / "share")
    (env / "share").symlink_to(tmp_path / "share")
    with pytest.raises(TargetError, match="share/demo.txt' is a link"):
        open_(env)
    (env / "share").unlink()
    (tmp_path / "share").rename(env / "share")
    (site(env) / "unlisted").symlink_to(tmp_path)
    with pytest.raises(TargetError, match="unlisted' is a link"):
        open_(env)
    os.unlink(site(env) / "unlisted")
    os.mkfifo(site(env) / "pipe")
    with pytest.raises(TargetError, match="neither file nor folder"):
        open_(env)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("METADATA", b"Name: Demo\n", "names no distribution"),
        ("METADATA", b"", "names no distribution"),
        ("METADATA", b"Name: ../evil\nVersion: 1\n", "names no distribution"),
        ("METADATA", b"Name: x\nVersion: 1/../..\n", "names no distribution"),
        ("METADATA", b"\xff\xfe", "METADATA' of .* is not UTF-8"),
        ("METADATA", None, "has no metadata"),
        ("RECORD", b"a,b\n", "has a line that is not one"),
        ("RECORD", b'"a,,\n', "malformed"),
        ("RECORD", b"a,md5=abcd,1\n", "hash that does not count"),
        ("RECORD", b"a,sha256=abcd,1\n", "hash of the wrong length"),
        ("RECORD", b"a,sha256=,1\n", "hash that does not count"),
        ("RECORD", b"a,sha256=%s,\na,,\n" % b64(b"").encode(), "twice"),
        ("RECORD", b"a\x00b,,\n", "RECORD"),
        ("RECORD", b"\xff,,\n", "not UTF-8"),
        ("RECORD", b"x/" * 3000 + b"y,,\n", "too long"),
        ("direct_url.json", b"[]", "not a JSON object"),
        ("direct_url.json", b"{", "not a JSON object"),
        ("direct_url.json", b"[" * 100_000, "not a JSON object"),
    ],
)
def test_a_broken_distribution_is_named(env: Path, file: str, content: bytes | None, message: str) -> None:
    (info(env) / file).unlink()
    if content is not None:
        (info(env) / file).write_bytes(content)
    with pytest.raises(TargetError, match=message) as caught:
        open_(env)
    assert "demo_pkg-1.2+local.dist-info" in str(caught.value) or message == "too long"


def test_distributions_without_record(env: Path) -> None:
    (info(env) / "RECORD").unlink()
    egg = site(env) / "old-1.0.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Name: old\nVersion: 1.0\nLicense: UNKNOWN\n")
    (site(env) / "single-2.egg-info").write_text("Name: single\nVersion: 2\n")
    with open_(env) as target:
        assert target.facts.notes["unrecorded"] == ["Demo.Pkg-1.2+local", "old-1.0", "single-2"]
        described = {d["name"]: d for d in target.facts.notes["distributions"]}  # type: ignore[attr-defined]
        assert described["old"] == {"name": "old", "version": "1.0"}
        assert any(name.endswith("demo_pkg/__init__.py") for name in target.names)
        assert all(name.startswith("unlisted/") for name in target.names)


def test_system_site_packages_are_noted(env: Path) -> None:
    config = env / "pyvenv.cfg"
    config.write_text(config.read_text().replace("system-site-packages = false", "system-site-packages = true"))
    assert open_(env).facts.notes["system_site_packages"] is True


def test_direct_urls_hold_no_login(env: Path) -> None:
    direct = {"url": "https://user:hunter2@example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "a" * 40}}
    (info(env) / "direct_url.json").write_text(json.dumps(direct))
    (found,) = distributions(find_environment(str(env)))
    assert isinstance(found, Distribution) and found.direct_url is not None
    assert found.direct_url["url"] == "https://example.org/x.git"
    assert "hunter2" not in json.dumps(found.describe())


def test_record_hashes() -> None:
    digest = hashlib.sha256(b"x").digest()
    text = f'a,sha256={b64(b"x")},1\nb,sha256={digest.hex()},1\nc,,\n"d,e",sha512={"A" * 86},\n\n'
    assert parse_record(text, "x") == (("a", digest), ("b", digest), ("c", None), ("d,e", None))


@given(
    st.text(max_size=200)
    | st.lists(st.tuples(st.text(max_size=5), st.text(max_size=50))).map(
        lambda rows: "".join(f"{path},sha256={hash_},\n" for path, hash_ in rows)
    )
)
def test_no_record_makes_a_traceback(text: str) -> None:
    try:
        rows = parse_record(text, "x")
    except AssayError:
        return
    assert all(path and (digest is None or len(digest) == 32) for path, digest in rows)
