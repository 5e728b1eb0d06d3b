"""Bills of materials as values, for the tests of the documents."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from blake3 import blake3

from assay.collect.bom.build import Bom
from assay.collect.bom.interface import Card, Column, DataFile, Licence, Package
from assay.collect.headers.interface import ModelFile, Tensor
from assay.targets.interface import DIGEST, SEGMENT, Facts, Manifest, Reference

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMMIT = "c0ffee" * 6 + "c0ff"


def manifest(files: Mapping[str, bytes], *, single: bool = False) -> Manifest:
    """A manifest of these contents."""
    names = sorted(files)
    segments = {}
    whole = b""
    for i, name in enumerate(names):
        data = files[name]
        if len(data) > SEGMENT:
            segments[i] = b"".join(blake3(data[at : at + SEGMENT]).digest() for at in range(0, len(data), SEGMENT))
            whole += bytes(DIGEST)
        else:
            whole += blake3(data).digest()
    return Manifest(
        names,
        array("Q", [len(files[name]) for name in names]),
        b"".join(hashlib.sha256(files[name]).digest() for name in names),
        whole,
        segments,
        single=single,
    )


def synthetic(count: int) -> Manifest:
    """A manifest of that many small files with long names."""
    names = sorted(f"images/part-{i % 97:03d}/image-{i:07d}.jpeg" for i in range(count))
    digests = b"".join(i.to_bytes(DIGEST, "big") for i in range(count))
    return Manifest(names, array("Q", range(count)), digests, digests)


FILES = {
    "README.md": b"card",
    "config.json": b"{}",
    "model.safetensors": b"w" * (SEGMENT + 5),
    "data/train.csv": b"a,b\n1,2\n",
    "empty": b"",
    "nämé with space.txt": b"x",
}

TENSORS = (Tensor("encoder.weight", "f32", (4, 3)), Tensor("encoder.bias", "bf16", (4,)), Tensor("scale", "f32", ()))

MODEL = ModelFile(
    "model.safetensors",
    "onnx",
    tensors=TENSORS,
    parameters=17,
    quantisation="int8",
    metadata={"format": "pt", "inputs": "input_ids int64[batch,seq]"},
    warnings=["a header of odd size"],
)

CARD = Card(
    "README.md",
    "model",
    title="A tagger",
    architecture="BertForTokenClassification",
    task="token-classification",
    base_models=("org/base", "./local"),
    datasets=("conll2003", "org/däta"),
    languages=("en", "de"),
    tags=("pytorch",),
    licences=(Licence("MIT", True, "README.md#license"), Licence("MIT", True, "LICENSE")),
    metrics=({"type": "f1", "value": "0.91", "dataset": "conll2003"},),
    library="transformers",
    metadata={"model_type": "bert"},
)

DATA = DataFile("data/train.csv", "csv", rows=1, columns=(Column("a", "int64"), Column("b", "int64")))

PACKAGES = (
    Package("numpy", None, "pkg:pypi/numpy", "declared", "pyproject.toml", "numpy>=2", direct=True),
    Package(
        "numpy",
        "2.0.1",
        "pkg:pypi/numpy@2.0.1",
        "locked",
        "uv.lock",
        hashes=(("SHA-256", "0" * 64), ("SHA-256", "1" * 64)),
        licences=(Licence("BSD-3-Clause AND MIT", True, "METADATA#License-Expression"),),
        direct=True,
    ),
    Package("six", None, "pkg:pypi/six", "declared", "pyproject.toml", "six", direct=True),
)

BOM = Bom(
    name="tagger",
    reference=Reference("hf", "org/tagger", COMMIT),
    facts=Facts(
        origin="https://huggingface.co/org/tagger",
        revision=COMMIT,
        digests={"gitCommit": COMMIT},
        ignored=(".git/",),
        ignore_rules=(".git",),
    ),
    manifest=manifest(FILES),
    kind="model",
    models=(MODEL,),
    cards=(CARD,),
    data=(DATA,),
    packages=PACKAGES,
    time=NOW,
    warnings=("requirements.txt line 3: 'x y' is not a requirement",),
)

VARIANTS = {
    "model": BOM,
    "dataset": replace(BOM, kind="dataset", models=(), cards=(replace(CARD, kind="dataset"),)),
    "code": replace(BOM, kind="code", reference=Reference("dir", "/home/me/secret/tagger"), facts=Facts()),
    "environment": replace(BOM, kind="environment", models=(), cards=(), data=()),
    "file": replace(
        BOM, kind="file", models=(), cards=(), data=(), packages=(), manifest=manifest({"x.bin": b"1"}, single=True)
    ),
    "bare": replace(BOM, models=(), cards=(), data=(), packages=(), warnings=()),
}
