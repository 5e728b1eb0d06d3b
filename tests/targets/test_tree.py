"""Listing: deterministic, inside its boundary, and a clear error for everything that cannot be listed faithfully."""

from __future__ import annotations

import fnmatch
import os
import socket
import tempfile
import unicodedata
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import TargetError, UsageError
from assay.targets.ignore import Ignore, Selection
from assay.targets.interface import Options
from assay.targets.tree import MAX_DEPTH, MAX_FOLDER_LINKS, hugging_face_cache, list_tree


def make(root: Path, *names: str) -> str:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return str(root)


def listed(root: Path | str, **options: object) -> list[str]:
    return list_tree(str(root), Options(**options))[0].names  # type: ignore[arg-type]


def refused(root: Path | str, *parts: str, **options: object) -> TargetError:
    with pytest.raises(TargetError) as caught:
        listed(root, **options)
    for part in parts:
        assert part in str(caught.value)
    return caught.value


# --- order and sizes


def test_names_are_sorted_by_code_point_of_the_whole_name(tmp_path: Path) -> None:
    names = ["a/z", "a-b", "a.d/x", "a0", "b", "B", "ab/c/d", "ab/c.d", "ab/c/a", "é", "z", "日本/語", "zz/😀", "a!"]
    make(tmp_path, *names)
    listing, facts = list_tree(str(tmp_path), Options(ignore=("B",)))
    assert listing.names == sorted(set(names) - {"B"})
    assert list(listing.sizes) == [len(name.encode()) for name in listing.names]
    assert listing.root == str(tmp_path) and not listing.paths
    assert facts.ignored == ("B",) and facts.ignore_rules[-1] == "B" and not facts.followed_links


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(
        st.lists(st.sampled_from(["a", "b", "a-", "a.b", "a0", "!", "~x", "é", "zz"]), min_size=1, max_size=4),
        min_size=1,
        max_size=12,
    )
)
def test_any_tree_comes_out_sorted_and_whole(tmp_path_factory: pytest.TempPathFactory, names: list[list[str]]) -> None:
    root = tmp_path_factory.mktemp("tree")
    made = set()
    for parts in names:
        path = root.joinpath(*parts[:-1], parts[-1] + ".f")  # no name is both a file and a folder
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        made.add(str(path.relative_to(root)))
    assert listed(root) == sorted(made)


def test_the_order_in_which_files_were_made_does_not_matter(tmp_path: Path) -> None:
    names = [f"d{i % 7}/f{i}" for i in range(200)]
    one = make(tmp_path / "one", *names)
    two = make(tmp_path / "two", *reversed(names))
    assert listed(one) == listed(two)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    refused(tmp_path, "has no files")
    make(tmp_path, ".git/config")
    refused(tmp_path, "has no files", "1 ignored", ".git/")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere", "No such file")
    make(tmp_path, "file")
    refused(tmp_path / "file", "cannot be read")


def test_a_folder_nested_too_deeply(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * (MAX_DEPTH + 1))
    deep.mkdir(parents=True)
    (deep / "f").write_bytes(b"")
    refused(tmp_path, f"more than {MAX_DEPTH} folders deep")


# --- ignores


def test_default_ignores_are_left_out_and_recorded(tmp_path: Path) -> None:
    litter = [".git/config", "a/.git", ".cache/x/y", "a/__pycache__/m.pyc", ".DS_Store", "a/._m", "m.py~", ".m.swp"]
    content = [".gitattributes", ".gitignore", ".github/workflows/ci.yml", "a/m.py", ".venv/x", "cache/x", "git"]
    make(tmp_path, *litter, *content)
    listing, facts = list_tree(str(tmp_path), Options())
    assert listing.names == sorted(content)
    assert facts.ignored == tuple(
        sorted([".git/", "a/.git", ".cache/", "a/__pycache__/", ".DS_Store", "a/._m", "m.py~", ".m.swp"])
    )
    everything, facts = list_tree(str(tmp_path), Options(default_ignores=False))
    assert everything.names == sorted(litter + content)
    assert facts.ignored == () and facts.ignore_rules == ()


