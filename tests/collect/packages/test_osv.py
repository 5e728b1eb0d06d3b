"""Known vulnerabilities: which records concern a version, from an export and from a server."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from assay.collect.packages import osv
from assay.collect.packages.locks import Locked
from assay.errors import AssayError, DocumentError, UndecidedError, UsageError
from helpers import NOW, one_sentence
from package_index import Index, serving


def record(id: str = "PYSEC-1", name: str = "Thing", **affected: Any) -> dict[str, Any]:
    return {
        "id": id,
        "modified": "2026-05-01T00:00:00Z",
        "summary": "bad",
        "affected": [{"package": {"ecosystem": "PyPI", "name": name}, **affected}],
    }


def events(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"type": "ECOSYSTEM", "events": [{kind: version} for kind, version in pairs]}]


def found(folder: Path, version: str, *records: dict[str, Any]) -> list[str]:
    path = folder / "all.json"
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for i, item in enumerate(records):
            archive.writestr(f"{i}.json", json.dumps(item))
    path.write_text(json.dumps(records[0]))
    answer = osv.ask(str(folder / "all.zip"), [Locked("thing", version, ("a" * 64,))], NOW)
    return [item.id for item in answer.known]


@pytest.mark.parametrize(
    ("version", "affected", "concerned"),
    [
        ("1.5", {"ranges": events(("introduced", "0"), ("fixed", "2.0"))}, True),
        ("1.5+cpu", {"ranges": events(("introduced", "0"), ("fixed", "2.0"))}, True),
        ("2.0", {"ranges": events(("introduced", "0"), ("fixed", "2.0"))}, False),
        ("2.0rc1", {"ranges": events(("introduced", "0"), ("fixed", "2.0"))}, True),
        ("0.1", {"ranges": events(("introduced", "1.0"), ("fixed", "2.0"))}, False),
        ("1.10", {"ranges": events(("introduced", "1.9"), ("last_affected", "1.10"))}, True),
        ("1.11", {"ranges": events(("introduced", "1.9"), ("last_affected", "1.10"))}, False),
        ("3.1", {"ranges": events(("introduced", "0"), ("fixed", "2"), ("introduced", "3"), ("fixed", "4"))}, True),
        ("2.5", {"ranges": events(("introduced", "0"), ("fixed", "2"), ("introduced", "3"), ("fixed", "4"))}, False),
        ("1.0", {"versions": ["1.0.0"]}, True),
        ("1.1", {"versions": ["1.0.0", "nonsense"]}, False),
        ("1.0", {}, True),
        ("1.0", {"ranges": events(("introduced", "not a version"))}, True),
        ("1.0", {"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}], "versions": ["2.0"]}, False),
    ],
)
def test_ranges(tmp_path: Path, version: str, affected: dict[str, Any], concerned: bool) -> None:
    assert found(tmp_path, version, record(**affected)) == (["PYSEC-1"] if concerned else [])


def test_withdrawn_records_other_packages_and_other_ecosystems_do_not_count(tmp_path: Path) -> None:
    other = record("X-2")
    other["affected"][0]["package"]["ecosystem"] = "npm"
    assert found(tmp_path, "1.0", record() | {"withdrawn": "2026-01-01T00:00:00Z"}, record("X-1", "else"), other) == []


def test_one_vulnerability_with_several_ids_is_one(tmp_path: Path) -> None:
    one = record("PYSEC-1") | {"aliases": ["CVE-2024-1"]}
    two = record("GHSA-x") | {"aliases": ["CVE-2024-1"], "database_specific": {"severity": "HIGH"}}
    path = tmp_path / "export"
    path.mkdir()
    for i, item in enumerate((one, two, record("PYSEC-9"))):
        (path / f"{i}.json").write_text(json.dumps(item))
    answer = osv.ask(str(path), [Locked("thing", "1.0", ("a" * 64,))], NOW)
    assert [(item.id, item.aliases) for item in answer.known] == [
        ("GHSA-x", ("CVE-2024-1", "PYSEC-1")),
        ("PYSEC-9", ()),
    ]
    assert answer.known[0].severities == (("osv", "HIGH"),)
    assert answer.updated == datetime(2026, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "[]", '{"id": 3}', "[" * 100_000, '{"id": "a", "id": "b"}'])
def test_what_is_no_export_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DocumentError) as caught:
        osv.ask(str(path), [], NOW)
    one_sentence(caught.value)


def test_nothing_to_look_in_is_no_answer(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nothing.json"):
        with pytest.raises(UsageError):
            osv.ask(str(place), [], NOW)
    with pytest.raises(UsageError, match="https"):
        osv.ask("http://osv.example", [], NOW)


@pytest.fixture
def server() -> Iterator[Index]:
    with serving() as made:
        yield made


def ask(server: Index) -> osv.Answer:
    return osv.ask(server.url, [Locked("thing", "1.0+cpu", ("a" * 64,))], NOW)


def test_a_server_is_asked_by_name_and_version_only(server: Index) -> None:
    server.raw["/v1/query"] = (200, {}, json.dumps({"vulns": [record()]}).encode())
    answer = ask(server)
    assert [(item.id, item.package) for item in answer.known] == [("PYSEC-1", "thing==1.0+cpu")]
    assert server.posted == [{"package": {"name": "thing", "ecosystem": "PyPI"}, "version": "1.0"}]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((200, {}, b"[]"), DocumentError),
        ((200, {}, b"{"), DocumentError),
        ((200, {}, b'{"next_page_token": "again"}'), UndecidedError),
        ((500, {}, b""), UndecidedError),
        ((307, {"Location": "https://elsewhere.example/"}, b""), UndecidedError),
        ((302, {"Location": "file:///etc/passwd"}, b""), UndecidedError),
    ],
)
def test_a_server_that_does_not_answer_leaves_it_open(server: Index, answer: Any, kind: type[AssayError]) -> None:
    server.raw["/v1/query"] = answer
    with pytest.raises(kind) as caught:
        ask(server)
    one_sentence(caught.value)
