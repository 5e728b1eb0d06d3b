"""`assay.targets.names` and `assay.targets.registry`: from what a user wrote to a reference, and to a target."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assay.errors import TargetError, UsageError
from assay.targets import names, registry
from assay.targets.interface import Options, Reference
from assay.targets.names import SCHEMES, base_name, is_url, parse, parse_with_userinfo, shown, without_userinfo


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "scheme", "name", "revision"),
    [
        ("dir:models/x", "dir", "models/x", None),
        ("dir:a@b:c", "dir", "a@b:c", None),
        ("file:a@1", "file", "a@1", None),
        ("file:///etc/hosts", "file", "///etc/hosts", None),
        ("env:", "env", "", None),
        ("env:/venvs/a@b", "env", "/venvs/a@b", None),
        ("hf:org/name", "hf", "org/name", None),
        ("hf:org/name@refs/pr/1", "hf", "org/name", "refs/pr/1"),
        ("hf:gpt2@main", "hf", "gpt2", "main"),
        ("hf:datasets/org/name@v1", "hf", "datasets/org/name", "v1"),
        ("git:clone", "git", "clone", None),
        ("git:clone@v1.0", "git", "clone", "v1.0"),
        ("git:https://h.org/x.git", "git", "https://h.org/x.git", None),
        ("git:https://h.org/x.git@v1", "git", "https://h.org/x.git", "v1"),
        ("git:https://h.org/a/x@feature/y", "git", "https://h.org/a/x", "feature/y"),
        ("git:https://h.org/a/x@pkg@1.2.3", "git", "https://h.org/a/x", "pkg@1.2.3"),
        ("git:https://h.org/a/x@@scope/pkg@1.2.3", "git", "https://h.org/a/x", "@scope/pkg@1.2.3"),
        ("git:https://h.org/@user/x.git@v1", "git", "https://h.org/@user/x.git", "v1"),
        ("git:https://h.org/@user/x", "git", "https://h.org/@user/x", None),
        ("git:https://u:p@h.org:8443/x@v1", "git", "https://h.org:8443/x", "v1"),
        ("git:https://[::1]:8443/x", "git", "https://[::1]:8443/x", None),
        ("git:ssh://git:secret@h.org:22/x.git@v1", "git", "ssh://git@h.org:22/x.git", "v1"),
        ("git:git@h.org:a/x.git", "git", "git@h.org:a/x.git", None),
        ("git:git@h.org:a/x.git@v1", "git", "git@h.org:a/x.git", "v1"),
        ("git:h.org:x@v1", "git", "h.org:x", "v1"),
        ("git:file:///srv/x.git@main", "git", "file:///srv/x.git", "main"),
        ("git:git://h.org/x", "git", "git://h.org/x", None),
        ("https://github.com/org/x", "git", "https://github.com/org/x", None),
        ("https://huggingface.co/org/x@main", "git", "https://huggingface.co/org/x", "main"),
        ("https://gitlab.example.org/g/sub/x", "git", "https://gitlab.example.org/g/sub/x", None),
        ("https://example.org/x.git@v1", "git", "https://example.org/x.git", "v1"),
        ("http://example.org/x.git", "git", "http://example.org/x.git", None),
        ("ssh://git@example.org/x", "git", "ssh://git@example.org/x", None),
        ("git@github.com:org/x.git@v1", "git", "git@github.com:org/x.git", "v1"),
    ],
)
def test_what_it_means(text: str, scheme: str, name: str, revision: str | None) -> None:
    reference = parse(text)
    assert reference == Reference(scheme, name, revision)
    assert parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("a\nb", "control characters"),
        ("a\x1b[2J", "control characters"),
        ("a\udcff", "not UTF-8"),
        ("nowhere", "no file or folder 'nowhere'"),
        ("nowhere@v1", "no file or folder"),
        ("s3:bucket/x", "unknown scheme 's3'"),
        ("docker:alpine", "unknown scheme"),
        ("host:path", "unknown scheme"),
        ("C:\\models\\x", "Windows path"),
        ("C:/models/x", "Windows path"),
        ("git:C:\\models\\x", "Windows path"),
        ("\\\\server\\share", "Windows path"),
        ("dir:", "nothing stands after 'dir:'"),
        ("file:", "nothing stands after"),
        ("git:", "nothing stands after"),
        ("hf:", "not the name of a repository"),
        ("hf:a/b/c", "not the name of a repository"),
        ("hf:../x", "not the name of a repository"),
        ("hf:a/-b", "not the name of a repository"),
        ("hf:a/b--c", "not the name of a repository"),
        ("hf:a/b@", "nothing stands after the '@'"),
        ("hf:a/b@-x", "starts with '-'"),
        ("hf:a/b@../../x", "not a branch"),
        ("git:https://h.org/x@", "nothing stands after the '@'"),
        ("git:https://h.org/x@--upload-pack=evil", "starts with '-'"),
        ("git:https://h.org/x@a b", "not a branch"),
        ("git:https://h.org/x@a..b", "not a branch"),
        ("git:https://h.org/x@HEAD:file", "not a branch"),
        ("git:https://h.org/x@*", "not a branch"),
        ("git:nowhere@-x", "starts with '-'"),
        ("git:ext::sh -c evil", "transport"),
        ("git:fd::3", "transport"),
        ("git:ftp://h.org/x", "transport"),
        ("git:ext://x", "transport"),
        ("git:https:///x", "no valid host"),
        ("git:ssh://-oProxyCommand=evil/x", "no valid host"),
        ("git:ssh://-oProxyCommand=evil@h.org/x", "no valid user"),
        ("git:https://h.org", "names no repository"),
        ("git:https://h.org/", "names no repository"),
        ("git:https://h.org/x?token=abc", "query or a fragment"),
        ("git:https://h.org/x#readme", "query or a fragment"),
        ("https://github.com/org/x/tree/main", "page about a repository"),
        ("https://huggingface.co/org/x/resolve/main/model.bin", "page about a repository"),
        ("https://example.org/model.bin", "does not look like a git repository"),
        ("ftp://example.org/x", "cannot be a target"),
        ("s3://bucket/x", "cannot be a target"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse(text)
    assert caught.value.message.isprintable()


def test_existing_paths_win(tmp_path: Path) -> None:
    for name in ("model@v2", "s3:bucket", "a b", "host:x", "-x"):
        (tmp_path / name).mkdir()
        assert parse(name) == Reference("dir", name)
    (tmp_path / "weights@1.bin").write_bytes(b"")
    assert parse("weights@1.bin") == Reference("file", "weights@1.bin")
    assert parse(str(tmp_path)) == Reference("dir", str(tmp_path))
    for name in ("r@2", "r", "git@host:x"):
        (tmp_path / name).mkdir(exist_ok=True)
    assert parse("git:r@2") == Reference("git", "r@2")
    assert parse("git:r@2@v1") == Reference("git", "r@2", "v1")
    assert parse("git:r@HEAD@{1}") == Reference("git", "r", "HEAD@{1}")
    assert parse("git:r@pkg@1.0") == Reference("git", "r", "pkg@1.0")
    assert parse("git:git@host:x") == Reference("git", "git@host:x")
    assert not is_url("git@host:x") and is_url("git@host:y") and is_url("https://h/x") and not is_url("r")


def test_a_folder_named_like_a_url_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "https:" / "github.com" / "org" / "x").mkdir(parents=True)
    assert parse("git:https://github.com/org/x") == Reference("git", "https://github.com/org/x")
    assert is_url("https://github.com/org/x")


def test_a_known_scheme_is_not_taken_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "hf:org").mkdir()
    (tmp_path / "hf:org" / "name").mkdir()
    assert parse("hf:org/name") == Reference("hf", "org/name")
    assert parse("./hf:org/name") == Reference("dir", "./hf:org/name")


def test_sockets_and_pipes_are_no_targets(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="neither a regular file nor a folder"):
        parse("pipe")


@pytest.mark.parametrize(
    ("text", "userinfo"),
    [
        ("git:https://user:p%40ss@h.org/x@v1", "user:p%40ss"),
        ("git:https://user:p@ss@h.org/x", "user:p@ss"),
        ("https://TOKEN@github.com/org/x", "TOKEN"),
        ("git:https://h.org/x", None),
        ("git:ssh://git:secret@h.org/x", None),
        ("hf:org/name", None),
    ],
)
def test_userinfo_goes_beside_the_reference(text: str, userinfo: str | None) -> None:
    reference, found = parse_with_userinfo(text)
    assert found == userinfo
    for secret in ("p%40ss", "p@ss", "TOKEN", "secret"):
        assert secret not in str(reference)


@pytest.mark.parametrize(
    "text",
    [
        "https://user:hunter2@example.org/page",
        "git:ftp://user:hunter2@example.org/x",
        "git:https://user:hunter2@example.org/x?y",
        "git:https://user:hunter2@-bad/x",
        "git:https://user:hunter2@example.org",
        "s3://user:hunter2@bucket/x",
        "https://user:hunter2@github.com/a/b/tree/main",
        "git:ssh://us er:hunter2@h.org/x",
        "git:user:hunter2@host:x",
    ],
)
def test_errors_hold_no_password(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert "hunter2" not in str(caught.value)


def test_names_for_people() -> None:
    assert base_name("https://h/org/wtp-bert-tiny.git") == "wtp-bert-tiny"
    assert base_name("git@h:wtp-bert-tiny") == "wtp-bert-tiny"
    assert base_name("/srv/x.git/") == "x"
    assert base_name("/") == "repository"
    assert shown("https://u:p@h/x") == "'https://h/x'"
    assert shown("\x1b[31m\u202e") == r"'\x1b[31m\u202e'"
    assert len(shown("x" * 10_000)) < 300
    assert without_userinfo("https://u:p@h.org/x") == "https://h.org/x"
    assert without_userinfo("/home/me/x") is None


_PARTS = st.sampled_from(
    [
        "git:",
        "hf:",
        "env:",
        "dir:",
        "https://",
        "ssh://",
        "ext::",
        "@",
        ":",
        "/",
        "u:pw@",
        "h.org",
        ".git",
        "x",
        "..",
        "-",
    ]
)


@given(st.text(max_size=60) | st.lists(_PARTS | st.text(max_size=5), max_size=8).map("".join))
@example("git:https://[/x")
@example("git:@")
@example("https://[::1")
def test_no_text_makes_a_traceback(text: str) -> None:
    try:
        reference, userinfo = parse_with_userinfo(text)
    except UsageError as error:
        assert str(error)
        return
    assert reference.scheme in SCHEMES
    assert reference.revision is None or not reference.revision.startswith("-")
    if userinfo is not None and "://" in reference.name:
        assert "@" not in reference.name.split("://", 1)[1].split("/")[0]


def test_registry_knows_every_scheme() -> None:
    assert tuple(registry.SCHEMES) == names.SCHEMES
    with pytest.raises(UsageError, match="unknown scheme 'ftp'"):
        registry.resolve(Reference("ftp", "x"))


def test_resolve_opens_each_kind(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "-q"), ("add", "-A"), (*who, "commit", "-q", "-m", "x")):
        subprocess.run(["git", *command], cwd=model, env=env, check=True)
    expected = None
    for text in ("model", "dir:model", str(model), "git:model", "git:model@HEAD", f"git:file://{model}"):
        with registry.resolve(text, Options()) as target:
            assert target.name == "model"
            expected = expected or target.manifest()
            assert target.manifest() == expected
    with registry.resolve("model/config.json") as target:
        assert target.single and target.name == "config.json"
    with registry.resolve(Reference("env", "")) as target:
        assert target.reference.scheme == "env"
    for text in ("dir:missing", "file:missing", "git:missing", "env:missing"):
        with pytest.raises(TargetError):
            registry.resolve(text)


def test_importing_names_loads_nothing_heavy() -> None:
    code = (
        "import sys, assay.targets, assay.targets.registry; "
        "print([m for m in ('subprocess', 'urllib.request', 'huggingface_hub', 'email.parser', 'msgspec', 'blake3',"
        " 'asyncio', 'tempfile') if m in sys.modules])"
    )
    source = str(Path(names.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": source}, capture_output=True, check=True, text=True
    )
    assert done.stdout.strip() == "[]"


def test_public_names_are_there() -> None:
    import assay.targets as floor

    for name in floor.__all__:
        assert getattr(floor, name) is not None
    with pytest.raises(AttributeError):
        floor.nothing  # noqa: B018