@pytest.mark.parametrize(
    ("glob", "left"),
    [
        ("x.log", ["a/b/y.log", "a/y.txt", "logs/z"]),
        ("*.log", ["a/y.txt", "logs/z"]),
        ("/x.log", None),
        ("logs/", ["a/b/x.log", "a/b/y.log", "a/y.txt", "x.log"]),
        ("a/*.log", ["a/b/x.log", "a/b/y.log", "a/y.txt", "logs/z", "x.log"]),
        ("a/**/*.log", ["a/y.txt", "logs/z", "x.log"]),
        ("**/b", ["a/y.txt", "logs/z", "x.log"]),
        ("x.log/", ["a/b/x.log", "a/b/y.log", "a/y.txt", "logs/z", "x.log"]),
        ("[!xy].log", ["a/b/x.log", "a/b/y.log", "a/y.txt", "logs/z", "x.log"]),
        ("[x].log", ["a/b/y.log", "a/y.txt", "logs/z"]),
        ("../x", None),
        ("", None),
    ],
)
def test_ignore_globs(tmp_path: Path, glob: str, left: list[str] | None) -> None:
    make(tmp_path, "x.log", "a/b/x.log", "a/b/y.log", "a/y.txt", "logs/z")
    if left is None:
        with pytest.raises(UsageError, match="--ignore"):
            listed(tmp_path, ignore=(glob,))
    else:
        assert listed(tmp_path, ignore=(glob,)) == left


# --- parts


@pytest.mark.parametrize(
    ("globs", "names"),
    [
        (("tokenizer",), ["tokenizer/a.json", "tokenizer/deep/b.json"]),
        (("tokenizer/",), ["tokenizer/a.json", "tokenizer/deep/b.json"]),
        (("./tokenizer//",), ["tokenizer/a.json", "tokenizer/deep/b.json"]),
        (("*.json",), ["config.json"]),
        (("**/*.json",), ["config.json", "tokenizer/a.json", "tokenizer/deep/b.json"]),
        (("tokenizer/**",), ["tokenizer/a.json", "tokenizer/deep/b.json"]),
        (("*/deep/*",), ["tokenizer/deep/b.json"]),
        (("**/deep",), ["tokenizer/deep/b.json"]),
        (("config.json", "weights/*"), ["config.json", "weights/a[1].bin", "weights/w.bin"]),
        (("weights/a[1].bin",), ["weights/a[1].bin"]),
        (("weights/?.bin",), ["weights/w.bin"]),
        (("**",), None),
    ],
)
def test_globs_limit_a_target_to_a_part(tmp_path: Path, globs: tuple[str, ...], names: list[str] | None) -> None:
    everything = ["config.json", "tokenizer/a.json", "tokenizer/deep/b.json", "weights/a[1].bin", "weights/w.bin"]
    make(tmp_path, *everything)
    listing, facts = list_tree(str(tmp_path), Options(paths=globs))
    assert listing.names == (everything if names is None else names)
    assert facts.part == globs


def test_a_glob_that_matches_nothing_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a/b", "c")
    refused(tmp_path, "'weights/*'", "matches no file", paths=("a", "weights/*"))
    refused(tmp_path, "'c/'", paths=("c/",))  # with a slash only a folder matches
    for glob in ("../a", "/etc", "a/../../b", "", "."):
        with pytest.raises(UsageError, match="--path"):
            listed(tmp_path, paths=(glob,))


def test_what_no_glob_can_match_is_not_entered(tmp_path: Path) -> None:
    make(tmp_path, "want/file")
    (tmp_path / "other").mkdir()
    os.mkfifo(tmp_path / "other" / "fifo")
    os.symlink("/etc/passwd", tmp_path / "out")
    assert listed(tmp_path, paths=("want",)) == ["want/file"]
    refused(tmp_path, "out", paths=("out",))
    (tmp_path / "out").unlink()
    refused(tmp_path, "other/fifo", paths=("**/f*",))


@settings(max_examples=300, deadline=None)
@given(glob=st.text("ab*?[]!-/.^\\", max_size=12), name=st.text("ab-/.^", min_size=1, max_size=10))
def test_no_glob_breaks_the_matcher(glob: str, name: str) -> None:
    try:
        Ignore.of([glob]).matches("", name)
        selection = Selection.of([glob])
    except UsageError:
        return
    if selection.hits(name) and "//" not in name and not name.startswith("/"):
        folders = name.split("/")[:-1]
        for k in range(1, len(folders) + 1):  # what selects a file enters all the folders above it
            assert selection.enters("/".join(folders[:k]))


