"""XGBoost's, LightGBM's and CatBoost's own formats: trees and numbers, safe as long as they are nothing else.

What an attacker can put into them are sizes that the C++ readers trust, code in their free texts, and other files
behind their end. Sources: XGBoost's ``doc/model.schema``, LightGBM's ``gbdt_model_text.cpp``,
CatBoost's ``model.fbs``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

from assay.collect.headers.catboost import CatBoostReader
from assay.collect.headers.interface import ModelFile
from assay.collect.headers.lightgbm import LightGbmReader
from assay.collect.headers.ubjson import Walker
from assay.collect.headers.xgboost import XGBoostReader
from assay.collect.scan.models.formats.telling import APPENDED, HIDING, SUPPLY, hand_on, shown, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

_CODE = re.compile(
    rb"__import__|__reduce__|__globals__|os\.system|subprocess\.|eval\(|exec\(|base64\.b64decode|/bin/(?:ba)?sh|<script"
)
_PIECE = 4 << 20
_OBJECTIVE = re.compile(r"[a-zA-Z][\w:.\- \[\]=,]*")


class _Reader(Protocol):
    def recognises(self, path: str, head: bytes) -> bool: ...

    def read(self, path: str, file: BinaryIO, size: int) -> ModelFile: ...


class _Booster:
    """What the three have in common."""

    name: str
    _reader: _Reader

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By its content."""
        return self._reader.recognises(path, head[:4096])

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """What does not read as a model, and texts that read as programs."""
        model = self._reader.read(scan.path, file, size)
        for warning in model.warnings:
            text = warning.removeprefix(f"{scan.path}: ")
            yield tell(scan, f"{self.name}/malformed", Tier.UNREADABLE, Severity.HIGH, text, atlas=SUPPLY)
        objective = model.metadata.get("objective", "")
        if objective and not _OBJECTIVE.fullmatch(objective):
            yield tell(
                scan,
                f"{self.name}/objective",
                Tier.UNKNOWN,
                Severity.MEDIUM,
                f"its objective is called {shown(objective)!r}, which is no name",
                atlas=SUPPLY,
            )
        yield from _texts(file, size, scan, self.name)
        if not model.warnings:
            yield from _behind(self.name, file, size, scan)


def _texts(file: BinaryIO, size: int, scan: Scan, name: str) -> Iterator[Finding]:
    """Python or shell in a file of numbers. It does not run by itself; something else may run it."""
    file.seek(0)
    at, before = 0, b""
    while at < min(size, 256 << 20) and (data := file.read(_PIECE)):
        if match := _CODE.search(before + data):
            yield tell(
                scan,
                f"{name}/embedded-code",
                Tier.UNKNOWN,
                Severity.HIGH,
                f"it holds {shown(match[0].decode('latin-1'), 40)!r}, which no model of this kind does",
                offset=at - len(before) + match.start(),
                atlas=HIDING,
            )
            return
        at, before = at + len(data), data[-32:]


def _behind(name: str, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
    """What lies behind the model's end."""
    end = size
    if name == "catboost":
        file.seek(0)
        head = file.read(8)
        if head[:4] == b"CBM1":
            end = 8 + int.from_bytes(head[4:8], "little")
            # Models with text or embedding features keep their processing behind the core, with a magic of its own.
            file.seek(min(end, size))
            if re.match(rb"[A-Za-z]", file.read(1)):
                end = size
    elif name == "xgboost":
        file.seek(0)
        if file.read(2)[:1] == b"{":
            file.seek(1)
            if file.read(1) in b"iUIlL":
                Walker(file, size).read({})
                end = file.tell()
    elif name == "lightgbm":
        file.seek(max(0, size - (1 << 20)))
        tail = file.read(1 << 20)
        at = max(tail.rfind(b"end of parameters"), tail.rfind(b"pandas_categorical"), tail.rfind(b"loaded_parameters"))
        if at >= 0 and (nul := tail.find(b"\0", at)) >= 0:
            end = size - len(tail) + nul
    if end < size:
        yield tell(
            scan,
            f"{name}/appended",
            Tier.NONE,
            Severity.MEDIUM,
            f"{size - end:,} bytes behind the model's end belong to nothing",
            offset=end,
            atlas=HIDING,
        )
        yield from hand_on(file, end, size, APPENDED, scan)


class XGBoost(_Booster):
    """JSON, UBJSON and the old binary format."""

    name = "xgboost"
    _reader: Any = XGBoostReader()


class LightGbm(_Booster):
    """LightGBM's text format."""

    name = "lightgbm"
    _reader: Any = LightGbmReader()


class CatBoost(_Booster):
    """``.cbm`` and its JSON export."""

    name = "catboost"
    _reader: Any = CatBoostReader()
