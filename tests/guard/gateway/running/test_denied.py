"""What an administrator denied for a time: a clock that jumps lets nobody in early, nor does a damaged file."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from assay.errors import UsageError
from assay.guard.gateway.admin.interface import Denied
from assay.guard.gateway.edge import haproxy
from assay.guard.gateway.running import denied
from assay.guard.gateway.running.patience import Patient
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.around import Edge


def test_a_clock_that_jumps_ahead_and_back_lets_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, now, steady = str(tmp_path / "denied.txt"), 1_800_000_000.0, 1000.0
    Path(place).write_bytes(b"")
    wall = now

    def at(passed: float, ahead: float) -> None:
        nonlocal wall
        wall = now + passed + ahead
        monkeypatch.setattr(time, "time", lambda: wall)
        monkeypatch.setattr(time, "clock_gettime", lambda _clock: steady + passed)

    at(0, 0)
    patient = Patient()
    denied.add(place, Denied("203.0.113.0/24", now + 3600, "an attack"), patient())
    at(1, 7200)
    assert not denied.expire(place, patient())
    at(600, 7200)
    assert not denied.expire(place, patient())
    denied.add(place, Denied("198.51.100.7", None, ""), patient())
    at(601, 0)
    assert patient() == wall and set(denied.read(place, patient())) == {"203.0.113.0/24", "198.51.100.7"}
    at(3601, 0)
    assert denied.expire(place, patient()) and set(denied.read(place, patient())) == {"198.51.100.7"}


@pytest.mark.parametrize("ahead", [3600.0, 86400.0])
def test_a_clock_that_stays_ahead_is_believed_after_as_long(ahead: float, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = 0.0
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0 + steady)
    monkeypatch.setattr(time, "clock_gettime", lambda _clock: steady)
    patient = Patient()
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0 + steady + ahead)
    for steady in (ahead / 4, ahead / 2, ahead - 1):
        assert patient() < 1_800_000_000.0 + steady + ahead
    steady = ahead + 1
    assert patient() == 1_800_000_000.0 + steady + ahead
    steady += 1e6
    assert patient() == 1_800_000_000.0 + steady + ahead


@pytest.mark.parametrize("end", [b"never", b"nan", b"1e999", b"-inf", b"12:00"])
def test_a_file_that_somebody_has_damaged_stays_and_still_denies(tmp_path: Path, end: bytes) -> None:
    place, damaged = tmp_path / "denied.txt", b"192.0.2.1 # 5 x\n203.0.113.0/24 # " + end + b" x\n"
    place.write_bytes(damaged)
    assert not denied.expire(str(place), 1e9)
    for call in (
        lambda: denied.read(str(place), 1e9),
        lambda: denied.add(str(place), Denied("198.51.100.7", None, ""), 1e9),
        lambda: denied.remove(str(place), "203.0.113.0/24", 1e9),
    ):
        with pytest.raises(UsageError, match=r"denied\.txt, line 2: .* is no time when it ends"):
            call()
    assert place.read_bytes() == damaged and os.listdir(tmp_path) == ["denied.txt"]


def test_reasons_come_back_as_they_were_given(tmp_path: Path) -> None:
    place = str(tmp_path / "denied.txt")
    Path(place).write_bytes(b"")
    for number, why in enumerate(("", "two words", "a\nline # - x", "\\N{x", "\ud800\U0010ffff", "\x00", "- -")):
        denied.add(place, Denied(f"192.0.2.{number}", None, why), 0.0)
        assert denied.read(place, 0.0)[f"192.0.2.{number}"].why == why


def test_an_edge_that_is_slow_to_take_one_list_has_the_newer_one_in_the_end(tmp_path: Path) -> None:
    """Two people deny somebody at the same time. A server that speaks HAProxy's runtime API lets the first wait."""
    place, edge = str(tmp_path / "denied.txt"), tmp_path / "edge"
    edge.mkdir()
    (tmp_path / "denied.txt").write_text(denied.HEAD)
    (edge / haproxy.MAIN).write_text("")
    settings = Settings(edges=(Edge("haproxy", str(edge)),), upstream="http://127.0.0.1:9")
    known: set[str] = set()
    asked, go_on = threading.Event(), threading.Event()

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(one,), daemon=True).start()

    def answer(one: socket.socket) -> None:
        with one:
            command = one.makefile().readline()
            if command.startswith("show map"):
                shown = "".join(f"0x{number} {each} 1\n" for number, each in enumerate(sorted(known)))
                if not asked.is_set():
                    asked.set()
                    go_on.wait(60)
                one.sendall(shown.encode() + b"\n")
                return
            for each in command.split(";"):
                verb, _, _, network, *_ = each.split()
                (known.add if verb == "add" else known.discard)(network)
            one.sendall(b"\n")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(edge / haproxy.SOCKET))
        listener.listen(8)
        server = threading.Thread(target=serve, args=(listener,), daemon=True)
        server.start()
        denied.add(place, Denied("198.51.100.0/24", None, "first"), 0.0)
        first = threading.Thread(target=denied.push, args=(settings, place, 0.0))
        first.start()
        assert asked.wait(60)
        denied.remove(place, "198.51.100.0/24", 0.0)
        denied.add(place, Denied("203.0.113.0/24", None, "second"), 0.0)
        second = threading.Thread(target=denied.push, args=(settings, place, 0.0))
        second.start()
        second.join(0.5)  # where nobody waits for the first, it is through by now
        go_on.set()
        first.join(60)
        second.join(60)
        listener.shutdown(socket.SHUT_RDWR)
        server.join(60)
    assert known == {"203.0.113.0/24"}
    assert "203.0.113.0/24" in (edge / haproxy.PUSHED).read_text()
    assert "198.51.100.0/24" not in (edge / haproxy.PUSHED).read_text()
