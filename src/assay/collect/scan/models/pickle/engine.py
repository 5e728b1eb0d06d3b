"""The scan of one pickle: runs its program without resolving anything, and says what it would do.

Where loaders that read differently would run different programs, all of them are run. Whatever stops a run is a fact,
and a program that was not read to its STOP is never clean. Runs in a process with limits (`scan.models.worker`): a
program may still exhaust or crash its machine.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from assay.collect.scan.models.interface import Finding, Limits, Rules
from assay.collect.scan.models.pickle import inside_torch, judging, machine, nested
from assay.collect.scan.models.pickle.arrays import NeedExactError
from assay.collect.scan.models.pickle.machine import Run, Settings
from assay.collect.scan.models.pickle.program import Blob, Flag, Nested, Program, Use
from assay.collect.scan.models.pickle.reader import BufferedFile, PeekReader, Reader, WholeFile
from assay.collect.scan.models.pickle.show import LARGE
from assay.collect.scan.models.pickle.trace import Event, trace

MOST_PER_BYTE = 128
"""Bytes of memory for each byte of a program that no honest one takes: an empty set in a list takes 108, of two."""

DEPTH = 4
"""Byte strings within byte strings that are looked into."""

INSIDE = 200
"""Programs inside byte strings of one file that are run."""

FOLLOWING = 8
"""Programs behind one another in one byte string, as in a tensor that torch put there."""


def run_pickle(
    file: BinaryIO,
    size: int,
    *,
    exact: bool,
    encoding: str,
    rules: Rules,
    limits: Limits,
    inner: Callable[[BinaryIO, int, int], Iterator[Finding]] | None = None,
) -> Iterator[Finding]:
    """As `interface.Scan.pickle`; ``size`` is the file's. ``inner`` scans a container in a byte string, which is a
    stretch of the file that it is given; without it each is a finding.
    """
    del exact  # as in `run`
    engine = _Engine(file, size, encoding, limits, Inside())
    program = engine.program(0)
    after = file.tell()
    if next(judging.judge(program, rules), None) is not None:
        yield from judging.judge(located(file, program), rules)
    for place in engine.inside.containers:
        yield from inner(*place) if inner else judging.unopened(place[1], place[2])
    file.seek(after)


def located(file: BinaryIO, program: Program) -> Program:
    """The program with the offsets of its uses and flags, as far as a walk over its opcodes finds them."""
    if program.abort is None:
        walked = trace(file, program.start, program.end, stop=program.end, gaps=_gaps(program))
        first: dict[tuple[str, str, str], int] = {}
        for event in walked.events:
            first.setdefault((event.use, event.module, event.name), event.offset)
            first.setdefault((event.use, "", ""), event.offset)
        uses = tuple(replace(use, offset=first.get((use.use, use.module, use.name))) for use in program.uses)
        flags = tuple(
            replace(flag, offset=first.get((flag.rule, "", ""))) if flag.offset is None else flag
            for flag in program.flags
        )
        program = replace(program, uses=uses, flags=flags)
    return program


def _gaps(program: Program) -> dict[int, int]:
    return {blob.offset: blob.length for blob in program.arrays}


def run(
    file: BinaryIO,
    size: int,
    *,
    exact: bool = True,
    encoding: str = "ASCII",
    limits: Limits = Limits(),  # noqa: B008  (frozen)
) -> Program:
    """The facts about the program at the file's position, which is left at its end.

    ``exact`` says that its loader never reads beyond what it needs; every way is tried where it makes a difference.
    The process has set ``limits`` to itself. Raises what reading the file raises, and `MemoryError` never: a limit is a
    reason why the program is incomplete.
    """
    del exact  # all ways of reading are compared
    return _Engine(file, size, encoding, limits, Inside()).program(0)


@dataclass(slots=True)
class Inside:
    """What is found in the byte strings of one file, with those of the programs in them."""

    left: int = INSIDE
    """Programs that may still be run."""
    containers: list[tuple[BinaryIO, int, int]] = field(default_factory=list)
    """Archives and compressed streams: the file, or what the program put together; begin and end in it."""


class _Engine:
    def __init__(self, file: BinaryIO, size: int, encoding: str, limits: Limits, inside: Inside) -> None:
        self._file = file
        self._size = size
        self._limits = limits
        self._settings = Settings(encoding)
        self.inside = inside

    def program(self, depth: int) -> Program:
        start = self._file.tell()
        head = self._file.read(16)
        done, others = self._runs(start, framed=head[:1] == b"\x80" and head[2:3] == b"\x95")
        flags = list(done.recorder.flags.values())
        end = done.end if done.abort is None else self._size
        if done.reader.irregular:
            flags.append(Flag("frame-straddled", "an argument reaches over the end of a frame", None))
        if done.tail:
            flags.append(Flag("behind-stop", "a frame goes on behind the STOP in it", None))
        uses = dict(done.recorder.uses)
        for other in others:
            if other.facts != done.facts:
                flags.append(Flag("read-modes", _difference(done, other), None))
            for key, use in other.recorder.uses.items():
                uses.setdefault(key, use)
            flags += [flag for key, flag in other.recorder.flags.items() if key not in done.recorder.flags]
        found = [Use(module, name, how, use.count, None, use.text) for (module, name, how), use in uses.items()]
        resolved = bool(done.recorder.resolved)
        walked: list[Event] = []
        # In a byte string that only looks like a program at its beginning there is nothing to explain.
        if resolved or (done.abort is not None and (depth == 0 or done.recorder.uses)):
            stop = end if done.abort is None else self._size
            seen = trace(self._file, start, stop, stop=stop, gaps=dict(done.gaps))
            resolved = resolved and not seen.kept
            walked = seen.events if done.abort is not None else []
            if done.abort == machine.MEMORY and seen.whole and self._tiny(stop - start):
                flags.append(Flag("memory", f"{stop - start:,} bytes", None))
            first = {(event.module, event.name, event.use): event.offset for event in reversed(walked)}
            found = [replace(use, offset=first.get((use.module, use.name, use.use))) for use in found]
        computed = done.abort is not None and any(text in done.abort for text in _STOPPED)
        known = {(use.module, use.name, use.use) for use in found}
        for event in walked:
            key = (event.module, event.name, event.use)
            if event.use in _USES and key not in known:
                known.add(key)
                found.append(Use(event.module, event.name, event.use, 1, event.offset, event.text))
            elif (event.use == "global-changed" or (computed and event.use in _COMPUTED)) and len(flags) < 1000:
                flags.append(Flag(event.use, event.text, event.offset))
        program = Program(
            uses=tuple(found),
            flags=tuple(flags),
            persistent=tuple(done.recorder.persistent),
            blobs=tuple(done.reader.blobs),
            arrays=tuple(Blob(at, length) for at, length in done.gaps.items()),
            nested=(),
            start=start,
            end=end,
            complete=done.abort is None,
            abort=done.abort,
            protocol=head[1] if head[:1] == b"\x80" and len(head) > 1 else 0,
            loaded=False,
            resolved=resolved,
        )
        tensors, read = self._tensors(done, depth)
        inner = (*tensors, *self._nested(program, done, depth, read))
        loaded = len(done.recorder.loads) <= inside_torch.MOST and read.issuperset(done.recorder.loads)
        program = replace(program, nested=inner, loaded=loaded)
        if depth == 0 and self.inside.left <= 0:
            full = Flag("inside-limit", f"more than {INSIDE}", None)
            program = replace(program, flags=(*program.flags, full))
        self._file.seek(end)
        return program

    def _tiny(self, size: int) -> bool:
        """Whether a program of ``size`` bytes that ran out of memory is a bomb, and not a large one."""
        return MOST_PER_BYTE * size < self._limits.memory // 2

    def _runs(self, start: int, *, framed: bool) -> tuple[Run, list[Run]]:
        """The run that counts, and those that have to be compared with it."""
        done = None
        if not framed:
            try:
                done = self._run(PeekReader, start)
            except NeedExactError:
                done = None
        if done is None or (isinstance(done.reader, PeekReader) and done.reader.frames):
            done = self._run(Reader, start)
        if not done.reader.irregular:
            return done, []
        others = []
        for kind in (BufferedFile, WholeFile):
            try:
                others.append(self._run(kind, start))
            except NeedExactError:
                continue  # joblib's own unpickler reads in one way only
        return done, others

    def _run(self, kind: type[Reader], start: int) -> Run:
        self._file.seek(start)
        done = machine.run(kind, self._file, self._size, self._settings)
        if (
            done.abort is not None
            and done.abort.startswith("UnicodeDecodeError")
            and self._settings.encoding != "latin1"
        ):
            # Strings of Python 2: there are loaders that are told their encoding. latin1 never fails.
            self._settings = Settings("latin1")
            self._file.seek(start)
            done = machine.run(kind, self._file, self._size, self._settings)
        return done

    def _tensors(self, done: Run, depth: int) -> tuple[list[Nested], frozenset[inside_torch.Given]]:
        """Programs in the byte strings that torch's loader is called with, and those that were read to their end."""
        if not done.recorder.loads or depth >= DEPTH:
            return [], frozenset()
        deeper = depth + 1

        def run(file: BinaryIO, end: int) -> Program:
            return _Engine(file, end, self._settings.encoding, self._limits, self.inside).program(deeper)

        return inside_torch.follow(self._file, done.recorder.loads, run)

    def _nested(self, program: Program, done: Run, depth: int, read: frozenset[inside_torch.Given]) -> Iterator[Nested]:
        """Programs in byte strings, as deep as `DEPTH`; ``read`` are some that were run already."""
        if depth >= DEPTH:
            return
        for place in nested.places(self._file, program.start, program.end, program.blobs, program.arrays):
            if self.inside.left <= 0:
                return
            if self._among(read, place):
                continue
            for inner in self._inside(self._file, place.offset, place.offset + place.length, depth):
                yield Nested(place.offset, inner)
        for data in done.recorder.made[:1000]:
            if nested.worth(data) and data not in read:
                for inner in self._inside(io.BytesIO(data), 0, len(data), depth):
                    yield Nested(None, inner)

    def _among(self, read: frozenset[inside_torch.Given], place: Blob) -> bool:
        if not read:
            return False
        if place.length >= LARGE:
            return (place.offset, place.offset + place.length) in read
        self._file.seek(place.offset)
        return self._file.read(place.length) in read

    def _inside(self, file: BinaryIO, start: int, end: int, depth: int) -> Iterator[Program]:
        if nested.container_at(file, start, end):
            self.inside.containers.append((file, start, end))
            return
        at = start
        for _ in range(FOLLOWING):
            if self.inside.left <= 0 or at >= end:
                return
            file.seek(at)
            program = _Engine(file, end, self._settings.encoding, self._limits, self.inside).program(depth + 1)
            acts = any(use.use != "reference" for use in program.uses)
            if not program.complete and not (acts and _plausible(program)):
                return  # bytes that happen to begin like a program
            if program.uses or program.flags or program.nested:
                self.inside.left -= 1
                yield program
            if program.end <= at:
                return
            at = program.end


_STOPPED = ("STACK_GLOBAL requires", "argument list must be", "args argument must be", "class argument must be")
"""What the machine says where a stub stands for what the real one would have got. Anything else is broken data."""

_USES = frozenset(("reference", "call", "new", "build"))
_COMPUTED = frozenset(("computed-name", "computed-class", "computed-arguments", "result-called", "extension"))


def _plausible(program: Program) -> bool:
    return all(use.module.replace(".", "_").isidentifier() for use in program.uses)


def _difference(one: Run, other: Run) -> str:
    mine, its = set(one.recorder.uses), set(other.recorder.uses)
    names = sorted({f"{module}.{name}" for module, name, _ in mine ^ its})
    if names:
        return "only some loaders use " + ", ".join(names[:5])
    return (
        "only some loaders read it to its end" if (one.abort is None) != (other.abort is None) else "in its structure"
    )
