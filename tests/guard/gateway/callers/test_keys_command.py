"""`assay gateway keys` as a user meets it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from assay.cli.main import main
from assay.guard.gateway.callers import build, keys
from assay.guard.gateway.interface import Caller
from guard.gateway.callers.making import ask, settings


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.yaml").write_text(
        "assay-gateway: 1\ncallers: {keys: k.json}\nplans: {default: {}, gold: {}}\n"
    )
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    assert main(["gateway", "keys", *words]) == code
    return capsys.readouterr()


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(capsys, "list", "--json", *words)[0])["keys"]
    return found


def test_the_life_of_a_key(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, told = run(
        capsys, "create", "--owner", "team-a", "--plan", "gold", "--config", "gateway.yaml", "--expires", "90d"
    )
    secret = out.strip()
    assert secret.startswith(keys.PREFIX) and "once" in told and secret not in told
    first = listed(capsys, "--config", "gateway.yaml")[0]
    assert first["state"] == "good" and first["plan"] == "gold" and (place / "k.json").stat().st_mode & 0o777 == 0o600
    room = build(settings(place, {"keys": "k.json"}))
    who = room.identify(ask(time.time(), x_api_key=secret))
    assert isinstance(who, Caller) and who.plan == "gold"
    out, told = run(capsys, "rotate", first["id"], "-f", "k.json", "--overlap", "1h")
    assert out.strip() != secret and first["id"] in told
    old, new = listed(capsys, "-f", "k.json")
    assert (old["state"], old["replacedBy"], new["caller"]) == ("rotated", new["id"], old["caller"])
    out, _ = run(capsys, "revoke", old["id"], "-f", "k.json")
    assert "revoked" in out
    assert [key["state"] for key in listed(capsys, "-f", "k.json")] == ["revoked", "good"]
    out, _ = run(capsys, "show", new["id"], "-f", "k.json")
    assert "team-a" in out and new["caller"] in out and "until" in out
    out, _ = run(capsys, "list", "-f", "k.json")
    assert out.count("\n") == 2 and "revoked" in out and "assay_" not in out


def test_a_key_in_a_file_is_not_printed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, told = run(capsys, "create", "--owner", "a", "-O", "new.key")
    secret = (place / "new.key").read_text().strip()
    assert secret.startswith(keys.PREFIX) and secret not in out + told
    assert (place / "new.key").stat().st_mode & 0o777 == 0o600
    before = (place / "gateway-keys.json").read_bytes()
    _, told = run(capsys, "create", "--owner", "a", "-O", "new.key", code=2)
    assert "exists already" in told and (place / "gateway-keys.json").read_bytes() == before
    _, told = run(capsys, "create", "--owner", "a", "-O", "nowhere/new.key", code=2)
    assert "no folder" in told and (place / "gateway-keys.json").read_bytes() == before


def test_for_machines(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, told = run(capsys, "create", "--owner", "a", "--json", "--group", "x", "--group", "y")
    made = json.loads(out)
    assert made["key"].startswith(keys.PREFIX) and made["groups"] == ["x", "y"] and told == ""
    shown = json.loads(run(capsys, "show", made["id"], "--json")[0])
    assert "key" not in shown and "sha256" not in shown and shown["expires"] is None


def test_only_what_is_allowed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run(
        capsys,
        "create",
        "--owner",
        "a",
        "--allow",
        "protocol=openai,model=org/small-*",
        "--allow",
        "verb=embed",
        "--json",
    )
    assert [(one["protocol"], one["model"], one["verb"]) for one in json.loads(out)["permissions"]] == [
        ("openai", "org/small-*", "*"),
        ("*", "*", "embed"),
    ]


@pytest.mark.parametrize("allow", ["modle=x", "model", "model=", "", "model=a,model=b", "=x"])
def test_a_misspelt_permission_makes_no_wider_key(place: Path, capsys: pytest.CaptureFixture[str], allow: str) -> None:
    _, told = run(capsys, "create", "--owner", "a", "--allow", allow, code=2)
    assert "no permission" in told and not (place / "gateway-keys.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("list",), "no file of keys"),
        (("show", "x"), "no file of keys"),
        (("create", "--owner", "a\nb"), "owner"),
        (("create", "--owner", "a", "--expires", "soon"), "no span of time"),
        (("create", "--owner", "a", "--config", "gateway.yaml", "--plan", "x"), "no plan 'x'"),
        (("create", "--owner", "a", "--config", "nowhere.yaml"), "cannot be read"),
        (("create", "--owner", "a", "-f", "no/where.json"), "no folder"),
    ],
)
def test_what_is_wrong_is_a_sentence(
    place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    out, told = run(capsys, *words, code=2)
    assert said in told and "Traceback" not in told and out == ""
