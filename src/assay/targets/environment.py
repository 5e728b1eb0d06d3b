"""``env:`` targets: the distributions installed in a Python environment, and every file of theirs.

Files come from the distributions' RECORDs; those in site-packages that no RECORD lists (a planted ``.pth`` file, say)
are resources too, under ``unlisted/``. Nothing of the environment is ever run or imported: it is read as data.
Sources: "Recording installed projects", "Core metadata" and PEP 405 (``pyvenv.cfg``) of the packaging specifications.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from assay.errors import TargetError
from assay.targets.ignore import DEFAULT_IGNORES, Ignore, Selection
from assay.targets.installed import Distribution, read_distribution
from assay.targets.interface import Facts, Manifest, Options, Reference
from assay.targets.listing import Listing
from assay.targets.local import LocalTarget
from assay.targets.names import shown
from assay.targets.tree import check_names as check_names

_PATH_LIMIT = 4096  # PATH_MAX

UNLISTED = "unlisted"
"""Folder of the resources that no RECORD lists; a distribution's folder has a version in its name."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a Python environment's parts are."""

    prefix: str
    """Absolute, resolved folder: everything of the environment lies beneath."""
    sites: tuple[str, ...]
    """Absolute, resolved folders with installed distributions."""
    python: str | None
    """Version of its interpreter, where a file tells."""
    system_sites: bool
    """Its interpreter also sees the distributions of the one that it was made from (they are not part of it)."""


def find_environment(name: str) -> Environment:
    """The running interpreter's environment for ``""``, else a virtual environment's folder or a python's path."""
    if not name:
        import site

        prefix = os.path.realpath(sys.prefix)
        config = _pyvenv(prefix)
        version = ".".join(map(str, sys.version_info[:3]))
        return _environment(prefix, site.getsitepackages([sys.prefix]), version, config, name)
    if os.path.isdir(name):
        prefix = os.path.realpath(name)
    elif os.path.isfile(name):
        folder = os.path.realpath(os.path.dirname(os.path.abspath(name)))  # bin/python is a link, its folder is not
        prefix = os.path.dirname(folder)
        if not re.fullmatch(r"python[0-9.]*", os.path.basename(name)) or os.path.basename(folder) != "bin":
            raise TargetError(
                f"{shown(name)} is not a Python interpreter", hint="write env:VENV or env:VENV/bin/python"
            )
    else:
        raise TargetError(f"there is no environment {shown(name)}", hint="write env:VENV or env:VENV/bin/python")
    config = _pyvenv(prefix)
    told = config.get("version_info") or config.get("version")
    exact = re.match(r"\d+\.\d+", told or _version_of(name))
    sites = []
    for lib in ("lib", "lib64", "local/lib"):
        base = os.path.join(prefix, lib)
        for folder in sorted(os.listdir(base)) if os.path.isdir(base) else ():
            fits = folder == f"python{exact[0]}" if exact else re.fullmatch(r"python3\.\d+", folder)
            if fits or folder == "python3":
                sites += [os.path.join(base, folder, kind) for kind in ("site-packages", "dist-packages")]
    return _environment(prefix, sites, told, config, name)


def distributions(environment: Environment) -> list[Distribution]:
    """What is installed, sorted by name and version. Raises `TargetError` naming a distribution that is broken."""
    found = []
    for site in environment.sites:
        try:
            entries = sorted(os.listdir(site))
        except OSError as error:
            raise TargetError(f"the folder {shown(site)} cannot be read: {error.strerror}") from None
        found += [
            read_distribution(site, entry, environment.prefix)
            for entry in entries
            if entry.endswith((".dist-info", ".egg-info")) and not entry.startswith("~")
        ]
    return sorted(found, key=lambda one: (one.name.lower(), one.version, one.site))


