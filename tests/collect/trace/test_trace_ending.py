"""However a step ends, all of it ends, and the trace says how."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from assay.collect.trace import ending
from collect.trace.steps import ENGINES, names, python, watch

each = pytest.mark.parametrize("engine", ENGINES)
LIMITS = (1.0, 5.0, 25.0, 125.0)
"""Seconds to try one after the other: on a busy machine a step may not have come far when the first are over."""


def running(mark: str) -> list[int]:
    """Processes with this word in their command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                if mark.encode() in file.read():
                    found.append(int(name))
    return found


@each
def test_exit_codes_and_signals(engine):
    assert (watch(["sh", "-c", "exit 7"], engine).exit_code, watch(["sh", "-c", "exit 7"], engine).signal) == (7, None)
    ended = watch(["sh", "-c", "kill -SEGV $$"], engine)
    assert (ended.exit_code, ended.signal, ended.interrupted) == (None, signal.SIGSEGV, None)


@each
def test_a_step_that_takes_too_long_is_killed_with_all_that_ran_away(engine, tmp_path):
    mark = f"mark-{os.getpid()}-{engine}"
    code = f"""
    import os, time
    if os.fork() == 0:
        os.setsid()
        if os.fork(): os._exit(0)
        open("away", "w")
        time.sleep(100)
    time.sleep(100)  # {mark}
    """
    for seconds in LIMITS:
        trace = watch(python(code), engine, directory=tmp_path, seconds=seconds)
        assert trace.interrupted == "time limit" and trace.signal == signal.SIGKILL
        assert not running(mark)
        if "away" in names(trace, tmp_path):
            break
    assert names(trace, tmp_path)["away"].written == 1


@each
def test_a_step_that_never_pauses_does_not_outlive_its_time(engine):
    for seconds in LIMITS:
        trace = watch(python("while True: open('/etc/hostname').close()"), engine, seconds=seconds)
        assert trace.interrupted == "time limit"
        if trace.events > 100:
            break
    assert trace.events > 100


@each
def test_what_is_left_running_may_linger(engine, tmp_path):
    mark = f"linger-{os.getpid()}-{engine}"
    code = f"""
    import os, time
    if os.fork() == 0:
        time.sleep(0.3); open("late", "w")
        time.sleep(100)  # {mark}
    """
    for seconds in LIMITS:
        trace = watch(python(code), engine, directory=tmp_path, linger=seconds)
        assert trace.exit_code == 0 and trace.interrupted == "left processes running"
        assert not running(mark)
        if "late" in names(trace, tmp_path):
            break
    assert names(trace, tmp_path)["late"].written == 1


@each
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_our_interrupt_is_passed_on_and_the_trace_returned(engine, number, tmp_path, monkeypatch):
    monkeypatch.setattr(ending, "_GRACE", 120.0)  # the limit, not the code: a busy machine may be late
    former = signal.getsignal(number)

    def interrupt():
        while not os.path.exists(tmp_path / "ready"):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    code = f"""
    import signal, sys, time
    def told(*_): open("told", "w"); sys.exit(3)
    signal.signal({int(number)}, told)
    open("ready", "w")
    while True: time.sleep(0.1)  # a signal just before a long sleep would be noticed after it
    """
    trace = watch(python(code), engine, directory=tmp_path)
    thread.join()
    assert trace.interrupted == "interrupted" and trace.exit_code == 3
    assert names(trace, tmp_path)["told"].written == 1
    assert signal.getsignal(number) is former


def test_a_second_interrupt_kills(tmp_path):
    """The second is sent when the step has the first: two that come together are one to the kernel."""

    def interrupt():
        for word in ("ready", "told"):
            while not os.path.exists(tmp_path / word):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    code = """
    import signal, time
    signal.signal(2, lambda *_: open("told", "w"))
    open("ready", "w")
    while True: time.sleep(0.1)
    """
    trace = watch(python(code), directory=tmp_path)
    thread.join()
    assert trace.interrupted == "interrupted" and trace.signal == signal.SIGKILL


@each
def test_a_monitor_that_is_killed_takes_the_step_with_it(engine, tmp_path):
    mark = f"orphan-{os.getpid()}-{engine}"
    program = f"""
import sys
sys.path[:0] = {[path for path in sys.path if path]!r}
from collect.trace.steps import python, watch
watch(python("import time; open('ready', 'w'); time.sleep(100)  # {mark}"), {engine!r}, directory={str(tmp_path)!r})
"""
    monitor = subprocess.Popen([sys.executable, "-c", program])
    while not os.path.exists(tmp_path / "ready"):
        time.sleep(0.02)
    monitor.kill()
    monitor.wait()
    deadline = time.monotonic() + 60
    while running(mark) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running(mark)


@each
def test_a_parent_that_waits_for_its_vfork_is_no_deadlock(engine, tmp_path):
    code = """
    import os
    for _ in range(20):
        os.waitpid(os.posix_spawn("/usr/bin/true", ["true"], {}), 0)
    """
    trace = watch(python(code), engine)
    assert trace.exit_code == 0 and [process.program for process in trace.processes[1:]] == [b"/usr/bin/true"] * 20


@each
def test_own_children_are_left_alone(engine):
    ours = subprocess.Popen(["sleep", "100"], start_new_session=True)
    try:
        watch(python("import time; time.sleep(100)"), engine, seconds=0.5)
        assert ours.poll() is None
    finally:
        ours.kill()
        ours.wait()


@each
def test_costs(engine):
    """Watched from a process of its own: a step is forked from it, and a test run has grown large by now."""
    step = python("""
        import os, time
        held = bytearray(200_000_000)
        for at in range(0, len(held), 4096): held[at] = 1
        end = time.process_time() + 0.3
        while time.process_time() < end: pass
        """)
    code = f"""
import json, sys
sys.path[:0] = {sys.path!r}
from collect.trace.steps import watch
used = watch({step!r}, {engine!r}).usage
print(json.dumps([used.user + used.system, used.memory, used.wall, used.gpu_seconds]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    processor, memory, wall, gpu = json.loads(done.stdout)
    assert 0.3 <= processor < 30
    assert 200_000_000 <= memory < 1_000_000_000
    assert wall >= 0.3 and gpu is None


def test_a_monitor_in_another_thread():
    """A library user may run it wherever he likes; only signals are the main thread's."""
    got = []
    thread = threading.Thread(target=lambda: got.append(watch(["true"])))
    thread.start()
    thread.join()
    assert got[0].exit_code == 0 and got[0].events > 1
