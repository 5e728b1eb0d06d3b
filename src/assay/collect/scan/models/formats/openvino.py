"""OpenVINO: a network as XML with its weights in a ``.bin`` beside it; layers may come from native libraries.

Source: OpenVINO's documentation of the IR format (version 10 and 11) and of custom operations and plugins.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from assay.collect.scan.models.formats.telling import EXECUTION, SUPPLY, leads_out, shown, tell
from assay.collect.scan.models.formats.xml_documents import root_name, walk
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

_OPSET = re.compile(r"opset\d{1,3}|experimental|util|ie_internal_opset|ie|type_relaxed_opset")
_ROOTS = frozenset({"net", "Net", "CustomLayer", "ie"})


class OpenVino:
    """``.xml`` of an IR, a plugin list, a custom kernel's description."""

    name = "openvino"

    def recognises(self, head: bytes, tail: bytes, file: BinaryIO, size: int, path: str) -> bool:
        """By its outermost element."""
        root = root_name(head)
        if root == "?":
            return path.lower().endswith(".xml")
        return root in _ROOTS and (root != "net" or b"layers" in head or b"version" in head)

    def findings(self, file: BinaryIO, size: int, scan: Scan) -> Iterator[Finding]:
        """Layers and plugins that run native code, and weights that lie elsewhere."""
        told: set[str] = set()
        base = posixpath.splitext(scan.path)[0]
        weights = scan.siblings.get(f"{base}.bin") if scan.member is None else None

        def element(name: str, attributes: Mapping[str, str], depth: int) -> list[Finding]:
            found: list[Finding] = []
            if name == "layer":
                version, kind = attributes.get("version", "opset1"), attributes.get("type", "?")
                if not _OPSET.fullmatch(version) and (mark := f"{kind} {version}") not in told and len(told) < 50:
                    told.add(mark)
                    found.append(
                        tell(
                            scan,
                            "openvino/extension",
                            Tier.UNKNOWN,
                            Severity.MEDIUM,
                            f"layers of type {shown(kind, 60)!r} come from the extension {shown(version, 60)!r}, "
                            "a native library that is not in the file",
                            atlas=SUPPLY,
                        )
                    )
            elif name == "data" and weights is not None and not {"offset", "size"} - attributes.keys():
                numbers = [attributes["offset"], attributes["size"]]
                if not all(text.isascii() and text.isdigit() and len(text) < 19 for text in numbers) or (
                    sum(map(int, numbers)) > weights
                ):
                    found.append(
                        tell(
                            scan,
                            "openvino/size",
                            Tier.UNREADABLE,
                            Severity.HIGH,
                            f"a constant reaches beyond the {weights:,} bytes of the weights",
                            atlas=SUPPLY,
                        )
                    )
            elif name in ("CustomLayer", "Source", "plugin"):
                path = attributes.get("location") or attributes.get("filename") or ""
                what = {"CustomLayer": "a kernel", "Source": "a kernel's source"}.get(name, "a native plugin")
                why = leads_out(path)
                found.append(
                    tell(
                        scan,
                        "openvino/native-code",
                        Tier.CODE,
                        Severity.HIGH,
                        f"loads {what}{f' from {shown(path)!r}' if path else ''}{f', which {why}' if why else ''}",
                        call=f"dlopen({path!r})" if path and name == "plugin" else None,
                        atlas=EXECUTION,
                    )
                )
            return found

        yield from walk(file, size, scan, element)
