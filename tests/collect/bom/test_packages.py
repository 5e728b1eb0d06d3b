"""Packages: declared, locked and installed, from files as their tools write them and as an attacker would."""

from __future__ import annotations

import textwrap
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packageurl import PackageURL

from assay.collect.bom.interface import Package
from assay.collect.bom.packages import declared, locks, parser_for, read_packages, requirements
from assay.collect.bom.packages.entries import MAX_FILE, guarded
from assay.collect.bom.packages.installed import read_installed, with_hashes
from assay.collect.bom.purl import clean_url, purl, target_purl
from assay.targets.environment import open_environment
from assay.targets.interface import Options, Reference
from assay.targets.local import open_directory

SHA = "0" * 63 + "1"


def read(folder: Path, **files: str) -> tuple[list[Package], list[str]]:
    """Write the files (``__`` stands for ``/``, the dot before the ending for ``_DOT_``) and read the folder."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".").replace("_DASH_", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    with open_directory(Reference("dir", str(folder)), Options()) as target:
        return read_packages(target)


def short(packages: list[Package]) -> list[tuple[str, str | None, str]]:
    return [(package.name, package.version, package.scope) for package in packages]


def test_requirements_pins_options_and_hashes(tmp_path: Path) -> None:
    found, warnings = read(
        tmp_path,
        requirements_DOT_txt=f"""
            # a comment
            -i https://user:secret@index.example/simple
            -i https://index.example/simple
            NumPy==1.26.4 \\
                --hash=sha256:{SHA} \\
                --hash=sha256:{"A" * 64}
            requests[socks]>=2.31 ; python_version < "3.13"  # why
            torch==2.*
            """,
    )
    assert warnings == []
    assert short(found) == [
        ("numpy", "1.26.4", "locked"),
        ("requests", None, "declared"),
        ("torch", None, "declared"),
    ]
    assert found[0].hashes == (("SHA-256", SHA), ("SHA-256", "a" * 64))
    assert found[0].purl == "pkg:pypi/numpy@1.26.4"
    assert found[1].requirement == 'requests[socks]>=2.31; python_version < "3.13"'
    assert "secret" not in repr(found)


def test_nested_requirements_are_read_inside_of_the_target_only(tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("stolen==1\n")
    folder = tmp_path / "repo"
    found, warnings = read(
        folder,
        requirements_DOT_txt="-r requirements/base.txt\n-r ../outside.txt\n-r /etc/passwd\n--requirement=base.in\n",
        requirements__base_DOT_txt="flask==3.0.0\n-r more.txt\n",
        requirements__more_DOT_txt="-r base.txt\njinja2\n",
        base_DOT_in="click\n",
    )
    assert short(found) == [
        ("click", None, "declared"),
        ("flask", "3.0.0", "locked"),
        ("jinja2", None, "declared"),
    ]
    assert len(warnings) == 2
    assert "'../outside.txt', which is not in the target" in warnings[0]


def test_credentials_never_leave_a_url(tmp_path: Path) -> None:
    found, _ = read(
        tmp_path,
        requirements_DOT_txt="""
            a @ git+https://bob:s3cret@git.example/x/a.git@deadbeef
            git+ssh://git@git.example/x/b.git@main#egg=b
            https://files.example/c-1.2-py3-none-any.whl?token=s3cret#sha256=00
            d @ https://bob:s3cret@files.example/d.tar.gz
            -e git+https://s3cret@git.example/x/e#egg=e
            """,
    )
    assert "s3cret" not in repr(found)
    assert [(package.name, package.purl) for package in found] == [
        ("a", "pkg:pypi/a?vcs_url=git%2Bhttps://git.example/x/a.git%40deadbeef"),
        ("b", "pkg:pypi/b?vcs_url=git%2Bssh://git.example/x/b.git%40main"),
        ("c", "pkg:pypi/c@1.2?download_url=https://files.example/c-1.2-py3-none-any.whl"),
        ("d", "pkg:pypi/d?download_url=https://files.example/d.tar.gz"),
        ("e", "pkg:pypi/e?vcs_url=git%2Bhttps://git.example/x/e"),
    ]


def test_bad_lines_are_warnings_that_name_the_line(tmp_path: Path) -> None:
    found, warnings = read(
        tmp_path, requirements_DOT_txt="good\nnot a requirement!!\nbad==1 --hash=sha256:zz\n./local\nhttps://\n"
    )
    assert [package.name for package in found] == ["bad", "good"]
    assert "requirements.txt line 2: 'not a requirement!!' is not a requirement" in warnings
    assert "requirements.txt line 3: 'sha256:zz' is not a hash" in warnings
    assert len(warnings) == 3


def test_pyproject_standards_and_poetry(tmp_path: Path) -> None:
    found, warnings = read(
        tmp_path,
        pyproject_DOT_toml="""
            [project]
            name = "x"
            dependencies = ["Scikit_Learn >= 1.5", 7]
            [project.optional-dependencies]
            gpu = ["torch>=2"]
            [dependency-groups]
            dev = ["pytest", { include-group = "lint" }]
            lint = ["ruff==0.6.0"]
            [tool.poetry.dependencies]
            python = "^3.11"
            pandas = "^2.0"
            mine = { path = "../mine" }
            forked = { git = "https://t:o@git.example/f.git", rev = "abc" }
            [tool.poetry.group.docs.dependencies]
            sphinx = { version = "^7", optional = true }
            """,
    )
    assert short(found) == [
        ("forked", None, "declared"),
        ("pandas", None, "declared"),
        ("pytest", None, "declared"),
        ("ruff", "0.6.0", "declared"),
        ("scikit-learn", None, "declared"),
        ("sphinx", None, "declared"),
        ("torch", None, "declared"),
    ]
    assert found[0].purl == "pkg:pypi/forked?vcs_url=git%2Bhttps://git.example/f.git%40abc"
    assert found[1].requirement == "pandas ^2.0"
    assert warnings == ["pyproject.toml: '7' is not a requirement"]


def test_setup_cfg_and_conda(tmp_path: Path) -> None:
    found, warnings = read(
        tmp_path,
        setup_DOT_cfg="""
            [options]
            install_requires =
                attrs>=23
                # comment
                six ; python_version<"3"
            [options.extras_require]
            test = pytest
            """,
        environment_DOT_yml="""
            dependencies:
              - python=3.11
              - pip
              - pip:
                - xgboost==2.0.3
                - -r other.txt
            """,
    )
    assert short(found) == [
        ("attrs", None, "declared"),
        ("pytest", None, "declared"),
        ("six", None, "declared"),
        ("xgboost", "2.0.3", "locked"),
    ]
    assert warnings == []


LOCKS = {
    "poetry.lock": f"""
        [[package]]
        name = "numpy"
        version = "2.0.1"
        files = [{{file = "numpy-2.0.1.tar.gz", hash = "sha256:{SHA}"}}]
        [[package]]
        name = "here"
        version = "0"
        [package.source]
        type = "directory"
        url = "."
        """,
    "pdm.lock": f"""
        [[package]]
        name = "numpy"
        version = "2.0.1"
        files = [{{file = "numpy-2.0.1.tar.gz", hash = "sha256:{SHA}"}}]
        [[package]]
        name = "numpy"
        version = "2.0.1"
        extras = ["x"]
        """,
    "uv.lock": f"""
        version = 1
        [[package]]
        name = "numpy"
        version = "2.0.1"
        source = {{ "registry" = "https://index.example/simple" }}
        sdist = {{ url = "https://index.example/numpy.tar.gz", hash = "sha256:{SHA}", size = 1 }}
        [[package]]
        name = "me"
        source = {{ editable = "." }}
        """,
    "Pipfile.lock": f'{{"default": {{"numpy": {{"version": "==2.0.1", "hashes": ["sha256:{SHA}"]}}}}}}',
    "pylock.toml": f"""
        lock-version = "1.0"
        [[packages]]
        name = "numpy"
        version = "2.0.1"
        wheels = [{{url = "https://index.example/n.whl", hashes = {{sha256 = "{SHA}"}}}}]
        """,
}


@pytest.mark.parametrize("name", LOCKS)
def test_locks_agree(tmp_path: Path, name: str) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["numpy"]\n')
    (tmp_path / name).write_text(textwrap.dedent(LOCKS[name]))
    with open_directory(Reference("dir", str(tmp_path)), Options()) as target:
        found, warnings = read_packages(target)
    assert warnings == []
    assert short(found) == [("numpy", None, "declared"), ("numpy", "2.0.1", "locked")]
    assert found[1].hashes == (("SHA-256", SHA),)
    assert found[1].direct is True
    assert found[1].source == name


def test_our_own_lock_as_uv_writes_it() -> None:
    """The repository's requirements are a real file of a real tool."""
    path = Path(__file__).parents[3] / "requirements" / "dev.txt"
    warnings: list[str] = []
    found = list(requirements.parse(path.read_bytes(), "dev.txt", warnings.append))
    assert warnings == []
    assert len(found) > 50
    assert all(package.scope == "locked" and package.version and package.hashes for package in found)


