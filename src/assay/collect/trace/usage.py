"""What a step cost: CPU, memory and storage from the kernel's own accounts, GPUs from NVML where it is there.

A number that nobody told is None, never an estimate.
"""

from __future__ import annotations

import os
import resource

from msgspec import Struct

from assay.collect.trace.interface import Usage


class Account(Struct):
    """Adds up what each child of ours, with all of its own children that it waited for, has used."""

    user: float = 0.0
    system: float = 0.0
    memory: int = 0
    read_bytes: int | None = None
    written_bytes: int | None = None

    def reap(self, pid: int, *, block: bool = False) -> int | None:
        """Take a dead child's accounts: its wait status; None when it is no child of ours, or not dead yet."""
        try:
            options = os.WEXITED | os.WNOWAIT | (0 if block else os.WNOHANG)
            if os.waitid(os.P_PID, pid, options) is None:
                return None
            self._storage(pid)  # a zombie still has them
            found, status, used = os.wait4(pid, 0 if block else os.WNOHANG)
        except OSError:
            return None
        if not found:
            return None
        self.add(used)
        return status

    def add(self, used: resource.struct_rusage) -> None:
        """The accounts of one child."""
        self.user += used.ru_utime
        self.system += used.ru_stime
        self.memory = max(self.memory, used.ru_maxrss * 1024)

    def _storage(self, pid: int) -> None:
        try:
            with open(f"/proc/{pid}/io", "rb", 0) as file:
                text = file.read()
        except OSError:
            return
        lines = dict(line.split(b": ") for line in text.splitlines())
        self.read_bytes = (self.read_bytes or 0) + int(lines[b"read_bytes"])
        self.written_bytes = (self.written_bytes or 0) + int(lines[b"write_bytes"])

    def usage(self, wall: float, gpu: tuple[float, int] | None = None) -> Usage:
        """The sum, for a step that took ``wall`` seconds."""
        seconds, memory = gpu if gpu else (None, None)
        return Usage(
            wall, self.user, self.system, self.memory, self.read_bytes, self.written_bytes, seconds, memory
        )  # fmt: skip
