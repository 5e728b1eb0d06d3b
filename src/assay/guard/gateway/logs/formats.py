"""The formats of the access log by name."""

from __future__ import annotations

from importlib import import_module

from assay.guard.gateway.logs.layout import Layout

FILES = {
    "json": "json_lines",
    "clf": "clf",
    "csv": "csv_lines",
    "xml": "xml_lines",
    "cloudtrail": "cloudtrail",
}
"""Each is one file beside this one."""


def layout(name: str) -> Layout:
    """The format ``name``."""
    module = import_module(f"{__package__}.{FILES[name]}")
    found = module.LAYOUT
    assert isinstance(found, Layout)
    return found
