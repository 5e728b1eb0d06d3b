"""The main job in one run: train a model, attest data set and model, verify, decide, and catch a single flipped bit.

Every step is the real command line, printed before it runs. Everything is written to ``demo-run/``; your own keys and
evidence are not touched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path("demo-run")
KEY, PUB, STORE = HERE / "keys/demo.pem", HERE / "keys/demo.pub", HERE / "evidence"
POLICY = os.path.relpath(Path(__file__).parent / "policy.yml")
DATA, MODEL = HERE / "breast-cancer", HERE / "tumour-classifier"

CARD = """---
license: mit
library_name: sklearn
pipeline_tag: tabular-classification
datasets:
  - breast-cancer
language: en
metrics:
  - accuracy
model-index:
  - name: tumour-classifier
    results:
      - task: {{type: tabular-classification}}
        dataset: {{name: breast-cancer, type: breast-cancer}}
        metrics:
          - {{type: accuracy, value: {accuracy:.4f}}}
---
# Tumour classifier

A random forest on the Wisconsin diagnostic breast cancer data (569 rows, 30 measurements of cell nuclei), made by
assay's demo. Accuracy on the held-out quarter: {accuracy:.1%}.
"""


def train() -> float:
    """Write the data set, the model, its card and its evaluation; return the accuracy."""
    import joblib
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import accuracy_score
    from sklearn.model_selection import train_test_split

    source = load_breast_cancer()
    DATA.mkdir(parents=True)
    header = ",".join([*(name.replace(" ", "_") for name in source.feature_names), "diagnosis"])
    rows = [
        ",".join([*map(repr, map(float, row)), source.target_names[label]])
        for row, label in zip(source.data, source.target, strict=True)
    ]
    (DATA / "data.csv").write_text("\n".join([header, *rows]) + "\n")
    (DATA / "README.md").write_text(
        "---\nlicense: cc-by-4.0\ntask_categories: [tabular-classification]\n---\n"
        "Breast Cancer Wisconsin (Diagnostic), Wolberg, Mangasarian, Street and Street, UCI, 1993.\n"
    )
    x, x_test, y, y_test = train_test_split(source.data, source.target, random_state=0, stratify=source.target)
    forest = RandomForestClassifier(n_estimators=50, random_state=0).fit(x, y)
    accuracy = float(accuracy_score(y_test, forest.predict(x_test)))
    MODEL.mkdir()
    joblib.dump(forest, MODEL / "model.joblib")
    (MODEL / "README.md").write_text(CARD.format(accuracy=accuracy))
    evaluation = {"dataset": "breast-cancer, held-out quarter", "metrics": {"accuracy": accuracy}}
    (HERE / "evaluation.json").write_text(json.dumps(evaluation, indent=2))
    return accuracy


def assay(*arguments: object, expect: int = 0) -> None:
    """Run one command as a user would; anything but the expected exit code ends the demo."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ assay {' '.join(words)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "assay", *words], check=False).returncode
    if code != expect:
        sys.exit(f"the demo expected exit code {expect} and got {code}")


def main() -> None:
    """The demo."""
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    print("Training a random forest on a real data set …", flush=True)
    print(f"  accuracy {train():.1%}; data set in {DATA}, model in {MODEL}")

    print("\n# A key pair: the private half signs, the public half is what verifiers get.")
    assay("keys", "generate", "-O", KEY)
    print("\n# State what is in the data set and in the model, read from their bytes, and sign it.")
    assay("bom", DATA, "-o", "attest", "--key", KEY, "-d", STORE)
    assay("bom", MODEL, "-o", "attest", "--key", KEY, "-d", STORE)
    print("\n# Bind the evaluation to the model's bytes, and sign the model so that other tools can verify it too.")
    assay("attest", MODEL, "--type", "evaluation", "--predicate", HERE / "evaluation.json", "--key", KEY, "-d", STORE)
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
    run = os.path.join(os.path.dirname(os.path.relpath(sys.executable)), "assay")
    print(f"  {run} evidence list -d {STORE}")
    print(f"  {run} bom {MODEL} -o table")
    print(f"  {run} verify {MODEL} --key {PUB} -d {STORE} --verbose")


if __name__ == "__main__":
    main()