def test_too_large_a_file_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "requirements.txt", "wb") as file:
        file.truncate(MAX_FILE + 1)
    with open_directory(Reference("dir", str(tmp_path)), Options()) as target:
        found, warnings = read_packages(target)
    assert found == []
    assert "too many for a list of packages" in warnings[0]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("poetry.lock", b"package = 7"),
        ("poetry.lock", b"[[package]]\nname = 1\nversion = []"),
        ("uv.lock", b"[[package]]\nname='a'\nversion='1'\nwheels=[[]]\nsource=3"),
        ("Pipfile.lock", b"[" * 100_000),
        ("Pipfile.lock", b'{"default": {"a": 1, "b": {"version": 2}}}'),
        ("pylock.toml", b"packages = [{name='a', vcs={url='https://['}}]"),
        ("pyproject.toml", b"\xff\xfe"),
        ("pyproject.toml", b"a=" + b"[" * 50_000),
        ("pyproject.toml", b"[project]\ndependencies = 'a'\noptional-dependencies = []"),
        ("environment.yml", b"a: &a [*a]\n" + b"[" * 5000),
        ("environment.yml", b"dependencies: 1"),
        ("setup.cfg", b"[options\ninstall_requires"),
        ("requirements.txt", b"\x00\\\n\\\n"),
    ],
)
def test_bad_content_is_never_a_traceback(name: str, data: bytes) -> None:
    parser = parser_for(name)
    assert parser is not None
    warnings: list[str] = []
    for package in guarded(parser, data, name, warnings.append):
        PackageURL.from_string(package.purl)
    assert all(warning.startswith(name) for warning in warnings)


