"""What a step used of NVIDIA's GPUs, asked of NVML from time to time; None where there is no GPU or no ``pynvml``.

It samples in a thread of its own and never raises: a driver that fails in the middle only ends the sampling.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from time import monotonic
from typing import Any

_EACH = 0.5
"""Seconds between two samples."""


class Sampler:
    """Adds up busy time and finds the peak of memory, of some processes on all GPUs together."""

    def __init__(
        self,
        processes: Callable[[], Collection[int]],
        each: float = _EACH,
        devices: Sequence[str] = ("/dev/nvidiactl", "/dev/dxg"),
    ) -> None:
        self._processes = processes
        self._each = each
        self._over = threading.Event()
        self._seconds = 0.0
        self._memory = 0
        # Importing it takes longer than starting a small step.
        self._library: Any = _library() if any(map(os.path.exists, devices)) else None
        self._thread: threading.Thread | None = None
        if self._library is not None:
            self._thread = threading.Thread(target=self._run, name="nvml", daemon=True)
            self._thread.start()

    def finish(self) -> tuple[float, int] | None:
        """(GPU seconds, peak bytes), or None when nobody can tell."""
        if self._thread is None:
            return None
        self._over.set()
        self._thread.join(timeout=5)
        return self._seconds, self._memory

    def _run(self) -> None:
        library = self._library
        try:
            devices = [library.nvmlDeviceGetHandleByIndex(at) for at in range(library.nvmlDeviceGetCount())]
            seen = dict.fromkeys(range(len(devices)), 0)
            before = monotonic()
            last = False
            while not last:
                last = self._over.wait(self._each)
                ours = set(self._processes())
                now = monotonic()
                memory = 0
                for at, device in enumerate(devices):
                    running = library.nvmlDeviceGetComputeRunningProcesses(device)
                    memory += sum(each.usedGpuMemory or 0 for each in running if each.pid in ours)
                    share, seen[at] = self._share(device, ours, seen[at])
                    self._seconds += share * (now - before)
                self._memory = max(self._memory, memory)
                before = now
        except library.NVMLError:
            return
        finally:
            library.nvmlShutdown()

    def _share(self, device: object, ours: set[int], since: int) -> tuple[float, int]:
        """How much of a GPU's time since the last sample these processes had (0–1), and when that sample was."""
        try:
            samples = self._library.nvmlDeviceGetProcessUtilization(device, since)
        except self._library.NVMLError:  # nothing new, or the driver does not keep it
            return 0.0, since
        mine = [sample for sample in samples if sample.pid in ours and sample.timeStamp > since]
        latest = max((sample.timeStamp for sample in samples), default=since)
        by_process: dict[int, list[int]] = {}
        for sample in mine:
            by_process.setdefault(sample.pid, []).append(sample.smUtil)
        return min(1.0, sum(sum(shares) / len(shares) for shares in by_process.values()) / 100), latest


def _library() -> Any:
    try:
        pynvml: Any = import_module("pynvml")
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        if not pynvml.nvmlDeviceGetCount():
            return None
    except pynvml.NVMLError:
        return None
    return pynvml