@settings(max_examples=300, deadline=None)
@given(glob=st.text("ab*?[]!", min_size=1, max_size=8), name=st.text("ab!]", min_size=1, max_size=6))
def test_one_component_matches_as_fnmatch_does(glob: str, name: str) -> None:
    if set(glob) == {"*"} or "[" in glob[glob.find("[") + 1 :]:
        return  # "**" is ours, and a bracket inside brackets has no common reading
    assert bool(Ignore.of([glob]).matches("", name)) == fnmatch.fnmatchcase(name, glob)


# --- links


def test_a_link_is_an_error_that_says_how_to_allow_it(tmp_path: Path) -> None:
    make(tmp_path, "a/real")
    os.symlink("a/real", tmp_path / "link")
    error = refused(tmp_path, "'link'", "symbolic link")
    assert "--follow-links" in str(error.hint)
    listing, facts = list_tree(str(tmp_path), Options(follow_links=True))
    assert listing.names == ["a/real", "link"] and facts.followed_links
    assert listing.path(1) == "a/real" and listing.root == str(tmp_path)
    assert listing.sizes[0] == listing.sizes[1]


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "sub/../../outside", "../sibling/x"])
def test_a_link_never_leads_out(tmp_path: Path, target: str) -> None:
    make(tmp_path, "outside", "sibling/x", "root/sub/file")
    os.symlink(target, tmp_path / "root" / "link")
    refused(tmp_path / "root", "'link'", "out of the target", follow_links=True)


def test_a_sibling_with_the_same_beginning_is_outside(tmp_path: Path) -> None:
    make(tmp_path, "model/a", "model-secret/x")
    os.symlink("../model-secret/x", tmp_path / "model" / "link")
    refused(tmp_path / "model", "out of the target", follow_links=True)


def test_links_that_lead_nowhere_or_back(tmp_path: Path) -> None:
    make(tmp_path, "a/f")
    os.symlink("gone", tmp_path / "broken")
    refused(tmp_path, "'broken'", "leads nowhere", follow_links=True)
    (tmp_path / "broken").unlink()
    os.symlink("self", tmp_path / "self")
    refused(tmp_path, "'self'", "back to itself", follow_links=True)
    (tmp_path / "self").unlink()
    os.symlink("..", tmp_path / "a" / "up")
    refused(tmp_path, "'a/up'", "contains it", follow_links=True)
    (tmp_path / "a" / "up").unlink()
    make(tmp_path, "b/f")
    os.symlink("../b", tmp_path / "a" / "b")
    os.symlink("../a", tmp_path / "b" / "a")
    refused(tmp_path, "contains it", follow_links=True)


def test_a_linked_folder_is_walked_under_the_name_of_the_link(tmp_path: Path) -> None:
    make(tmp_path, "v1/deep/f", "v1/g")
    os.symlink("v1", tmp_path / "current")
    os.symlink("current/g", tmp_path / "g")
    listing, _ = list_tree(str(tmp_path), Options(follow_links=True))
    assert listing.names == ["current/deep/f", "current/g", "g", "v1/deep/f", "v1/g"]
    assert [listing.path(i) for i in range(5)] == ["v1/deep/f", "v1/g", "v1/g", "v1/deep/f", "v1/g"]


def test_links_that_double_at_each_level_are_stopped(tmp_path: Path) -> None:
    for i in range(30):
        make(tmp_path, f"d{i:02}/f")
    for i in range(29):
        for name in "ab":
            os.symlink(f"../d{i + 1:02}", tmp_path / f"d{i:02}" / name)
    refused(tmp_path, f"more than {MAX_FOLDER_LINKS} links", follow_links=True)


def test_a_link_to_a_device_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "f")
    os.mkfifo(tmp_path / "fifo")
    os.symlink("fifo", tmp_path / "link")
    refused(tmp_path, "'link'", "device", follow_links=True, ignore=("fifo",))


def test_a_wider_boundary_maps_every_path(tmp_path: Path) -> None:
    make(tmp_path, "repo/blobs/x", "repo/model/plain")
    os.symlink("../blobs/x", tmp_path / "repo" / "model" / "w")
    listing, _ = list_tree(
        str(tmp_path / "repo" / "model"), Options(follow_links=True), boundary=str(tmp_path / "repo")
    )
    assert listing.root == str(tmp_path / "repo")
    assert [listing.path(i) for i in range(2)] == ["model/plain", "blobs/x"]


# --- the Hugging Face cache