@given(st.text(max_size=200))
def test_any_requirements_file(text: str) -> None:
    warnings: list[str] = []
    for package in guarded(requirements.parse, text.encode("utf-8", "replace"), "r.txt", warnings.append):
        PackageURL.from_string(package.purl)
    requirements.included(text.encode("utf-8", "replace"))


@given(
    st.sampled_from([locks.poetry, locks.uv, locks.pdm, locks.pylock, declared.pyproject]),
    st.dictionaries(
        st.sampled_from(["name", "version", "source", "files", "wheels", "sdist", "hashes", "vcs", "archive"]),
        st.one_of(
            st.integers(),
            st.sampled_from(["a", "1.0", "https://[", "git+", "sha256:0", "\u202e"]),
            st.lists(st.just({"hash": 1}), max_size=2),
            st.just({"type": "git", "url": "http://x@y", "git": "https://[::1"}),
        ),
    ),
)
def test_any_shape_of_a_lock(parser: object, entry: dict[str, object]) -> None:
    import tomllib

    def inline(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f'"{k}" = {inline(v)}' for k, v in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(inline, value)) + "]"
        return str(value) if isinstance(value, int) else f'"{value}"'

    key = "packages" if parser is locks.pylock else "package"
    text = f"{key} = [{inline(entry)}]"
    assert tomllib.loads(text)
    for package in guarded(parser, text.encode(), "lock", lambda _: None):  # type: ignore[arg-type]
        PackageURL.from_string(package.purl)


