"""`assay doctor`: what works here, and what is missing for what."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import metadata, util

from assay.cli import printing

EXTRAS = {
    "keyless": ("sigstore", "Sigstore keyless signing and verification (--keyless, --identity)"),
    "hub": ("huggingface_hub", "hf: targets"),
    "data": ("pyarrow", "Parquet and Arrow files in bills of materials, Parquet in scans for poisoning"),
    "poisoning": ("sklearn", "assay scan --poisoning"),
    "archives": ("zstandard", "what Zstandard and LZ4 have compressed, in scans"),
    "keras": ("h5py", "tensors of Keras and HDF5 files in bills of materials"),
    "notebook": ("nbclient", "assay run NOTEBOOK.ipynb"),
    "gpu": ("pynvml", "use of NVIDIA GPUs in traces of assay run"),
    "watch": ("polars", "assay baseline and assay monitor"),
    "charts": ("matplotlib", "pictures of assay monitor report and check --report"),
    "postgres": ("psycopg", "monitoring kept in PostgreSQL, and data read from it"),
    "gateway": ("httptools", "assay gateway"),
    "simulate": ("art", "assay gateway simulate"),
    "prometheus": ("prometheus_client", "exports of monitoring to Prometheus"),
    "otel": ("opentelemetry.exporter.otlp.proto.http", "exports of monitoring and of the gateway to OpenTelemetry"),
    "aws": ("boto3", "exports of monitoring to CloudWatch"),
    "spark": ("pyspark", "profiles on Spark"),
    "dask": ("distributed", "profiles on Dask"),
    "ray": ("ray", "profiles on Ray Data"),
    "alerts": ("apprise", "alerts to mail, chat and the other services of Apprise"),
}
"""Extra to (module, what it is for)."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument("-d", "--directory", metavar="DIR", help="evidence directory")
    parser.add_argument("-c", "--config", metavar="FILE", help="configuration instead of assay.yaml")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Look around; exit code 1 when something that is set up does not work."""
    import shutil

    import assay
    from assay.api.anchors import public_path
    from assay.api.keeping import store_path
    from assay.config import default_key, load

    config = load(parsed.config)
    rows: list[tuple[str, str, str]] = [
        ("ok", "assay", f"{assay.__version__}, Python {sys.version.split()[0]}, {cores()} core(s)"),
    ]
    for name in ("cryptography", "blake3", "msgspec"):
        rows.append(("ok", name, metadata.version(name)))
    git = shutil.which("git")
    rows.append(("ok", "git", git) if git else ("missing", "git", "git: targets need the git program"))
    for extra, (module, purpose) in EXTRAS.items():
        if not _installed(module):
            rows.append(("missing", f"assay[{extra}]", f"{purpose}: pip install '.[{extra}]' in assay's folder"))
        else:
            rows.append(("ok", f"assay[{extra}]", purpose))
    rows.append(_key(default_key(), public_path(default_key())))
    rows.append(_digests())
    rows.append(_store(store_path(parsed.directory, config)))
    rows += _sandbox()
    if parsed.json:
        printing.as_json([{"state": state, "name": name, "text": text} for state, name, text in rows])
    else:
        for state, name, text in rows:
            printing.line(f"{state:8}{name:18}{text}")
    return 1 if any(state == "broken" for state, _, _ in rows) else 0


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _installed(module: str) -> bool:
    try:
        return util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a dotted name whose parent is not there
        return False


def _key(private: str, public: str) -> tuple[str, str, str]:
    from assay.evidence.keys import load_public

    if not os.path.isfile(private):
        return "missing", "signing key", "none yet: assay keys generate"
    if os.stat(private).st_mode & 0o077:
        return "broken", "signing key", f"{private} can be read by others: chmod 600"
    try:
        with open(public, "rb") as file:
            key = load_public(file.read(), public)
    except Exception as error:
        return "broken", "signing key", str(error)
    return "ok", "signing key", f"{private} ({key.algorithm}, id {key.key_id[:16]})"


def _digests() -> tuple[str, str, str]:
    """Which way small files are digested, since it decides the speed on large data sets."""
    from assay.targets.digest.pool import can_fork

    if can_fork():
        return "ok", "digests", "forked workers"
    return "ok", "digests", "threads (this platform or process cannot fork workers)"


def _store(path: str) -> tuple[str, str, str]:
    from assay.errors import AssayError
    from assay.evidence.stores import open_directory

    if not os.path.isdir(path):
        return "ok", "evidence", f"{path} (not made yet)"
    try:
        with open_directory(path, create=False) as store:
            return "ok", "evidence", f"{path} ({store.head().seq} entries)"
    except AssayError as error:
        return "broken", "evidence", error.message


def _sandbox() -> list[tuple[str, str, str]]:
    """What holds and watches the steps of `assay run` here."""
    from assay.guard.sandbox.describing import describe
    from assay.guard.sandbox.probe import probe

    return [("ok" if fact.works else "missing", fact.name, fact.text) for fact in describe(probe(everything=True))]
