"""Writes the kernel's filter: a classic BPF program that looks at a call's number and registers and says who decides.

Pure: names and conditions in, bytes out. It must never let through unseen what it has no name for: other instruction
sets, the x32 ABI and numbers newer than our table all go to the monitor, which refuses them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

from assay.collect.trace.syscalls import UNKNOWN_FROM, WIDE, X32_BIT, Machine
from assay.errors import UsageError

Condition = tuple[int, str, int]
"""(argument, operator, value), as in `interface.Watch`."""

# linux/seccomp.h
ALLOW = 0x7FFF0000
USER_NOTIF = 0x7FC00000
TRACE = 0x7FF00000
ERRNO = 0x00050000

# linux/bpf_common.h: BPF_LD|BPF_W|BPF_ABS, BPF_JMP|{BPF_JA,BPF_JEQ,BPF_JGT,BPF_JGE,BPF_JSET}|BPF_K, BPF_RET|BPF_K
_LOAD, _JUMP, _EQUAL, _GREATER, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x45, 0x06
# struct seccomp_data, on little-endian machines: the low half of an argument comes first
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_MAXIMUM = 4096  # BPF_MAXINSNS, linux/bpf_common.h


class _Program:
    """Instructions with names for the places that are jumped to, which must all lie ahead."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int | str, str | None, str | None]] = []
        self._places: dict[str, int] = {}
        self._made = 0

    def place(self, name: str) -> None:
        self._places[name] = len(self._code)

    def new(self) -> str:
        self._made += 1
        return f".{self._made}"

    def load(self, offset: int) -> None:
        self._code.append((_LOAD, offset, None, None))

    def finish(self, action: int) -> None:
        self._code.append((_RETURN, action, None, None))

    def go(self, place: str) -> None:
        self._code.append((_JUMP, place, None, None))

    def test(self, operation: int, value: int, *, yes: str | None = None, no: str | None = None) -> None:
        """Go to ``yes`` or ``no``, or on to the next instruction. Such jumps reach 255 instructions."""
        self._code.append((operation, value, yes, no))

    def assemble(self) -> bytes:
        if len(self._code) > _MAXIMUM:
            raise UsageError(f"the filter has {len(self._code)} instructions; the kernel takes {_MAXIMUM}")
        return b"".join(self._instruction(at, *parts) for at, parts in enumerate(self._code))

    def _instruction(self, at: int, operation: int, value: int | str, yes: str | None, no: str | None) -> bytes:
        number = self._places[value] - at - 1 if isinstance(value, str) else value
        jumps = [0 if place is None else self._places[place] - at - 1 for place in (yes, no)]
        return struct.pack("<HBBI", operation, *jumps, number)


def assemble(
    machine: Machine,
    watches: Mapping[str, Iterable[Sequence[Condition]]],
    errors: Mapping[str, int],
    *,
    action: int = USER_NOTIF,
) -> bytes:
    """The program as an array of ``struct sock_filter`` (8 bytes each).

    ``watches``: name of a call → alternatives, each a list of conditions that must all hold (an empty list always
    does): those get ``action``. ``errors``: calls that fail with this ``errno`` where no watch matches. All others are
    allowed. A call that this machine does not have is left out. Raises `UsageError` for a call or a condition that
    does not exist anywhere.
    """
    program = _Program()
    program.load(_ARCH)
    program.test(_EQUAL, machine.audit, yes="native")
    program.go("watched")
    program.place("native")
    program.load(_NUMBER)
    program.test(_AT_LEAST, X32_BIT, no="ours")  # -1, which marks a call that a debugger skipped, is one of them
    program.go("watched")
    program.place("ours")
    program.test(_AT_LEAST, UNKNOWN_FROM, no="known")
    program.go("watched")
    program.place("known")

    conditional, always = {}, []
    for name, alternatives in watches.items():
        if (number := _number(machine, name)) is None:
            continue
        listed = [tuple(conditions) for conditions in alternatives]
        if any(not conditions for conditions in listed):
            always.append(number)
        else:
            conditional[name] = (number, listed)
    refused = {
        number: error
        for name, error in errors.items()
        if (number := _number(machine, name)) is not None and number not in always
    }
    # Calls with conditions are the only ones that are run through each time (the kernel remembers what is allowed
    # whatever its arguments are, seccomp_cache_prepare), so they come first.
    for name, (number, listed) in conditional.items():
        after = program.new()
        inside = program.new()
        program.test(_EQUAL, number, yes=inside)
        program.go(after)
        program.place(inside)
        for conditions in listed:
            other = program.new()
            for condition in conditions:
                _test(program, name, condition, other)
            program.finish(action)
            program.place(other)
        program.finish(_error(refused[number]) if number in refused else ALLOW)
        program.place(after)
    for number, error in refused.items():
        after = program.new()
        program.test(_EQUAL, number, no=after)
        program.finish(_error(error))
        program.place(after)
    for number in always:
        after = program.new()
        program.test(_EQUAL, number, no=after)
        program.finish(action)
        program.place(after)
    program.finish(ALLOW)
    program.place("watched")
    program.finish(action)
    return program.assemble()


def _number(machine: Machine, name: str) -> int | None:
    number = machine.numbers.get(name)
    if number is None and name not in _everywhere():
        raise UsageError(f"there is no system call {name!r}")
    return number


def _everywhere() -> set[str]:
    from assay.collect.trace.syscalls import machine

    return {*machine("x86_64").numbers, *machine("aarch64").numbers}


def _error(error: int) -> int:
    if not 0 < error < 4096:  # MAX_ERRNO, linux/err.h
        raise UsageError(f"{error} is no errno")
    return ERRNO | error


def _test(program: _Program, name: str, condition: Condition, otherwise: str) -> None:
    """Go on when the condition holds, else to ``otherwise``."""
    argument, operator, value = condition
    if name not in WIDE:
        raise UsageError(f"conditions on {name} are not known to be sound: the width of its arguments is not listed")
    if not 0 <= argument < 6:
        raise UsageError(f"a system call has arguments 0 to 5, not {argument}")
    low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    at = _ARGUMENTS + 8 * argument
    holds = program.new()
    if argument in WIDE[name]:
        program.load(at + 4)
        if operator == "==":
            program.test(_EQUAL, high, no=otherwise)
        elif operator == "!=":
            program.test(_EQUAL, high, no=holds)
        elif operator == "<":
            program.test(_AT_LEAST, high, no=holds)
            program.test(_GREATER, high, yes=otherwise)
        elif operator == ">=":
            program.test(_GREATER, high, yes=holds)
            program.test(_EQUAL, high, no=otherwise)
        elif operator == "&":
            program.test(_ANY_BIT, high, yes=holds)
    elif not -(1 << 31) <= value < 1 << 32:
        raise UsageError(f"argument {argument} of {name} has 32 bits; {value} has more")
    program.load(at)
    match operator:
        case "==":
            program.test(_EQUAL, low, no=otherwise)
        case "!=":
            program.test(_EQUAL, low, yes=otherwise)
        case "<":
            program.test(_AT_LEAST, low, yes=otherwise)
        case ">=":
            program.test(_AT_LEAST, low, no=otherwise)
        case "&":
            program.test(_ANY_BIT, low, no=otherwise)
        case _:
            raise UsageError(f"{operator!r} is no operator of a condition: use == != < >= or &")
    program.place(holds)
