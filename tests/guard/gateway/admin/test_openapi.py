"""The OpenAPI document is true: schemathesis tries it against a real server, with good data and bad."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from assay.guard.gateway.admin import AdminServer, call
from assay.guard.gateway.admin.document import SCHEMAS, openapi
from assay.guard.gateway.admin.operations import ROUTES
from guard.gateway.admin.memory import Memory


def test_the_document_has_every_path_and_no_other(tmp_path: Path) -> None:
    document = openapi("1")
    assert {path: {method.upper() for method in item} for path, item in document["paths"].items()} == {
        path: set(methods) for path, methods in ROUTES.items()
    }
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    token = tmp_path / "token"
    server = AdminServer(Memory(), "127.0.0.1:0", str(token))
    server.start()
    try:
        document = call(server.address, str(token), "GET", "/openapi.json")
        assert document["openapi"] == "3.1.0"
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"http://{server.address}/openapi.json",
                "-H",
                f"Authorization: Bearer {token.read_text().strip()}",
                "--checks=all",
                "--mode=all",
                "--phases=examples,coverage,fuzzing,stateful",
                "--max-examples=40",
                "--seed=1",
                "--request-timeout=60",
                "--suppress-health-check=all",
                "--no-color",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        tested = sum(map(len, ROUTES.values())) - 1  # it leaves the document's own path out
        assert f"Tested: {tested}\n" in done.stdout, done.stdout[-3000:]
    finally:
        server.stop()
