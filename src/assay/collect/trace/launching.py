"""Starts a step so that it is watched from its first instruction: fork, confinement, filter, ``execve``.

Nothing of ours may pass into the step: no descriptor but the three standard ones, no signal handler. Whatever goes
wrong before the program runs comes back as an `AssayError`, never as a step that runs unwatched.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from typing import NoReturn

from msgspec import Struct

from assay.collect.trace import kernel
from assay.collect.trace.interface import Launch
from assay.errors import AssayError, UndecidedError, UsageError


class Started(Struct):
    """A child that waits for the word to go on."""

    pid: int
    listener: int | None
    """Of the notifications; None where the filter has none."""
    failure: int
    """Pipe that tells why the program did not start; it ends without a word when it did."""
    _go: socket.socket

    def go(self) -> None:
        """Let it execute its program."""
        self._go.sendall(b"g")
        self._go.close()

    def abandon(self) -> None:
        """Let go of what is still held, whatever became of the child."""
        self._go.close()
        os.close(self.failure)
        if self.listener is not None:
            os.close(self.listener)


class NotHereError(UndecidedError):
    """The kernel refused the mechanism itself, not the step."""


def program_of(launch: Launch) -> bytes:
    """The absolute path of the command's program, found as a shell would. Raises `UsageError`."""
    if not launch.command:
        raise UsageError("there is no command to run")
    name = launch.command[0]
    folders = [""] if "/" in name else (launch.environment.get("PATH") or os.defpath).split(os.pathsep)
    places = [os.path.join(launch.directory, folder, name) for folder in folders]
    files = [place for place in places if os.path.isfile(place)]
    found = next((file for file in files if os.access(file, os.X_OK)), files[0] if files else None)
    if found is None:
        raise UsageError(f"{name} is not a program that can be found", hint="give its path, or set PATH for the step")
    return os.fsencode(found)


def start(launch: Launch, install: Callable[[], int | None]) -> Started:
    """Fork a child that is confined and filtered, and that waits.

    ``install`` runs in the child last of all: it installs the filter and returns the listener, or None. Raises
    `NotHereError` when it fails, another `AssayError` when the confinement or the directory does.
    """
    program = program_of(launch)
    arguments = [os.fsencode(argument) for argument in launch.command]
    environment = {os.fsencode(name): os.fsencode(value) for name, value in launch.environment.items()}
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    failure, told = os.pipe()
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        for descriptor in (failure, told):
            os.close(descriptor)
        ours.close()
        theirs.close()
        raise UndecidedError(f"the step cannot be started: {error.strerror}") from None
    if pid == 0:
        _child(launch, program, arguments, environment, install, theirs, told, parent)
    theirs.close()
    os.close(told)
    listener: int | None = None
    try:
        word, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        listener = descriptors[0] if descriptors else None
        if word == b"r":
            return Started(pid, listener, failure, ours)
        raise failure_of(_everything(failure))
    except BaseException:
        ours.close()
        os.close(failure)
        if listener is not None:
            os.close(listener)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def failure_of(told: bytes) -> AssayError:
    """What a child said before it ended, as an error."""
    try:
        stage, message, hint = json.loads(told)
    except ValueError:
        return UndecidedError("the step ended before its program was started")
    match stage:
        case "filter":
            return NotHereError(f"the step cannot be watched here: {message}")
        case "execve" | "directory":
            return UsageError(f"the step cannot be started: {message}")
        case _:
            return UndecidedError(f"the step cannot be confined: {message}", hint=hint)


def _everything(descriptor: int) -> bytes:
    data = b""
    while more := os.read(descriptor, 65536):
        data += more
    return data


def _child(
    launch: Launch,
    program: bytes,
    arguments: list[bytes],
    environment: dict[bytes, bytes],
    install: Callable[[], int | None],
    channel: socket.socket,
    told: int,
    parent: int,
) -> NoReturn:
    """Never returns into the parent's code: each way out is ``execve`` or ``_exit``."""
    stage = "directory"
    try:
        os.setsid()
        for number in (*range(1, 32), *range(signal.SIGRTMIN, signal.SIGRTMAX + 1)):
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.set_wakeup_fd(-1)
        _close_on_exec()
        os.chdir(launch.directory)
        stage = "confine"
        for confine in launch.confine:
            confine()
        os.chdir(launch.directory)  # the same path may lie in another mount now
        stage = "filter"
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user would have undone it earlier
        if os.getppid() not in (parent, 0):  # it died before that took effect; 0: in a process namespace of its own
            os._exit(127)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        _install_and_tell(install, channel)
        if channel.recv(1) != b"g":
            os._exit(127)
        stage = "execve"
        os.execve(program, arguments, environment)  # noqa: S606
    except BaseException as error:
        message = error.message if isinstance(error, AssayError) else str(error) or type(error).__name__
        if isinstance(error, OSError) and error.strerror:
            message = error.strerror if error.filename is None else f"{os.fsdecode(error.filename)}: {error.strerror}"
        hint = error.hint if isinstance(error, AssayError) else None
        os.write(told, json.dumps([stage, message, hint]).encode()[:4096])
    finally:
        os._exit(127)


def _close_on_exec() -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                continue  # the listing's own


def _install_and_tell(install: Callable[[], int | None], channel: socket.socket) -> None:
    """Install the filter and hand its listener to the parent.

    The filter stops ``sendmsg`` too, and nobody answers before the parent has the listener. So a helper without the
    filter, which shares our descriptors, sends it. It is gone before the step's program could see it.
    """
    ready, announce = os.pipe()
    helper = kernel.share_descriptors()
    if helper == 0:
        try:
            if number := os.read(ready, 16):
                sent = [] if number == b"none" else [int(number)]
                socket.send_fds(channel, [b"r"], sent)
                os._exit(0)
        finally:
            os._exit(1)
    try:
        listener = install()
    except BaseException:
        os.kill(helper, signal.SIGKILL)
        raise
    os.write(announce, b"none" if listener is None else b"%d" % listener)
    _, status = os.waitpid(helper, 0)
    if status:
        raise OSError(0, "the listener could not be handed over")
    if listener is not None:
        os.close(listener)
    os.close(ready)
    os.close(announce)
