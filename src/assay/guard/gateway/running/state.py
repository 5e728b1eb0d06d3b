"""The state folder: the gateway's own key, and the names of what lies in it. Mode 700, and of one user."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat

from assay.errors import UsageError
from assay.files import read_file, write_atomic
from assay.guard.gateway.settings import Settings

PROCESSES = 256
"""Of one service, that share a state folder."""

LONGEST = 107
"""Bytes of a unix socket's path (unix(7))."""


class State:
    """The folder of one gateway."""

    __slots__ = ("folder",)

    def __init__(self, settings: Settings) -> None:
        self.folder = settings.path(settings.state)
        """Absolute path."""

    def prepare(self) -> State:
        """Make the folder and the key where they are not there. Raises `UsageError` where others may write into it."""
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            self.examine()
            self._fill()
        except OSError as error:
            raise UsageError(f"the state folder {self.folder} cannot be used: {error.strerror}") from None
        return self

    def examine(self) -> None:
        """Raise `UsageError` where the folder is not ours alone."""
        try:
            status = os.stat(self.folder)
        except OSError as error:
            raise UsageError(f"the state folder {self.folder} cannot be used: {error.strerror}") from None
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise UsageError(
                f"{self.folder} cannot hold the gateway's state: it is not yours alone",
                hint="a folder that belongs to the gateway's user, with mode 700",
            )
        if os.path.lexists(self._key):
            self.secret("")

    def reachable(self) -> None:
        """Raise `UsageError` where the keeper's socket could not be there."""
        if len(os.fsencode(self.keeper)) > LONGEST:
            raise UsageError(
                f"the state folder {self.folder} cannot be used: its path is too long for a socket in it",
                hint=f"at most {LONGEST - len('/keeper.sock')} bytes; state: FOLDER names another",
            )

    def _fill(self) -> None:
        if not os.path.lexists(self._key):
            with contextlib.suppress(FileExistsError):  # another gateway on the same folder was faster
                write_atomic(self._key, os.urandom(32), mode=0o600, exclusive=True)
        if not os.path.lexists(self.denied):
            with contextlib.suppress(FileExistsError):
                write_atomic(self.denied, b"# -\n", mode=0o600, exclusive=True)

    def secret(self, use: str) -> bytes:
        """32 bytes for one use (``log``, ``noise``, …), the same after a restart. Raises `UsageError`."""
        key = read_file(self._key, 64)
        if len(key) != 32:
            raise UsageError(
                f"{self._key} is damaged: it has {len(key)} bytes, not 32", hint="delete it to make another"
            )
        return hashlib.blake2b(use.encode(), key=key, digest_size=32).digest()

    @property
    def _key(self) -> str:
        return os.path.join(self.folder, "key")

    @property
    def counters(self) -> str:
        """Counters of all processes of this machine."""
        return os.path.join(self.folder, "counters")

    @property
    def keeper(self) -> str:
        """The socket on which workers reach the keeper."""
        return os.path.join(self.folder, "keeper.sock")

    @property
    def standings(self) -> str:
        """What detectors came to, over a restart."""
        return os.path.join(self.folder, "standings.json")

    def lead(self) -> int | None:
        """A descriptor that holds `lock` until it is closed; None: another process has it."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def number(self) -> tuple[int, int]:
        """A number that no other process of the service has, and the descriptor that holds it until it is closed.
        Raises `UsageError` where there are too many processes.
        """
        for number in range(PROCESSES):
            held = os.open(
                os.path.join(self.folder, f"process-{number}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return number, held
            except OSError:
                os.close(held)
        raise UsageError(f"more than {PROCESSES} processes use the state folder {self.folder}")

    @property
    def denied(self) -> str:
        """Addresses that somebody denied while the gateway runs."""
        return os.path.join(self.folder, "denied.txt")

    @property
    def lock(self) -> str:
        """Held by the supervisor that uses the folder or, inside of a service, by the process that has the keeper."""
        return os.path.join(self.folder, "lock")
