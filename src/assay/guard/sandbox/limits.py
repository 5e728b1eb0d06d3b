"""What a step may use: time, memory, processes, size of files. Set in the child, kept by the kernel.

They hold for each process of its own, except for the number of processes, which counts all of the same user.
"""

from __future__ import annotations

import resource

from assay.guard.sandbox.interface import Wanted


def apply(wanted: Wanted) -> None:
    """Set them. Raises `OSError` or `ValueError` when the system refuses: the step then does not start."""
    chosen = {
        resource.RLIMIT_CPU: wanted.cpu,
        resource.RLIMIT_AS: wanted.memory,
        resource.RLIMIT_NPROC: wanted.processes,
        resource.RLIMIT_FSIZE: wanted.file_size,
        resource.RLIMIT_CORE: 0,  # a core file holds the step's secrets
    }
    for kind, value in chosen.items():
        if value is None:
            continue
        _, hard = resource.getrlimit(kind)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, most))
