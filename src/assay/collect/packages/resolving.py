"""Which versions fit together: asked of the user's own uv or pip. There is no resolver here.

Wheels only, because a source distribution runs its author's program to say what it needs. What the tool prints is
shown without passwords.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from packaging.requirements import Requirement

from assay.collect.packages.files import name_of
from assay.collect.packages.findings import clean
from assay.collect.packages.requirements import Wanted
from assay.collect.packages.settings import Settings, environment, pip_command, run
from assay.errors import RejectedError, UndecidedError, UsageError
from assay.evidence import strict_json

TOOLS = ("auto", "uv", "pip")
"""Who resolves."""

_MAX_REPORT = 256 << 20


@dataclass(frozen=True, slots=True)
class Chosen:
    """A version that was chosen."""

    name: str
    version: str
    sha256: str | None = None
    """Of the file that would be installed here; uv does not say which."""
    filename: str | None = None
    direct: bool = False
    """From an address, not from an index."""


class NothingFitsError(RejectedError):
    """No versions fit together."""

    def __init__(self, tool: str, said: str, names: Collection[str]) -> None:
        super().__init__(f"{tool} found no versions that fit: {said}")
        self.names = tuple(names)
        """The packages that the tool names."""


def choose(
    wanted: Wanted,
    settings: Settings,
    *,
    tool: str = "auto",
    python: str | None = None,
    sdists: Collection[str] = (),
    pinned: bool = False,
    before: datetime | None = None,
) -> tuple[str, list[Chosen]]:
    """The tool that was asked, and the versions it chose.

    ``python`` (``3.12``) is the interpreter to resolve for, ``sdists`` are packages that may be built from source,
    ``pinned`` says that some names may come from one index only, and ``before`` is told to uv, which then leaves out
    what is younger. Raises `AssayError`.
    """
    if tool not in TOOLS:
        raise UsageError(f"unknown tool {tool!r}", hint=f"one of: {', '.join(TOOLS)}")
    # uv does not say of which file it believed the dependencies. Another index's file of the same version could smuggle
    # one in, and the pinned index's bytes would then be locked beside it. pip's report names the file.
    uv = shutil.which("uv") if tool != "pip" and not sdists and not pinned else None
    if tool == "uv" and uv is None:
        raise UsageError(
            "uv is not on the path, or cannot do this: --allow-sdist and --from are for pip", hint="leave out --with uv"
        )
    with tempfile.TemporaryDirectory(prefix="assay-lock-") as folder:
        files = []
        for name, entries in (("requirements.in", wanted.requirements), ("constraints.txt", wanted.constraints)):
            if entries:
                files.append(os.path.join(folder, name))
                with open(files[-1], "w", encoding="utf-8") as file:
                    file.write("".join(f"{entry}\n" for entry in entries))
        if uv is not None:
            return "uv", _uv(uv, files, settings, python, before)
        return "pip", _pip(files, folder, settings, python, sdists)


def _pip(
    files: list[str], folder: str, settings: Settings, python: str | None, sdists: Collection[str]
) -> list[Chosen]:
    report = os.path.join(folder, "report.json")
    command = [*pip_command(python), "install", "--dry-run", "--ignore-installed", "--quiet"]
    command += ["--only-binary", ":all:", *(part for name in sorted(sdists) for part in ("--no-binary", name))]
    command += ["--report", report, "-r", files[0], *(part for path in files[1:] for part in ("-c", path))]
    answer = run(command, environment())
    if answer.returncode:
        raise _failed("pip", answer.stderr, settings)
    with open(report, "rb") as file:
        document = strict_json.loads(file.read(_MAX_REPORT + 1), "pip's report", max_bytes=_MAX_REPORT)
    try:
        return [_installed(entry) for entry in document["install"]]
    except (KeyError, TypeError, AttributeError):
        raise UndecidedError("pip's report is not in a form that is known here") from None


def _installed(entry: dict[str, dict[str, object]]) -> Chosen:
    info, metadata = entry["download_info"], entry["metadata"]
    archive = info.get("archive_info")
    hashes = archive.get("hashes", {}) if isinstance(archive, dict) else {}
    filename = str(info.get("url")).partition("#")[0].rpartition("/")[2]
    digest = hashes.get("sha256") if isinstance(hashes, dict) else None
    return Chosen(
        name_of(str(metadata["name"])), str(metadata["version"]), digest, clean(filename), bool(entry.get("is_direct"))
    )


def _uv(uv: str, files: list[str], settings: Settings, python: str | None, before: datetime | None) -> list[Chosen]:
    command = [uv, "pip", "compile", files[0], "--only-binary", ":all:", "--no-config"]
    command += ["--no-header", "--no-annotate", "--no-progress", "--color", "never", "--no-python-downloads"]
    # As pip does: the best of all indexes. Which of them may serve a name is judged afterwards, for both tools.
    command += ["--index-strategy", "unsafe-best-match"]
    command += ["--python-version", python] if python else ["--python", sys.executable]
    for constraint in (*files[1:], *settings.constraints):
        command += ["--constraints", constraint]
    if before is not None:
        command += ["--exclude-newer", before.strftime("%Y-%m-%dT%H:%M:%SZ")]
    answer = run(command, _uv_environment(settings))
    if answer.returncode:
        raise _failed("uv", answer.stderr, settings)
    found = []
    for line in answer.stdout.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            parsed = Requirement(line.strip())
            versions = [item.version for item in parsed.specifier]
            found.append(Chosen(name_of(parsed.name), versions[0] if versions else "", direct=parsed.url is not None))
    return found


def _uv_environment(settings: Settings) -> dict[str, str]:
    """uv with pip's places. In the environment, not among the arguments, which every user of the machine can read."""
    foreign = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX", "UV_CONSTRAINT")
    made = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    indexes = [source.url for source in settings.sources if not source.flat]
    links = [source.url for source in settings.sources if source.flat]
    if indexes:
        made["UV_DEFAULT_INDEX"] = indexes[0]
        if indexes[1:]:
            made["UV_INDEX"] = " ".join(indexes[1:])
    else:
        made["UV_NO_INDEX"] = "1"
    if links:
        made["UV_FIND_LINKS"] = ",".join(links)
    if settings.certificates:
        made["SSL_CERT_FILE"] = settings.certificates
    return made


def _failed(tool: str, said: str, settings: Settings) -> Exception:
    """pip's or uv's own words about why, as an error of ours."""
    text = settings.scrub(said)
    spoken = [line.strip() for line in text.splitlines() if line.strip()]
    last = [line for line in spoken if not line.startswith(("warning", "WARNING", "[notice]"))]
    errors = [line.removeprefix("ERROR: ") for line in last if line.startswith("ERROR")] or last[-8:]
    short = clean("; ".join(errors), 400) or "it did not say why"
    if re.search(r"DO NOT MATCH THE HASHES|Hash mismatch", text):
        return RejectedError(f"the index serves other bytes than it says: {short}")
    if re.search(r"No matching distribution|ResolutionImpossible|No solution found|Cannot install", text):
        names = re.findall(r"No matching distribution found for ([A-Za-z0-9._-]+)", text)
        names += re.findall(r"[Bb]ecause(?: only)? ([A-Za-z0-9._-]+)", text)
        return NothingFitsError(tool, short, names)
    return UndecidedError(f"{tool} gave up: {short}")
