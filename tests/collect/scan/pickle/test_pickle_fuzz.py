"""Random programs: everything that pickle's own machine asks for is reported, whatever the bytes, and nothing runs.

``make fuzz`` runs 200,000 programs instead of the 2,500 of every day; ``ASSAY_FUZZ`` sets their number.
"""

from __future__ import annotations

import io
import os
import random
import resource
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.collect.scan.models.interface import Tier
from assay.collect.scan.models.pickle import machine
from assay.collect.scan.models.pickle.machine import Settings
from assay.collect.scan.models.pickle.reader import BufferedFile, PeekReader, Reader, WholeFile
from assay.collect.scan.models.pickle.show import clean
from collect.scan.pickle.assembling import facts, findings, tier, uses
from collect.scan.pickle.streams import framed, program, second_opinion

T = TypeVar("T")


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    """Random lengths and memo indices ask for gigabytes: as in a worker, there is a limit."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", "rb") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (512 << 20), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


EVENTS: list[str] = []
"""What `sys.addaudithook` saw while it was listening; a hook cannot be taken away again."""
LISTENING = [False]
HOOKED: list[bool] = []
_HARMLESS = frozenset(
    # CPython prints "deallocated bytearray object has exported buffers" when BYTEARRAY8 asks for more than there is.
    ("builtins.id", "object.__getattr__", "object.__setattr__", "object.__delattr__", "sys.excepthook")
)


def _hook(event: str, args: tuple[object, ...]) -> None:
    if LISTENING[0] and event not in _HARMLESS:
        EVENTS.append(event)


def watched(call: Callable[[], T]) -> T:
    """What ``call`` returns, while the hook listens."""
    if not HOOKED:
        facts(b"N.")  # whatever is imported by the first run of all
        sys.addaudithook(_hook)
        HOOKED.append(True)
    LISTENING[0] = True
    try:
        return call()
    finally:
        LISTENING[0] = False


def differences(data: bytes) -> list[str]:
    """What the second opinion has and the engine has not."""
    said, ours = second_opinion(data), watched(lambda: facts(data))
    seen, flags = uses(ours), {flag.rule for flag in ours.flags}
    missing = []
    for module, name, use in sorted(said.uses):
        if use == "changed":
            known = "global-changed" in flags
        elif use == "result":
            known = not ours.complete or bool(flags & {"result-called", "computed-class"})
        elif use == "reference" or ours.complete:
            known = (clean(module), clean(name), use) in seen
        else:
            continue
        if not known:
            missing.append(f"{module}.{name} {use}")
    if said.complete and not ours.complete and tier(findings(data)).rank <= Tier.SAFE.rank:
        missing.append("clean without having been read")
    return missing


def run_many(first: int, count: int) -> dict[str, int]:
    """Compare ``count`` programs."""
    told = {"programs": 0, "complete": 0, "uses": 0}
    for seed in range(first, first + count):
        data = program(seed)
        assert differences(data) == [], (seed, data)
        said = second_opinion(data)
        told["programs"] += 1
        told["complete"] += said.complete
        told["uses"] += len(said.uses)
    return told


def test_what_python_asks_for_is_reported() -> None:
    count = int(os.environ.get("ASSAY_FUZZ", "2500"))
    EVENTS.clear()
    told = run_many(0, count)
    print(told)
    assert EVENTS == []
    assert told["complete"] > count * 0.4
    assert told["uses"] > count * 2


def test_one_run_is_enough_where_frames_are_regular() -> None:
    """The reason for reading an honest file only once: where no frame is straddled, all readers see one program."""
    regular = 0
    for seed in range(1500):
        data = framed(program(seed), seed)
        runs = {}
        for kind in (Reader, PeekReader, BufferedFile, WholeFile):
            runs[kind] = machine.run(kind, io.BytesIO(data), len(data), Settings("latin1"))
        if runs[Reader].reader.irregular or runs[Reader].tail:
            continue
        regular += 1
        for kind in (BufferedFile, WholeFile):
            assert runs[kind].facts == runs[Reader].facts, (seed, data)
        if not runs[PeekReader].reader.frames:  # type: ignore[attr-defined]
            assert runs[PeekReader].facts == runs[Reader].facts, (seed, data)
    assert regular > 100


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_findings_or_a_complete_program(data: bytes) -> None:
    program = facts(data)
    assert program.complete or "pickle/incomplete" in {finding.rule for finding in findings(data)}


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 500), st.integers(0, 255))
def test_a_changed_byte_never_raises(seed: int, where: int, value: int) -> None:
    data = bytearray(program(seed))
    data[where % len(data)] = value
    for finding in findings(bytes(data)):
        assert finding.message.isprintable()


def test_nothing_is_imported_opened_or_run() -> None:
    chance = random.Random(5)
    programs = [program(seed) for seed in range(400)] + [framed(program(seed), seed) for seed in range(100)]
    programs += [chance.randbytes(60) for _ in range(200)]
    findings(programs[0])
    before = set(sys.modules)
    EVENTS.clear()
    for data in programs:
        watched(lambda data=data: findings(data))  # type: ignore[misc]
    assert EVENTS == []
    assert set(sys.modules) == before
    watched(lambda: open(os.devnull, "rb").close())
    assert "open" in EVENTS  # the hook does see such things
