"""NVML cannot be had on a machine without a GPU: a module that speaks its protocol stands in for it."""

import sys
import threading
import time
from types import ModuleType, SimpleNamespace

import pytest

from assay.collect.trace.gpu import Sampler


def nvml(*, count=2, fails=None):
    module = ModuleType("pynvml")
    module.NVMLError = type("NVMLError", (Exception,), {})
    module.closed = []
    module.nvmlInit = lambda: None
    module.nvmlShutdown = lambda: module.closed.append(True)
    module.nvmlDeviceGetCount = lambda: count
    module.nvmlDeviceGetHandleByIndex = lambda at: at

    def running(device):
        if fails == "running":
            raise module.NVMLError
        return [
            SimpleNamespace(pid=10, usedGpuMemory=1000),
            SimpleNamespace(pid=99, usedGpuMemory=5),
            SimpleNamespace(pid=11, usedGpuMemory=None),
        ]

    def shares(device, since):
        if fails == "shares":
            raise module.NVMLError
        return [
            SimpleNamespace(pid=10, smUtil=50, timeStamp=since + 1),
            SimpleNamespace(pid=99, smUtil=50, timeStamp=since + 1),
        ]

    module.nvmlDeviceGetComputeRunningProcesses = running
    module.nvmlDeviceGetProcessUtilization = shares
    return module


def test_busy_time_and_memory_of_our_processes_only(monkeypatch):
    module = nvml()
    monkeypatch.setitem(sys.modules, "pynvml", module)
    sampled = threading.Event()
    began = time.monotonic()
    sampler = Sampler(lambda: sampled.set() or [10, 11], each=0.01, devices=[__file__])
    assert sampled.wait(60)  # its thread may begin late
    since = time.monotonic()
    time.sleep(0.1)
    asked = time.monotonic()
    seconds, memory = sampler.finish()
    assert memory == 2000 and module.closed
    assert asked - since <= seconds <= time.monotonic() - began  # half of each of two GPUs is one whole


def test_a_driver_that_cannot_tell_shares_tells_memory(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(fails="shares"))
    assert Sampler(lambda: [10], each=0.01, devices=[__file__]).finish() == (0.0, 2000)


def test_a_driver_that_fails_ends_the_sampling_only(monkeypatch):
    module = nvml(fails="running")
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert Sampler(lambda: [10], each=0.01, devices=[__file__]).finish() == (0.0, 0) and module.closed


@pytest.mark.parametrize("module", [None, nvml(count=0)])
def test_nothing_is_claimed_without_a_gpu(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert Sampler(lambda: [10], devices=[__file__]).finish() is None
    assert Sampler(lambda: [10], devices=[]).finish() is None
