"""The filter's bytes are run by an interpreter of classic BPF, as the kernel would."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.collect.trace.filters import ALLOW, ERRNO, USER_NOTIF, assemble
from assay.collect.trace.syscalls import UNKNOWN_FROM, WIDE, machine
from assay.errors import UndecidedError, UsageError

X86 = machine("x86_64")
ARM = machine("aarch64")


def run(program: bytes, number: int, arguments=(), arch: int = X86.audit) -> int:
    arguments = [value & (1 << 64) - 1 for value in (*arguments, *[0] * 6)][:6]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0, *arguments)
    at, held = 0, 0
    while True:
        code, yes, no, value = struct.unpack_from("<HBBI", program, 8 * at)
        at += 1
        if code == 0x20:
            (held,) = struct.unpack_from("<I", data, value)
        elif code == 0x06:
            return value
        elif code == 0x05:
            at += value
        else:
            holds = {0x15: held == value, 0x25: held > value, 0x35: held >= value, 0x45: bool(held & value)}[code]
            at += yes if holds else no


def test_a_watched_call_goes_to_the_monitor_and_no_other():
    program = assemble(X86, {"openat": [()]}, {})
    assert run(program, X86.numbers["openat"]) == USER_NOTIF
    assert {run(program, number) for number in X86.names if number != 257} == {ALLOW}


def test_a_refused_call_fails_in_the_kernel_unless_somebody_watches_it():
    program = assemble(X86, {"socket": [((0, "==", 10),)]}, {"socket": 13, "bpf": 1})
    assert run(program, X86.numbers["bpf"]) == ERRNO | 1
    assert run(program, X86.numbers["socket"], (2,)) == ERRNO | 13
    assert run(program, X86.numbers["socket"], (10,)) == USER_NOTIF


@pytest.mark.parametrize("arch", [0x40000003, ARM.audit, 0])
def test_calls_of_another_instruction_set_never_pass(arch):
    program = assemble(X86, {}, {})
    assert {run(program, number, arch=arch) for number in range(600)} == {USER_NOTIF}


def test_calls_of_x32_and_skipped_ones_never_pass():
    program = assemble(X86, {}, {})
    assert {run(program, 0x40000000 + number) for number in range(600)} == {USER_NOTIF}
    assert run(program, -1) == USER_NOTIF


def test_calls_that_are_newer_than_the_table_never_pass():
    program = assemble(X86, {}, {})
    assert {run(program, number) for number in range(UNKNOWN_FROM, UNKNOWN_FROM + 100)} == {USER_NOTIF}
    assert max(X86.names) == max(ARM.names) == UNKNOWN_FROM - 1


@pytest.mark.parametrize("operator", ["==", "!=", "<", ">=", "&"])
@given(value=st.integers(0, (1 << 32) - 1), have=st.integers(0, (1 << 32) - 1), above=st.integers(0, (1 << 32) - 1))
def test_what_the_kernel_does_not_look_at_changes_no_answer(operator, value, have, above):
    """``socket(AF_INET | 1 << 32)`` is ``socket(AF_INET)``."""
    program = assemble(X86, {"socket": [((0, operator, value),)]}, {})
    expected = {"==": have == value, "!=": have != value, "<": have < value, ">=": have >= value, "&": have & value}
    answer = run(program, X86.numbers["socket"], (have | above << 32,))
    assert answer == (USER_NOTIF if expected[operator] else ALLOW)


@pytest.mark.parametrize("operator", ["==", "!=", "<", ">=", "&"])
@given(value=st.integers(0, (1 << 64) - 1), have=st.integers(0, (1 << 64) - 1))
def test_pointers_are_compared_in_all_their_bits(operator, value, have):
    program = assemble(X86, {"sendto": [((4, operator, value),)]}, {})
    for other in (have, value, value ^ 1, value ^ 1 << 32, value & 0xFFFFFFFF, value & ~0xFFFFFFFF):
        expected = {
            "==": other == value,
            "!=": other != value,
            "<": other < value,
            ">=": other >= value,
            "&": other & value,
        }
        answer = run(program, X86.numbers["sendto"], (0, 0, 0, 0, other))
        assert answer == (USER_NOTIF if expected[operator] else ALLOW)


def test_conditions_are_joined_and_alternatives_are_not():
    watches = {"socket": [((0, "==", 2), (1, "&", 2)), ((0, "==", 17),)]}
    program = assemble(X86, watches, {})
    number = X86.numbers["socket"]
    assert [run(program, number, given) == USER_NOTIF for given in [(2, 2), (2, 1), (17, 1), (3, 2)]] == [
        True,
        False,
        True,
        False,
    ]


def test_negative_values_are_those_of_an_int():
    program = assemble(X86, {"kill": [((0, "==", -1),)]}, {})
    assert run(program, X86.numbers["kill"], (0xFFFFFFFF,)) == USER_NOTIF
    assert run(program, X86.numbers["kill"], (-1,)) == USER_NOTIF
    assert run(program, X86.numbers["kill"], (1,)) == ALLOW


def test_a_call_that_only_another_machine_has_is_left_out():
    assert assemble(ARM, {"open": [()]}, {"chmod": 1}) == assemble(ARM, {}, {})


@pytest.mark.parametrize(
    "watches, errors",
    [
        ({"opne": [()]}, {}),
        ({}, {"opne": 1}),
        ({}, {"open": 0}),
        ({"socket": [((0, "~", 1),)]}, {}),
        ({"socket": [((6, "==", 1),)]}, {}),
        ({"socket": [((0, "==", 1 << 32),)]}, {}),
        ({"getpid": [((0, "==", 1),)]}, {}),
    ],
)
def test_what_makes_no_sense_is_refused(watches, errors):
    with pytest.raises(UsageError):
        assemble(X86, watches, errors)


def test_tables():
    assert (X86.numbers["openat"], X86.numbers["execveat"], X86.numbers["io_uring_setup"]) == (257, 322, 425)
    assert (ARM.numbers["openat"], ARM.numbers["execveat"], ARM.numbers["io_uring_setup"]) == (56, 281, 425)
    assert not {"open", "creat", "rename", "unlink", "fork", "vfork"} & ARM.numbers.keys()
    for each in (X86, ARM):
        assert len(each.names) == len(each.numbers)
        assert set(range(448, UNKNOWN_FROM)) <= set(each.names)
    assert set(WIDE) <= set(X86.numbers)
    with pytest.raises(UndecidedError, match="riscv64"):
        machine("riscv64")
