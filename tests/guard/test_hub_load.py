"""A model on the hub is the target ``hf:ID``: signed, trusted and loaded by that name, against a hub on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import safetensors.numpy

from guard.processes import SOURCE
from guard.test_races import VALUE
from targets.test_hub import COMMIT, Hub, hub  # noqa: F401 - the fixture

SCRIPT = """
import json, os, sys
import assay, assay.load
from assay.api.anchors import TrustIn
from assay.api.signers import SignWith
from assay.config import Config, Trust
from assay.errors import AssayError
from assay.load import Loading

root, commit, pattern = sys.argv[1:]
class Reading:
    @staticmethod
    def from_pretrained(path, *, trust_remote_code):
        return sorted(name for _, _, names in os.walk(path) for name in names)
config = Config(trust=[Trust(targets=[pattern], keys=[root + "/key.pub"])])
how = Loading(directory=root + "/evidence", config=config)
answers = []
def attempt(reference, revision=None):
    try:
        answers.append(assay.load.transformers(reference, cls=Reading, revision=revision, how=how))
    except AssayError as error:
        answers.append(type(error).__name__)
attempt("org/name", commit)
assay.sign("hf:org/name@" + commit, signer_choice=SignWith(key=root + "/key.pem"), directory=root + "/evidence")
attempt("org/name", commit)
attempt("org/name")
blob = os.path.realpath(os.path.join(os.environ["HF_HOME"], "hub/models--org--name/snapshots", commit, "config.json"))
with open(blob, "wb") as file:
    file.write(b'{"model_type": "evil"}')
attempt("org/name", commit)
print(json.dumps(answers))
"""


def _answers(place: Any, hub: type[Hub], pattern: str) -> list[Any]:  # noqa: F811
    hub.files = {"config.json": b'{"model_type": "bert"}', "model.safetensors": safetensors.numpy.save({"w": VALUE})}
    home = Path(os.environ["HOME"])
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and not k.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(place.root), COMMIT, pattern],
        env=clean
        | {"HF_HOME": str(home / "hf"), "HF_ENDPOINT": hub.url, "PYTHONPATH": SOURCE, "HF_HUB_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def test_a_repository_is_signed_trusted_and_loaded_by_its_name(place: Any, hub: type[Hub]) -> None:  # noqa: F811
    files = ["config.json", "model.safetensors"]
    assert _answers(place, hub, "hf:org/*") == ["UndecidedError", files, files, "RejectedError"]


def test_trust_in_another_name_does_not_help(place: Any, hub: type[Hub]) -> None:  # noqa: F811
    assert _answers(place, hub, "hf:other/*") == ["UndecidedError"] * 4
