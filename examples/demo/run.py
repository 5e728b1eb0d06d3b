"""The main job in one run: train a model, attest data set and model, verify, decide, and catch a single flipped bit.

Every step is the real command line, printed before it runs. Everything is written to ``demo-run/``; your own keys and
evidence are not touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from prepare import main as prepare

HERE = Path("demo-run")
KEY, PUB, STORE = HERE / "keys/demo.pem", HERE / "keys/demo.pub", HERE / "evidence"
POLICY = os.path.relpath(Path(__file__).parent / "policy.yml")
DATA, MODEL, RESULTS = HERE / "breast-cancer", HERE / "tumour-classifier", HERE / "results"
EXAMPLES = Path(os.path.relpath(Path(__file__).parent))


def assay(*arguments: object, expect: int = 0) -> None:
    """Run one command as a user would; anything but the expected exit code ends the demo."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ assay {' '.join(words)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "assay", *words], check=False).returncode
    if code != expect:
        sys.exit(f"the demo expected exit code {expect} and got {code}")


def run(script: str, model: Path, results: Path, expect: int = 0) -> None:
    """One training step behind walls."""
    code = [EXAMPLES / name for name in sorted({script, "train.py"})]
    words = ["run", "--step", "train", "--inputs", DATA, *code, "--outputs", *sorted({model, results})]
    command = ["--", os.path.relpath(sys.executable), EXAMPLES / script, DATA, model, results]
    assay(*words, "--key", KEY, "-d", STORE, *command, expect=expect)


def main() -> None:
    """The demo."""
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    prepare(DATA)

    print("# A key pair: the private half signs, the public half is what verifiers get.", flush=True)
    assay("keys", "generate", "-O", KEY)
    print(f"\n# A real data set lies in {DATA}. State what is in it, read from its bytes, and sign that.")
    assay("bom", DATA, "-o", "attest", "--key", KEY, "-d", STORE)
    print("\n# Train: no network, nothing written but the outputs, every file that is read on record.")
    run("train.py", MODEL, RESULTS)
    print("\n# The same step, after somebody changed it to send the patients' data elsewhere:")
    run("train_with_a_thief.py", HERE / "stolen", HERE / "stolen", expect=1)

    print("\n# State what is in the model, read from its bytes, and sign it.")
    assay("bom", MODEL, "-o", "attest", "--key", KEY, "-d", STORE)
    print("\n# Bind the evaluation to the model's bytes, and sign the model so that other tools can verify it too.")
    assay(
        "attest", MODEL, "--type", "evaluation", "--predicate", RESULTS / "evaluation.json", "--key", KEY, "-d", STORE
    )
    assay("sign", MODEL, "--key", KEY, "-d", STORE)
    print("\n# Would loading it run code that nobody agreed to? Nothing is loaded to find out.")
    assay("scan", MODEL, "-o", "attest", "--key", KEY, "-d", STORE)
    print("\n# Anybody with the public key can check both, offline.")
    assay("verify", DATA, "--key", PUB, "-d", STORE)
    assay("verify", MODEL, "--key", PUB, "-d", STORE)

    print("\n# One file says what must be true of the model before anybody uses it; the verdict becomes evidence too.")
    assay("verify", MODEL, "-p", POLICY, "--key", PUB, "-d", STORE, "--attest", "--attest-key", KEY)
    print("\n# What all this evidence means in MITRE ATLAS's terms, as a page for everybody:")
    assay("report", "--framework", "atlas", "--key", PUB, "-d", STORE, "-O", HERE / "atlas.html")

    victim = MODEL / "model.joblib"
    at = os.path.getsize(victim) // 2
    with open(victim, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    print(f"\n# Now one bit of {victim} is flipped (byte {at:,}).")
    assay("verify", MODEL, "--key", PUB, "-d", STORE, expect=1)
    assay("verify", MODEL, "-p", POLICY, "--key", PUB, "-d", STORE, expect=1)
    with open(victim, "r+b") as file:
        file.seek(at)
        file.write(bytes([byte]))

    print(f"\nThe tampered model was rejected by name, and is now restored. The evidence lies in {STORE}. Try next:")
    print(f"  open {HERE / 'atlas.html'} in a browser")
    program = os.path.join(os.path.dirname(os.path.relpath(sys.executable)), "assay")
    print(f"  {program} evidence list -d {STORE}")
    print(f"  {program} bom {MODEL} -o table")
    print(f"  {program} verify {MODEL} --key {PUB} -d {STORE} --verbose")


if __name__ == "__main__":
    main()
