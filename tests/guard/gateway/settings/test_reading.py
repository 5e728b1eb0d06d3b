"""What people write in the gateway file is read as they mean it."""

from __future__ import annotations

import pytest

from assay.guard.gateway.settings import read


@pytest.mark.parametrize("written", ["off", '"off"', "Off", "no"])
def test_a_bare_off_turns_detectors_off(written: str) -> None:
    text = f"assay-gateway: 1\nupstream: http://127.0.0.1:1\ndetect: {{mode: {written}}}\n"
    assert read(text.encode(), "gateway.yaml", "/").detect.mode == "off"
