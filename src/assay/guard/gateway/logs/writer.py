"""The access log at work: a request's line is made at once, and lines are written together, out of the request's way.

A request never waits for the disk. Where the disk takes nothing, lines are kept up to a bound, the others are counted,
and the log says how many are missing as soon as it can: a line is never lost silently.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

from assay.guard.gateway.interface import ALLOW, Context
from assay.guard.gateway.logs import rotated
from assay.guard.gateway.logs.file import STDOUT, LogFile, Output
from assay.guard.gateway.logs.formats import layout
from assay.guard.gateway.logs.layout import Liner
from assay.guard.gateway.settings.keeping import Log

EVERY = 0.25
"""Seconds between two flushes: what a killed process may lose."""
MANY = 4096
"""Lines that are flushed before their time."""
MOST = 16384
"""Lines that wait at most; each has at most 4096 bytes, and commonly 700."""
BATCH = 1024
"""Lines of one write."""
SYNC = 1.0
"""Seconds after which what was written survives a power cut, where a thread flushes."""
PATIENCE = 0.05
"""Seconds that the thread waits for another process to finish its own."""


class Writer:
    """A `parts.Log`. `write` belongs to one thread; everything else may be called from any."""

    def __init__(self, log: Log, path: str, secret: bytes) -> None:
        """``path`` is `log.file`, absolute, or ``-``; ``secret`` keys the digests of hashed fields (at most 64 bytes
        are used). Raises `AssayError`.
        """
        self._log = log
        self._line = Liner(layout(log.format), log.drop, log.hash, secret)
        self._telling = Liner(layout(log.format), (), (), b"")
        self._file = Output() if path == STDOUT else LogFile(path, log.rotate)
        self._lines: list[bytes] = []
        self.lost = 0
        """Lines that were not kept, since the start."""
        self.problem = ""
        """Why nothing can be written at the moment; empty: it can."""
        self._said = 0
        self._since = 0.0
        self._flushing = threading.Lock()
        self._reopen = False
        self._wake = threading.Event()
        self._ending = False
        self._many = MANY
        self._thread: threading.Thread | None = None
        self._tidying = threading.Lock()
        if path != STDOUT:
            self._tidy()  # what a crash has left

    @property
    def waiting(self) -> int:
        """Lines that are not written yet."""
        return len(self._lines)

    def write(self, context: Context) -> None:
        """Remember one finished request."""
        lines = self._lines
        if len(lines) >= self._many and not self._room(context):
            return
        lines.append(self._line(context))

    def _room(self, context: Context) -> bool:
        """Have lines written before their time; whether there is still room for one."""
        if self._ending:  # a request that began before a reload ends after it
            self._lines.append(self._line(context))
            self.flush(PATIENCE)
            self._file.close()
            return False
        if self._thread is not None:
            self._wake.set()
        elif not self.problem:
            self.flush()
        if len(self._lines) < MOST:
            return True
        if self.lost == self._said:
            self._since = context.at
        self.lost += 1
        return False

    def start(self) -> None:
        """Flush in a thread from now on, until `close`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="assay-access-log", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        synced = time.monotonic()
        while not self._ending:
            self._wake.wait(EVERY)
            self._wake.clear()
            self.flush(PATIENCE)
            if self.problem:
                time.sleep(EVERY)  # `write` sets the event with each line that finds no room
            if time.monotonic() - synced >= SYNC:
                self._file.sync()
                synced = time.monotonic()

    def flush(self, patience: float = 0.0) -> None:
        """Write what waits; call it each `EVERY` seconds where `start` was not. Raises nothing, and waits for nobody
        but the disk's cache, and ``patience`` seconds for another process to finish its own.
        """
        if self._flushing.acquire(blocking=False):
            try:
                self._flush(patience)
            finally:
                self._flushing.release()

    def _flush(self, patience: float) -> None:
        if self._reopen:
            self._reopen = False
            self._file.close()
        turned = False
        try:
            while count := min(len(self._lines), BATCH):
                lost = self.lost - self._said
                told = [self._missing(lost)] if lost else []
                batch = told + self._lines[:count]
                data = b"".join(batch)
                written, rotated_now = self._file.append(data, patience)
                turned |= rotated_now
                done = len(batch) if written == len(data) else data.count(b"\n", 0, written)
                if told and done:
                    self._said += lost
                    done -= 1
                del self._lines[:done]  # `write` only ever appends behind them
                if written < len(data):
                    self.problem = "the file takes no more"
                    break
                self.problem = ""
        except BlockingIOError:
            pass  # another process is writing: next time
        except OSError as error:
            self.problem = error.strerror or "cannot be written"
        if turned:
            self._tidy()

    def _missing(self, lost: int) -> bytes:
        """A line in the log's own format that says how many are missing, and from when on."""
        context = Context("-", b"", {}, "", self._since, http="-")
        context.path = f"log-lost:{lost}"
        context.decision = ALLOW
        context.error = f"{lost} lines of this log are missing"
        return self._telling(context)

    def reopen(self) -> None:
        """After SIGHUP: the next flush opens the file anew, whoever has moved it."""
        self._reopen = True
        self._wake.set()

    def _tidy(self) -> None:
        """Pack and delete rotated files in a thread that gives way to all others."""
        with contextlib.suppress(RuntimeError):  # no room for a thread: at the next rotation
            threading.Thread(target=self._tidy_now, name="assay-log-tidy", daemon=True).start()

    def _tidy_now(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)  # of this thread, on Linux
        with self._tidying, contextlib.suppress(OSError):
            rotated.tidy(self._file.path, self._log.keep, compress=self._log.compress)

    def close(self, patience: float = 5.0) -> int:
        """Write everything and end. Returns how many lines could not be written in ``patience`` seconds. What is
        written afterwards is in the file at once.
        """
        self._ending, self._many = True, 0
        self._wake.set()
        if self._thread is not None:
            self._thread.join(patience)
        deadline = time.monotonic() + patience
        if self._flushing.acquire(timeout=patience):  # else the disk does not even answer
            try:
                while self._lines:
                    self._flush(max(0.0, deadline - time.monotonic()))
                    if self.problem or time.monotonic() >= deadline:
                        break
                self._file.sync()
                self._file.close()
            finally:
                self._flushing.release()
        return len(self._lines) + self.lost - self._said


class Nothing:
    """A `parts.Log` where none is wanted."""

    lost = waiting = 0
    problem = ""

    def write(self, context: Context) -> None:
        """Forget it."""

    def start(self) -> None:
        """Nothing to do."""

    def flush(self) -> None:
        """Nothing to do."""

    def reopen(self) -> None:
        """Nothing to do."""

    def close(self, patience: float = 5.0) -> int:
        """Nothing to do."""
        return 0
