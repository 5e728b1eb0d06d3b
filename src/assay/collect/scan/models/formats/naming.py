"""What a file's name promises: which loader somebody would hand it to, and whether its bytes are what it is called.

A name never makes a file better: it can only ask for one more scanner, or be a finding itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from assay.collect.scan.models.formats.pickles import PickleScanner
from assay.collect.scan.models.formats.telling import SUPPLY, tell
from assay.collect.scan.models.interface import Finding, FormatScanner, Scan, Severity, Tier

PICKLE_NAMES = re.compile(
    r"\.(?:pkl|pickle|p|pt|pth|ckpt|joblib|jl|sav|dill|cloudpickle|pyt|debug_pkl)(?:\.\d+)?$"
    r"|(?:^|/)(?:pytorch_model|adapter_model|diffusion_pytorch_model|training_args|optimizer|scheduler|rng_state)"
    r"[^/]*\.bin$",
    re.IGNORECASE,
)
"""Files that somebody hands to an unpickler, whatever their bytes are."""

PICKLED = frozenset(("pickle", "joblib", "joblib-zfile", "torch-legacy", "torch-tar", "torch-zip", "torch-package"))
"""Formats whose loading runs a pickle's program."""

ZIPPED = frozenset(("torch-zip", "torch-package"))
"""Those of them that are zip archives."""

_PROMISES: dict[str, tuple[str, ...]] = {
    ".safetensors": ("safetensors",),
    ".npy": ("npy",),
    ".npz": ("npz", "zip"),
    ".gguf": ("gguf",),
    ".zip": ("zip",),
    ".skops": ("skops", "zip"),
    ".nemo": ("tar", "zip", "compressed"),
    ".tar": ("tar", "torch-tar"),
    ".gz": ("compressed",),
    ".tgz": ("compressed",),
    ".bz2": ("compressed",),
    ".xz": ("compressed",),
    ".zst": ("compressed",),
    ".lz4": ("compressed",),
    ".7z": ("7z",),
    ".pte": ("executorch",),
}
"""Formats with a mark of their own, by what their files are called: others than these contradict the name."""

_INERT = re.compile(r"\.(?:json|ya?ml|txt|md|csv|tsv|png|jpe?g|gif|h5|hdf5|keras|onnx|pb|tflite|msgpack|xml|pmml|ubj)$")


def forced(path: str, size: int) -> list[FormatScanner]:
    """Scanners for a file that no format recognised, by what its name gets it handed to."""
    return [PickleScanner()] if size > 0 and PICKLE_NAMES.search(path) else []


def doubts(scan: Scan, size: int, names: Iterable[str]) -> Iterator[Finding]:
    """Findings for a name that contradicts the content."""
    found = set(names)
    lower = scan.path.lower()
    if size == 0:
        if PICKLE_NAMES.search(lower) or any(lower.endswith(end) for end in _PROMISES):
            yield tell(scan, "format/empty", Tier.UNREADABLE, Severity.LOW, "the file is empty")
        return
    promised = next((formats for end, formats in _PROMISES.items() if lower.endswith(end)), None)
    pickled = found & PICKLED - set(promised or ()) - (ZIPPED if "zip" in (promised or ()) else set())
    if pickled and (promised or _INERT.search(lower)):
        yield tell(
            scan,
            "format/disguised",
            Tier.UNKNOWN,
            Severity.HIGH,
            f"it is a {min(pickled)} file under a name that promises a format which runs nothing",
            atlas=SUPPLY,
            mitigation="Ask whoever published it why it is not what it is called.",
        )
    elif promised and not found & set(promised):
        other = f"it is a {sorted(found)[0]} file" if found else "its bytes are of no format that is known"
        yield tell(
            scan, "format/contradiction", Tier.UNREADABLE if not found else Tier.UNKNOWN, Severity.MEDIUM,
            f"its name promises {promised[0]}, and {other}", atlas=SUPPLY,
        )  # fmt: skip
