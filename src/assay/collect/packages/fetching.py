"""The wheels of a lock, downloaded by the user's own pip and held against the lock's hashes once more."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion

from assay.collect.packages.files import sha256_of
from assay.collect.packages.findings import Finding, clean
from assay.collect.packages.locks import Locked, render
from assay.collect.packages.settings import Settings, environment, pip_command, run
from assay.errors import RejectedError, UndecidedError


def download(packages: Sequence[Locked], folder: str, settings: Settings, python: str | None = None) -> None:
    """Put one wheel a package into ``folder``. Raises `RejectedError` (other bytes) and `UndecidedError`."""
    with tempfile.TemporaryDirectory(prefix="assay-fetch-") as place:
        # The packages as they were read, not the file: no line that was not understood reaches pip.
        lock = os.path.join(place, "lock.txt")
        with open(lock, "wb") as file:
            file.write(render(packages))
        command = [*pip_command(python), "download", "--quiet", "--only-binary", ":all:", "--require-hashes"]
        answer = run([*command, "--no-deps", "--dest", folder, "-r", lock], environment())
    if answer.returncode == 0:
        return
    text = settings.scrub(answer.stderr)
    names = re.findall(r"No matching distribution found for ([A-Za-z0-9._=+!-]+)", text)
    if "DO NOT MATCH THE HASHES" in text:
        named = re.findall(r"^\s{4}([A-Za-z0-9._-]+==[^\s]+) from", text, re.MULTILINE)
        what = ", ".join(clean(name, 80) for name in named) or "a package"
        raise RejectedError(f"the index serves other bytes of {what} than were locked")
    if names:
        raise UndecidedError(f"there is no wheel of {clean(', '.join(names), 200)} for this machine with a locked hash")
    errors = [line.removeprefix("ERROR: ") for line in text.splitlines() if line.startswith("ERROR")]
    raise UndecidedError(f"pip could not download: {clean('; '.join(errors), 400) or 'it did not say why'}")


def compare(packages: Sequence[Locked], folder: str) -> tuple[dict[str, Locked], list[Finding]]:
    """The wheels in ``folder`` (file name to package), and what is missing there, too much, or other than locked."""
    wanted: dict[tuple[str, str], list[Locked]] = {}
    for package in packages:
        wanted.setdefault((package.name, package.version), []).append(package)
    found: dict[str, Locked] = {}
    findings: list[Finding] = []
    there: set[str] = set()
    for filename in sorted(os.listdir(folder)):
        path = os.path.join(folder, filename)
        if not filename.endswith(".whl") or os.path.islink(path) or not os.path.isfile(path):
            continue
        try:
            name, version, _, _ = parse_wheel_filename(filename)
        except (InvalidWheelFilename, InvalidVersion):
            findings.append(Finding("name", clean(ascii(filename)), "it is not the name of a wheel"))
            continue
        entries = wanted.get((str(name), str(version)), [])
        digest = sha256_of(path)
        match = next((entry for entry in entries if digest in entry.hashes), None)
        if match is None:
            why = "other bytes than were locked" if entries else "it is not in the lock"
            findings.append(Finding("wrong-wheel", f"{name}=={version}", f"{filename}: {why}"))
        else:
            found[filename] = match
            there.add(match.name)
    for package in packages:
        if package.name not in there and package.marker is None:
            findings.append(Finding("missing-wheel", package.pin, "its wheel is missing"))
    return found, findings
