"""A worker process as the parent sees it: frames go in and come out before a deadline, or the process is killed.

What comes out is data of an untrusted process and is bounded and checked as such. Nothing of the parent's reaches the
process besides the frames: no environment, no open files, no working directory.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterable
from typing import NamedTuple

from assay.errors import UndecidedError

FRAME = 64 << 20
"""Largest frame that is read, bytes."""
_PIPE = 1 << 20
_ENDS = {
    -signal.SIGABRT: "needs more memory than it may use",
    -signal.SIGKILL: "was ended from outside",
    -signal.SIGSEGV: "calls itself without end, or crashes the engine",
    -signal.SIGXCPU: "took longer than it may",
}
_WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")


class Frame(NamedTuple):
    """One frame: see `worker`."""

    kind: bytes
    payload: bytes


class Died(Exception):
    """The process ended or was ended; the message says why, as the end of a sentence about the rule."""


def pack(kind: bytes, payload: bytes) -> bytes:
    """A frame's bytes."""
    return (len(payload) + 1).to_bytes(4, "big") + kind + payload


class Process:
    """One worker. It starts with the first `exchange` and again after it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._read = bytearray()

    @property
    def running(self) -> bool:
        """Whether there is a process, with what it was told before."""
        return self._process is not None and self._process.poll() is None

    def exchange(self, frames: Iterable[bytes], seconds: float, last: float) -> Generator[Frame, bytes | None, None]:
        """Send ``frames`` and yield what comes back. Each frame that comes gives the next one ``seconds`` of wall time,
        up to the time ``last`` (of `time.monotonic`). The caller closes it when it has all. Raises `Died`.

        A frame sent into the generator goes out at once: it answers the frame that was just yielded.
        """
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        sink, source = process.stdin.fileno(), process.stdout.fileno()
        waiting = memoryview(b"".join(frames))
        deadline = min(time.monotonic() + seconds, last)
        selector = selectors.DefaultSelector()
        selector.register(source, selectors.EVENT_READ)
        try:
            while True:
                for frame in self._frames():
                    reply = yield frame
                    deadline = min(time.monotonic() + seconds, last)
                    if reply is not None:
                        waiting = memoryview(bytes(waiting) + reply) if waiting else memoryview(reply)
                waiting = self._write(sink, waiting)
                if waiting and len(selector.get_map()) == 1:
                    selector.register(sink, selectors.EVENT_WRITE)
                elif not waiting and len(selector.get_map()) == 2:
                    selector.unregister(sink)
                left = deadline - time.monotonic()
                ready = selector.select(left) if left > 0 else []
                if not ready:
                    raise Died("took longer than it may")
                if any(key.fd == source for key, _ in ready):
                    data = os.read(source, _PIPE)
                    if not data:
                        raise Died(self._epitaph())
                    self._read += data
        except Died:
            self.kill()
            raise
        finally:
            selector.close()
            if waiting or self._read:
                self.kill()  # half a conversation can't be taken up again

    def kill(self) -> None:
        """End the process, whatever it does."""
        process, self._process = self._process, None
        self._read.clear()
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.kill()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", _WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env={},
                start_new_session=True,
                pipesize=_PIPE,
            )
        except OSError as error:
            raise UndecidedError(f"the process that evaluates Rego rules cannot be started: {error.strerror}") from None
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        return self._process

    def _frames(self) -> list[Frame]:
        """The frames that have come completely."""
        frames, at = [], 0
        while len(self._read) - at >= 4:
            size = int.from_bytes(self._read[at : at + 4], "big")
            if not 1 <= size <= FRAME:
                raise Died("was answered by nonsense")
            if len(self._read) - at - 4 < size:
                break
            body = bytes(self._read[at + 4 : at + 4 + size])
            frames.append(Frame(body[:1], body[1:]))
            at += 4 + size
        del self._read[:at]
        return frames

    def _write(self, sink: int, waiting: memoryview) -> memoryview:
        """Write what the pipe takes; returns the rest."""
        try:
            while waiting:
                waiting = waiting[os.write(sink, waiting) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            return memoryview(b"")  # its end is seen, and explained, where it is read
        return waiting

    def _epitaph(self) -> str:
        """Why the process ended by itself."""
        assert self._process is not None
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            code = 0
        return _ENDS.get(code, "stopped the engine")
