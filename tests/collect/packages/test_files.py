"""What an index may say, and what it may not do to us."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from assay.collect.packages import files, settings
from assay.collect.packages.files import File, name_of, served
from assay.collect.packages.settings import Settings
from assay.errors import AssayError, DocumentError, UndecidedError, UsageError
from helpers import one_sentence
from package_index import JSON, Index, serving, wheel


@pytest.fixture
def index() -> Iterator[Index]:
    with serving() as made:
        yield made


def ask(index: Index, name: str = "thing") -> list[File] | None:
    known = settings.of({"index-url": index.simple})
    return served(name, known.sources[0], known)


def page(index: Index, body: bytes, code: int = 200, **headers: str) -> None:
    index.raw["/simple/thing/"] = (code, {"Content-Type": JSON, **headers}, body)


def test_json_tells_hash_age_withdrawal_and_attestation(index: Index) -> None:
    digest = index.wheel("thing")
    index.add("thing-2.0.tar.gz", b"sdist", yanked="broken\x1b[2J", provenance="https://x/y", uploaded=None)
    index.add("other_thing-1.0-py3-none-any.whl", b"not asked for")
    index.pages["thing"].append({"filename": "../../etc/passwd", "url": "/x", "hashes": {}})
    index.pages["thing"].append({"filename": "thing-1.0-py3-none-any.whl/../x.whl", "url": "/x", "hashes": {}})
    one, two = ask(index) or []
    assert (one.version, one.wheel, one.sha256, one.yanked, one.attested) == ("1.0", True, digest, None, False)
    assert one.uploaded is not None and one.uploaded.year == 2024
    assert (two.wheel, two.yanked, two.uploaded, two.attested) == (False, "broken [2J", None, True)
    assert ask(index, "nothing") is None


def test_html_tells_no_age(index: Index) -> None:
    index.html = True
    digest = index.wheel("thing")
    index.wheel("thing", "2.0")
    index.pages["thing"][1]["yanked"] = True
    one, two = ask(index) or []
    assert (one.sha256, one.uploaded, one.yanked, two.yanked) == (digest, None, None, "why")


@pytest.mark.parametrize(
    "change",
    [
        {"hashes": {"sha256": "zz"}},
        {"hashes": {"md5": "d41d8cd98f00b204e9800998ecf8427e"}},
        {"hashes": {}},
    ],
)
def test_a_weak_or_odd_hash_is_none(index: Index, change: dict[str, Any]) -> None:
    index.wheel("thing")
    index.pages["thing"][0] |= change
    assert [file.sha256 for file in ask(index) or []] == [None]


@pytest.mark.parametrize("text", ["yesterday", "2024-01-01T00:00:00", "", "9" * 5000])
def test_an_odd_time_is_unknown(index: Index, text: str) -> None:
    index.wheel("thing", uploaded=text)
    assert [file.uploaded for file in ask(index) or []] == [None]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"meta": {"api-version": "1.0"}, "files": [' + b'{"a":' * 100_000,
        b'{"meta": {"api-version": "1.0"}, "files": [], "files": []}',
        b'{"meta": {"api-version": "1.0"}, "files": {}}',
        b'{"meta": {"api-version": "1.0"}, "files": [{"filename": 3}]}',
        b'{"meta": {"api-version": "7.0"}, "files": []}',
        b"\xff\xfe",
        b"",
        b"null",
    ],
)
def test_malicious_json_is_one_sentence(index: Index, body: bytes) -> None:
    page(index, body)
    with pytest.raises((DocumentError, UndecidedError)) as caught:
        ask(index)
    one_sentence(caught.value)


def test_a_page_without_end_is_not_read_to_its_end(index: Index) -> None:
    page(index, b" " * (files.MAX_PAGE + 2))
    with pytest.raises(UndecidedError, match="more than 64 MiB"):
        ask(index)


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_no_redirect_leads_to_a_file_or_another_host(index: Index, code: int, tmp_path: Path) -> None:
    secret = tmp_path / "secret.html"
    secret.write_text("<a href='thing-1.0-py3-none-any.whl'>x</a>")
    with serving() as other:
        other.wheel("thing")
        for target in (f"file://{secret}", f"{other.url}/simple/thing/", "ftp://127.0.0.1/x", "gopher:x"):
            page(index, b"", code, Location=target)
            with pytest.raises(UndecidedError) as caught:
                ask(index)
            one_sentence(caught.value)


def test_the_login_goes_nowhere_else_and_into_no_message(index: Index) -> None:
    index.login = "robot:s3cret-word"
    index.wheel("thing")
    known = settings.of({"index-url": index.simple})
    assert served("thing", known.sources[0], known)
    assert "s3cret" not in repr(known) + repr(known.sources[0])
    assert known.sources[0].name == index.place
    assert known.scrub(f"ERROR {index.simple} s3cret-word") == f"ERROR http://{index.place} ****"
    wrong = settings.of({"index-url": index.simple.replace("s3cret-word", "wrong-word")})
    with pytest.raises(UndecidedError, match="refuses the login") as caught:
        served("thing", wrong.sources[0], wrong)
    assert "wrong-word" not in str(caught.value)


def test_an_answer_that_breaks_off_is_undecided(index: Index) -> None:
    page(index, b"x", **{"Transfer-Encoding": "chunked"})
    with pytest.raises(UndecidedError) as caught:
        ask(index)
    one_sentence(caught.value)


def test_an_index_that_nobody_answers_for_is_undecided() -> None:
    with serving() as gone:
        known = settings.of({"index-url": gone.simple})
    with pytest.raises(UndecidedError):
        served("thing", known.sources[0], known)


def test_a_folder_of_wheels_is_a_source_without_ages(tmp_path: Path) -> None:
    (tmp_path / "thing-1.0-py3-none-any.whl").write_bytes(wheel("thing"))
    (tmp_path / "notes.txt").write_text("x")
    known = settings.of({"no-index": "1", "find-links": str(tmp_path)})
    assert [source.flat for source in known.sources] == [True]
    [file] = served("thing", known.sources[0], known) or []
    assert (file.sha256, file.uploaded) == (files.sha256_of(str(tmp_path / "thing-1.0-py3-none-any.whl")), None)
    assert served("other", known.sources[0], known) is None


def test_plain_http_is_for_this_machine_only() -> None:
    with pytest.raises(UsageError, match="plain HTTP") as caught:
        settings.of({"index-url": "http://u:pass-word@index.example/simple"})
    assert "pass-word" not in str(caught.value)
    assert settings.of({}) == Settings((settings.Source("pypi.org/simple", settings.PYPI),))


@pytest.mark.parametrize("name", ["\u017fix", "tor\u212ah", "торч", "a/b", "..", "-r", "", "x" * 201, "a b"])
def test_what_only_looks_like_a_name_is_none(name: str) -> None:
    with pytest.raises(DocumentError) as caught:
        name_of(name)
    assert one_sentence(caught.value).isascii()


def test_names_are_spelled_in_one_way() -> None:
    assert {name_of(text) for text in ("My_Pkg", "my.pkg", "MY--pkg", "my-pkg")} == {"my-pkg"}


@hypothesis_settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=300) | st.text(max_size=200).map(str.encode), html=st.booleans())
def test_any_page_is_files_or_a_sentence(body: bytes, html: bool) -> None:
    source = settings.Source("index", "https://index.example/simple")
    try:
        found = list(files._parsed(body, "text/html" if html else JSON, "thing", source))
    except AssayError as error:
        one_sentence(error)
    else:
        assert all(isinstance(file, File) for file in found)


def test_unknown_fields_of_a_page_do_no_harm(index: Index) -> None:
    index.wheel("thing")
    body = json.loads(index.answer("/simple/thing/", JSON)[2]) | {"alternate-locations": ["x"], "future": {}}
    page(index, json.dumps(body).encode())
    assert len(ask(index) or []) == 1
