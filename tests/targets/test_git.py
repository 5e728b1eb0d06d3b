"""`assay.targets.git` on real repositories, made by git in a temporary folder."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import AssayError, TargetError, UndecidedError, UsageError
from assay.targets.git.target import GitTarget, open_git
from assay.targets.git.tree import parse_tree, select
from assay.targets.interface import SEGMENT, Manifest, Options, Reference
from ports import free_port


@pytest.fixture(autouse=True)
def _committer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "gitconfig").write_text("[user]\nname = A\nemail = a@example.org\n[init]\ndefaultBranch = main\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))


def git(directory: Path, *arguments: str, data: bytes | None = None) -> str:
    done = subprocess.run(["git", *arguments], cwd=directory, input=data, capture_output=True, check=True)
    return done.stdout.decode().strip()


def make(directory: Path, files: dict[str, bytes], *options: str) -> Path:
    directory.mkdir(parents=True)
    git(directory, "init", "-q", *options)
    commit(directory, files)
    return directory


def commit(directory: Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", "x")
    return git(directory, "rev-parse", "HEAD")


def open_(name: object, revision: str | None = None, **options: object) -> GitTarget:
    return open_git(Reference("git", str(name), revision), Options(**options))  # type: ignore[arg-type]


def read(name: object, revision: str | None = None, **options: object) -> Manifest:
    with open_(name, revision, **options) as target:
        return target.manifest()


FILES = {
    "config.json": b"{}",
    "weights/a.bin": b"a" * 3000,
    "weights/b.bin": os.urandom(70_000),
    "empty": b"",
    "é.txt": b"accent",
}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make(tmp_path / "wtp-bert-tiny", FILES)


def test_the_commit_and_nothing_else_counts(repo: Path) -> None:
    (repo / "config.json").write_bytes(b"changed in the worktree")
    (repo / "untracked").write_bytes(b"x")
    (repo / "staged").write_bytes(b"y")
    git(repo, "add", "staged")
    with open_(repo) as target:
        manifest = target.manifest()
        assert list(target.names) == sorted(FILES)
        assert target.name == "wtp-bert-tiny"
        commit_id, tree = git(repo, "rev-parse", "HEAD"), git(repo, "rev-parse", "HEAD^{tree}")
        assert target.facts.digests == {"gitCommit": commit_id, "gitTree": tree}
        assert target.facts.revision == commit_id == target.reference.revision
        assert target.facts.origin is None
    for resource in manifest:
        assert resource.size == len(FILES[resource.name])
        assert resource.sha256 == hashlib.sha256(FILES[resource.name]).digest()
        assert resource.blake3 is not None and any(resource.blake3)


def test_branch_tag_commit_abbreviation_and_detached_head(repo: Path) -> None:
    first = git(repo, "rev-parse", "HEAD")
    git(repo, "tag", "-a", "-m", "annotated", "v1")
    git(repo, "tag", "light")
    git(repo, "checkout", "-q", "-b", "feature/x")
    second = commit(repo, {"config.json": b"{2}"})
    for revision in ("v1", "light", "main", first, first[:9], "HEAD~1", "refs/tags/v1", "v1^{}"):
        assert open_(repo, revision).facts.revision == first, revision
    for revision in (None, "HEAD", "feature/x", second):
        assert open_(repo, revision).facts.revision == second, revision
    git(repo, "checkout", "-q", "--detach", first)
    assert open_(repo).facts.revision == first


def test_unknown_and_ambiguous_revisions_are_named(repo: Path) -> None:
    with pytest.raises(TargetError, match="no branch, tag or commit 'nope'"):
        open_(repo, "nope")
    git(repo, "tag", "both")
    commit(repo, {"config.json": b"{3}"})
    git(repo, "branch", "both")
    git(repo, "config", "core.warnAmbiguousRefs", "false")  # the repository cannot silence this
    with pytest.raises(TargetError, match="more than one"):
        open_(repo, "both")
    with pytest.raises(TargetError, match="more than one"):
        open_(f"file://{repo}", "both")


def test_revision_that_is_a_tree_or_a_blob_is_no_commit(repo: Path) -> None:
    for what in ("HEAD^{tree}", git(repo, "rev-parse", "HEAD:config.json")):
        with pytest.raises(TargetError, match="no branch, tag or commit"):
            open_(repo, what)


def test_clone_bare_clone_worktree_and_url_give_the_same_manifest(repo: Path, tmp_path: Path) -> None:
    expected = read(repo)
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    git(tmp_path, "clone", "-q", f"file://{repo}", "clone")
    git(repo, "worktree", "add", "-q", str(tmp_path / "linked"), "--detach")
    for name in ("bare.git", "clone", "linked"):
        assert read(tmp_path / name) == expected
    assert read(repo / ".git") == expected
    assert read(f"file://{repo}") == expected
    assert open_(tmp_path / "bare.git").name == "bare"
    assert open_(repo / ".git").name == "wtp-bert-tiny"
    with open_(tmp_path / "clone") as target:
        assert target.facts.origin == f"file://{repo}"


def test_origin_comes_without_credentials_and_without_local_paths(repo: Path) -> None:
    for url, shown in (
        ("https://user:secret@example.org/org/x.git", "https://example.org/org/x.git"),
        ("https://token@example.org/org/x.git", "https://example.org/org/x.git"),
        ("git@example.org:org/x.git", "git@example.org:org/x.git"),
        ("/home/somebody/x", None),
        ("ext::sh -c evil", None),
    ):
        git(repo, "config", "remote.origin.url", url)
        assert open_(repo).facts.origin == shown


def test_url_by_tag_branch_hidden_commit_and_abbreviation(repo: Path) -> None:
    first = git(repo, "rev-parse", "HEAD")
    git(repo, "tag", "-a", "-m", "x", "v1")
    second = commit(repo, {"more": b"1"})
    hidden = commit(repo, {"more": b"2"})
    git(repo, "reset", "-q", "--hard", second)
    git(repo, "update-ref", "refs/hidden/x", hidden)
    url = f"file://{repo}"
    for revision, expected in (
        ("v1", first),
        ("main", second),
        (None, second),
        (first, first),
        (first[:8], first),
        (hidden, hidden),
        ("refs/heads/main", second),
    ):
        with open_(url, revision) as target:
            assert target.facts.revision == expected
            assert target.facts.origin == url
            directory = target._repository.directory
            assert os.path.isdir(directory)
        assert not os.path.exists(directory)
    with pytest.raises(TargetError, match="no branch, tag or commit 'v9'"):
        open_(url, "v9")


def test_a_url_fetches_one_commit_only(repo: Path) -> None:
    old = git(repo, "rev-parse", "HEAD")
    commit(repo, {"more": b"1"})
    with open_(f"file://{repo}") as target:
        found = subprocess.run(["git", "cat-file", "-e", old], cwd=target._repository.directory, capture_output=True)
        assert found.returncode != 0


def test_empty_repository(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    git(tmp_path / "r", "init", "-q")
    for name in (tmp_path / "r", f"file://{tmp_path / 'r'}"):
        with pytest.raises(TargetError, match="no commit"):
            open_(name)
    git(tmp_path / "r", "commit", "-q", "--allow-empty", "-m", "nothing")
    with pytest.raises(TargetError, match="has no files"):
        open_(tmp_path / "r")


def test_not_a_repository(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    with pytest.raises(TargetError, match="not a git repository"):
        open_(plain)
    with pytest.raises(TargetError, match="not a folder"):
        open_(tmp_path / "missing")
    with pytest.raises(AssayError):
        open_(f"file://{plain}")


def test_folder_inside_a_repository_is_refused_with_the_way_to_say_it(repo: Path) -> None:
    with pytest.raises(TargetError, match="folder inside the repository") as caught:
        open_(repo / "weights")
    assert caught.value.hint is not None and "--path weights/" in caught.value.hint
    with pytest.raises(TargetError):
        open_(repo / ".git" / "objects")


def test_sha256_repository(tmp_path: Path) -> None:
    repo = make(tmp_path / "r", FILES, "--object-format=sha256")
    manifest = read(repo)
    with open_(f"file://{repo}") as target:
        assert target.manifest() == manifest
        assert len(target.facts.digests["gitCommit"]) == len(target.facts.digests["gitTree"]) == 64


def test_large_and_many_blobs(tmp_path: Path) -> None:
    files = {f"d{i % 7}/f{i:03}": os.urandom(i * 10) for i in range(300)}
    files["big"] = os.urandom(SEGMENT + 5)
    files["exact"] = os.urandom(SEGMENT)
    repo = make(tmp_path / "r", files)
    expected = {name: hashlib.sha256(data).digest() for name, data in files.items()}
    calls: list[tuple[int, int]] = []
    for workers in (1, 2, 5):
        manifest = read(repo, workers=workers, progress=lambda done, total: calls.append((done, total)))
        assert {r.name: r.sha256 for r in manifest} == expected
        assert [r.name for r in manifest if r.segments] == ["big"]
    total = sum(map(len, files.values()))
    assert calls[-1] == (total, total)
    git(repo, "gc", "-q")
    assert read(repo) == manifest
    with open_(repo) as target:
        without = target.manifest(sha256=False)
        assert without.sha256 == b"" and without.blake3 == manifest.blake3
        assert target.manifest(blake3=False).sha256 == manifest.sha256


def test_open_is_seekable_and_exact(repo: Path) -> None:
    with open_(repo) as target:
        for name, data in FILES.items():
            with target.open(name) as file:
                file.seek(0, 2)
                assert file.tell() == len(data)
                file.seek(0)
                assert file.read() == data
        with pytest.raises(TargetError, match="no file 'nope'"):
            target.open("nope")


def test_paths_ignores_and_defaults_apply_to_the_tree(tmp_path: Path) -> None:
    files = {"a/x.bin": b"1", "a/y.txt": b"2", "b.bin": b"3", "__pycache__/c.pyc": b"4", "a/.DS_Store": b"5"}
    repo = make(tmp_path / "r", files)
    with open_(repo) as target:
        assert list(target.names) == ["a/x.bin", "a/y.txt", "b.bin"]
        assert target.facts.ignored == ("__pycache__/", "a/.DS_Store")
        assert ".git" in target.facts.ignore_rules
    assert list(open_(repo, default_ignores=False).names) == sorted(files)
    assert list(open_(repo, ignore=("a/",)).names) == ["b.bin"]
    with open_(repo, paths=("a", "*.bin")) as target:
        assert list(target.names) == ["a/x.bin", "a/y.txt", "b.bin"]
        assert target.facts.part == ("a", "*.bin")
    assert list(open_(repo, paths=("**/*.bin",)).names) == ["a/x.bin", "b.bin"]
    with pytest.raises(TargetError, match=r"'nope/\*' matches no file"):
        open_(repo, paths=("a", "nope/*"))
    with pytest.raises(UsageError):
        open_(repo, paths=("../x",))


def test_the_same_folder_as_dir_and_as_git_has_the_same_manifest(tmp_path: Path) -> None:
    from assay.targets.local import open_directory

    repo = make(tmp_path / "r", {**FILES, "big": os.urandom(SEGMENT + 1), "weights/.cache/x": b"1"})
    (repo / "link").symlink_to("weights/a.bin")
    (repo / "folder").symlink_to("weights")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "links")
    options = Options(follow_links=True)
    with open_directory(Reference("dir", str(repo)), options) as local, open_(repo, follow_links=True) as target:
        assert local.manifest() == target.manifest()
        assert target.facts.followed_links
        assert "folder/a.bin" in target.names


def test_links_are_refused_and_never_leave_the_tree(tmp_path: Path) -> None:
    repo = make(tmp_path / "r", {"a/x": b"1"})

    def link(text: str) -> None:
        (repo / "a" / "l").unlink(missing_ok=True)
        (repo / "a" / "l").symlink_to(text)
        git(repo, "add", "-A")
        git(repo, "commit", "-q", "-m", "l")

    link("x")
    with pytest.raises(TargetError, match=r"'a/l' is a symbolic link"):
        open_(repo)
    assert list(open_(repo, ignore=("l",)).names) == ["a/x"]
    assert list(open_(repo, paths=("a/x",)).names) == ["a/x"]
    for text, message in (
        ("/etc/passwd", "out of the target"),
        ("../../outside", "out of the target"),
        ("nowhere", "leads nowhere"),
        ("x/y", "leads nowhere"),
        ("l", "back to itself"),
        ("..", "contains it"),
        (".", "contains it"),
    ):
        link(text)
        with pytest.raises(TargetError, match=message):
            open_(repo, follow_links=True)
    link("../a/x")
    assert list(open_(repo, follow_links=True).names) == ["a/l", "a/x"]


def test_submodules_are_recorded_not_contained(repo: Path, tmp_path: Path) -> None:
    other = make(tmp_path / "other", {"f": b"1"})
    git(repo, "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(other), "sub")
    git(repo, "commit", "-q", "-m", "sub")
    with open_(repo) as target:
        assert target.facts.notes["submodules"] == [{"path": "sub", "commit": git(other, "rev-parse", "HEAD")}]
        assert not any(name.startswith("sub") for name in target.names)


def _commit_tree(repo: Path, entries: list[tuple[str, bytes, str]]) -> None:
    """Commit a tree of raw entries (mode, name, oid), as an attacker writes it."""
    data = b"".join(m.encode() + b" " + name + b"\0" + bytes.fromhex(oid) for m, name, oid in entries)
    tree = git(repo, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", data=data)
    git(repo, "update-ref", "HEAD", git(repo, "commit-tree", "-m", "x", tree))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([b"A", b"a"], "differ only in case"),
        (["é".encode(), "e\u0301".encode()], "differ only in case or in Unicode form"),
        ([b"\xff"], "not UTF-8"),
        ([b"a\nb"], "has the character"),
        ([b"a\x1b[31m"], "has the character"),
        ([b"a\\b"], "has the character"),
        ([b".."], "malformed"),
        ([b"a/b"], "malformed"),
        ([b"a", b"a"], "twice"),
    ],
)
def test_ambiguous_and_malformed_names(repo: Path, names: list[bytes], message: str) -> None:
    blob = git(repo, "hash-object", "-w", "--stdin", data=b"x")
    _commit_tree(repo, [("100644", name, blob) for name in sorted(names)])
    with pytest.raises(TargetError, match=message) as caught:
        open_(repo)
    assert "\x1b" not in str(caught.value) and "\n" not in caught.value.message


def _replace_object(repo: Path, oid: str, kind: bytes, data: bytes) -> None:
    path = repo / ".git" / "objects" / oid[:2] / oid[2:]
    path.unlink()
    path.write_bytes(zlib.compress(kind + b" %d\0" % len(data) + data))


def test_forged_objects_are_noticed(repo: Path) -> None:
    blob = git(repo, "rev-parse", "HEAD:config.json")
    original = (repo / ".git" / "objects" / blob[:2] / blob[2:]).read_bytes()
    _replace_object(repo, blob, b"blob", b"[]")
    with open_(repo) as target:
        with pytest.raises(TargetError, match=r"'config.json' is not what its id says"):
            target.manifest()
        with pytest.raises(TargetError, match="is not what its id says"):
            target.open("config.json")
    (repo / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    (repo / ".git" / "objects" / blob[:2] / blob[2:]).write_bytes(original)
    tree = git(repo, "rev-parse", "HEAD:weights")
    data = zlib.decompress((repo / ".git" / "objects" / tree[:2] / tree[2:]).read_bytes()).partition(b"\0")[2]
    _replace_object(repo, tree, b"tree", data.replace(b"a.bin", b"c.bin"))
    with pytest.raises(TargetError, match="is not what its id says"):
        open_(repo)


def test_missing_objects_are_named(repo: Path) -> None:
    blob = git(repo, "rev-parse", "HEAD:weights/b.bin")
    (repo / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(TargetError, match=r"lacks the object of 'weights/b.bin'"):
        open_(repo)
    assert list(open_(repo, paths=("config.json",)).names) == ["config.json"]


def test_replace_refs_grafts_and_filters_have_no_say(repo: Path) -> None:
    expected = read(repo)
    blob = git(repo, "rev-parse", "HEAD:config.json")
    other = git(repo, "hash-object", "-w", "--stdin", data=b"other")
    git(repo, "replace", blob, other)
    (repo / ".git" / "info" / "attributes").write_text("* filter=evil diff=evil text eol=crlf\n")
    git(repo, "config", "filter.evil.smudge", "touch evil")
    git(repo, "config", "diff.evil.textconv", "touch evil")
    assert read(repo) == expected


def test_the_repository_configuration_starts_no_program(repo: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
    program.chmod(0o755)
    for key in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "credential.helper", "alias.ls-tree"):
        git(repo, "config", key, str(program))
    hooks = repo / ".git" / "hooks"
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        (hooks / hook).write_text(program.read_text())
        (hooks / hook).chmod(0o755)
    read(repo)
    # A partial clone fetches what it lacks, and its configuration says by which program.
    blob = git(repo, "rev-parse", "HEAD:config.json")
    (repo / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    git(repo, "config", "core.repositoryFormatVersion", "1")
    git(repo, "config", "extensions.partialClone", "origin")
    git(repo, "config", "remote.origin.url", str(tmp_path))
    git(repo, "config", "remote.origin.promisor", "true")
    git(repo, "config", "remote.origin.uploadpack", str(program))
    with pytest.raises(TargetError):
        read(repo)
    assert not (tmp_path / "ran").exists()


def test_variables_of_an_outer_git_do_not_mislead(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read(repo)
    other = make(tmp_path / "other", {"f": b"1"})
    for key, value in (
        ("GIT_DIR", other / ".git"),
        ("GIT_WORK_TREE", other),
        ("GIT_OBJECT_DIRECTORY", other / ".git" / "objects"),
        ("GIT_INDEX_FILE", tmp_path / "index"),
        ("GIT_NAMESPACE", "x"),
    ):
        monkeypatch.setenv(key, str(value))
    assert read(repo) == expected
    assert read(f"file://{repo}") == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to give a folder away")
def test_a_repository_of_somebody_else_is_refused(repo: Path) -> None:
    os.chown(repo, 12345, 12345)
    os.chown(repo / ".git", 12345, 12345)
    with pytest.raises(TargetError, match="belongs to another user") as caught:
        open_(repo)
    assert "safe.directory" in (caught.value.hint or "")


def test_offline_and_unreachable_are_undecided() -> None:
    with pytest.raises(UndecidedError, match="--offline"):
        open_("https://git.example.org/x.git", offline=True)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(UndecidedError, match="cannot be reached"):
            open_(f"http://127.0.0.1:{port}/x.git")


def test_offline_reads_local_urls(repo: Path) -> None:
    assert read(f"file://{repo}", offline=True) == read(repo)


class _Quiet(SimpleHTTPRequestHandler):
    seen: list[tuple[str, str | None]]
    login: str | None = None

    def do_GET(self) -> None:
        type(self).seen.append((self.path, self.headers.get("Authorization")))
        if self.login and self.headers.get("Authorization") != self.login:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def http(tmp_path: Path) -> Iterator[tuple[str, type[_Quiet]]]:
    """A dumb HTTP server, as any file server is one."""
    handler = type("Handler", (_Quiet,), {"seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_dumb_http_and_login(repo: Path, tmp_path: Path, http: tuple[str, type[_Quiet]]) -> None:
    from assay.targets.names import parse_with_userinfo

    host, handler = http
    expected = read(repo)
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    git(tmp_path / "bare.git", "update-server-info")
    assert read(f"http://{host}/bare.git", "main") == expected
    assert read(f"http://{host}/bare.git", git(repo, "rev-parse", "HEAD")) == expected

    handler.login = "Basic dXNlcjpwQHNz"  # user:p@ss
    with pytest.raises(TargetError, match="wants a login"):
        open_(f"http://{host}/bare.git")
    reference, userinfo = parse_with_userinfo(f"git:http://user:p%40ss@{host}/bare.git@main")
    with open_git(reference, Options(), userinfo) as target:
        assert target.manifest() == expected
        assert "user" not in (target.facts.origin or "") + str(target.reference)
    with pytest.raises(TargetError, match="wants a login") as caught:
        open_git(reference, Options(), "user:wrongsecret")
    assert "wrongsecret" not in str(caught.value)


def test_git_daemon(repo: Path, tmp_path: Path) -> None:
    port = free_port()
    command = ["git", "daemon", "--listen=127.0.0.1", f"--port={port}", f"--base-path={tmp_path}", "--export-all"]
    with subprocess.Popen([*command, "--reuseaddr"], stderr=subprocess.DEVNULL, start_new_session=True) as daemon:
        try:
            while True:
                with socket.socket() as attempt:
                    if attempt.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert daemon.poll() is None
                time.sleep(0.02)
            old = git(repo, "rev-parse", "HEAD")
            commit(repo, {"more": b"1"})
            assert read(f"git://127.0.0.1:{port}/wtp-bert-tiny") == read(repo)
            assert read(f"git://127.0.0.1:{port}/wtp-bert-tiny", old) == read(repo, old)
        finally:
            os.killpg(daemon.pid, 15)


def test_no_process_is_left_behind(repo: Path) -> None:
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    before = set(children.read_text().split())
    with open_(repo) as target:
        target.manifest()
        target.open("config.json").close()
    assert set(children.read_text().split()) <= before


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["100644", "040000", "120000", "160000", "000000"]),
            st.sampled_from(["a", "b", "a/b", "a/c", "a/c/d", "..", "A", "é", "\udcff", "x\ny", ".git", "a/a/a"]),
        ),
        max_size=8,
    ),
    st.sampled_from(["a", "..", "b/c", "/x", "a/../b", "", ".", "a/c/d", "../../b"]),
    st.booleans(),
)
def test_no_tree_makes_a_traceback(entries: list[tuple[str, str]], link: str, follow: bool) -> None:
    lines = [f"{mode} x {'0' * 40}\t{path}" for mode, path in entries]
    listing = "".join(line + "\0" for line in lines).encode("utf-8", "surrogateescape")
    try:
        contents = select(parse_tree(listing), Options(follow_links=follow), lambda oid, name: link, "x")
    except AssayError:
        return
    assert contents.names == sorted(set(contents.names))
    assert all(".." not in name.split("/") and not name.startswith("/") for name in contents.names)
