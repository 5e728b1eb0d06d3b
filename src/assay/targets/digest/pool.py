"""Running a plan's units on many cores: forked processes where that is safe, threads elsewhere.

Processes win for small files (threads wait for the interpreter's lock at every system call). A child must never run
anything of its parent: no exit handlers, no flushing of inherited buffers. No failure may hang or leave a zombie.
"""

from __future__ import annotations

import gc
import os
import signal
import struct
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from resource import RLIMIT_CORE, getrlimit, setrlimit
from typing import NoReturn

from assay.errors import AssayError, ChangedError, TargetError
from assay.targets.digest.plan import Plan, Table
from assay.targets.digest.worker import Failed, Worker, failure
from assay.targets.interface import Progress

_POLL = 0.1
"""Seconds between two reports of progress."""

_TOKEN = struct.Struct("<I")
"""The number of a unit, on its way to whichever worker is free."""

_REPORT = struct.Struct("<iiq240s")
"""Outcome, code and position of a `Failed`, text; shorter than PIPE_BUF, so that one write is one report."""

_OK, _FAILED, _CRASHED = range(3)


def run_inline(plan: Plan, table: Table, progress: Progress | None, *, identities: bool) -> None:
    """All units in this thread: for so little work that starting anything would cost more."""
    worker = Worker(plan, table, 0, identities=identities, stopped=bool)
    try:
        for unit in plan.units:
            worker.run(unit)
            if progress is not None:
                progress(table.done(), plan.total)
    except Failed as error:
        raise failure(plan, error) from None
    finally:
        worker.close()


def run_threads(plan: Plan, table: Table, workers: int, progress: Progress | None, *, identities: bool) -> None:
    """Units over threads. Every thread has ended when this returns or raises."""
    stop = threading.Event()
    ended: SimpleQueue[BaseException | None] = SimpleQueue()
    units = iter(plan.units)
    lock = threading.Lock()

    def work(number: int) -> None:
        try:
            worker = Worker(plan, table, number, identities=identities, stopped=stop.is_set)
            try:
                while True:
                    with lock:
                        unit = next(units, None)
                    if unit is None:
                        break
                    worker.run(unit)
            finally:
                worker.close()
        except BaseException as error:
            ended.put(error)
        else:
            ended.put(None)

    threads = [threading.Thread(target=work, args=(k,), name=f"assay-digest-{k}") for k in range(workers)]
    started: list[threading.Thread] = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
        waiting = len(threads)
        while waiting:
            try:
                error = ended.get(timeout=_POLL)
            except Empty:
                pass
            else:
                waiting -= 1
                if isinstance(error, Failed):
                    raise failure(plan, error)
                if error is not None:
                    raise error
            if progress is not None:
                progress(table.done(), plan.total)
    finally:
        stop.set()
        for thread in started:
            thread.join()


def can_fork() -> bool:
    """Whether this process has a single thread: a fork of more would copy their locks, held for ever."""
    if not hasattr(os, "fork") or threading.active_count() != 1:
        return False
    for _ in range(3):
        try:
            if len(os.listdir("/proc/self/task")) == 1:
                return True
        except OSError:
            return False
        time.sleep(0.001)  # a joined thread may still be on its way out of the kernel
    return False


def run_forked(plan: Plan, table: Table, workers: int, progress: Progress | None, *, identities: bool) -> None:
    """Units over forked processes. Every child has ended and been waited for when this returns or raises."""
    if plan.blake3:
        import blake3  # noqa: F401  # once for all children, which may not be able to read the library any more
    work_r, work_w = os.pipe()
    os.set_blocking(work_w, False)
    children: list[int] = []
    reports: dict[int, int] = {}
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        parent = os.getpid()
        gc.freeze()  # a collection in a child would write to, and so copy, every page of the parent's objects
        for number in range(workers):
            report_r, report_w = os.pipe()
            reports[report_r] = number
            child = os.fork()
            if not child:
                worker = partial(Worker, plan, table, number, identities=identities, stopped=bool, mapping=True)
                _child(worker, plan, parent, work_r, (work_w, *reports), report_w, masked)
            os.close(report_w)  # before the next fork: only its own worker may keep a report open
            children.append(child)
        gc.unfreeze()
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        _feed(plan, table, work_w, reports, children, progress)
    finally:
        for child in children:
            _kill(child)
        for descriptor in (work_r, work_w, *reports):
            os.close(descriptor)
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)


