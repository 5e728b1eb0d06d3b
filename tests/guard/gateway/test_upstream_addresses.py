"""Addresses of model servers are checked when the file is read: by the command, at the start and on reload alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assay.cli.main import main
from assay.errors import DocumentError
from assay.guard.gateway.settings import load

FILE = "assay-gateway: 1\n"
BAD = (
    "model:8080",
    "http://",
    "http://a:0",
    "http://a:65536",
    "http://a/v1",
    "http://u@a",
    "ftp://a",
    "unix:",
    "http:// a",
)


def test_the_key_of_a_bad_address_is_named(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    for bad in BAD:
        path.write_text(f"{FILE}upstream: '{bad}'\n")
        with pytest.raises(DocumentError) as error:
            load(str(path))
        assert error.value.message.startswith(f"{path}: upstream: ") and error.value.hint, bad
        assert "\n" not in error.value.message
        path.write_text(
            f"{FILE}upstream: http://a\nroutes:\n- protocol: openai\n- protocol: sagemaker\n  upstream: '{bad}'\n"
        )
        with pytest.raises(DocumentError) as error:
            load(str(path))
        assert error.value.message.startswith(f"{path}: routes[1].upstream: "), bad


@pytest.mark.parametrize(
    "good", ["", "http://a", "http://a:8080/", "https://[::1]:8443", "unix:/run/model.sock", "http://a_b.c"]
)
def test_what_is_one_is_read_and_there_may_be_none(tmp_path: Path, good: str) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(f"{FILE}upstream: '{good}'\n")
    assert load(str(path)).upstream == good


def test_the_command_says_so(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(f"{FILE}upstream: http://a/v1\n")
    assert main(["gateway", "check", "--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert "upstream: 'http://a/v1' is no address of a model server" in said and "Traceback" not in said
