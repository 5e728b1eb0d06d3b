"""Profiles over real runs: honest ones raise no alarm, attacks do, each by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from assay.alerts.finding import Finding, Severity
from assay.collect.behaviour import document
from assay.collect.behaviour.compare import alarms, compare, severe
from assay.collect.behaviour.interface import Kind
from assay.collect.behaviour.model import Profile, learn
from collect.behaviour.profile_steps import ATTACKS, Workplace


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    root = tmp_path_factory.mktemp("step")
    return Workplace(root, root / "home")


@pytest.fixture(scope="module")
def profile(place: Workplace) -> Profile:
    """Five runs, three of them with warm caches, with 3 to 5 shards; read back from its file."""
    made = Profile("train")
    for seed in range(5):
        place.shards(3 + seed % 3)
        if seed in (0, 3):
            _cold(place)
        made = learn(made, place.run(seed, method="spawn" if seed == 2 else "fork"))
    return document.load(document.dump(made), "train.yaml")


def _cold(place: Workplace) -> None:
    shutil.rmtree(place.root / "code" / "__pycache__", ignore_errors=True)
    shutil.rmtree(place.home / ".cache", ignore_errors=True)


def _told(findings: list[Finding]) -> list[str]:
    return [f"{item.severity.value} {item.title}: {item.message}" for item in findings]


@pytest.mark.parametrize("seed", range(10, 20))
def test_honest_runs_with_other_inputs_raise_no_alarm(place: Workplace, profile: Profile, seed: int) -> None:
    place.shards(2 + seed % 7, first=seed)
    if seed % 3 == 0:
        _cold(place)
    found = compare(profile, place.run(seed * 1000, method="spawn" if seed % 2 else "fork"))
    assert not alarms(found), _told(found)


EXPECTED = {
    "ssh-key": (Kind.SENSITIVE, Severity.CRITICAL, "AML.T0055"),
    "environment-of-another": (Kind.SENSITIVE, Severity.CRITICAL, "AML.T0090"),
    "connect": (Kind.DESTINATION, Severity.MEDIUM, "AML.T0112"),
    "udp-dns": (Kind.DESTINATION, Severity.MEDIUM, "AML.T0112"),
    "shell": (Kind.PROGRAM, Severity.HIGH, "AML.T0050"),
    "bashrc": (Kind.PERSISTENCE, Severity.CRITICAL, "AML.T0112"),
    "leaked-test-set": (Kind.READ, Severity.HIGH, "AML.T0031"),
    "planted-library": (Kind.LIBRARY, Severity.HIGH, "AML.T0011"),
    "new-module": (Kind.MODULE, Severity.MEDIUM, "AML.T0011.001"),
    "delete": (Kind.DELETION, Severity.CRITICAL, "AML.T0101"),
    "rename-away": (Kind.DELETION, Severity.CRITICAL, "AML.T0101"),
    "scan-of-folders": ("scan", Severity.HIGH, "AML.T0007"),
    "pth": (Kind.PERSISTENCE, Severity.CRITICAL, "AML.T0112"),
    "passing-pth": (Kind.PERSISTENCE, Severity.CRITICAL, "AML.T0112"),
    "foreign-file": (Kind.READ, Severity.HIGH, "AML.T0037"),
    "planted-bytecode": (Kind.WRITE, Severity.HIGH, "AML.T0010.001"),
    "git-hook": (Kind.PERSISTENCE, Severity.CRITICAL, "AML.T0112"),
    "changed-input": (Kind.WRITE, Severity.HIGH, "AML.T0059"),
    "memory-of-another": (Kind.CALL, Severity.HIGH, "AML.T0105"),
    "own-program": (Kind.PROGRAM, Severity.HIGH, "AML.T0011"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_alarms(place: Workplace, profile: Profile, attack: str) -> None:
    place.shards(4)
    library = next(Path(path) for path in ("/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6",
                                           "/lib/aarch64-linux-gnu/libc.so.6") if Path(path).exists())  # fmt: skip
    planted = place.root / "foreign" / "planted.so"
    shutil.copy(next(library.parent.glob("libutil.so*"), library), planted)
    found = compare(profile, place.run(7, attack))
    kind, severity, technique = EXPECTED[attack]
    fitting = [item for item in alarms(found) if item.key.partition("/")[0] == str(kind)]
    assert fitting, _told(found)
    assert max(item.severity.rank for item in fitting) == severity.rank, _told(found)
    assert any(technique in item.frameworks["atlas"] for item in fitting), _told(fitting)
    assert all("never seen in 5 earlier runs (p < 1/7)" in item.message for item in fitting if "/" in item.key)
    assert bool(severe(found)) == (severity.rank >= Severity.HIGH.rank), _told(found)


def test_a_profile_of_one_run_raises_no_alarm_either(place: Workplace) -> None:
    place.shards(3)
    profile = learn(Profile("train"), place.run(1))
    place.shards(6, first=20)
    found = compare(profile, place.run(2))
    assert not alarms(found), _told(found)


def test_new_code_excuses_a_package_and_no_secret(place: Workplace, profile: Profile) -> None:
    helper = place.root / "code" / "helper.py"
    before = helper.read_text()
    helper.write_text("VALUE = 3  # reviewed\n")
    try:
        changed = compare(profile, place.run(1, "new-module"))
        stealing = compare(profile, place.run(1, "ssh-key"))
    finally:
        helper.write_text(before)
    assert [item.key for item in changed if item.title == "the code is new"] == ["code"]
    assert {item.severity for item in changed if item.key.startswith("modules/planted")} == {Severity.LOW}
    assert {item.severity for item in stealing if item.key.startswith("sensitive/")} == {Severity.CRITICAL}
