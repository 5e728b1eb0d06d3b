"""`assay.yaml` as typed values, and the places where assay keeps things. Imports only the ground floor.

The file may grant trust. A downloaded model must not bring its own list of people to believe, so trust is never taken
from a file that was merely found inside of the target (`Config.grants_itself`).
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from assay import strict_yaml
from assay.errors import DocumentError
from assay.files import read_file

MAX_BYTES = 1 << 20
"""Largest configuration file that is read."""


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who signs with Sigstore."""

    identity: str
    """E-mail or URI in the signing certificate."""
    issuer: str
    """URL of the OIDC issuer that vouched for it."""


class Authority(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody whom a certificate authority vouches for."""

    ca: str
    """PEM file with the authority's certificates."""
    identity: str
    """Name in the signing certificate."""


class Trust(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose signatures count for which targets."""

    targets: list[str] = msgspec.field(default_factory=lambda: ["*"])
    """Globs over ``scheme:name``; the first rule that fits a target decides."""
    keys: list[str] = []
    """Public key files (PEM)."""
    identities: list[Identity] = []
    certificates: list[Authority] = []
    trust_root: str | None = None
    """Sigstore trust root or client trust configuration of a private deployment."""


class Signing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who signs when no flag says so."""

    key: str | None = None
    """Private key file (PEM)."""
    certificate: str | None = None
    """PEM file: the key's certificate and its intermediates."""
    keyless: bool = False
    """Sign with a Sigstore identity."""
    trust_config: str | None = None
    """Sigstore client trust configuration of a private deployment."""


class PolicyChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The policy that decides when no flag names another."""

    use: str
    """A file, ``builtin:NAME``, or a bundle (``dir:``, ``git:``, ``oci:``)."""
    inputs: dict[str, Any] = {}
    """Values for its inputs."""
    signed_by: Trust | None = None
    """Who must have signed the bundle, whichever it is; without it a bundle need not be signed."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    version: int = 1
    evidence: str | None = None
    """Evidence directory."""
    signing: Signing = Signing()
    trust: list[Trust] = []
    require_sha256: bool = False
    """Never accept BLAKE3 in place of SHA-256 when verifying."""
    policy: PolicyChoice | None = None
    """What `assay verify` asks unless a flag names another."""
    alerts: dict[str, Any] = {}
    """Who is told of violations: see `assay.alerts.settings`."""
    scan: dict[str, Any] = {}
    """How models and data are scanned: see `assay.collect.scan.models.settings`."""
    labels: dict[str, str] = {}
    """Labels that every new statement carries."""
    directory: str = ""
    """Where the file lies; set while loading. Relative paths in it start there."""
    found: bool = False
    """Found and not named by the caller; set while loading."""

    def path(self, value: str) -> str:
        """A path of this file as an absolute one."""
        return os.path.normpath(os.path.join(self.directory or os.getcwd(), os.path.expanduser(value)))

    def policy_reference(self) -> str | None:
        """The policy that this file names: a plain path as an absolute one, anything else as it is."""
        if self.policy is None:
            return None
        use = self.policy.use
        scheme = use.partition(":")[0]
        return use if scheme in ("builtin", "git", "oci") or "://" in use else self._located(use)

    def _located(self, use: str) -> str:
        prefix = "dir:" if use.startswith("dir:") else ""
        path, mark, fragment = use.removeprefix(prefix).partition("#")
        return prefix + self.path(path) + mark + fragment

    def grants_itself(self, inside: str) -> bool:
        """Whether this file was merely found in the folder ``inside``, which is about to be verified, or below it."""
        if not self.found:
            return False
        place = os.path.realpath(self.directory)
        return os.path.commonpath([place, inside]) == inside

    def trust_for(self, reference: str) -> Trust | None:
        """The first rule for a target, given as ``scheme:name``."""
        for rule in self.trust:
            if any(fnmatchcase(reference, glob) for glob in rule.targets):
                return rule
        return None


def load(path: str | None) -> Config:
    """The configuration: ``path``, else ``assay.yaml`` here, else the user's, else the defaults.

    Raises `UsageError` or `DocumentError`.
    """
    if path is not None:
        return parse(read_file(path, MAX_BYTES), path)
    for candidate in ("assay.yaml", os.path.join(config_home(), "assay.yaml")):
        if os.path.isfile(candidate):
            return msgspec.structs.replace(parse(read_file(candidate, MAX_BYTES), candidate), found=True)
    return Config()


def parse(data: bytes, name: str) -> Config:
    """A configuration from YAML bytes. Raises `DocumentError` naming the file and the field."""
    document = load_yaml(data, name)
    try:
        config = msgspec.convert({} if document is None else document, Config)
    except msgspec.ValidationError as error:
        raise DocumentError(f"{name}: {error}") from None
    if config.version != 1:
        raise DocumentError(f"{name}: version {config.version} is not known here, only 1")
    if config.directory or config.found:
        raise DocumentError(f"{name}: 'directory' and 'found' are not fields of this file")
    return msgspec.structs.replace(config, directory=os.path.dirname(os.path.abspath(name)))


def load_yaml(data: bytes, name: str) -> Any:
    """See `assay.strict_yaml.loads`."""
    return strict_yaml.loads(data, name, max_bytes=MAX_BYTES)


def config_home() -> str:
    """Where the user's keys and configuration are (XDG base directories)."""
    return os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "assay")


def cache_home() -> str:
    """Where digests of files are remembered (XDG base directories, by which relative ones are ignored)."""
    given = os.environ.get("XDG_CACHE_HOME") or ""
    return os.path.join(given if os.path.isabs(given) else os.path.expanduser("~/.cache"), "assay")


def data_home() -> str:
    """Where evidence is kept when nobody says otherwise."""
    return os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "assay")


def default_key() -> str:
    """The private key that `assay keys generate` makes when no file is named; ``.pub`` beside it."""
    return os.path.join(config_home(), "keys", "default.pem")


def default_evidence() -> str:
    """The evidence directory when nobody says otherwise."""
    return os.path.join(data_home(), "evidence")
