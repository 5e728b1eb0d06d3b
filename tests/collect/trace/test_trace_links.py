"""Paths through links that turn, and words that hide which file they mean."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assay.collect.trace import links
from assay.collect.trace.links import Turned, led, magic
from assay.collect.trace.paths import absolute


def reach(path: bytes, flags: int) -> int:
    return os.open(path, os.O_PATH | flags)


def test_only_what_goes_by_way_of_a_turned_path_is_asked_anew() -> None:
    turned = Turned()
    assert not turned.on(b"/out/link")
    turned.add(b"/out/link")
    assert turned.on(b"/out/link") and turned.on(b"/out/link/deep/file")
    assert not turned.on(b"/out") and not turned.on(b"/out/links") and not turned.on(b"/")


def test_too_many_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MOST", 2)
    turned = Turned()
    assert [turned.add(path) for path in (b"/1", b"/2", b"/3", b"/1")] == [True, True, False, True]


def test_where_paths_lead(tmp_path: Path) -> None:
    base = Path(os.path.realpath(tmp_path))
    (base / "folder").mkdir()
    (base / "folder" / "file").touch()
    for name, target in (("one", "two"), ("two", "folder"), ("dangling", "two/new"), ("loop", "loop")):
        (base / name).symlink_to(target)
    where = os.fsencode(base)
    assert led(where + b"/one/file", reach) == where + b"/folder/file"
    assert led(where + b"/one", reach, follow=False) == where + b"/one"
    assert led(where + b"/one/new", reach) == where + b"/folder/new"
    assert led(where + b"/dangling", reach) == where + b"/folder/new"
    assert led(where + b"/dangling", reach, follow=False) == where + b"/dangling"
    assert led(where + b"/none/file", reach) == where + b"/none/file"
    assert led(where + b"/loop", reach)  # ends


@pytest.mark.parametrize("target", [b"/proc/self/cwd", b"../../proc/1/root", b"p/self", b"/dev/fd/3", b"thread-self"])
def test_links_that_only_their_user_can_follow(target: bytes) -> None:
    assert magic(target)


@pytest.mark.parametrize("target", [b"data/a.csv", b"/srv/processed", b"myself", b"../model"])
def test_ordinary_links(target: bytes) -> None:
    assert not magic(target)


@pytest.mark.parametrize(
    "words",
    [
        b"/proc/self/cwd/x",
        b"//proc/self/cwd/x",
        b"/./proc//self/./cwd/x",
        b"/usr/../proc/self/cwd/x",
        b"/proc/self/../self/cwd/x",
        b"/proc/thread-self/../../cwd/x",
        b"/proc/self/cwd/y/../x",
        b"/usr/../proc/self/cwd/y/../../%s/x",
        b"/proc/self/root%b/x",
    ],
)
def test_words_for_a_file_in_the_working_directory(words: bytes, tmp_path: Path) -> None:
    folder = Path(os.path.realpath(tmp_path)) / "here"
    (folder / "y").mkdir(parents=True)
    child = os.fork()
    if not child:
        os.chdir(folder)
        os.kill(os.getpid(), 19)
        os._exit(0)
    try:
        os.waitpid(child, os.WUNTRACED)
        words = words.replace(b"%s", b"here").replace(b"%b", os.fsencode(folder))
        assert absolute(words, child, child, {}) == os.fsencode(folder / "x")
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
