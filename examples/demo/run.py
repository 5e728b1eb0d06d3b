"""The whole life of a model in one run: attest the data, train behind walls, attest and scan the model, decide, catch a
single flipped bit, serve it behind the gateway, notice somebody who copies it, and look for drift in what was asked.
One policy file decides at each gate, and is printed first.

Every step is the real command line, printed before it runs. Everything is written to ``demo-run/``; your own keys and
evidence are not touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from prepare import main as prepare

HERE = Path("demo-run")
KEY, PUB, STORE = HERE / "keys/demo.pem", HERE / "keys/demo.pub", HERE / "evidence"
POLICY = Path(os.path.relpath(Path(__file__).parent / "policy.yml"))
DATA, MODEL, RESULTS = HERE / "breast-cancer", HERE / "tumour-classifier", HERE / "results"
EXAMPLES = Path(os.path.relpath(Path(__file__).parent))


def assay(*arguments: object, expect: int | None = 0) -> None:
    """Run one command as a user would; anything but the expected exit code (None: 0 or 1) ends the demo."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ assay {' '.join(words)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "assay", *words], check=False).returncode
    if code not in ((0, 1) if expect is None else (expect,)):
        sys.exit(f"the demo expected exit code {expect} and got {code}")


def run(script: str, model: Path, results: Path, expect: int = 0) -> None:
    """One training step behind walls."""
    code = [EXAMPLES / name for name in sorted({script, "train.py"})]
    words = ["run", "--step", "train", "--inputs", DATA, *code, "--outputs", *sorted({model, results})]
    command = ["--", os.path.relpath(sys.executable), EXAMPLES / script, DATA, model, results]
    assay(*words, "--key", KEY, "-d", STORE, *command, expect=expect)


@contextlib.contextmanager
def running(port: int, *words: object) -> Iterator[None]:
    """A server that is stopped at the end; it has to listen within half a minute."""
    command = [str(word) for word in words]
    process = subprocess.Popen([sys.executable, *command])
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None:
                sys.exit(f"{' '.join(command)} ended with {process.returncode}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def serve() -> None:
    """The model behind the gateway, with two callers."""
    gateway = EXAMPLES / "gateway.yaml"
    captured = HERE / "captured" / "parquet"
    print("\n# What were the data like? The file that requests, and later data, are held against.", flush=True)
    assay("baseline", DATA / "data.csv", "--leave-out", "diagnosis", "-O", HERE / "baseline.json", "-q")
    assay("gateway", "schema", HERE / "baseline.json", "-O", HERE / "schema.yaml")
    print("\n# How do honest callers ask? Learned on the model itself.", flush=True)
    model = ["--model", MODEL / "model.joblib", "--target", MODEL, "--key", PUB, "-d", STORE]
    learn = ["--data", DATA / "data.csv", "--leave-out", "diagnosis", *model, "-O", HERE / "calibration.json"]
    assay("gateway", "calibrate", *learn)
    for who in ("hospital", "thief"):
        assay("gateway", "keys", "create", "--owner", who, "--config", gateway, "-O", HERE / f"{who}.key")
    print(
        "\n# Serve it: the same policy, at the gate 'deploy', proves the model before anybody is answered.", flush=True
    )
    inner, outer = free_port(), free_port()
    places = ["--upstream", f"http://127.0.0.1:{inner}", "--listen", f"127.0.0.1:{outer}"]
    print(f"$ assay gateway --config {gateway} {' '.join(places)} &", flush=True)
    with (
        running(inner, EXAMPLES / "serve.py", MODEL, DATA, PUB, STORE, inner),
        running(outer, "-m", "assay", "gateway", "--config", gateway, *places),
    ):
        print("\n# A hospital asks about its patients, with its key. A thief, who has one too, asks in haste about")
        print(
            "# points between benign and malignant cases: where the answer turns is what a copy needs to know.",
            flush=True,
        )
        for who in ("hospital", "thief"):
            caller = [sys.executable, EXAMPLES / "callers.py", who, DATA, str(outer), HERE / f"{who}.key"]
            subprocess.run(caller, check=True)
    print("\n# Does what was asked look like what the model learned from? The gateway has kept it.", flush=True)
    options = ["--target", MODEL, "--key", KEY, "-d", STORE, "--topic", "drift"]
    assay("monitor", "check", "--baseline", HERE / "baseline.json", "--data", captured, *options, expect=None)
    print("\n# Who asked, which model answered, and was somebody copying it? The access log, as evidence.", flush=True)
    assay("gateway", "attest", "--gateway", gateway, "--since", "1h", "--key", KEY, "-d", STORE, expect=1)
    print("\n# The same policy, at the gate 'serve': everything from the data set to the live API.", flush=True)
    assay("verify", MODEL, "-p", POLICY, "--gate", "serve", "--key", PUB, "-d", STORE, expect=1)


def main() -> None:
    """The demo."""
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    prepare(DATA)
    print(f"# One policy decides about the model's whole life. This is {POLICY}:\n")
    print(POLICY.read_text(), flush=True)

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
    assay("verify", MODEL, "-p", POLICY, "--gate", "deploy", "--key", PUB, "-d", STORE, "--attest", "--attest-key", KEY)
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
    assay("verify", MODEL, "-p", POLICY, "--gate", "deploy", "--key", PUB, "-d", STORE, expect=1)
    with open(victim, "r+b") as file:
        file.seek(at)
        file.write(bytes([byte]))

    print("\n# The tampered model was rejected by name, and is now restored.")
    serve()

    print(f"\nThe thief was stopped, and the policy says so from now on. The evidence lies in {STORE}. Try next:")
    print(f"  open {HERE / 'atlas.html'} in a browser")
    program = os.path.join(os.path.dirname(os.path.relpath(sys.executable)), "assay")
    print(f"  {program} evidence list -d {STORE}")
    print(f"  {program} bom {MODEL} -o table")
    print(f"  {program} verify {MODEL} --key {PUB} -d {STORE} --verbose")


if __name__ == "__main__":
    main()