def _feed(
    plan: Plan, table: Table, work: int, reports: dict[int, int], children: list[int], progress: Progress | None
) -> None:
    """Hand out the units until every worker has reported a good end; raise for the first that has not."""
    import select

    sent, count = 0, len(plan.units)
    poll = select.poll()
    poll.register(work, select.POLLOUT)
    for report_r in reports:
        poll.register(report_r, select.POLLIN)
    waiting = len(reports)
    while waiting:
        for descriptor, _ in poll.poll(_POLL * 1000):
            if descriptor == work:
                upto = min(sent + 256, count)
                try:
                    os.write(work, b"".join(map(_TOKEN.pack, range(sent, upto))))  # <= PIPE_BUF: all or nothing
                    sent = upto
                except BlockingIOError:
                    pass
                if sent == count:
                    poll.unregister(work)
                    os.dup2(next(iter(reports)), work)  # closes the pipe, and keeps the number for the caller's close
                continue
            report = os.read(descriptor, _REPORT.size)
            number = reports[descriptor]
            if not report:
                raise _died(plan, table, number, children)
            outcome, code, position, text = _REPORT.unpack(report)
            if outcome == _FAILED:
                raise failure(plan, Failed(position, code))
            if outcome == _CRASHED:
                name = plan.listing.names[table.position(number)]
                raise TargetError(f"reading at {name!r} failed: {text.rstrip(bytes(1)).decode('utf-8', 'replace')}")
            poll.unregister(descriptor)
            waiting -= 1
        if progress is not None:
            progress(table.done(), plan.total)


def _died(plan: Plan, table: Table, number: int, children: list[int]) -> TargetError:
    """The error for a worker that ended without a report."""
    name = plan.listing.names[table.position(number)]
    child = children[number]
    try:
        _, status = os.waitpid(child, 0)
    except ChildProcessError:  # the program ignores SIGCHLD, so the kernel has forgotten how it ended
        return TargetError(f"a worker died while it was reading at {name!r}")
    children.remove(child)
    if os.WIFSIGNALED(status):
        one = os.WTERMSIG(status)
        if one == signal.SIGBUS:  # it had the file mapped
            return ChangedError(f"{name!r} became shorter while it was read")
        return TargetError(
            f"a worker was killed by signal {one} ({signal.strsignal(one)}) while it was reading at {name!r}",
            hint="if memory was short, try fewer workers",
        )
    return TargetError(f"a worker died while it was reading at {name!r}")


def _kill(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def _child(
    make_worker: Callable[[], Worker],
    plan: Plan,
    parent: int,
    work: int,
    others: tuple[int, ...],
    report: int,
    masked: set[int | signal.Signals],
) -> NoReturn:
    """A worker's whole life. Never returns, and never runs anything that the parent has registered."""
    outcome, code, position, text = _CRASHED, 0, 0, ""
    try:
        # A mapped file that is truncated ends this process: quietly, whatever handlers the parent has.
        setrlimit(RLIMIT_CORE, (0, getrlimit(RLIMIT_CORE)[1]))
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGBUS):
            signal.signal(one, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        for descriptor in others:
            os.close(descriptor)
        worker = make_worker()
        while token := os.read(work, _TOKEN.size):
            worker.run(plan.units[_TOKEN.unpack(token)[0]])
            if os.getppid() != parent:
                break  # nobody waits for the rest
        outcome = _OK
    except Failed as error:
        outcome, code, position = _FAILED, error.code, error.position
    except AssayError as error:
        text = error.message
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"
    finally:
        try:
            os.write(report, _REPORT.pack(outcome, code, position, text.encode("utf-8", "replace")[:240]))
        finally:
            os._exit(0)
