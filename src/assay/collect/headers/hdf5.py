"""Lists an HDF5 file's datasets and text attributes, in a process of its own with limits on memory, time and files.

The HDF5 library crashes on some broken files; here that costs one warning and not the command. What the other process
says is judged like the file itself: it may have been taken over by what it read.
"""

from __future__ import annotations

import io
import os
from typing import BinaryIO, Literal

import msgspec

from assay.errors import DocumentError, MissingExtraError

MAGIC = b"\x89HDF\r\n\x1a\n"
"""At the start, or behind a user block of 512, 1024, 2048, … bytes."""

PROGRAM = os.path.join(os.path.dirname(__file__), "hdf5_child.py")
"""What the other process runs."""

_COPY_LIMIT = 2 << 30
"""Bytes of an HDF5 file that are copied where it is not a plain file (out of a repository or a compressed archive)."""

ELSEWHERE = {
    "link": "is an external link and was not followed",
    "data": "keeps its data outside of this file",
    "virtual": "is made of datasets in other files and was not read",
}
"""What each kind of `Listing.elsewhere` means."""

_SECONDS = 120
_OUTPUT = 64 << 20


class Listing(msgspec.Struct):
    """What an HDF5 file holds."""

    attributes: dict[str, str] = {}
    """The root group's text attributes that Keras writes."""
    tensors: list[tuple[str, str, list[int]]] = []
    """Path, NumPy's name of the type, and shape of each dataset."""
    warnings: list[str] = []
    """What was not read, and why."""
    elsewhere: list[tuple[str, Literal["link", "data", "virtual"], str]] = []
    """What lies in other files: path of the object, how it refers to them, and the file's name where it is told."""
    cut: bool = False
    """There is more of these than was told."""

    def told(self) -> list[str]:
        """Everything that was not read, as sentences."""
        return [*self.warnings, *(f"{path} {ELSEWHERE[kind]}" for path, kind, _ in self.elsewhere)]


def is_hdf5(head: bytes) -> bool:
    """Whether a file that starts so is HDF5."""
    return any(head.startswith(MAGIC, at) for at in (0, *(512 << i for i in range(7))))


def list_hdf5(file: BinaryIO, start: int, length: int) -> Listing:
    """The HDF5 file that lies in ``file`` at ``start``.

    Raises `MissingExtraError` without h5py, `DocumentError` when the file is broken in a way that the library does not
    survive, or when it had to be copied and is too large for that.
    """
    from importlib.util import find_spec

    if find_spec("h5py") is None:
        raise MissingExtraError("the weights in HDF5", "keras")
    if is_plain(file):
        return _ask(file.fileno(), start, length)
    import tempfile

    if length > _COPY_LIMIT:
        raise DocumentError(f"its HDF5 part has {length} bytes, too many to be copied out")
    with tempfile.TemporaryFile() as copy:
        file.seek(start)
        copied = copy_bounded(file, copy, length)
        return _ask(copy.fileno(), 0, copied)


def is_plain(file: BinaryIO) -> bool:
    """Whether the descriptor behind ``file`` reads the same bytes as ``file`` does."""
    raw = file.raw if isinstance(file, io.BufferedReader) else file
    return type(raw) is io.FileIO


def copy_bounded(source: BinaryIO, to: BinaryIO, limit: int) -> int:
    """Copy at most ``limit`` bytes from where ``source`` is; the number that were copied."""
    copied = 0
    while copied < limit and (data := source.read(min(1 << 20, limit - copied))):
        to.write(data)
        copied += len(data)
    to.flush()
    return copied


def _ask(descriptor: int, start: int, length: int) -> Listing:
    import signal
    import subprocess
    import sys
    import tempfile

    # -P keeps this folder, whose modules are named like libraries, off the other process's path.
    command = [sys.executable, "-P", PROGRAM, str(start), str(length)]
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")}
    with tempfile.TemporaryFile() as answer:
        try:
            code = subprocess.run(
                command,
                stdin=descriptor,
                stdout=answer,
                stderr=subprocess.DEVNULL,
                env={
                    **kept,
                    "OPENBLAS_NUM_THREADS": "1",
                    "OMP_NUM_THREADS": "1",
                    "HDF5_USE_FILE_LOCKING": "FALSE",
                },
                timeout=_SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise DocumentError("the HDF5 library did not come to an end") from None
        if code < 0:
            raise DocumentError(f"the HDF5 library crashed on it ({signal.Signals(-code).name})")
        if code:
            raise DocumentError(f"the HDF5 library could not be started (exit code {code})")
        answer.seek(0)
        data = answer.read(_OUTPUT + 1)
    try:
        return msgspec.json.decode(data, type=Listing)
    except msgspec.MsgspecError:
        raise DocumentError("the HDF5 library gave no usable answer") from None
