"""A labelled corpus of attacks and honest artifacts: `generate` writes it, `corpus.proving` runs it.

Attacks follow the public literature technique by technique, not the scanner's rules; honest artifacts come from the
real libraries. No payload does more than make an empty file in its working folder.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from corpus.sample import Draft, Sample

ATTACKS = (
    "gadgets",
    "programs",
    "calls",
    "streams",
    "zips",
    "carriers",
    "saved_arrays",
    "nesting",
    "keras",
    "graphs",
    "weights",
    "repositories",
    "polyglots",
)
HONEST = ("honest_sklearn", "honest_arrays", "honest_torch", "honest_boosters", "honest_others")


def generate(folder: Path, parts: tuple[str, ...] = (*ATTACKS, *HONEST)) -> list[Sample]:
    """Write the corpus: one folder per sample under ``samples``, and ``manifest.json``. Returns the samples in order.

    The same versions of the libraries give the same bytes, but for what their writers stamp with the time.
    """
    samples = []
    for part in parts:
        for draft in import_module(f"corpus.{part}").drafts():
            samples.append(_write(folder, len(samples), draft))
    document = {"samples": [asdict(sample) for sample in samples]}
    (folder / "manifest.json").write_text(json.dumps(document, indent=1) + "\n")
    return samples


def _write(folder: Path, number: int, draft: Draft) -> Sample:
    slug = re.sub(r"[^a-z0-9]+", "-", draft.technique.lower()).strip("-")[:60]
    base = Path("samples") / f"{number:04d}-{slug}"
    names = list(draft.files)
    for name, data in draft.files.items():
        path = folder / base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Sample(
        base.as_posix(),
        (base / names[0]).as_posix(),
        draft.label,
        draft.family,
        draft.technique,
        draft.cve,
        draft.loader,
        draft.harm,
    )
