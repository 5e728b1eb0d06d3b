"""Callers by certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assay.errors import AssayError
from assay.guard.gateway.callers import build, keys
from assay.guard.gateway.callers.certificates import REMEMBERED
from assay.guard.gateway.callers.directory import AMBIGUOUS, FAILED, NEEDED, Directory
from assay.guard.gateway.interface import Caller, Certificate, Permission
from guard.gateway.callers.making import NOW, ask, settings

TLS = {"certificate": "c", "key": "k", "client-ca": "ca", "client-certificates": "optional"}
NUMBER = iter(range(10**9))


def directory(folder: Path, mtls: dict[str, Any], **callers: Any) -> Directory:
    return build(settings(folder, {"mtls": mtls, **callers}, tls=TLS))


def certificate(subject: str = "CN=alice,O=Acme", *names: str) -> Certificate:
    return Certificate(subject, names, f"{next(NUMBER):064x}")


def test_a_subject_or_a_name_says_who_it_is(tmp_path: Path) -> None:
    room = directory(
        tmp_path,
        {"subjects": ["CN=alice,O=Acme", "URI:spiffe://acme/*"], "plan": "gold", "permissions": [{"model": "m"}]},
    )
    alice = certificate()
    who = room.identify(ask(certificate=alice))
    assert who == Caller(
        "mtls:CN=alice,O=Acme", "CN=alice,O=Acme", "mtls:CN=alice,O=Acme", "gold", (Permission(model="m"),)
    )
    assert room.identify(ask(certificate=alice)) is who
    service = room.identify(ask(certificate=certificate("", "DNS:x", "URI:spiffe://acme/svc")))
    assert isinstance(service, Caller) and service.id == "mtls:URI:spiffe://acme/svc"
    # Who may choose a subject freely is still nobody else than the name that counts.
    posing = room.identify(ask(certificate=certificate("CN=root,O=Acme", "URI:spiffe://acme/svc")))
    assert posing == service


@pytest.mark.parametrize(
    ("subject", "names"),
    [
        ("CN=alice", ()),
        ("CN=alice,O=Acme,OU=Evil", ()),
        ("CN=bob,O=Acme", ()),
        ("cn=alice,o=acme", ()),
        ("O=CN\\=alice\\,O\\=Acme", ()),
        ("", ("URI:spiffe://evil/acme/x", "DNS:spiffe://acme/x")),
        ("", ()),
    ],
)
def test_what_no_glob_fits_proves_nobody(tmp_path: Path, subject: str, names: tuple[str, ...]) -> None:
    mtls = {"subjects": ["CN=alice,O=Acme", "URI:spiffe://acme/*"]}
    assert directory(tmp_path, mtls).identify(ask(certificate=certificate(subject, *names))) is NEEDED


def test_a_certificate_and_a_key_are_ambiguous_unless_it_proves_nobody(tmp_path: Path) -> None:
    path = str(tmp_path / "keys.json")
    from datetime import UTC, datetime

    secret = keys.change(path, lambda file: keys.create(file, datetime.now(UTC), "team")[0::2])
    room = directory(tmp_path, {"subjects": ["CN=alice*"]}, keys="keys.json")
    for _ in range(2):
        assert room.identify(ask(certificate=certificate(), x_api_key=secret)) is AMBIGUOUS
        assert room.identify(ask(certificate=certificate(), authorization="Bearer x")) is AMBIGUOUS
        other = room.identify(ask(certificate=certificate("CN=mesh"), x_api_key=secret))
        assert isinstance(other, Caller) and other.id.startswith("key:")


def test_without_mtls_a_certificate_is_nobodys(tmp_path: Path) -> None:
    room = build(settings(tmp_path, {"anonymous": "default"}))
    assert room.identify(ask(certificate=certificate())) == Caller("address:192.0.2.1", plan="default")


def test_a_name_that_would_break_a_log_becomes_a_digest(tmp_path: Path) -> None:
    room = directory(tmp_path, {})
    for subject in ("CN=a\nb", "CN=\x1b[2J", "CN=" + "x" * 300):
        proved = certificate(subject)
        who = room.identify(ask(certificate=proved))
        assert isinstance(who, Caller) and who.id == f"mtls:sha256:{proved.digest}"


def test_a_misspelt_permission_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssayError, match="modle"):
        directory(tmp_path, {"permissions": [{"modle": "m"}]})


def test_a_connection_does_not_outlive_its_certificate(tmp_path: Path) -> None:
    room = directory(tmp_path, {"subjects": ["CN=alice*"]}, anonymous="default")
    ends = Certificate("CN=alice", (), "0" * 64, NOW + 60)
    for _ in range(2):
        for at in (NOW, NOW + 60):
            who = room.identify(ask(at, ends))
            assert isinstance(who, Caller) and who.id == "mtls:CN=alice"
        late = ask(NOW + 60.001, ends)
        assert room.identify(late) is FAILED and late.error == "caller:certificate-ended", "nor becomes anonymous"
        assert room.identify(ask(NOW + 61, ends, x_api_key="x")) is FAILED
    assert room.figures().refused == {"certificate-ended": 4}


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    room = directory(tmp_path, {})
    for number in range(REMEMBERED + 100):
        assert isinstance(room.identify(ask(certificate=certificate(f"CN={number}"))), Caller)
    assert room._certificates is not None and len(room._certificates._known) <= REMEMBERED