def open_environment(reference: Reference, options: Options) -> EnvironmentTarget:
    """The target that an ``env:`` reference names.

    ``Facts.notes``: ``python``, ``system_site_packages``, ``distributions`` (see `Distribution.describe`), and, where
    there are any, ``missing`` (listed in a RECORD but not there), ``outside`` (listed, but beyond the environment),
    ``unrecorded`` (distributions without a RECORD). After `manifest` also ``modified``.
    """
    environment = find_environment(reference.name)
    name = os.path.basename(environment.prefix) or "python"
    check_names("", [name])
    installed = distributions(environment)
    collected = _Collected(environment.prefix, options)
    for one in installed:
        for path, sha256 in one.files:
            collected.add(one.folder, one.site, path, sha256)
    for site in environment.sites:
        for path in _unlisted(site, environment.prefix, collected):
            collected.add(UNLISTED, environment.prefix, path, None)
    listing, facts = collected.finish(options, reference)
    notes: dict[str, object] = {
        "python": environment.python,
        "system_site_packages": environment.system_sites,
        "distributions": [one.describe() for one in installed],
    }
    unrecorded = [one.folder for one in installed if not one.files]
    for key, values in (
        ("missing", collected.missing),
        ("outside", collected.outside),
        ("unrecorded", unrecorded),
    ):
        if values:
            notes[key] = sorted(values)
    facts = replace(facts, notes=notes)
    return EnvironmentTarget(reference, name, facts, listing, options, collected.expected)


class EnvironmentTarget(LocalTarget):
    """An environment's files. Digesting them tells which are not as their RECORD says."""

    def __init__(
        self,
        reference: Reference,
        name: str,
        facts: Facts,
        listing: Listing,
        options: Options,
        expected: Mapping[str, bytes],
    ) -> None:
        super().__init__(reference, name, facts, listing, options)
        self._expected = expected

    def manifest(self, *, sha256: bool = True, blake3: bool = True) -> Manifest:
        """As `LocalTarget.manifest`; with SHA-256, ``facts.notes["modified"]`` names what differs from its RECORD."""
        manifest = super().manifest(sha256=sha256, blake3=blake3)
        if sha256:
            modified = [r.name for r in manifest if self._expected.get(r.name, r.sha256) != r.sha256]
            self.facts = replace(self.facts, notes={**self.facts.notes, "modified": modified})
        return manifest

    def __enter__(self) -> EnvironmentTarget:
        return self


class _Collected:
    """Resources while they are found."""

    def __init__(self, prefix: str, options: Options) -> None:
        self.listed: set[str] = set()
        self.missing: list[str] = []
        self.outside: list[str] = []
        self.expected: dict[str, bytes] = {}
        self._prefix = prefix
        self._ignore = Ignore.of((DEFAULT_IGNORES if options.default_ignores else ()) + options.ignore)
        self._ignored: set[str] = set()
        self._folders: dict[str, str | None] = {}
        self._resolved: dict[str, bool] = {}
        self._found: dict[str, tuple[str, int]] = {}

    def add(self, folder: str, base: str, path: str, sha256: bytes | None) -> None:
        """One file: ``path`` beneath ``base``. It is called ``folder/path``, but a script by its path in the prefix."""
        full = os.path.normpath(os.path.join(base, path))
        if len(full) > _PATH_LIMIT:
            raise TargetError(f"a RECORD lists a path that is too long: {shown(path)}")
        if not full.startswith(self._prefix.rstrip("/") + "/"):
            self.outside.append(f"{folder}/{path}")
            return
        within = base.rstrip("/") + "/"
        name = f"{folder}/{full.removeprefix(within if full.startswith(within) else self._prefix + '/')}"
        relative = full.removeprefix(self._prefix.rstrip("/") + "/")
        self.listed.add(relative)
        label = self._left_out(name)
        if label is not None:
            self._ignored.add(label)
            return
        try:
            status = os.lstat(full)
        except (FileNotFoundError, NotADirectoryError):
            self.missing.append(name)
            return
        except (OSError, ValueError) as error:
            raise TargetError(f"{shown(name)} cannot be read: {error}") from None
        if not stat.S_ISREG(status.st_mode) or not self._plain(os.path.dirname(full)):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a link, or neither file nor folder"
            raise TargetError(f"{shown(name)} is {kind}, and has no digest", hint="leave it out with --ignore")
        if self._found.setdefault(name, (relative, status.st_size))[0] != relative:
            raise TargetError(f"two files of the environment would be called {shown(name)}")
        if sha256 is not None:
            self.expected[name] = sha256

    def finish(self, options: Options, reference: Reference) -> tuple[Listing, Facts]:
        """The listing of what `add` was told, limited to ``options.paths``."""
        names = sorted(self._found)
        if options.paths:
            selection = Selection.of(options.paths)
            hits = {name: selection.hits(name) for name in names}
            for k, glob in enumerate(options.paths):
                if not any(k in found for found in hits.values()):
                    raise TargetError(f"--path {glob!r} matches no file of {shown(str(reference))}")
            names = [name for name in names if hits[name]]
        if not names:
            raise TargetError(f"the environment {shown(str(reference))} has no files")
        for prefix, members in _by_folder(names).items():
            check_names(prefix, members)
        sizes = array("Q", (self._found[name][1] for name in names))
        paths = {i: self._found[name][0] for i, name in enumerate(names)}
        ignored = tuple(sorted(self._ignored))
        facts = Facts(ignored=ignored, ignore_rules=self._ignore.rules, part=options.paths)
        return Listing(self._prefix, names, sizes, paths), facts

    def _left_out(self, name: str) -> str | None:
        """The ignored name or folder (with a slash) that ``name`` is or lies in."""
        folder, _, base = name.rpartition("/")
        if folder not in self._folders:
            prefix, label = "", None
            for part in folder.split("/"):
                if self._ignore.matches(prefix, part + "/"):
                    label = f"{prefix}{part}/"
                    break
                prefix += part + "/"
            self._folders[folder] = label
        label = self._folders[folder]
        return label or (name if self._ignore.matches(folder + "/", base) else None)

    def _plain(self, folder: str) -> bool:
        """No component of ``folder`` is a link."""
        if folder not in self._resolved:
            self._resolved[folder] = os.path.realpath(folder) == folder
        return self._resolved[folder]


