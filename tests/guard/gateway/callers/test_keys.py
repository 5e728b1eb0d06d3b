"""The file of API keys and what becomes of a key."""

from __future__ import annotations

import base64
import json
import math
import multiprocessing
import re
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import AssayError, DocumentError, UsageError
from assay.guard.gateway.callers import keys
from assay.guard.gateway.interface import Permission

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def made(**more: object) -> tuple[keys.KeyFile, keys.Key, str]:
    return keys.create(keys.KeyFile(), NOW, "team-a", **more)  # type: ignore[arg-type]


def test_a_key_is_random_recognisable_and_never_in_the_file() -> None:
    file, key, secret = made()
    assert re.fullmatch(r"assay_[A-Za-z0-9_-]{49}", secret), "as the guide says to those who search for leaked ones"
    drawn, told = (base64.urlsafe_b64decode(part + "==") for part in (secret[6:49], secret[49:]))
    assert zlib.crc32(drawn).to_bytes(4) == told
    assert secret.encode() not in msgspec.json.encode(file) and secret[6:] not in repr(file)
    assert key.sha256 == keys.digest(secret.encode()).hex() and key.caller == key.id
    assert len({keys.secret() for _ in range(200)}) == 200
    assert all(made()[1].id.isalnum() for _ in range(200)), "an id is an argument of commands: no hyphen in front"


def test_a_rotated_key_goes_on_until_the_overlap_ends() -> None:
    file, old, first = made(plan="gold", lifetime=timedelta(days=30), groups=("a",))
    later = NOW + timedelta(days=2)
    file, new, second = keys.rotate(file, old.id, later, timedelta(hours=1))
    old = keys.find(file, old.id)
    assert keys.until(old) == (later + timedelta(hours=1)).timestamp() and old.replaced_by == new.id
    assert new.expires == later + timedelta(days=30) and new.plan == "gold" and first != second
    assert keys.caller(new).id == keys.caller(old).id, "whoever rotates keeps quotas and what was learned of them"
    assert keys.caller(new).key != keys.caller(old).key


def test_an_overlap_never_lengthens_a_life() -> None:
    file, old, _ = made(lifetime=timedelta(minutes=5))
    file, _, _ = keys.rotate(file, old.id, NOW, timedelta(days=1))
    assert keys.find(file, old.id).expires == NOW + timedelta(minutes=5)


def test_what_cannot_be_rotated_is_said() -> None:
    file, key, _ = made(lifetime=timedelta(minutes=5))
    with pytest.raises(UsageError, match="revoked or expired"):
        keys.rotate(file, key.id, NOW + timedelta(minutes=5), timedelta())
    with pytest.raises(UsageError, match="revoked or expired"):
        keys.rotate(keys.revoke(file, key.id, NOW), key.id, NOW, timedelta())
    rotated, new, _ = keys.rotate(file, key.id, NOW, timedelta(minutes=1))
    with pytest.raises(UsageError, match="rotated already") as told:
        keys.rotate(rotated, key.id, NOW, timedelta(minutes=1))
    assert new.id in str(told.value)
    with pytest.raises(UsageError, match="no key"):
        keys.rotate(file, "nobody", NOW, timedelta())
    with pytest.raises(UsageError, match="negative"):
        keys.rotate(file, key.id, NOW, timedelta(seconds=-1))
    with pytest.raises(UsageError, match="too far"):
        keys.rotate(file, key.id, NOW, timedelta(seconds=1), lifetime=timedelta.max)


def test_revoking_is_for_good() -> None:
    file, key, _ = made()
    assert keys.until(key) == math.inf
    file = keys.revoke(file, key.id, NOW)
    assert keys.until(keys.find(file, key.id)) == -math.inf
    assert keys.revoke(file, key.id, NOW + timedelta(days=1)) == file
    with pytest.raises(UsageError, match="revoked"):
        keys.expire(file, key.id, NOW + timedelta(days=400))


