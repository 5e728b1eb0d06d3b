"""Programs that exhaust whoever runs them end soon, within memory, never as clean: each in a worker with its limits."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

import pytest

from assay.collect.scan.models import worker
from assay.collect.scan.models.interface import Finding, Limits, Rules, Tier
from assay.collect.scan.models.judging import tier_of
from assay.collect.scan.models.pickle.engine import run_pickle
from assay.collect.scan.models.workers import Item, Pool, Work
from collect.scan.pickle.assembling import RULES, name, text


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
    "too-many-globals": lambda: b"".join(name(f"m{n}", "x") + b"0" for n in range(20_001)) + b"N.",
    "memo-entries": lambda: b"N" + b"".join(b"r" + struct.pack("<I", n << 22) for n in range(1, 512)) + b".",
    "marks-without-end": lambda: b"(" * 10_000_000 + b".",
    "a-line-without-end": lambda: b"c" + b"a" * 30_000_000,
}
CERTAIN = (
    *("hash-of-a-graph", "hash-of-a-graph-in-a-set", "hash-of-a-graph-in-a-call", "hash-of-a-deep-tuple"),
    *("binput-2-31", "put-2-62", "memo-entries", "range-to-list", "bytearray-by-number"),
)
"""Malicious. The others may be honest files that are cut off, and are unreadable."""

HARMLESS: dict[str, Callable[[], bytes]] = {
    "doubled-graph-that-nobody-hashes": lambda: name("good", "X") + doubling(60) + b"\x85R.",
    "deep-list": lambda: b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "deep-argument": lambda: name("os", "system") + nested_tuples(500_000) + b"R.",
    "long-integer-in-a-call": lambda: name("os", "system") + b"\x8b" + struct.pack("<i", 1 << 20) + b"a" * (1 << 20)
    + b"\x85R.",
    "many-flags": lambda: name("good", "t") + b"".join(b"K\x01" + text(str(n)) + b"s" for n in range(50_000)) + b".",
    "nested-in-bytes": lambda: wrapped(40),
    "many-globals": lambda: b"".join(name(f"m{n}", "x") + b"0" for n in range(19_000)) + b"N.",
}  # fmt: skip


def wrapped(times: int) -> bytes:
    data = name("os", "system") + b"."
    for _ in range(times):
        data = pickle.dumps(data, 4)
    return data


def judge(
    file: BinaryIO, size: int, path: str, rules: Rules, limits: Limits, siblings: Mapping[str, int]
) -> tuple[str | None, Iterator[Finding]]:
    """The engine alone. Here, where a worker that cannot be forked finds it by its name."""
    return "pickle", run_pickle(file, size, exact=True, encoding="latin1", rules=rules, limits=limits)


def outcome(data: bytes) -> tuple[Tier, set[str]]:
    """The tier of a file, and the rules that fired."""
    with Pool(Work(RULES, Limits(), {}, judge), 1) as pool:
        (found,) = pool.run([Item(0, "model.pkl", len(data), digest=False)], lambda path: io.BytesIO(data))
    form = found.judged.format if found.judged is not None else None
    return tier_of(form, found.findings), {finding.rule for finding in found.findings}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_a_finding(bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LEAST", 1)
    tier, rules = outcome(BOMBS[bomb]())
    assert rules and tier is (Tier.MALICIOUS if bomb in CERTAIN else Tier.UNREADABLE), (tier, rules)


@pytest.mark.parametrize("bomb", HARMLESS)
def test_what_only_looks_like_a_bomb_is_read(bomb: str) -> None:
    _, rules = outcome(HARMLESS[bomb]())
    assert not {rule for rule in rules if rule.startswith("scan/") or rule in ("pickle/incomplete", "pickle/memory")}


def test_a_bomb_gets_seconds_and_a_large_file_what_it_needs() -> None:
    """The worst of a small file is bounded by these two, whatever is in it."""
    limits = Limits()
    for size in (0, 1000, 3 << 20, 30 << 20):
        assert worker.seconds_for(size, limits) + 1 < 10  # the limit counts whole seconds, begun ones as well
        assert worker.memory_for(size, limits, 200 << 20) <= 2 << 30
        assert worker.memory_for(size, limits, 8 << 30) > 9 << 30  # what the process had before does not count
    assert worker.is_bomb(3 << 20, limits) and not worker.is_bomb(30 << 20, limits)
    large = 2 << 30
    assert worker.seconds_for(large, limits) > large / worker.BYTES_A_SECOND
    assert worker.memory_for(large, limits, 0) > 16 * large
    assert not worker.is_bomb(large, limits) and not worker.is_bomb(1 << 40, limits)


def test_a_model_that_is_cut_off_is_no_bomb() -> None:
    """A download that broke off before a byte string of ten gigabytes asks for as much memory as a bomb does."""
    tier, rules = outcome(b"\x80\x04\x8e" + struct.pack("<Q", 10 << 30) + bytes(1000))
    assert tier is Tier.UNREADABLE and rules == {"pickle/incomplete"}


def test_a_flood_of_names_does_not_hide_what_is_worse() -> None:
    flood = b"".join(name(f"m{n}", "x") + b"0" for n in range(2000))
    tier, rules = outcome(flood + name("good", "t") + b"K\x01K\x02s.")
    assert tier is Tier.MALICIOUS and "pickle/global-changed" in rules
