"""Compiled models that cannot be seen through: TensorRT engines and their like, and TensorFlow Lite's custom operators.

They are said to be opaque, never safe: an engine may carry native code and plugins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from assay.collect.scan.models.formats.telling import EXECUTION, SUPPLY, shown, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

_MAGIC = {
    b"ftrt": "TensorRT engine",
    b"ptrt": "TensorRT engine",
    b"trtp": "TensorRT engine",
    b"blnm": "compiled OpenVINO model",
    b"RKNN": "Rockchip model",
    b"CVIM": "compiled accelerator model",
}
_NAMES = re.compile(r"\.(?:engine|plan|trt|rknn|hef|cmodel|dlc|mlmodelc|neff|xclbin|edgetpu)$", re.IGNORECASE)
_FLEX = re.compile(
    rb"Flex(?:ReadFile|WriteFile|MatchingFiles|PyFunc|EagerPyFunc|PyFuncStateless|SaveV2|RestoreV2|PrintV2)\b"
)
_MAX_LITE = 256 << 20


class CompiledModel:
    """Engines that only their own runtime understands."""

    name = "compiled-model"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By magic number or name."""
        return head[:4] in _MAGIC or head[4:8] == b"ORTM" or _NAMES.search(path) is not None

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """That it cannot be judged."""
        file.seek(0)
        head = file.read(8)
        kind = "model that ONNX Runtime prepared" if head[4:] == b"ORTM" else _MAGIC.get(head[:4], "compiled model")
        yield tell(
            scan,
            "opaque/compiled",
            Tier.UNKNOWN,
            Severity.MEDIUM,
            f"a {kind}: it may hold native code and plugins, and nothing but its own runtime can read it",
            atlas=SUPPLY,
            mitigation="build it yourself from a model that was scanned",
        )


class TensorFlowLite:
    """``.tflite``."""

    name = "tflite"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By the FlatBuffers file identifier."""
        return head[4:8] in (b"TFL3", b"TFL2")

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """TensorFlow operations that reach files or Python, named anywhere in the file."""
        file.seek(0)
        data = file.read(min(size, _MAX_LITE))
        for name in sorted(set(_FLEX.findall(data)))[:10]:
            tier = Tier.MALICIOUS if b"Write" in name else Tier.CODE if b"Py" in name else Tier.UNKNOWN
            yield tell(
                scan,
                "tflite/unsafe-operation",
                tier,
                Severity.HIGH,
                f"uses TensorFlow's operation {shown(name.decode(), 40)}",
                atlas=EXECUTION,
            )
        if size > _MAX_LITE:
            yield tell(
                scan,
                "tflite/not-examined",
                Tier.UNKNOWN,
                Severity.MEDIUM,
                f"{size - _MAX_LITE:,} bytes were not examined",
            )