def test_expire() -> None:
    file, key, _ = made()
    assert keys.until(keys.find(keys.expire(file, key.id, NOW), key.id)) == NOW.timestamp()


@pytest.mark.parametrize("owner", ["", "a\nb", "x" * 257, "\x1b[2J", "a\x00"])
def test_words_that_would_steer_a_log_are_refused(owner: str) -> None:
    with pytest.raises(UsageError):
        keys.create(keys.KeyFile(), NOW, owner)


def test_a_written_file_is_read_back_the_same_and_is_private(tmp_path: Path) -> None:
    path = str(tmp_path / "keys.json")
    permissions = (Permission(protocol="openai", model="small-*"),)
    key = keys.change(path, lambda file: keys.create(file, NOW, "ü", permissions=permissions)[:2])
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert keys.read(path).keys == (key,)
    assert json.loads(Path(path).read_bytes())["keys"][0]["created"] == "2026-11-01T12:00:00Z"


def add_ten(path: str) -> None:
    for _ in range(10):
        keys.change(path, lambda file: keys.create(file, NOW, "team")[:2])


def test_commands_at_the_same_time_lose_no_key(tmp_path: Path) -> None:
    path = str(tmp_path / "keys.json")
    processes = [multiprocessing.get_context("spawn").Process(target=add_ten, args=(path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(keys.read(path).keys) == 30


def test_a_change_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys.change(str(path), lambda file: keys.create(file, NOW, "team")[:2])
    before = path.read_bytes()
    with pytest.raises(UsageError):
        keys.change(str(path), lambda file: (keys.revoke(file, "nobody", NOW), None))
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["keys.json"]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_gives_nobody_a_key(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.json"
    keys.change(str(path), lambda file: keys.create(file, NOW, "team")[:2])
    path.chmod(mode)
    with pytest.raises(UsageError, match="written by others"):
        keys.read(str(path))


def test_a_key_with_a_misspelt_permission_is_an_error_not_a_wider_key() -> None:
    _, key, _ = made()
    raw = msgspec.to_builtins(keys.KeyFile(keys=(key,)))
    raw["keys"][0]["permissions"] = [{"modle": "small"}]
    with pytest.raises(DocumentError, match="modle"):
        keys.parse(json.dumps(raw).encode(), "keys.json")


@pytest.mark.parametrize(
    "change",
    [
        {"created": "2026-11-01T12:00:00"},
        {"sha256": "00"},
        {"sha256": "A" * 64},
        {"id": "../x"},
        {"id": "a b"},
        {"expires": "soon"},
        {"plan": ""},
        {"admin": True},
        {"permissions": [{"verb": 1}]},
    ],
)
def test_what_is_wrong_in_a_file_is_told(change: dict[str, object]) -> None:
    _, key, _ = made()
    raw = msgspec.to_builtins(keys.KeyFile(keys=(key,)))
    raw["keys"][0].update(change)
    with pytest.raises(DocumentError, match=r"keys\.json"):
        keys.parse(json.dumps(raw).encode(), "keys.json")


def test_two_keys_that_are_one_are_an_error() -> None:
    _, key, _ = made()
    raw = msgspec.to_builtins(keys.KeyFile(keys=(key,)))
    raw["keys"] = [*raw["keys"], dict(raw["keys"][0], id="another")]
    with pytest.raises(DocumentError, match="same sha256"):
        keys.parse(json.dumps(raw).encode(), "keys.json")
    text = json.dumps(msgspec.to_builtins(keys.KeyFile(keys=(key,))))
    doubled = text.replace('"owner": "team-a"', '"owner": "team-a", "owner": "root"')
    assert doubled != text
    with pytest.raises(DocumentError, match="twice"):
        keys.parse(doubled.encode(), "keys.json")


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(str).map(str.encode))
def test_bytes_from_anywhere_are_a_file_or_an_error(data: bytes) -> None:
    with pytest.raises(AssayError):
        keys.parse(data, "keys.json")
