"""``tokenizer.json`` of Hugging Face: regular expressions that take exponential time.

The vocabulary is passed over, however large it is; no expression is ever compiled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from assay.collect.scan.models.formats.telling import DENIAL, shown, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier
from assay.errors import DocumentError

_REPEATED = re.compile(r"\((?:[^()\\]|\\.)*[+*}]\)\s*[+*{]")


class Parts(msgspec.Struct):
    """What is read of it."""

    pre_tokenizer: Any = None
    """How texts are cut."""
    normalizer: Any = None
    """What is done to texts before that."""
    decoder: Any = None
    """How texts are put together again."""
    auto_map: Any = None
    """Classes to import; no tokenizer needs them here."""
    chat_template: Any = None
    """A template to render; nor this."""


def tokenizer_findings(data: bytes, scan: Scan) -> tuple[dict[str, Any], Iterator[Finding]]:
    """What it has in common with other configurations, and what is wrong with its expressions. Raises `DocumentError`
    for what is not JSON.
    """
    try:
        parts = msgspec.json.decode(data, type=Parts)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise DocumentError(f"the tokenizer is not JSON: {shown(error)}") from None
    common = {"auto_map": parts.auto_map, "chat_template": parts.chat_template}
    return common, _expressions(parts, scan)


def _expressions(parts: Parts, scan: Scan) -> Iterator[Finding]:
    for name in ("pre_tokenizer", "normalizer", "decoder"):
        for pattern in _patterns(getattr(parts, name)):
            if _REPEATED.search(pattern) and len(pattern) < 100_000:
                yield tell(
                    scan,
                    "tokenizer/regex-bomb",
                    Tier.UNKNOWN,
                    Severity.HIGH,
                    f"{name} repeats a repetition, {shown(pattern)!r}: it may take exponential time",
                    atlas=DENIAL,
                )
            elif len(pattern) > 20_000:
                yield tell(
                    scan,
                    "tokenizer/regex-bomb",
                    Tier.UNKNOWN,
                    Severity.MEDIUM,
                    f"{name} has a regular expression of {len(pattern):,} characters",
                    atlas=DENIAL,
                )


def _patterns(value: Any) -> Iterator[str]:
    stack = [value]
    for _ in range(100_000):
        if not stack:
            return
        item = stack.pop()
        if isinstance(item, dict):
            pattern = item.get("Regex")
            if isinstance(pattern, str):
                yield pattern
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
