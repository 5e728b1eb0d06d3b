"""Programs that exhaust whoever runs them end soon, within memory, never as clean: each in a process with limits."""

from __future__ import annotations

import io
import os
import pickle
import resource
import signal
import struct
from collections.abc import Callable

import pytest

from assay.collect.scan.models.interface import Limits
from assay.collect.scan.models.pickle.engine import run_pickle
from collect.scan.pickle.assembling import RULES, name, text

MEMORY = 2 << 30
SECONDS = 1


def nested_tuples(depth: int) -> bytes:
    return b")" + b"\x85" * depth


def doubling(times: int) -> bytes:
    return b")" + b"2\x86" * times


BOMBS: dict[str, Callable[[], bytes]] = {
    "hash-of-a-graph": lambda: b"}" + doubling(60) + b"Ns.",
    "hash-of-a-graph-in-a-set": lambda: b"\x8f(" + doubling(60) + b"\x90.",
    "hash-of-a-graph-in-a-call": lambda: name("builtins", "frozenset") + b"]" + doubling(60) + b"a\x85R.",
    "hash-of-a-deep-tuple": lambda: b"}" + nested_tuples(3_000_000) + b"Ns.",
    "binput-2-31": lambda: b"Nr\xff\xff\xff\x7f.",
    "put-2-62": lambda: b"Np4611686018427387904\n.",
    "binbytes8-2-40": lambda: b"\x8e" + struct.pack("<Q", 1 << 40) + b"a.",
    "bytearray8-2-40": lambda: b"\x96" + struct.pack("<Q", 1 << 40) + b"a.",
    "binunicode8-2-63": lambda: b"\x8d" + struct.pack("<Q", 1 << 63) + b"a.",
    "frame-2-40": lambda: b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.",
    "long4-2-31": lambda: b"\x8b" + struct.pack("<i", (1 << 31) - 1) + b"a.",
    "integer-of-5000-digits": lambda: b"I" + b"9" * 5000 + b"\n.",
    "long-of-5000-digits": lambda: b"L" + b"9" * 5000 + b"L\n.",
    "range-to-list": lambda: name("builtins", "list") + name("builtins", "range") + b"J\xff\xff\xff\x7f\x85R\x85R.",
    "bytearray-by-number": lambda: name("builtins", "bytearray") + b"\x8a\x05\x00\x00\x00\x00\x10\x85R.",
    "memo-entries": lambda: b"N" + b"".join(b"r" + struct.pack("<I", n << 22) for n in range(1, 512)) + b".",
    "many-globals": lambda: b"".join(name(f"m{n}", "x") + b"0" for n in range(60_000)) + b"N.",
    "marks-without-end": lambda: b"(" * 10_000_000 + b".",
    "a-line-without-end": lambda: b"c" + b"a" * 30_000_000,
}
HARMLESS: dict[str, Callable[[], bytes]] = {
    "doubled-graph-that-nobody-hashes": lambda: name("good", "X") + doubling(60) + b"\x85R.",
    "deep-list": lambda: b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "deep-argument": lambda: name("os", "system") + nested_tuples(500_000) + b"R.",
    "long-integer-in-a-call": lambda: name("os", "system") + b"\x8b" + struct.pack("<i", 1 << 20) + b"a" * (1 << 20)
    + b"\x85R.",
    "many-flags": lambda: name("good", "t") + b"".join(b"K\x01" + text(str(n)) + b"s" for n in range(50_000)) + b".",
    "nested-in-bytes": lambda: wrapped(40),
}  # fmt: skip


def wrapped(times: int) -> bytes:
    data = name("os", "system") + b"."
    for _ in range(times):
        data = pickle.dumps(data, 4)
    return data


def outcome(data: bytes) -> tuple[str, set[str]]:
    """How a process with limits ends that scans ``data``: a signal's name, or ``told`` with the rules that fired."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        told = b"failed"
        try:
            signal.signal(signal.SIGXCPU, signal.SIG_DFL)
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            used = resource.getrusage(resource.RUSAGE_SELF)
            soft = int(used.ru_utime + used.ru_stime) + 1 + SECONDS
            resource.setrlimit(resource.RLIMIT_CPU, (soft, soft + 10))
            file = io.BytesIO(data)
            found = run_pickle(file, len(data), exact=True, encoding="latin1", rules=RULES, limits=Limits())
            told = " ".join(sorted({finding.rule for finding in found})).encode()
        finally:
            os.write(writes, told)
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name, set()
    return "told", set(told.decode().split())


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_a_finding_or_ends_its_process(bomb: str) -> None:
    end, rules = outcome(BOMBS[bomb]())
    assert rules if end == "told" else end in ("SIGXCPU", "SIGSEGV", "SIGKILL", "SIGABRT"), (end, rules)
    assert "failed" not in rules


@pytest.mark.parametrize("bomb", HARMLESS)
def test_what_only_looks_like_a_bomb_is_read(bomb: str) -> None:
    end, rules = outcome(HARMLESS[bomb]())
    assert end == "told"
    assert not rules & {"failed", "pickle/incomplete"}
