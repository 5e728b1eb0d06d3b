"""`assay.yaml` as typed values, and the places where assay keeps things. Imports nothing of ours but the errors.

The file may grant trust, so it is never picked up from inside the target that is being verified (`load` is told where
that lies): a downloaded model must not bring its own list of people to believe.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from assay.errors import DocumentError, UsageError

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


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    version: int = 1
    evidence: str | None = None
    """Evidence directory."""
    signing: Signing = Signing()
    trust: list[Trust] = []
    require_sha256: bool = False
    """Never accept BLAKE3 in place of SHA-256 when verifying."""
    labels: dict[str, str] = {}
    """Labels that every new statement carries."""
    directory: str = ""
    """Where the file lies; set while loading. Relative paths in it start there."""

    def path(self, value: str) -> str:
        """A path of this file as an absolute one."""
        return os.path.normpath(os.path.join(self.directory or os.getcwd(), os.path.expanduser(value)))

    def trust_for(self, reference: str) -> Trust | None:
        """The first rule for a target, given as ``scheme:name``."""
        for rule in self.trust:
            if any(fnmatchcase(reference, glob) for glob in rule.targets):
                return rule
        return None


def load(path: str | None, *, inside: str | None = None) -> Config:
    """The configuration: ``path``, else ``assay.yaml`` here, else the user's, else the defaults.

    ``inside`` is the real path of the folder that is about to be verified: an ``assay.yaml`` found there (not named by
    the caller) is refused. Raises `UsageError` or `DocumentError`.
    """
    found = path
    if found is None:
        for candidate in ("assay.yaml", os.path.join(config_home(), "assay.yaml")):
            if os.path.isfile(candidate):
                found = candidate
                break
    if found is None:
        return Config()
    if path is None and inside is not None:
        real = os.path.realpath(found)
        if os.path.commonpath([real, inside]) == inside:
            raise UsageError(
                f"{found!r} lies inside the target and could make the target trust itself",
                hint="run from another folder, or name the file with --config if it is yours",
            )
    try:
        with open(found, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{found}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise DocumentError(f"{found} is larger than the {MAX_BYTES:,} bytes that are read")
    return parse(data, found)


def parse(data: bytes, name: str) -> Config:
    """A configuration from YAML bytes. Raises `DocumentError` naming the file and the field."""
    document = load_yaml(data, name)
    try:
        config = msgspec.convert({} if document is None else document, Config)
    except msgspec.ValidationError as error:
        raise DocumentError(f"{name}: {error}") from None
    if config.version != 1:
        raise DocumentError(f"{name}: version {config.version} is not known here, only 1")
    if config.directory:
        raise DocumentError(f"{name}: Object contains unknown field `directory`")
    return msgspec.structs.replace(config, directory=os.path.dirname(os.path.abspath(name)))


def load_yaml(data: bytes, name: str) -> Any:
    """YAML from strangers: safe types only, no duplicate keys, no aliases (a few lines of them are a bomb)."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.events.AliasEvent):
                raise yaml.constructor.ConstructorError(
                    None, None, "aliases are not allowed", parent.start_mark if parent is not None else None
                )
            return super().compose_node(parent, index)

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key, _ in node.value:
                if key.value.__hash__ is not None and key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands twice", key.start_mark
                    )
                seen.add(key.value if isinstance(key.value, str) else id(key))
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(data, Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        raise DocumentError(f"{place}: {error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise DocumentError(f"{name} is not YAML") from None


def config_home() -> str:
    """Where the user's keys and configuration are (XDG base directories)."""
    return os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "assay")


def data_home() -> str:
    """Where evidence is kept when nobody says otherwise."""
    return os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "assay")


def default_key() -> str:
    """The private key that `assay keys generate` makes when no file is named; ``.pub`` beside it."""
    return os.path.join(config_home(), "keys", "default.pem")


def default_evidence() -> str:
    """The evidence directory when nobody says otherwise."""
    return os.path.join(data_home(), "evidence")
