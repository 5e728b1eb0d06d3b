"""What lies under a name that an author gives: policies, rules of a catalogue and tests, each with its files.

It tells them apart by their first key and opens them for reading; it never reads what they say.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from assay import strict_yaml
from assay.errors import AssayError, UsageError
from assay.files import read_file
from assay.policy import bundles, reading
from assay.policy.reading.native import POLICY, RULE, Resolve
from assay.policy.sources import MAX_FILE, Loose, Sources

TEST = "assay-policy-test"
"""Key that tells a file of tests; its value is the version of the format."""

_ENDINGS = (".yaml", ".yml")
_MAX_FILES = 2_000
_SKIPPED = ("node_modules", "__pycache__")


@dataclass(frozen=True, slots=True)
class Place:
    """One file to look at."""

    what: str
    """``policy``, ``rule`` or ``test``."""
    name: str
    """What to call it in messages."""
    sources: Sources
    entry: str
    resolve: Resolve


def places(name: str) -> Iterator[Place]:
    """Everything under ``name``: a file, a folder, or a bundle (``builtin:…``, ``git:…@…``).

    Raises `AssayError` for what is not there or cannot be read, `UsageError` where there is nothing to look at.
    """
    if os.path.isdir(name):
        found = list(_folder(name))
        if not found:
            hint = "a policy is a YAML file that begins with 'assay-policy: 1'"
            raise UsageError(f"{name} holds no policy", hint=hint)
        yield from found
        return
    if os.path.isfile(name):
        folder, entry = os.path.split(os.path.abspath(name))
        yield _place(_what(name) or "policy", name, Loose(folder, f"file:{entry}"), entry)
        return
    bundle = bundles.read(bundles.parse(name))
    shown = name.partition("#")[0] if bundle.uri.startswith("builtin:") else f"{name.partition('#')[0]}#{bundle.entry}"
    yield _place("policy", shown, bundle.sources, bundle.entry)


def told(data: bytes, name: str) -> str | None:
    """Whether a YAML file is a ``policy``, a ``rule`` or a ``test``; None for anything else. Raises `DocumentError`."""
    if not any(key.encode() in data for key in (TEST, RULE)):
        return "policy" if reading.is_policy(data, name) else None
    keys = strict_yaml.loads(data, name)
    keys = keys if isinstance(keys, dict) else {}
    return "test" if TEST in keys else "rule" if RULE in keys else "policy" if reading.is_policy(data, name) else None


def _folder(root: str) -> Iterator[Place]:
    seen = 0
    # One view of the whole folder, as of a bundle: rules and programs lie beside the policies that use them.
    sources = Loose(root, f"dir:{os.path.basename(os.path.abspath(root))}")
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(item for item in folders if not item.startswith(".") and item not in _SKIPPED)
        for file in sorted(files):
            if not file.endswith(_ENDINGS):
                continue
            seen += 1
            if seen > _MAX_FILES:
                raise UsageError(f"{root} holds more than {_MAX_FILES:,} YAML files", hint="name a smaller folder")
            path = os.path.join(folder, file)
            what = _what(path)
            if what is not None:
                yield _place(what, path, sources, os.path.relpath(path, root).replace(os.sep, "/"))


def _what(path: str) -> str | None:
    try:
        return told(read_file(path, MAX_FILE), path)
    except AssayError:
        # Nothing that assay would read as YAML: worth a word only when it was meant to be a policy.
        try:
            with open(path, "rb") as file:
                start = file.read(1 << 16)
        except OSError:
            return None
    meant = {"policy": POLICY, "rule": RULE, "test": TEST}
    return next((what for what, key in meant.items() if f"{key}:".encode() in start), None)


def _place(what: str, name: str, sources: Sources, entry: str) -> Place:
    return Place(what, name, sources, entry, bundles.resolver(sources, bundles.catalogue()))
