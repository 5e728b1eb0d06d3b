"""One run of a pickle in CPython's own unpickler, with stubs for everything that it names.

The machine is the one that loaders use, so that it reads exactly the program that they would run. It must be the only
one in its process at a time: for the run, the registry of copyreg's extension codes is exchanged.
"""

from __future__ import annotations

import _pickle
import contextlib
import copyreg
import gc
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from assay.collect.scan.models.pickle.arrays import Arrays, BadArrayError, NeedExactError
from assay.collect.scan.models.pickle.reader import Reader
from assay.collect.scan.models.pickle.show import clean
from assay.collect.scan.models.pickle.stubs import EXTENSION, Recorder, TooMuchError
from assay.errors import AssayError

INNER = 64
"""Programs that follow each other inside one another on the same file."""

_TAILS = 8
"""Programs behind the STOP inside a frame that are run."""

MEMORY = "it takes more memory than one file may use"
"""Why a program is incomplete that ran out of it."""

kept: list[object] | None = None
"""A process that ends after its file sets a list. What the file's main program made stays there until then: freeing
millions of objects takes a third of the time. The objects of one program, never more, so that memory stays bounded.
"""

_CODE = re.compile(r"unregistered extension code (\d+)")
_CLASS = re.compile(r"assay_(\d+)\b")
_RERUNS = 40


class _Machine(_pickle.Unpickler):
    """Resolves nothing."""

    recorder: Recorder

    def find_class(self, module: str, name: str, /) -> Any:
        return self.recorder.find(module, name)

    def persistent_load(self, pid: Any, /) -> Any:
        return self.recorder.persist(pid)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a program is run."""

    encoding: str = "ASCII"
    """Of the strings of Python 2."""


@dataclass(slots=True)
class Run:
    """What one run gave."""

    recorder: Recorder
    reader: Reader
    start: int
    end: int = 0
    """Where the reader stood."""
    abort: str | None = None
    gaps: dict[int, int] = field(default_factory=dict)
    tail: bool = False
    """Bytes are left in the last frame behind the STOP."""

    @property
    def facts(self) -> tuple[object, ...]:
        """What must be the same however a loader reads."""
        return (frozenset(self.recorder.uses), frozenset(self.recorder.flags), self.abort is None)


def run(reader_of: type[Reader], file: Any, size: int, settings: Settings) -> Run:
    """Run the program at the file's position. Raises `NeedExactError`, `MemoryError`, and what reading raises."""
    start = file.tell()
    codes: set[int] = set()
    classes: set[int] = set()
    for _ in range(_RERUNS):
        file.seek(start)
        done = _once(reader_of(file, size), settings, codes, frozenset(classes))
        text = done.abort or ""
        code, made = _CODE.search(text), _CLASS.search(text)
        if code and int(code[1]) not in codes:
            codes.add(int(code[1]))
        elif made and "class argument" in text and int(made[1]) not in classes:
            classes.add(int(made[1]))  # a call's result is used as a class: cloudpickle and dill do that
        else:
            break
    return done


def _once(reader: Reader, settings: Settings, codes: set[int], classes: frozenset[int]) -> Run:
    recorder = Recorder()
    recorder.classes = classes
    done = Run(recorder, reader, reader.at)
    depth = 0

    def load() -> object:
        nonlocal depth
        depth += 1
        if depth > INNER:
            raise BadArrayError("pickles within pickles are nested too deeply")
        machine = _machine(reader, recorder, settings)
        value = machine.load()
        depth -= 1
        return value

    arrays = Arrays(reader, load)
    recorder.hook = arrays.built
    with _quiet(codes):
        machine = _machine(reader, recorder, settings)
        try:
            value = machine.load()
            done.end = reader.at
            if reader.in_frame:
                done.tail = _rest(machine, reader, recorder)
            if kept is not None and not kept and 2 * (reader.at - done.start) > reader.size:
                kept.append((machine, value))
            value = None
        except (AssayError, OSError, NeedExactError):
            raise
        except (BadArrayError, TooMuchError) as error:
            done.abort = str(error)
        except MemoryError:
            done.abort = MEMORY
        except Exception as error:
            done.abort = clean(f"{type(error).__name__}: {error}", 300)
        del machine  # with all that it made, before garbage is collected again
    if done.abort is not None:
        done.end = reader.at
    done.gaps = arrays.gaps
    return done


def _machine(reader: Reader, recorder: Recorder, settings: Settings) -> _Machine:
    machine = _Machine(reader, encoding=settings.encoding, errors="strict", buffers=_buffers(recorder))
    machine.recorder = recorder
    return machine


def _rest(machine: _Machine, reader: Reader, recorder: Recorder) -> bool:
    """Run what stands behind the STOP in the same frame; whether there is anything.

    A loader that reads otherwise would take it for the next program. The machine says nothing about its buffer, but
    goes on in it when it is asked to load again; the reader gives nothing more.
    """
    reader.ended = True
    found = False
    for _ in range(_TAILS):
        before = len(recorder.uses)
        try:
            machine.load()
        except EOFError:
            found = found or len(recorder.uses) > before
            break
        except MemoryError:
            raise
        except Exception:
            found = True
            break
        found = True
    reader.ended = False
    return found


def _buffers(recorder: Recorder) -> Iterator[bytes]:
    while True:
        recorder.flag("out-of-band", "a buffer that is not in the file")
        yield b""


@contextlib.contextmanager
def _quiet(codes: set[int]) -> Iterator[None]:
    """No garbage collection, which takes most of the time of a large pickle; extension codes that are all known."""
    registry: dict[int, tuple[str, str]] = copyreg._inverted_registry  # type: ignore[attr-defined]
    cache: dict[int, object] = copyreg._extension_cache  # type: ignore[attr-defined]
    kept, cached, collecting = dict(registry), dict(cache), gc.isenabled()
    gc.disable()
    registry.clear()
    cache.clear()
    registry.update((code, (EXTENSION, str(code))) for code in codes)
    try:
        yield
    finally:
        registry.clear()
        registry.update(kept)
        cache.clear()
        cache.update(cached)
        if collecting:
            gc.enable()
