"""The short way of most calls: an open for reading, of a file that is recorded under the very name it was opened by.

It does nothing that the long way would not do, only less: whatever is not plain is left to that. A file counts only
after the kernel took the answer, which proves that the path was the caller's own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from fcntl import ioctl
from stat import S_ISDIR
from time import time_ns

from assay.collect.trace import kernel
from assay.collect.trace.calls import AT_FDCWD
from assay.collect.trace.interface import Answer, FileUse
from assay.collect.trace.mediating import beneath, opened_beneath
from assay.collect.trace.monitor import Monitor
from assay.collect.trace.notifications import EMPTY, GO_ON, SHORT, send
from assay.collect.trace.paths import plain
from assay.collect.trace.recording import opened

_HERE = AT_FDCWD & 0xFFFFFFFF
# With these the path may mean something else, or more happens than reading.
_NOT_PLAIN = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | os.O_PATH | os.O_NOFOLLOW


def attendant(listener: int, monitor: Monitor, otherwise: Callable[[bytes], None]) -> Callable[[], None]:
    """What takes one notification and answers it, or hands it to ``otherwise``: a closure, because it is run for each
    call of the step, and mostly with cold caches, where each line costs.
    """
    recording, world, processes = monitor.recording, monitor.world, monitor.processes
    reads, lists, files, mediate, turned = world.reads, world.lists, recording.files, world.mediate, world.turned
    threads, find, index_of, directory = processes.threads, processes.find, processes.index, processes.directory
    audit = monitor.machine.audit
    # Number → argument with the path, unless the sandbox decides.
    short = {
        monitor.machine.numbers[name]: at
        for name, at in (("open", 0), ("openat", 1))
        if name in monitor.machine.numbers and not monitor.asks(name)
    }
    receive, answer, empty, folder = kernel.RECEIVE, kernel.SEND, EMPTY, os.O_DIRECTORY
    unpack, read_text, pread = SHORT.unpack_from, kernel.read_text, os.pread

    notification, go_on = bytearray(EMPTY), bytearray(8) + GO_ON

    def attend() -> None:
        notification[:] = empty  # the kernel takes nothing else
        try:
            ioctl(listener, receive, notification)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):  # it was killed, or interrupted, before we could look
                return
            raise
        recording.events += 1
        thread, number, arch, first, second, third = unpack(notification)
        at = short.get(number)
        if at is None or arch != audit:
            otherwise(bytes(notification))
            return
        address, flags = (second, third) if at else (first, second)
        if flags & _NOT_PLAIN:
            otherwise(bytes(notification))
            return
        known = threads.get(thread)
        if known is None or known.pending or known.pid != thread:
            known = find(thread)
            if known is None:
                return  # nobody waits
        index = known.index
        if index is None:
            index = index_of(known)
        try:
            if known.memory is None:
                path = read_text(thread, address)
            else:
                path, end, _ = pread(known.memory, 256, address).partition(b"\0")
                if not end:
                    path = None
        except (OSError, OverflowError):  # it points nowhere
            path = None
        if not path or (path[0] != 47 and at and first & 0xFFFFFFFF != _HERE):
            otherwise(bytes(notification))
            return
        if path[0] != 47:
            base = directory(known, thread)
            if base[:1] != b"/":
                otherwise(bytes(notification))
                return
            path = base.rstrip(b"/") + b"/" + path
        use = (lists if flags & folder else reads).get(path)
        fresh, there = use is None, True
        if use is None:
            if world.moved or not plain(path) or turned.on(path):
                otherwise(bytes(notification))
                return
            if mediate and beneath(path, mediate):
                try:
                    answered = world.as_us and mediated(path, flags, index)
                except FileNotFoundError:
                    there = False  # the kernel shall say so itself
                else:
                    if not answered:
                        otherwise(bytes(notification))
                    elif known.memory is None:
                        processes.remember(known)
                    return
            use = files.get(path)
            if use is None:
                use = FileUse(path, first=world.look(path, thread) if there else None, at=time_ns())
        go_on[:8] = notification[:8]
        try:
            ioctl(listener, answer, go_on)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return  # it never happened
            raise
        use.by.add(index)
        if fresh:
            files[path] = use
            opened(use, flags)
            use.mediated = False
            if not there:
                pass  # and may be, the next time
            elif flags & folder:
                lists[path] = use
            elif use.first is None or not S_ISDIR(use.first.mode):
                reads[path] = use
        elif flags & folder:
            use.listed += 1
        else:
            use.read += 1
        if known.memory is None:
            processes.remember(known)

    def mediated(path: bytes, flags: int, index: int) -> bool:
        made = opened_beneath(world, path, flags)
        if made is None:
            return False
        descriptor, found = made
        given = Answer(descriptor=descriptor, close_on_exec=bool(flags & os.O_CLOEXEC))
        if send(listener, int.from_bytes(notification[:8], "little"), given):
            use = files.get(path)
            if use is None:
                use = files[path] = FileUse(path, first=found, at=time_ns(), mediated=True)
            use.by.add(index)
            opened(use, flags)
        return True

    return attend
