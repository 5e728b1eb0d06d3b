"""What is chosen, what is missing, and what is said of it."""

import pytest
from msgspec.structs import replace

from assay.collect.trace.tracers import TRACERS
from assay.errors import UndecidedError, UsageError
from assay.guard.sandbox import plan as planning
from assay.guard.sandbox.describing import describe
from assay.guard.sandbox.interface import Destination, Isolation, Place, Wanted
from assay.guard.sandbox.plan import plan
from assay.guard.sandbox.probe import probe

FULL = Place(
    dict.fromkeys(("seccomp-unotify", "ptrace", "audit-hook", "landlock", "user-namespace", "network-namespace",
                   "mount-namespace", "overlay", "pidfd-getfd")),
    7,
)  # fmt: skip
ALLOWED = (Destination("example.com", 443),)


def without(*names, landlock=7):
    return replace(FULL, works={**FULL.works, **dict.fromkeys(names, "not here")}, landlock=landlock)


CONTAINER = without("user-namespace", "network-namespace", "mount-namespace", "overlay", "pidfd-getfd")


@pytest.mark.parametrize(
    ("place", "tier", "files", "network"),
    [
        (FULL, 1, "mounts+landlock", "namespace"),
        (CONTAINER, 2, "landlock", "landlock+mediation"),
        (without("pidfd-getfd"), 2, "mounts+landlock", "landlock+mediation"),
        (replace(CONTAINER, landlock=3), 2, "landlock", "no-sockets"),
        (replace(CONTAINER, landlock=0), 3, "nothing", "no-sockets"),
        (replace(CONTAINER, works={**CONTAINER.works, "seccomp-unotify": "no"}), 4, "landlock", "nothing"),
        (without("seccomp-unotify"), 4, "mounts+landlock", "namespace"),
        (Place({"audit-hook": None}), 5, "nothing", "nothing"),
    ],
)
def test_tiers(place, tier, files, network):
    chosen = plan(Wanted(), place)
    assert (chosen.tier, chosen.files, chosen.network) == (tier, files, network)
    assert bool(chosen.missing) == (files == "nothing" or network == "nothing")


def test_an_allow_list_is_not_promised_where_only_all_or_nothing_can_be_held():
    place = replace(CONTAINER, landlock=3)
    assert plan(Wanted(network=()), place).missing == ()
    assert len(plan(Wanted(network=ALLOWED), place).missing) == 1
    assert plan(Wanted(network=ALLOWED), CONTAINER).missing == ()
    assert plan(Wanted(network=()), without("seccomp-unotify")).missing == ()
    assert len(plan(Wanted(network=ALLOWED), without("seccomp-unotify")).missing) == 1


def test_without_isolation_everything_is_a_gap_and_nothing_is_missing():
    chosen = plan(Wanted(isolation=Isolation.OFF), FULL)
    assert (chosen.files, chosen.network, chosen.missing) == ("nothing", "open", ())
    assert [gap.name for gap in chosen.gaps] == ["isolation-off"]
    assert set(chosen.gaps[0].about) == {"files", "network", "programs"}


def test_gaps_name_what_they_are_about():
    gaps = {gap.name: tuple(gap.about) for gap in plan(Wanted(), replace(CONTAINER, landlock=2)).gaps}
    assert gaps["truncate"] == ("files",)
    assert gaps["signals"] == ("programs",)
    assert gaps["metadata"] == ("files",)
    assert gaps["shared-memory"] == ("files",)
    assert gaps["writable-code"] == ("programs",)
    assert plan(Wanted(isolation=Isolation.STRICT), FULL).gaps == ()
    assert [gap.name for gap in plan(Wanted(network=None), FULL).gaps if "network" in gap.about] == ["open-network"]
    assert "io_uring" in {gap.name for gap in plan(Wanted(allow_io_uring=True), FULL).gaps}


def test_outputs_that_hold_what_runs_later_are_a_gap(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".bashrc").touch()
    (tmp_path / "project/.git/hooks").mkdir(parents=True)
    (tmp_path / "out").mkdir()

    def gaps(folder):
        return [
            gap.message for gap in plan(Wanted(write=(str(folder),)), FULL).gaps if gap.name == "persistent-outputs"
        ]

    assert ".bashrc" in gaps(tmp_path)[0]
    assert ".git/hooks" in gaps(tmp_path / "project")[0]
    assert gaps(tmp_path / "out") == []


def test_outputs_that_hold_secrets_stop_the_step(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "out").mkdir()
    key = tmp_path / "out" / "signing.pem"
    assert plan(Wanted(write=(str(tmp_path),), hidden=(str(key),)), FULL).missing == ()  # there are none yet
    key.touch()
    for wanted in Wanted(write=(str(tmp_path / "out"),), hidden=(str(key),)), Wanted(write=(str(tmp_path),)):
        (tmp_path / ".ssh").mkdir(exist_ok=True)
        assert "holds secrets" in plan(wanted, FULL).missing[0]


def test_inputs_in_outputs_are_a_gap(tmp_path):
    gaps = plan(Wanted(read=(str(tmp_path / "data"),), write=(str(tmp_path),)), FULL).gaps
    assert "inputs-in-outputs" in {gap.name for gap in gaps}
    gaps = plan(Wanted(read=(str(tmp_path),), write=(str(tmp_path / "out"),)), FULL).gaps
    assert "inputs-in-outputs" not in {gap.name for gap in gaps}


def test_a_named_tracer():
    assert plan(Wanted(), FULL, "ptrace").trace == "ptrace"
    with pytest.raises(UsageError, match="unknown tracer 'strace'"):
        plan(Wanted(), FULL, "strace")
    with pytest.raises(UndecidedError, match="ptrace does not work here: not here"):
        plan(Wanted(), without("ptrace"), "ptrace")
    with pytest.raises(UndecidedError, match="nothing here can watch"):
        plan(Wanted(), Place({}))


def test_the_plan_knows_every_tracer():
    assert tuple(TRACERS) == planning.TRACERS


def test_this_place_is_found_out_and_described():
    place = probe(everything=True)
    assert {"seccomp-unotify", "ptrace", "audit-hook", "landlock", "user-namespace", "network-namespace",
            "mount-namespace", "overlay", "pidfd-getfd", "io-uring"} == set(place.works)  # fmt: skip
    assert "not tried" not in " ".join(filter(None, place.works.values()))
    first, *facts = describe(place)
    assert first.works and first.text.startswith(f"tier {plan(Wanted(), place).tier}: watched by ")
    assert {fact.name: fact.works for fact in facts}["seccomp-unotify"]


def test_what_does_not_work_is_described_with_what_would_help():
    facts = {fact.name: fact for fact in describe(replace(without("user-namespace"), landlock=5))}
    assert not facts["user-namespace"].works
    assert "not here" in facts["user-namespace"].text
    assert "apparmor_restrict_unprivileged_userns" in facts["user-namespace"].text
    assert facts["landlock"].text.endswith("(version 5, without signals and abstract sockets (Linux 6.12))")
    facts = {fact.name: fact for fact in describe(Place({}))}
    assert not any(fact.works for fact in facts.values())
    assert facts["assay run"].text == "nothing here can watch a step"