def _by_folder(names: Sequence[str]) -> dict[str, list[str]]:
    """Files and folders by the folder that they are in."""
    folders: dict[str, dict[str, None]] = {}
    for name in names:
        folder, _, base = name.rpartition("/")
        while True:
            inside = folders.setdefault(folder + "/" if folder else "", {})
            if base in inside:
                break
            inside[base] = None
            if not folder:
                break
            folder, _, base = folder.rpartition("/")
    return {folder: list(inside) for folder, inside in folders.items()}


def _unlisted(site: str, prefix: str, collected: _Collected) -> Iterator[str]:
    """Paths beneath ``prefix`` of the files in ``site`` that no RECORD lists."""

    def unreadable(error: OSError) -> None:
        raise TargetError(f"{shown(str(error.filename))} cannot be read: {error.strerror}")

    listed = set(collected.listed)
    for folder, folders, files in os.walk(site, onerror=unreadable):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in files + links:
            path = os.path.relpath(os.path.join(folder, name), prefix)
            if path not in listed:
                yield path


def _environment(
    prefix: str, sites: Sequence[str], version: str | None, config: Mapping[str, str], name: str
) -> Environment:
    found = dict.fromkeys(os.path.realpath(site) for site in sites if os.path.isdir(site))
    inside = tuple(site for site in found if site.startswith(prefix.rstrip("/") + "/"))
    if not inside:
        raise TargetError(
            f"{shown(name or prefix)} is not a Python environment: it has no site-packages",
            hint="write env:VENV or env:VENV/bin/python",
        )
    shared = config.get("include-system-site-packages", "false").lower() == "true"
    return Environment(prefix, inside, version, shared)


def _pyvenv(prefix: str) -> dict[str, str]:
    """``pyvenv.cfg``: lines of ``key = value``; empty where there is none."""
    try:
        with open(os.path.join(prefix, "pyvenv.cfg"), encoding="utf-8", errors="replace") as file:
            text = file.read(65536)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TargetError(f"{shown(os.path.join(prefix, 'pyvenv.cfg'))} cannot be read: {error.strerror}") from None
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}


def _version_of(name: str) -> str:
    """``3.11`` from the name of an interpreter, or what it is a link to."""
    found = re.search(r"python(\d+\.\d+)$", os.path.realpath(name))
    return found[1] if found else ""
