"""The monitors file's values: defaults, places relative to the file, and what it says about time."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as of
from hypothesis import strategies as st

from assay.errors import AssayError, DocumentError
from assay.watch import settings
from assay.watch.interface import Topic

SMALL = "assay-monitors: 1\nmonitors:\n  - {name: a, data: {from: d.csv}, baseline: b.json}\n"


def load(place: Path, text: str) -> settings.Monitors:
    (place / "monitors.yml").write_text(text)
    return settings.load(str(place / "monitors.yml"))


def test_defaults(tmp_path: Path) -> None:
    read = load(tmp_path, SMALL)
    one = read.monitor("a")
    assert one.topics == (Topic.DATA_QUALITY, Topic.DRIFT) and one.missed == "last" and one.least == 200
    assert one.span() is None and one.waiting() == timedelta(0) and one.target is None
    assert read.path(read.store) == str(tmp_path / "monitoring.db")
    with pytest.raises(AssayError, match="there is no monitor 'b'"):
        read.monitor("b")


def test_places_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "monitors.yml").write_text(SMALL)
    read = settings.load("../monitors.yml")
    for said, meant in [
        ("d.csv", str(tmp_path / "d.csv")),
        ("../d.csv", str(tmp_path.parent / "d.csv")),
        ("/abs/d.csv", "/abs/d.csv"),
        ("~/d.csv", "/home/me/d.csv"),
        ("sqlite:///x.db", str(tmp_path / "x.db")),
        ("postgresql://host/x", "postgresql://host/x"),
        ("$HOME/x", str(tmp_path / "$HOME" / "x")),
    ]:
        assert read.path(said) == meant
    assert not os.path.exists(read.path(read.store))


def test_a_window_and_its_delay(tmp_path: Path) -> None:
    read = load(tmp_path, SMALL.replace("b.json}", "b.json, window: 36h, delay: 15m, schedule: rate(1 hour)}"))
    assert read.monitor("a").span() == timedelta(hours=36) and read.monitor("a").waiting() == timedelta(minutes=15)


@pytest.mark.parametrize("key", ["name: a", "data: {from: d.csv}", "baseline: b.json"])
def test_what_a_monitor_needs(tmp_path: Path, key: str) -> None:
    with pytest.raises(DocumentError, match="missing required field"):
        load(tmp_path, SMALL.replace(key + ", ", "").replace(", " + key, ""))


@of(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(text=st.text(max_size=60), at=st.integers(0, len(SMALL)))
def test_any_text_is_read_or_refused_in_a_sentence(tmp_path: Path, text: str, at: int) -> None:
    (tmp_path / "monitors.yml").write_bytes((SMALL[:at] + text + SMALL[at:]).encode("utf-8", "surrogatepass"))
    try:
        read = settings.load(str(tmp_path / "monitors.yml"))
    except AssayError as error:
        assert error.message
    else:
        assert read.monitors
