"""TorchScript source: operators in it that do more than compute.

TorchScript has no imports and no files of its own, but some operators of torch read files, write them or call out of
it, and so do operators that somebody registered. Their names are looked for; the language is not interpreted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.collect.scan.models.formats.telling import EXECUTION, SUPPLY, shown, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

_SUSPICIOUS: dict[str, tuple[Tier, Severity, str]] = {
    "from_file": (Tier.MALICIOUS, Severity.CRITICAL, "maps a file of the machine as a tensor, for writing if it wants"),
    "save": (Tier.MALICIOUS, Severity.CRITICAL, "writes a file"),
    "load": (Tier.MALICIOUS, Severity.CRITICAL, "reads a file"),
    "_save_to_file": (Tier.MALICIOUS, Severity.CRITICAL, "writes a file"),
    "download_url_to_file": (Tier.MALICIOUS, Severity.CRITICAL, "fetches a file from the network"),
    "PythonOp": (Tier.MALICIOUS, Severity.CRITICAL, "calls into Python"),
}
_CALL = re.compile(
    r"(?:\b(?:torch|aten|prim|ops\.aten|ops\.prim)(?:\.|::)|\^)("
    + "|".join(sorted(_SUSPICIOUS, key=len, reverse=True))
    + r")\s*\("
)
_PYTHON = re.compile(r"\^\s*([A-Za-z_]\w*)\s*\(")
_CUSTOM = re.compile(r"\bops\.([A-Za-z_]\w*)\.([A-Za-z_]\w*)\s*\(|\b__torch__\.torch\.classes\.([\w.]+)")
_OWN = frozenset(
    (
        "aten", "prim", "quantized", "inductor", "mkldnn", "mkldnn_prepacked", "prepacked", "xnnpack", "profiler",
        "torchvision", "torchaudio", "image", "_quantized", "quantized_decomposed", "onednn", "rngprims", "prims",
        "c10",
    )
)  # fmt: skip
_MAX = 50


def source_findings(text: str, member: str, scan: Scan) -> Iterator[Finding]:
    """Calls in one source file that do more than compute; at most `_MAX` of each kind."""
    for count, match in enumerate(_CALL.finditer(text)):
        tier, severity, what = _SUSPICIOUS[match[1]]
        if count < _MAX:
            yield tell(
                scan, "torchscript/operator", tier, severity, f"the operator {match[1]} {what}",
                within=member, offset=None, call=_line(text, match.start()), atlas=EXECUTION,
            )  # fmt: skip
    for match in list(_PYTHON.finditer(text))[:_MAX]:
        yield tell(
            scan, "torchscript/python", Tier.MALICIOUS, Severity.HIGH,
            f"it calls the Python function {shown(match[1], 60)}", within=member,
            call=_line(text, match.start()), atlas=EXECUTION,
        )  # fmt: skip
    told: set[str] = set()
    for match in _CUSTOM.finditer(text):
        name = f"{match[1]}.{match[2]}" if match[1] else str(match[3])
        if match[1] not in _OWN and name not in told and len(told) < _MAX:
            told.add(name)
            yield tell(
                scan, "torchscript/custom", Tier.CODE, Severity.MEDIUM,
                f"it uses {shown(name, 80)}, which comes from a library that is loaded with it", within=member,
                call=_line(text, match.start()), atlas=SUPPLY,
            )  # fmt: skip


def _line(text: str, at: int) -> str:
    begin = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    return text[begin : end if end >= 0 else None].strip()[:300]