def snapshot(root: Path) -> Path:
    repo = root / "models--org--name"
    make(repo, "blobs/aaaa", "blobs/bbbb", "refs/main")
    folder = repo / "snapshots" / "c0ffee"
    (folder / "sub").mkdir(parents=True)
    os.symlink("../../blobs/aaaa", folder / "config.json")
    os.symlink("../../../blobs/bbbb", folder / "sub" / "w.bin")
    return folder


def test_a_hub_snapshot_needs_no_permission_for_its_blobs(tmp_path: Path) -> None:
    folder = snapshot(tmp_path)
    repo = str(tmp_path / "models--org--name")
    assert hugging_face_cache(str(folder)) == repo
    assert hugging_face_cache(str(folder / "sub")) == repo
    listing, facts = list_tree(str(folder), Options())
    assert listing.names == ["config.json", "sub/w.bin"] and listing.root == repo and facts.followed_links
    assert [listing.path(i) for i in range(2)] == ["blobs/aaaa", "blobs/bbbb"]
    assert listed(folder / "sub") == ["w.bin"]


def test_a_hub_snapshot_may_link_to_nothing_but_blobs(tmp_path: Path) -> None:
    folder = snapshot(tmp_path)
    os.symlink("../../refs/main", folder / "ref")
    refused(folder, "'ref'", "symbolic link")
    (folder / "ref").unlink()
    os.symlink("/etc/passwd", folder / "out")
    refused(folder, "'out'", "out of the target")
    (folder / "out").unlink()
    (tmp_path / "models--org--name" / "blobs" / "cccc").symlink_to("/etc/passwd")
    os.symlink("../../blobs/cccc", folder / "through")
    refused(folder, "'through'", "out of the target")


def test_a_folder_that_only_looks_like_the_hub_cache(tmp_path: Path) -> None:
    folder = snapshot(tmp_path)
    repo = tmp_path / "models--org--name"
    assert hugging_face_cache(str(repo)) is None
    assert hugging_face_cache(str(repo / "snapshots")) is None
    (repo / "refs" / "main").unlink()
    (repo / "refs").rmdir()
    os.symlink("/etc", repo / "refs")
    assert hugging_face_cache(str(folder)) is None
    refused(folder, "out of the target")


# --- what cannot be listed faithfully


def test_special_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "f")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path, "'pipe'", "FIFO", "--ignore")
    assert listed(tmp_path, ignore=("pipe",)) == ["f"]
    (tmp_path / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # a socket's path may have 108 bytes only
        server.bind("sock")
        refused(tmp_path, "'sock'", "socket")
    refused("/dev", "device", ignore=("*/", "[a-m]*"), default_ignores=False, follow_links=True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (b"caf\xe9.bin", "not UTF-8"),
        (b"\xed\xa0\x80", "not UTF-8"),
        (b"a\nb", r"'a\nb'"),
        (b"\x1b[2Jx", r"\x1b"),
        (b"a\x7f", r"\x7f"),
        ("a\x85b".encode(), r"\x85"),
        ("a\u2028b".encode(), r"\u2028"),
        ("gpj.\u202etxt".encode(), r"\u202e"),
        (b"..\\..\\evil", "\\\\"),
    ],
)
def test_names_that_would_be_read_differently_elsewhere(tmp_path: Path, name: bytes, words: str) -> None:
    with open(os.path.join(os.fsencode(tmp_path), name), "wb"):
        pass
    make(tmp_path, "fine é.txt")
    error = refused(tmp_path, words)
    assert str(error).replace("\n  ", "").isprintable()  # nothing of the name can reach a terminal raw
    str(error).encode()


def test_a_folder_with_such_a_name(tmp_path: Path) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    make(tmp_path, "f")
    refused(tmp_path, "not UTF-8")


@pytest.mark.parametrize(
    "pair",
    [
        ("Model.bin", "model.bin"),
        ("straße", "STRASSE"),
        (unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")),
        ("sub/A/x", "sub/a/y"),
        ("readme", "README/x"),
    ],
)
def test_names_that_differ_only_in_case_or_form(tmp_path: Path, pair: tuple[str, str]) -> None:
    make(tmp_path, *pair, "other")
    refused(tmp_path, "differ only in case")


def test_an_unreadable_folder_is_an_error() -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.chmod(folder, 0o755)
        make(Path(folder), "f", "locked/x")
        os.chmod(f"{folder}/locked", 0)
        stack.callback(os.chmod, f"{folder}/locked", 0o755)
        if os.geteuid() == 0:
            os.seteuid(65534)
            stack.callback(os.seteuid, 0)
        refused(folder, "locked/", "Permission denied")
