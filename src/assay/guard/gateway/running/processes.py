"""What processes of the gateway have in common: the signals that are kept back until somebody can act on them, and a
question asked in a process of its own. The supervisor imports nothing that starts a thread, so whatever needs such a
library is asked there, and never in a process that forks later.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn, TypeVar

from assay.errors import AssayError

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD})
"""What the supervisor fetches, and its children take once their handlers are there: until then they are pending."""

DEFECT = 70
"""Exit code of a child that ended by a defect of ours (EX_SOFTWARE): another start may help."""

Result = TypeVar("Result")


class Elsewhere(AssayError):
    """What another process raised, in its words."""

    def __init__(self, message: str, hint: str | None, exit_code: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


def apart(call: Callable[[], Result]) -> Result:
    """What ``call`` returns, asked in a process that then ends; it is pickled. Raises `AssayError` where it does."""
    flush()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _asked(call, writing)
    os.close(writing)
    try:
        with open(reading, "rb") as file:
            said = file.read()
    finally:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code or not said:
        raise Elsewhere("what was asked for ended before it could be looked at", "was it killed?", 3)
    good, value = pickle.loads(said)  # of our own child  # noqa: S301
    if not good:
        raise Elsewhere(*value)
    return value  # type: ignore[no-any-return]


def _asked(call: Callable[[], object], writing: int) -> NoReturn:
    code = DEFECT
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        try:
            said: tuple[bool, object] = (True, call())
        except AssayError as error:
            said = (False, (error.message, error.hint, error.exit_code))
        except OSError as error:  # as `cli.main` says it
            name = f"{error.filename!r}: " if error.filename else ""
            said = (False, (f"{name}{error.strerror or error}", None, 2))
        with open(writing, "wb") as file:
            pickle.dump(said, file)
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()  # a defect of ours: whoever reports it needs all of it
    finally:
        flush()
        os._exit(code)


def flush() -> None:
    """Before a fork, so that nothing is said twice, and at a child's end. Nobody has to read it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
