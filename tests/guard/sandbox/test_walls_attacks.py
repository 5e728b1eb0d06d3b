"""Every attack is stopped by the walls, in every place, and the trace says what was tried."""

import os
import shutil

import pytest

from guard.sandbox.places import PLACES, attack


@pytest.fixture(scope="module", params=PLACES)
def attacked(request):
    """A step that attacks, in strict mode."""
    scene, made, told = attack(request.param, isolation="strict")
    yield request.param, scene, made, told
    shutil.rmtree(scene.root)


@pytest.fixture(scope="module", params=("user", "user-in-container"))
def attacked_in_auto(request):
    """The same step in auto mode."""
    scene, made, told = attack(request.param, isolation="auto")
    yield scene, made, told
    shutil.rmtree(scene.root)


NEEDS_MOUNTS = {
    "change_permissions",
    "change_times",
    "map_own_file_as_code",
    "map_shared_memory_as_code",
    "map_temporary_file_as_code",
    "read_shared_file_memory",
    "read_shared_memory",
}
"""What Landlock does not know of: a gap, and said to be one."""


def test_no_attack_comes_through(attacked):
    place, scene, made, told = attacked
    assert made["exit"] == 0
    assert told.pop("honest_work") == "came through"
    came = {name for name, how in told.items() if how == "came through"}
    if place.endswith("container"):
        assert came == NEEDS_MOUNTS and {"metadata", "shared-memory", "writable-code"} <= set(made["gaps"])
    else:
        assert came == set() and not {"metadata", "shared-memory", "writable-code"} & set(made["gaps"])
    assert len(told) > 45
    assert scene.untouched()


def test_what_was_tried_is_told(attacked):
    place, scene, made, _ = attacked
    refused = {os.path.relpath(path, scene.home): rule for path, rule in made["refused"].items()}
    assert refused[".ssh/id_rsa"] == "secret"
    assert refused["elsewhere/signing.pem"] == "secret"
    assert refused["labels/test.csv"] == "undeclared-read"
    assert refused["."] == "undeclared-read"
    assert refused[".bashrc"] == "persistence"
    assert refused[".local/lib/python3.11/site-packages/harmless.pth"] == "persistence"
    assert refused["project/data/more.csv"] == "undeclared-write"
    assert made["refused"]["/bin/sh"] == "program"
    assert made["refused"]["/etc/cron.d/assay-test"] == "persistence"
    assert {"chroot", "keyctl", "ptrace"} <= set(made["calls"])
    if not place.endswith("container"):  # there the container's own filter comes first
        assert {"io_uring_setup", "mount", "unshare"} <= set(made["calls"])
    assert {"kill", "pidfd_open", "prlimit64"} <= set(made["calls"])
    assert str(scene.home / "agent.sock") in made["contacts"]


def test_the_place_gets_the_tier_that_it_can_have(attacked):
    place, _, made, _ = attacked
    assert made["tier"] == (2 if place.endswith("container") else 1)
    assert made["missing"] == []


MAY_IN_AUTO = {
    "honest_work",
    "list_home",
    "read_undeclared",
    "run_planted_program",
    "run_program_in_memory",
    "run_shell",
    "run_shell_through_loader",
}
"""Reads and programs are recorded there, not held."""


def test_auto_mode_holds_secrets_writes_and_the_monitor(attacked_in_auto):
    scene, made, told = attacked_in_auto
    mapped = {name for name in NEEDS_MOUNTS if name.startswith("map")}
    may = MAY_IN_AUTO | (NEEDS_MOUNTS if made["tier"] == 2 else mapped)
    assert {name for name, how in told.items() if how == "came through"} == may
    assert scene.untouched()
    refused = {os.path.relpath(path, scene.home): rule for path, rule in made["refused"].items()}
    assert refused[".ssh/id_rsa"] == refused["elsewhere/signing.pem"] == "secret"
    assert refused[".bashrc"] == "persistence"
    assert "labels/test.csv" not in refused and "." not in refused


def test_without_walls_the_same_attacks_come_through():
    """Or none of these tests would say anything."""
    scene, made, told = attack("user-in-container", isolation="off")
    came = {name for name, how in told.items() if how == "came through"}
    shutil.rmtree(scene.root)
    assert made["files"] == "nothing" and made["refused"] == {}
    assert came >= MAY_IN_AUTO | {
        "add_to_input",
        "connect_to_abstract_socket",
        "connect_to_agent",
        "move_key",
        "open_terminals",
        "read_key",
        "read_key_from_directory_descriptor",
        "read_key_through_hard_link",
        "read_key_through_link_in_input",
        "read_key_through_own_link",
        "read_key_through_own_root",
        "read_key_through_working_directory",
        "read_signing_key",
        "read_signing_key_in_input",
        "replace_bashrc",
        "run_program_in_shared_memory",
        "truncate_bashrc",
        "use_keyring",
        "write_bashrc",
        "write_input",
        "write_pth",
    }
