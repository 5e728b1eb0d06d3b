"""The file of shared counters: a versioned header, quotas that last, and tables that begin anew with the gateway.

The first process to open it (flock says which) checks it and makes the locks; later ones attach. What is damaged or
another program's is set aside, never read and never overwritten.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
import mmap
import os
import time
import zlib
from dataclasses import dataclass

from assay.errors import StoreError
from assay.guard.gateway.limits.periods import UNITS, end_of, period_of, start_of
from assay.guard.gateway.limits.stripes import STRIPES, Stripes, let_go

MAGIC = int.from_bytes(b"assayct1", "little")
"""Name and version of the format."""
PROCESSES = 61
"""Most processes that count requests under way."""
WAYS = 16
"""Slots of a set: a key has its place in one set only."""
HEADER = 4096
SKEW = 60.0
"""Seconds that clocks of machines may differ: so much earlier a period may begin on another one."""
WARY = 900.0
"""Seconds after a clock was set back in which requests may still end that reserved something while it was ahead."""
AGAIN = 10.0
"""Seconds between two looks for those."""

# Words (8 bytes) of the header.
LATEST = 16
"""The latest time that anybody saw, in nanoseconds of `Context.steady`."""
REFUSE_AFTER = 17
"""From when on nothing may be let through, because other machines are out of reach; zero: never."""
PROCESS = 64
"""Names of processes (id and start), one for each column of requests under way."""
_SEALED = 12
"""Words that the checksum covers; they never change while the file is in use."""

# Words of a slot, by table; the first two are the key's digest, and the first is zero where the slot is free.
QUOTA = 6
"""Period, own use, use on other machines (two float64), one spare."""
WINDOW = 20
"""Seconds, number of the sub-bucket, sum, own hits since it is there, 13 sub-buckets, one spare."""
RATE = 4
"""When the bucket is full again, what was taken here since it is there; both in `local.UNIT`."""
INSIDE = 3 + PROCESSES
"""Sum, then one for each process."""

_log = logging.getLogger("assay.gateway")


@dataclass(frozen=True, slots=True)
class Shape:
    """How many keys there is room for; multiples of `WAYS`."""

    quotas: int = 131_072
    windows: int = 65_536
    rates: int = 65_536
    inside: int = 8192

    def starts(self) -> tuple[int, int, int, int, int]:
        """Where the tables begin and the file ends, in words."""
        quotas = HEADER // 8
        windows = -(-(quotas + self.quotas * QUOTA) // 512) * 512  # whole pages: what lasts is synced by itself
        rates = windows + self.windows * WINDOW
        inside = rates + self.rates * RATE
        return quotas, windows, rates, inside, inside + self.inside * INSIDE


class CountersFile:
    """An open file and its locks."""

    def __init__(self, path: str, shape: Shape) -> None:
        """Open, create, or set aside and create. Raises `StoreError`."""
        if any(slots <= 0 or slots % WAYS for slots in (shape.quotas, shape.windows, shape.rates, shape.inside)):
            raise ValueError(shape)
        self.path = path
        self.shape = shape
        self.turn = path + ".lock"
        self._opener = os.getpid()
        self._clock = Clock()
        self._wary = self._corrected = 0.0
        try:
            with locked(self.turn):
                self._open()
        except OSError as error:
            raise StoreError(
                f"{path} cannot be used for counters: {error.strerror or error}",
                hint="'state' names a folder that the gateway may write to, on a file system of this machine",
            ) from None

    def _open(self) -> None:
        self.descriptor = _take(self.path)
        first = _exclusive(self.descriptor)
        if first:
            problem = self._problem()
            if problem is not None:
                aside = _aside(self.path)
                os.rename(self.path, aside)
                _log.warning("%s %s: set aside as %s, and counters begin anew", self.path, problem, aside)
                os.close(self.descriptor)
                self.descriptor = _take(self.path)
                _exclusive(self.descriptor)
            self._begin()
        self._map()
        if first:
            self._renew()
        else:
            if self._problem() is not None:
                raise OSError("it is in use by another version of assay, or damaged")
            self.stripes = Stripes(self._token(), self.turn, create=False)
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)

    def _problem(self) -> str | None:
        """Why the file is not ours; None: it is, or it is empty."""
        size = os.fstat(self.descriptor).st_size
        header = os.pread(self.descriptor, HEADER, 0)
        if not any(header):
            return None if size <= HEADER else "has no header"
        words = memoryview(header.ljust(HEADER, b"\0")).cast("q")
        if words[0] != MAGIC:
            return "is no file of counters of this version"
        if words[_SEALED] != zlib.crc32(header[: 8 * _SEALED]):
            return "has a damaged header"
        if tuple(words[1:5]) != (self.shape.quotas, self.shape.windows, self.shape.rates, self.shape.inside):
            return "has room for other numbers of keys"
        if size != 8 * self.shape.starts()[4]:
            return "was cut"
        quotas = os.pread(self.descriptor, 8 * self.shape.quotas * QUOTA, 8 * self.shape.starts()[0])
        return None if _sane(quotas) else "has quotas that cannot be"

    def _begin(self) -> None:
        """Whatever begins anew is empty again."""
        starts = self.shape.starts()
        if os.fstat(self.descriptor).st_size:
            os.ftruncate(self.descriptor, 8 * starts[1])
        # Reserved, because a full disk would otherwise kill whoever writes to the mapped file.
        os.posix_fallocate(self.descriptor, 0, 8 * starts[4])

    def _map(self) -> None:
        self.memory = mmap.mmap(self.descriptor, 8 * self.shape.starts()[4])
        self.words = memoryview(self.memory).cast("q")
        """The whole file as signed 64-bit words."""
        self.reals = memoryview(self.memory).cast("d")
        """The same as float64."""

    def _renew(self) -> None:
        """Write the header and make new locks: a killed gateway may have left the old ones held."""
        words = self.words
        fresh = words[0] != MAGIC
        if fresh:
            self.memory[40:72] = os.urandom(32)  # words 5 and 6: the file's id; 7 and 8: secret of the sets
            words[1:5] = memoryview(
                b"".join(
                    slots.to_bytes(8, "little")
                    for slots in (self.shape.quotas, self.shape.windows, self.shape.rates, self.shape.inside)
                )
            ).cast("q")
        else:
            with contextlib.suppress(FileNotFoundError, OSError):
                Stripes(self._token(), self.turn, create=False).remove()
        words[PROCESS : PROCESS + PROCESSES] = memoryview(bytes(8 * PROCESSES)).cast("q")
        words[LATEST] = words[REFUSE_AFTER] = 0
        self.memory[72:80] = os.urandom(8)
        self.stripes = Stripes(self._token(), self.turn, create=True)
        self._correct_clock()
        # The magic comes last; the checksum is of what will be there.
        words[_SEALED] = zlib.crc32(MAGIC.to_bytes(8, "little") + self.memory[8 : 8 * _SEALED])
        words[0] = MAGIC

    def _correct_clock(self) -> None:
        """A clock that was ahead must not hold quotas in periods that have not begun: what was used counts now."""
        now, self._corrected = time.time(), time.monotonic()
        start = self.shape.starts()[0]
        words = self.words
        for number, digest in enumerate(words[start : start + self.shape.quotas * QUOTA : QUOTA].tolist()):
            slot = start + number * QUOTA
            if digest and start_of(words[slot + 2]) > now + SKEW:
                stripe = number // WAYS % STRIPES
                self.stripes.wait(stripe)
                try:
                    period = words[slot + 2]
                    if start_of(period) > now + SKEW:
                        words[slot + 2] = period_of(now, UNITS[period & 7])
                finally:
                    let_go(self.stripes.release[stripe])

    def _token(self) -> str:
        return self.memory[72:80].hex()

    @property
    def identity(self) -> str:
        """Which machine's use the quotas are, for as long as the file lives."""
        return self.memory[40:56].hex()

    @property
    def secret(self) -> bytes:
        """Of the places of keys: a stranger cannot choose keys that share a set."""
        return self.memory[56:72]

    def sync(self) -> None:
        """Make quotas durable (msync), and right after the clock was set back; meant for once a second, off the
        requests' way.
        """
        if self._clock.stepped_back():
            self.clock_was_set_back()
        elif self._corrected + AGAIN < time.monotonic() < self._wary:
            self._correct_clock()
        self.memory.flush(0, 8 * self.shape.starts()[1])

    def clock_was_set_back(self) -> None:
        """Put quotas back, now and for a while."""
        self._wary = time.monotonic() + WARY
        self._correct_clock()

    def close(self) -> None:
        """Let go. The last process that has opened it also removes the locks' names; those forked from one that did
        must have ended before.
        """
        if self.memory.closed:
            return
        with locked(self.turn):
            if self._opener == os.getpid() and _exclusive(self.descriptor):
                self.stripes.remove()
            with contextlib.suppress(BufferError):  # somebody looks at it still: it goes with them
                self.words.release()
                self.reals.release()
                self.memory.close()
            os.close(self.descriptor)


class Clock:
    """Notices that the system's clock was set back, by one that never is (CLOCK_BOOTTIME, clock_gettime(2))."""

    def __init__(self) -> None:
        self._ahead = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def stepped_back(self) -> bool:
        """Whether it was set back by more than a second since this was asked last."""
        ahead = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        back = ahead < self._ahead - 1.0
        self._ahead = ahead if back else max(self._ahead, ahead)
        return back


class locked(contextlib.AbstractContextManager[None]):
    """Hold a file's flock."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._descriptor = _take(self._path)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _take(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _exclusive(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _aside(path: str) -> str:
    return next(name for i in range(1, 1 << 30) if not os.path.lexists(name := f"{path}.damaged-{i}"))


def _sane(quotas: bytes) -> bool:
    """Whether each slot that is taken holds what can have been written."""
    words, reals = memoryview(quotas).cast("q"), memoryview(quotas).cast("d")
    for slot, digest in enumerate(words[::QUOTA].tolist()):
        if digest:
            base = slot * QUOTA
            try:
                end_of(words[base + 2])
            except (ValueError, OverflowError, OSError):
                return False
            if not all(math.isfinite(used) and used >= 0.0 for used in reals[base + 3 : base + 5].tolist()):
                return False
    return True
