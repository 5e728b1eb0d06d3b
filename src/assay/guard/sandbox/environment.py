"""Which environment variables a step gets: those that are named, and a few without which nothing runs.

A variable that nobody named does not pass: tokens of the CI system and of the cloud are variables too. Evidence names
variables and never holds their values.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from assay.errors import UsageError

ALWAYS = (
    "PATH",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TERM",
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "PYTHONHASHSEED",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_HOME",
    "NVIDIA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
    "SOURCE_DATE_EPOCH",
)
"""Globs over names: where things are found, how text looks, which devices to use. None of them is a secret by habit."""


def select(
    given: Mapping[str, str], named: Sequence[str], *, temporary: str, extra: Mapping[str, str]
) -> dict[str, str]:
    """The step's variables: `ALWAYS`, those that ``named`` names (``NAME``, ``NAME=value`` or a glob), the private
    temporary folder, and ``extra`` (proxies), which win. Raises `UsageError` for a plain name that is not set: a step
    that silently lacks what it was promised fails later and worse.
    """
    globs = [*ALWAYS, *(name for name in named if "=" not in name)]
    chosen = {name: value for name, value in given.items() if any(fnmatchcase(name, glob) for glob in globs)}
    for name in named:
        key, mark, value = name.partition("=")
        if mark:
            chosen[key] = value
        elif not any(sign in name for sign in "*?[") and name not in given:
            raise UsageError(f"the variable {name} is not set", hint=f"set it, or say --env {name}=value")
    home = chosen.get("HOME") or given.get("HOME") or os.path.expanduser("~")
    return chosen | {"HOME": home, "TMPDIR": temporary} | dict(extra)
