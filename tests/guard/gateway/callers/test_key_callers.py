"""Callers by API key: what is found, what is refused, and what happens when the file changes."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from assay.errors import AssayError, UsageError
from assay.guard.gateway.callers import build, keys
from assay.guard.gateway.callers.directory import AMBIGUOUS, FAILED, NEEDED, STRANGERS, Directory
from assay.guard.gateway.callers.key_store import KEPT, REMEMBERED
from assay.guard.gateway.interface import Caller, Decision, Permission
from guard.gateway.callers.making import NOW, ask, settings

THEN = datetime.fromtimestamp(NOW, UTC)


class Place:
    """A key file and a directory that follows it, with a clock of its own."""

    def __init__(self, folder: Path, **callers: Any) -> None:
        self.path = folder / "keys.json"
        self.now = NOW
        self.secret = self.create()
        raw = {"keys": "keys.json", **callers}
        self.directory: Directory = build(settings(folder, raw), clock=lambda: self.now)

    def create(self, **more: Any) -> str:
        return keys.change(str(self.path), lambda file: keys.create(file, THEN, "team-a", **more)[0::2])

    @property
    def ids(self) -> list[str]:
        return [key.id for key in keys.read(str(self.path)).keys]

    def change(self, how: Any) -> None:
        keys.change(str(self.path), lambda file: (how(file), None))
        self.directory.refresh()

    def who(self, at: float | None = None, **headers: str) -> Caller | Decision:
        return self.directory.identify(ask(self.now if at is None else at, **headers))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_key_is_taken_from_either_header(place: Place) -> None:
    for _ in range(3):  # the first time it is looked up, then remembered
        for headers in (
            {"x_api_key": place.secret},
            {"authorization": f"Bearer {place.secret}"},
            {"authorization": f"bearer  {place.secret}"},
            {"authorization": f"Bearer {place.secret}", "x_api_key": place.secret},
        ):
            who = place.who(**headers)
            assert isinstance(who, Caller)
            assert (who.id, who.owner, who.key) == (f"key:{place.ids[0]}", "team-a", place.ids[0])
            assert place.secret not in repr(who)


def test_the_header_is_the_one_that_is_configured(tmp_path: Path) -> None:
    place = Place(tmp_path, header="X-Model-Key")
    assert isinstance(place.who(x_model_key=place.secret), Caller)
    assert place.who(x_api_key=place.secret) is NEEDED


@pytest.mark.parametrize("header", ["authorization", "Cookie", "a b", "", "x\r\ny", "ä"])
def test_a_header_that_can_hold_no_key_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(AssayError, match="header"):
        Place(tmp_path, header=header)


@pytest.mark.parametrize(
    "headers",
    [
        {"x_api_key": "{}x"},
        {"x_api_key": " {}"},
        {"x_api_key": ""},
        {"x_api_key": "{}\x00"},
        {"x_api_key": "Bearer {}"},
        {"x_api_key": "{}, {}"},
        {"x_api_key": keys.secret()},
        {"x_api_key": "\xff" * 50},
        {"authorization": "{}"},
        {"authorization": "Basic {}"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Bearer {} "},
        {"authorization": "Bearer {}, Bearer {}"},
        {"authorization": "Bearer\t{}"},
        {"authorization": "Bearer a.b.c"},
        {"authorization": "Bearer " + "A" * 100_000},
        {"authorization": ""},
    ],
)
def test_whatever_is_wrong_the_answer_is_the_same(place: Place, headers: dict[str, str]) -> None:
    place.who(x_api_key=place.secret)
    place.who(authorization=f"Bearer {place.secret}")
    sent = {name: value.replace("{}", place.secret) for name, value in headers.items()}
    assert place.who(**sent) is FAILED
    assert FAILED.status == 401 and "invalid_token" in FAILED.challenge


def test_nobody_is_told_a_challenge_or_is_anonymous(tmp_path: Path, place: Place) -> None:
    assert place.who() is NEEDED and NEEDED.status == 401 and NEEDED.challenge == 'Bearer realm="assay"'
    (tmp_path / "b").mkdir()
    open_ = Place(tmp_path / "b", anonymous="default")
    assert open_.who() == Caller("address:192.0.2.1", plan="default")
    assert open_.who(x_api_key="wrong") is FAILED, "a wrong key must not be better than none"


@pytest.mark.parametrize(
    ("address", "who"),
    [
        ("192.0.2.7", "address:192.0.2.7"),
        ("2001:db8:1:2:3::1", "address:2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "address:192.0.2.7"),
        ("unix:", "address:unix:"),
        ("::nonsense::", "address:::nonsense::"),
    ],
)
def test_a_stranger_is_an_address(tmp_path: Path, address: str, who: str) -> None:
    directory = build(settings(tmp_path, {"anonymous": "gold"}))
    context = ask()
    context.address = address
    first = directory.identify(context)
    assert first == Caller(who, plan="gold") and directory.identify(context) is first


def test_addresses_cannot_fill_the_memory(tmp_path: Path) -> None:
    directory = build(settings(tmp_path, {"anonymous": "default"}))
    for number in range(STRANGERS + 100):
        context = ask()
        context.address = f"2001:db8::{number:x}"
        assert isinstance(directory.identify(context), Caller)
    assert len(directory._strangers) <= STRANGERS


def test_two_credentials_are_never_weighed(place: Place) -> None:
    other = place.create()
    place.directory.refresh()
    for own in (other, "", "wrong"):
        assert place.who(authorization=f"Bearer {place.secret}", x_api_key=own) is AMBIGUOUS
    assert AMBIGUOUS.status == 401


def test_without_keys_or_tokens_a_header_is_the_model_servers_own(tmp_path: Path) -> None:
    directory = build(settings(tmp_path, {"anonymous": "default"}))
    assert directory.identify(ask(authorization="Basic YTpi", x_api_key="z")) == Caller(
        "address:192.0.2.1", plan="default"
    )


def test_a_remembered_key_expires_in_time(place: Place) -> None:
    short = place.create(lifetime=timedelta(seconds=60), permissions=(Permission(model="m"),))
    place.directory.refresh()
    assert isinstance(place.who(NOW + 59.9, x_api_key=short), Caller)
    assert place.who(NOW + 60, x_api_key=short) is FAILED
    assert place.directory.figures().refused == {"key-ended": 1}


def test_a_revoked_key_is_refused_once_the_file_was_seen(place: Place) -> None:
    for headers in ({"x_api_key": place.secret}, {"authorization": f"Bearer {place.secret}"}):
        assert isinstance(place.who(**headers), Caller)
    place.change(lambda file: keys.revoke(file, place.ids[0], THEN))
    for headers in ({"x_api_key": place.secret}, {"authorization": f"Bearer {place.secret}"}):
        assert place.who(**headers) is FAILED


def test_rotation_overlaps(place: Place) -> None:
    made: list[str] = []

    def rotate(file: keys.KeyFile) -> keys.KeyFile:
        file, _, secret = keys.rotate(file, place.ids[0], THEN, timedelta(minutes=10))
        made.append(secret)
        return file

    before = place.who(x_api_key=place.secret)
    place.change(rotate)
    old, new = place.who(x_api_key=place.secret), place.who(x_api_key=made[0])
    assert isinstance(before, Caller) and isinstance(old, Caller) and isinstance(new, Caller)
    assert before.id == old.id == new.id and old.key != new.key
    assert place.who(NOW + 600, x_api_key=place.secret) is FAILED
    assert isinstance(place.who(NOW + 600, x_api_key=made[0]), Caller)


def test_the_error_says_in_the_log_why(place: Place) -> None:
    context = ask(x_api_key="wrong")
    place.directory.identify(context)
    assert context.error == "caller:key"


def test_a_key_of_a_plan_that_is_gone_is_refused_and_told(place: Place) -> None:
    lost = place.create(plan="platinum")
    place.directory.refresh()
    assert place.who(x_api_key=lost) is FAILED and isinstance(place.who(x_api_key=place.secret), Caller)
    assert "platinum" in place.directory.figures().problems[0]


@pytest.mark.parametrize("harm", ["delete", "break", "open", "empty"])
def test_a_file_that_is_gone_or_broken_goes_on_for_a_minute_and_then_refuses_all(place: Place, harm: str) -> None:
    good = place.path.read_bytes()
    if harm == "delete":
        place.path.unlink()
    elif harm == "open":
        place.path.chmod(0o666)
        os.utime(place.path, ns=(1, 1))  # a clock of files may stand still for milliseconds
    else:
        place.path.write_bytes(good[:-20] if harm == "break" else b"")
    place.directory.refresh()
    assert isinstance(place.who(x_api_key=place.secret), Caller)
    assert place.directory.figures().problems
    place.now += KEPT - 1
    place.directory.refresh()
    assert isinstance(place.who(x_api_key=place.secret), Caller)
    place.now += 1
    place.directory.refresh()
    assert place.who(x_api_key=place.secret) is FAILED
    place.path.unlink(missing_ok=True)
    place.path.write_bytes(good)
    place.path.chmod(0o600)
    place.directory.refresh()
    assert isinstance(place.who(x_api_key=place.secret), Caller)
    assert not place.directory.figures().problems


def test_a_clock_that_steps_back_does_not_keep_a_broken_file_alive(place: Place) -> None:
    place.path.unlink()
    place.directory.refresh()
    place.now -= 86400
    place.directory.refresh()
    place.now += KEPT
    place.directory.refresh()
    assert place.who(x_api_key=place.secret) is FAILED


def test_a_file_that_is_not_there_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nokeys\.json cannot be read"):
        build(settings(tmp_path, {"keys": "nokeys.json"}))


def test_a_readable_file_is_told(place: Place) -> None:
    place.path.chmod(0o644)
    os.utime(place.path, ns=(1, 1))
    place.directory.refresh()
    assert "read by others" in place.directory.figures().problems[0]
    assert isinstance(place.who(x_api_key=place.secret), Caller)


def test_strangers_cannot_fill_the_memory(place: Place) -> None:
    for number in range(2000):
        place.who(x_api_key=f"assay_{number:049}")
        place.who(authorization=f"Bearer {number}")
        place.who(authorization=f"Basic {number}")
    figures = place.directory.figures()
    assert figures.remembered == 0 and set(figures.refused) == {"key", "scheme"}


def test_spellings_of_one_key_cannot_fill_it_either(place: Place) -> None:
    for spaces in range(1, 60):
        for letters in range(64):
            word = "".join(c.upper() if letters >> i & 1 else c for i, c in enumerate("bearer"))
            assert isinstance(place.who(authorization=f"{word}{' ' * spaces}{place.secret}"), Caller)
            assert place.directory.figures().remembered <= REMEMBERED


def operations(place: Place, presented: str) -> list[tuple[str, int]]:
    """The lines of our own code that one look-up runs."""
    ran: list[tuple[str, int]] = []

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if "callers" in frame.f_code.co_filename and event == "line":
            ran.append((frame.f_code.co_name, frame.f_lineno))
        return trace

    context = ask(x_api_key=presented)
    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        place.directory.identify(context)
    finally:
        sys.settrace(previous)
    return ran


def test_an_unknown_a_revoked_and_an_expired_key_take_the_same_way(place: Place) -> None:
    expired, revoked = place.create(lifetime=timedelta(0)), place.create()
    place.change(lambda file: keys.revoke(file, place.ids[2], THEN))
    near = place.secret[:-1] + ("A" if place.secret[-1] != "A" else "B")
    far = "assay_" + "z" * 49
    ways = [operations(place, presented) for presented in (far, near, expired, revoked)]
    assert ways[0] and all(way == ways[0] for way in ways)
