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


def test_a_socket_of_the_file_is_beside_it_and_one_of_a_flag_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import argparse

    from assay.cli import gateway

    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    text = f"{FILE}upstream: unix:model.sock\nlisten: ['unix:gateway.sock']\nroutes:\n"
    (there / "gateway.yaml").write_text(f"{text}- protocol: openai\n- {{protocol: sagemaker, upstream: 'unix:b/c'}}\n")
    read = load("../there/gateway.yaml")
    assert read.upstream == f"unix:{there}/model.sock" and read.routes[1].upstream == f"unix:{there}/b/c"
    assert read.routes[0].upstream is None
    parser = argparse.ArgumentParser()
    gateway.configure(parser)
    said = [
        "--config",
        "../there/gateway.yaml",
        "--upstream",
        "unix:m",
        "--listen",
        "unix:l",
        "--listen",
        "127.0.0.1:1",
    ]
    over = gateway._loader(parser.parse_args(said))()
    assert over.upstream == f"unix:{here}/m" and over.listen == (f"unix:{here}/l", "127.0.0.1:1")
