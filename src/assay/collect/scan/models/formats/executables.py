"""Programs among model files: ELF, PE, Mach-O, Java, WebAssembly, scripts; openly, disguised, or behind a model's end.

A program that says what it is (a shared library, a llamafile) is code. One that hides in a model is an attack. Nothing
is disassembled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.bytecode import names_in
from assay.collect.scan.models.formats.shells import attack, piped
from assay.collect.scan.models.formats.telling import APPENDED, EXECUTION, SCRIPTING, UNUSED, shown, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

_MODEL_NAMES = re.compile(
    r"\.(?:safetensors|gguf|ggml|onnx|pt|pth|ckpt|h5|hdf5|keras|pkl|pickle|joblib|npy|npz|pb|tflite|pmml|ubj|cbm|json|"
    r"txt|md|csv|parquet|ya?ml|msgpack|skops|nemo|xml|png|jpe?g)$",
    re.IGNORECASE,
)
"""What a program must not be called."""

_SCRIPT_NAMES = re.compile(r"\.(?:sh|bash|zsh|bat|cmd|ps1|vbs|js|hta|scpt)$", re.IGNORECASE)
_PYC = re.compile(rb"..\r\n", re.DOTALL)


def kind_of(head: bytes, path: str) -> str | None:
    """What kind of program a file is by its first bytes; None for what is none."""
    if head.startswith(b"\x7fELF"):
        return "ELF program"
    if head.startswith(b"MZ"):
        if head.startswith((b"MZqFpD='", b"jartsr='")):
            return "portable program (llamafile)"
        at = int.from_bytes(head[0x3C:0x40], "little")
        return "Windows program" if head[at : at + 4] == b"PE\0\0" or b"DOS mode" in head[:512] else None
    if head.startswith(b"jartsr='"):
        return "portable program (llamafile)"
    if head[:4] in (b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf"):
        return "macOS program"
    if head.startswith(b"\xca\xfe\xba\xbe") and len(head) >= 8:
        return "Java class" if int.from_bytes(head[6:8], "big") >= 45 else "macOS program"
    if head.startswith(b"\0asm\x01\0\0\0"):
        return "WebAssembly program"
    if head.startswith((b"dex\n03", b"dey\n03")):
        return "Android program"
    if head.startswith((b"\x1bLua", b"\x1bLJ")):
        return "Lua bytecode"
    if head.startswith(b"!<arch>\n"):
        return "static library"
    if head.startswith(b"L\0\0\0\x01\x14\x02\0"):
        return "Windows shortcut"
    if path.endswith((".pyc", ".pyo")) or (
        _PYC.match(head) and head[4:8] in (b"\0\0\0\0", b"\1\0\0\0", b"\3\0\0\0") and head[16:17] in (b"\xe3", b"c")
    ):
        return "Python bytecode"
    if re.match(rb"#!\s*/", head) and b"python" not in head[:120].split(b"\n")[0]:
        return "script"
    if _SCRIPT_NAMES.search(path) and b"\0" not in head[:4096]:
        return "script"
    return None


class Executable:
    """Programs of every kind."""

    name = "executable"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By magic numbers; scripts by their first line or name."""
        return kind_of(head, path) is not None

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """One finding: code where it is openly so, malicious where it hides."""
        file.seek(0)
        head = file.read(min(size, 1 << 20))
        kind = kind_of(head, scan.path) or "program"
        hidden = scan.path in (APPENDED, UNUSED) or (scan.member or "").endswith((APPENDED, UNUSED))
        disguised = _MODEL_NAMES.search(scan.path) is not None
        does = attack(head.decode("utf-8", "replace")) if kind == "script" else None
        if kind == "Python bytecode" and (names := names_in(head)):
            does = f"uses {', '.join(names[:6])}"
        if hidden or (disguised and kind != "portable program (llamafile)") or (does and kind == "script"):
            why = "hides behind a model's data" if hidden else "is called like data" if disguised else str(does)
            yield tell(
                scan,
                "executable/hidden" if hidden or disguised else "executable/attack",
                Tier.MALICIOUS,
                Severity.CRITICAL,
                f"a {kind} that {why}",
                atlas=SCRIPTING if kind == "script" else EXECUTION,
                mitigation="do not use this model",
            )
            return
        more = (
            f"; it {does}" if does else "; it runs a download unseen" if piped(head.decode("utf-8", "replace")) else ""
        )
        yield tell(
            scan,
            "executable/code",
            Tier.CODE,
            Severity.HIGH if more or kind != "script" else Severity.MEDIUM,
            f"a {shown(kind)}: code that this scan does not see through{more}",
            atlas=EXECUTION,
            mitigation="know who built it, and from what",
        )
