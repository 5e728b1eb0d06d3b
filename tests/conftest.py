"""Shared set-up: every test has its own home, so that none finds or touches the developer's keys and evidence."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow: how long one example takes says nothing about the code. In continuous integration the same
# code is always given the same examples, so that what lands is no matter of luck; `make test` by hand draws new ones.
settings.register_profile(
    "assay",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("ASSAY_FORBID_SKIPS")),
)
settings.load_profile("assay")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder; returned for tests that look into it."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("CONFIG", "DATA", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for name in ("ASSAY_PASSPHRASE", "HF_ENDPOINT", "HF_HOME", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Garbage is looked for after each test as before it: else the test run grows by gigabytes."""
    yield
    assert gc.isenabled() and not gc.get_freeze_count(), "a command in this process has left its collector changed"


def pytest_configure(config: pytest.Config) -> None:
    """What a shell has started in the background ignores interrupts, and so would all that tests start to interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes that nobody can read do not name a test.

    They may hold a time (gzip writes one), and then the test's name differs from one worker of pytest-xdist to the
    next, which ends the whole run. pytest numbers the equal names that this gives.
    """
    if isinstance(val, bytes) and not (val.isascii() and val.decode("ascii").isprintable()):
        return argname
    return None


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With ASSAY_FORBID_SKIPS (continuous integration installs everything) a skipped test fails the run."""
    if not os.environ.get("ASSAY_FORBID_SKIPS") or hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    for report in skipped:
        reporter.write_line(f"skipped where nothing may be: {report.nodeid}: {report.longrepr}", red=True)
    if skipped and exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
