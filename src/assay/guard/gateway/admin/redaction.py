"""The configuration as an operator may see it: without passwords, tokens and what addresses hold beside the host."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.words import Bytes, Rate, Seconds

HIDDEN = "(hidden)"


def shown(settings: Settings) -> dict[str, Any]:
    """Settings as plain values. Of ``alerts`` only the names are left: their sinks' addresses are secrets."""
    raw: dict[str, Any] = msgspec.to_builtins(settings, enc_hook=_plain)
    raw["alerts"] = _names(raw["alerts"])
    cleaned: dict[str, Any] = _clean(raw)
    return cleaned


def _plain(value: Any) -> Any:
    if isinstance(value, Seconds):
        return float(value)
    if isinstance(value, Bytes):
        return int(value)
    if isinstance(value, Rate):
        return repr(value)
    raise NotImplementedError(type(value))  # what msgspec asks of a hook for a type that it does not know


def _names(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _names(one) for key, one in value.items()}
    return [_names(one) for one in value] if isinstance(value, list | tuple) else HIDDEN


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _clean(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    return _address(value) if isinstance(value, str) and "://" in value else value


def _address(value: str) -> str:
    """An address without user, password, query and fragment."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return HIDDEN
    if not re.fullmatch(r"[a-z0-9+.-]+", parts.scheme):
        return value  # a glob over names, say
    host = parts.netloc.rpartition("@")[2]
    host = f"{HIDDEN}@{host}" if "@" in parts.netloc else host
    return urlunsplit((parts.scheme, host, parts.path, HIDDEN if parts.query else "", ""))