@pytest.mark.parametrize(
    ("made", "parts"),
    [
        (purl("pypi", "a-b", "1+x"), ("pypi", None, "a-b", "1+x")),
        (purl("huggingface", "mo del", "abc", namespace="org"), ("huggingface", "org", "mo del", "abc")),
        (purl("generic", "é@/x", "v:1"), ("generic", None, "é@/x", "v:1")),
    ],
)
def test_purls_are_read_back_by_the_reference_library(made: str, parts: tuple[str | None, ...]) -> None:
    read_back = PackageURL.from_string(made)
    assert (read_back.type, read_back.namespace, read_back.name, read_back.version) == parts


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("hf", "org/name", "name", "ABC", "https://huggingface.co/org/name"), "pkg:huggingface/org/name@abc"),
        (
            ("hf", "org/name", "name", "abc", "https://hub.example/org/name"),
            "pkg:huggingface/org/name@abc?repository_url=https://hub.example",
        ),
        (("git", "x", "n", "abc", "https://huggingface.co/org/n.git"), "pkg:huggingface/org/n@abc"),
        (("git", "x", "r", "abc", "git@github.com:Org/R.git"), "pkg:github/org/r@abc"),
        (
            ("git", "x", "r", "abc", "https://u:p@git.example/r.git"),
            "pkg:generic/r@abc?vcs_url=git%2Bhttps://git.example/r.git%40abc",
        ),
        (
            ("hf", "datasets/org/d", "d", "abc", "https://huggingface.co/datasets/org/d"),
            "pkg:generic/d@abc?vcs_url=git%2Bhttps://huggingface.co/datasets/org/d%40abc",
        ),
        (("dir", "/home/me/model", "model", None, None), "pkg:generic/model"),
    ],
)
def test_purl_of_a_target(arguments: tuple[str, str, str, str | None, str | None], expected: str) -> None:
    made = target_purl(*arguments)
    assert made == expected
    PackageURL.from_string(made)


@pytest.mark.parametrize("url", ["", "x", "http://[", "a b", "http://ex ample/", "://", "https://h\n/x", "-"])
def test_what_is_no_url(url: str) -> None:
    assert clean_url(url) in ("", "https://h/x")


@given(st.text(max_size=60))
def test_clean_url_never_fails(url: str) -> None:
    clean_url(url)


# Environments


def test_installed_distributions() -> None:
    warnings: list[str] = []
    found = read_installed(
        [
            {"name": "NumPy", "version": "2.0.1", "license_expression": "BSD-3-Clause AND mit"},
            {"name": "old", "version": "1", "license": "MIT\n\nPermission is hereby granted ..."},
            {"name": "older", "version": "1", "classifiers": ["License :: OSI Approved :: Apache Software License"]},
            {"name": "silent", "version": "1", "license": "UNKNOWN"},
            {
                "name": "mine",
                "version": "0.1",
                "direct_url": {"url": "https://git.example/m", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            },
            {"name": "edited", "version": "0.1", "direct_url": {"url": "file:///home/me/x", "dir_info": {}}},
            {"name": "../x", "version": "1"},
            7,
        ],
        warnings.append,
    )
    assert short(found)[0] == ("numpy", "2.0.1", "installed")
    assert [[licence.expression for licence in package.licences] for package in found] == [
        ["BSD-3-Clause AND MIT"],
        ["MIT"],
        ["Apache Software License"],
        [],
        [],
        [],
    ]
    assert found[4].purl == "pkg:pypi/mine@0.1?vcs_url=git%2Bhttps://git.example/m%40abc"
    assert "/home/me" not in repr(found)
    assert len(warnings) == 2


def test_the_running_environment() -> None:
    reference = Reference("env", "")
    with open_environment(reference, Options(paths=("msgspec-*/", "blake3-*/"))) as target:
        manifest = target.manifest()
        packages, _ = read_packages(target)
        hashed = with_hashes(packages, manifest)
    by_name = {package.name: package for package in hashed}
    assert len(by_name) > 50
    msgspec = by_name["msgspec"]
    assert (msgspec.scope, msgspec.version) == ("installed", metadata.version("msgspec"))
    assert len(msgspec.hashes) == 1
    assert msgspec.hashes != by_name["blake3"].hashes
    assert by_name["rich"].hashes == ()  # its files are not in this part
    assert by_name["rich"].licences


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["name", "version", "license", "license_expression", "classifiers", "direct_url"]),
            st.one_of(
                st.none(), st.text(max_size=10), st.lists(st.text(max_size=5), max_size=2), st.just({"url": "http://["})
            ),
        ),
        max_size=3,
    )
)
def test_any_distribution(entries: list[dict[str, object]]) -> None:
    for package in read_installed(entries, lambda _: None):
        PackageURL.from_string(package.purl)
