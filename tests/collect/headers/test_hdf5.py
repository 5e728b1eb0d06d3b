"""What the HDF5 child tells: which objects lie in which other files; it keeps inside of its parent's limits."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np

from assay.collect.headers.hdf5 import PROGRAM, is_hdf5, list_hdf5


def test_what_lies_in_other_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "raw.bin").write_bytes(bytes(64))
    with h5py.File(tmp_path / "links.h5", "w", libver="latest") as file:
        file["a"] = h5py.ExternalLink("other.h5", "/x")
        file.create_dataset("b", (4,), "f8", external=[(str(tmp_path / "raw.bin"), 0, 32)])
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource("third.h5", "x", (4,))
        file.create_virtual_dataset("c", layout)
        file.create_dataset("own", data=np.zeros(4, "f4"))
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource(file["own"])
        file.create_virtual_dataset("d", layout)
        file["e"] = h5py.SoftLink("/own")
    data = (tmp_path / "links.h5").read_bytes()
    listing = list_hdf5(io.BytesIO(data), 0, len(data))
    assert sorted(listing.elsewhere) == [
        ("a", "link", "other.h5"),
        ("b", "data", str(tmp_path / "raw.bin")),
        ("c", "virtual", "third.h5"),
    ]
    assert [text.split()[0] for text in listing.warnings] == ["d", "e"]
    assert not listing.cut
    assert len(listing.told()) == 5


def test_more_than_is_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "links.h5", "w") as file:
        for i in range(30):
            file[f"x{i}"] = h5py.ExternalLink("other.h5", "/x")
    with (tmp_path / "links.h5").open("rb") as opened:
        listing = list_hdf5(opened, 0, (tmp_path / "links.h5").stat().st_size)
    assert listing.cut
    assert len(listing.elsewhere) == 20


def test_it_keeps_inside_of_limits_that_it_was_started_with(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["x"] = np.zeros(4)
    start = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 31)); "
        "resource.setrlimit(resource.RLIMIT_CPU, (9, 9)); import os; end = os._exit; "
        "os._exit = lambda code: (print(resource.getrlimit(resource.RLIMIT_AS)[0], "
        "resource.getrlimit(resource.RLIMIT_CPU)[0], flush=True), end(code)); "
        "sys.argv[1:] = ['0', sys.argv[2]]; runpy.run_path(PROGRAM, run_name='__main__')"
    ).replace("PROGRAM", repr(PROGRAM))
    size = (tmp_path / "plain.h5").stat().st_size
    with (tmp_path / "plain.h5").open("rb") as opened:
        done = subprocess.run(
            [sys.executable, "-P", "-c", start, "", str(size)], stdin=opened, capture_output=True, check=True
        )
    answer, limits = done.stdout.splitlines()
    assert json.loads(answer)["tensors"] == [["x", "float64", [4]]]
    assert limits.split() == [str(1 << 30).encode(), b"9"]


def test_it_is_recognised_behind_a_block_of_the_users() -> None:
    for block in (0, 512, 4096, 32768):
        memory = io.BytesIO()
        with h5py.File(memory, "w", userblock_size=block) as file:
            file["x"] = np.zeros(4)
        assert is_hdf5(memory.getvalue()[: 64 << 10])
