"""The words of seccomp's user notifications (linux/seccomp.h, seccomp_unotify(2)): how calls are taken and answered.

Only the layouts and what it takes to hand over a descriptor live here; what to answer is known elsewhere. All that goes
to ``ioctl`` is writable: with ``bytes`` Python tries that first each time, and it costs more than the call.
"""

from __future__ import annotations

import errno
import os
import struct
from fcntl import ioctl

from assay.collect.trace import kernel
from assay.collect.trace.interface import Answer

EMPTY = bytes(80)  # struct seccomp_notif
NOTIFICATION = struct.Struct("<QIIiIQ6Q")
SHORT = struct.Struct("<8xI4xiI8xQQQ")  # of it: the thread, the number, the architecture and three arguments
GO_ON = struct.pack("<qiI", 0, 0, 1)  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
_RESPONSE = struct.Struct("<QqiI")
_ADD = struct.Struct("<QIIII")
_ADD_AT, _ADD_AND_SEND = 1, 2


def send(listener: int, id: int, answer: Answer) -> bool:
    """Tell the kernel. False when the caller does not wait any more. What is handed over is closed here."""
    try:
        if answer.descriptor is not None:
            _give(listener, id, answer)
        elif answer.error is not None:
            _respond(listener, id, 0, -answer.error)
        elif answer.value is not None:
            _respond(listener, id, answer.value, 0)
        else:
            ioctl(listener, kernel.SEND, bytearray(id.to_bytes(8, "little") + GO_ON))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINPROGRESS):
            raise
        return False
    finally:
        if answer.descriptor is not None:
            os.close(answer.descriptor)
    return True


def _respond(listener: int, id: int, value: int, error: int) -> None:
    ioctl(listener, kernel.SEND, bytearray(_RESPONSE.pack(id, value, error, 0)))


def _give(listener: int, id: int, answer: Answer) -> None:
    assert answer.descriptor is not None
    close = os.O_CLOEXEC if answer.close_on_exec else 0
    at = answer.replace
    flag, number = (_ADD_AND_SEND, 0) if at is None else (_ADD_AT, at)
    try:
        ioctl(listener, kernel.ADD_DESCRIPTOR, bytearray(_ADD.pack(id, flag, answer.descriptor, number, close)))
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise
        # A full table is the caller's own error.
        _respond(listener, id, 0, -(error.errno or errno.EMFILE))
        return
    if at is not None:
        _respond(listener, id, 0, -(answer.error or 0))
