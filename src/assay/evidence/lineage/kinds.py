"""Words for steps and artifacts: a guess from names for people to read. No edge and no count rests on it."""

from __future__ import annotations

import re
from collections.abc import Iterable

_STEPS = (
    ("fine-tuning", r"fine[-_ ]?tun|finetun|\bsft\b|\blora\b|\bdpo\b|\brlhf\b|adapt"),
    ("quantising", r"quanti[sz]|\bgguf\b|\bgptq\b|\bawq\b|int[48]\b"),
    ("merging", r"\bmerge|mergekit|\bsoup\b|model[-_ ]?averag"),
    ("evaluation", r"\beval|benchmark|\btest(s|ing)?\b|validat|\bscore"),
    ("deployment", r"deploy|\bserv(e|ing)\b|rollout|promote|admission"),
    ("packaging", r"packag|\brelease|\bpublish|\bexport|\bconvert|\bbundle|docker|\bimage\b|container|\bsign\b"),
    ("training", r"train|\bfit\b|\blearn"),
    ("preparation", r"prep|clean|split|tokeni[sz]|download|ingest|extract|feature|label|dedup|filter|dataset"),
)
_MODEL = re.compile(
    r"\.(safetensors|gguf|ggml|onnx|pt|pth|ckpt|h5|keras|pkl|pickle|joblib|tflite|bin|pb|mar|nemo|skops)$"
)
_DATA = re.compile(r"\.(csv|tsv|parquet|jsonl|ndjson|arrow|feather|tfrecord|npz|npy|avro|orc|txt|tar)$")
_CODE = re.compile(r"\.(py|ipynb|sh|r|jl|yaml|yml|toml)$")
_WORDS = (
    ("dataset", re.compile(r"(^|[-_/. ])(data|dataset|corpus|raw|train|valid)([-_/. ]|$)", re.IGNORECASE)),
    ("model", re.compile(r"(^|[-_/. ])(model|weights|checkpoint|bert|llama)([-_/. ]|$)", re.IGNORECASE)),
)
_PATTERNS = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _STEPS)


MAKES = {
    "preparation": "dataset",
    "training": "model",
    "fine-tuning": "model",
    "merging": "model",
    "quantising": "model",
    "evaluation": "report",
}
"""What a kind of step makes, for products whose names do not tell."""


READS = {"preparation": "dataset", "training": "dataset"}
"""What it reads, for inputs whose names do not tell."""


def of_place(name: str) -> str:
    """Where an artifact went: a release has a package URL, anything else is a service."""
    return "release" if name.startswith("pkg:") else "service"


def of_step(name: str, build_type: str, command: str, inputs: Iterable[str], outputs: Iterable[str]) -> str:
    """The kind of a step: from its name, else its build type, else its command, else the kinds that it reads and
    makes.
    """
    for text in (name, build_type.rpartition("://")[2], command):
        for kind, pattern in _PATTERNS:
            if pattern.search(text):
                return kind
    read, made = list(inputs), set(outputs)
    if "service" in made:
        return "deployment"
    if "model" in made:
        models = read.count("model")
        return "merging" if models > 1 else "fine-tuning" if models else "training" if "dataset" in read else "build"
    return "preparation" if made == {"dataset"} else "build"


def of_artifact(name: str) -> str:
    """The kind of an artifact by its name; empty when the name does not tell."""
    lower = name.lower().split("@")[0]
    for kind, endings in (("model", _MODEL), ("dataset", _DATA), ("code", _CODE)):
        if endings.search(lower):
            return kind
    if lower.startswith(("oci:", "docker:", "docker-pullable:", "pkg:docker", "pkg:oci")):
        return "image"
    if lower.startswith("git+"):
        return "code"
    return next((kind for kind, pattern in _WORDS if pattern.search(lower)), "")
