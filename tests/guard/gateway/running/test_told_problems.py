"""What is wrong with keys while the gateway runs is told, once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from gateway_making import gateway, model_server, until


@pytest.fixture
def upstream():
    with model_server() as made:
        yield made


def keys(tmp_path, *words):
    subprocess.run(
        [sys.executable, "-m", "assay", "gateway", "keys", *words], cwd=tmp_path, check=True, capture_output=True
    )


def replace(file, data):
    """At once: half of it would be another problem."""
    new = file.with_suffix(".new")
    new.write_bytes(data)
    new.rename(file)


def test_a_broken_file_of_keys_is_told_once(tmp_path, upstream):
    keys(tmp_path, "create", "--owner", "shop", "-O", "shop.key")
    with gateway(tmp_path, upstream.url, workers=2, callers={"keys": "gateway-keys.json"}) as made:
        file = tmp_path / "gateway-keys.json"
        good = file.read_bytes()
        replace(file, good + b"x")
        until(lambda: "gateway-keys.json" in made.words())
        document = json.loads(good)
        document["keys"][0]["plan"] = "none"
        replace(file, json.dumps(document).encode())
        until(lambda: "is refused: there is no plan 'none'" in made.words())
        replace(file, good)
        key = (tmp_path / "shop.key").read_text().strip()
        until(lambda: made.status(**{"x-api-key": key}) == 200)
        assert made.words().count("is not JSON") == 1 and made.words().count("there is no plan") == 1
