"""The flags that commands share, so that one name means one thing everywhere, and what they turn into."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.api.anchors import TrustIn
    from assay.api.deciding import Deciding
    from assay.api.signers import SignWith
    from assay.targets.interface import Options

KINDS = ("model", "dataset", "code", "environment", "image", "service")
"""What a target can be to a policy."""


def target(parser: argparse.ArgumentParser, name: str = "TARGET") -> None:
    """The positional argument."""
    parser.add_argument(
        "target",
        metavar=name,
        help="a folder, file or URL, or SCHEME:NAME[@REVISION] with dir, file, git, hf, oci or env for a scheme",
    )


def reading(parser: argparse.ArgumentParser) -> None:
    """How a target is read."""
    group = parser.add_argument_group("what is read")
    group.add_argument("--path", action="append", default=[], metavar="GLOB", help="only this part (repeatable)")
    group.add_argument("--ignore", action="append", default=[], metavar="GLOB", help="leave this out (repeatable)")
    group.add_argument("--no-default-ignores", action="store_true", help="leave nothing out but what --ignore names")
    group.add_argument("--follow-links", action="store_true", help="follow symbolic links that stay inside the target")
    group.add_argument("--offline", action="store_true", help="reach for no network")
    group.add_argument(
        "--workers", type=int, metavar="N", help="processes and threads for digests (default: two per core)"
    )


def evidence(parser: argparse.ArgumentParser) -> None:
    """Where evidence is kept, and the configuration."""
    parser.add_argument("-d", "--directory", metavar="DIR", help="evidence directory")
    parser.add_argument("-c", "--config", metavar="FILE", help="configuration instead of assay.yaml")


def output(parser: argparse.ArgumentParser, *, file: bool = True) -> None:
    """How results are shown."""
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors and what was asked for")
    parser.add_argument("-v", "--verbose", action="store_true", help="print more")
    if file:
        parser.add_argument("-O", "--output-file", metavar="FILE", help="write the document here")


def signing(parser: argparse.ArgumentParser) -> None:
    """Who signs."""
    group = parser.add_argument_group("who signs (default: assay.yaml, else your default key, else Sigstore)")
    group.add_argument("--key", metavar="FILE", help="private key (PEM)")
    group.add_argument("--cert", metavar="FILE", help="the key's certificate and intermediates (PEM)")
    group.add_argument("--passphrase-file", metavar="FILE", help="the private key's passphrase (or $ASSAY_PASSPHRASE)")
    group.add_argument("--keyless", action="store_true", help="sign with a Sigstore identity")
    group.add_argument("--identity-token", metavar="FILE", help="OIDC token for --keyless")
    group.add_argument(
        "--trust-config", metavar="FILE", help="Sigstore client trust configuration (private deployment)"
    )
    parser.add_argument(
        "-L", "--label", action="append", default=[], metavar="KEY=VALUE", help="record a label (repeatable)"
    )
    parser.add_argument("--identify", action="store_true", help="record this host's and user's name too")


def trusting(parser: argparse.ArgumentParser) -> None:
    """Whom to believe."""
    group = parser.add_argument_group("whose signature counts (default: assay.yaml, else your own default key)")
    group.add_argument("--key", action="append", default=[], metavar="FILE", help="public key (PEM, repeatable)")
    group.add_argument("--ca", metavar="FILE", help="certificate authorities (PEM); with --identity")
    group.add_argument("--identity", metavar="WHO", help="e-mail, URI or name in the certificate")
    group.add_argument("--issuer", metavar="URL", help="OIDC issuer of a Sigstore identity")
    group.add_argument("--trust-root", metavar="FILE", help="Sigstore trust root (private deployment)")


def deciding(parser: argparse.ArgumentParser) -> None:
    """What a policy decides about, beside the evidence."""
    group = parser.add_argument_group("what a policy is told")
    group.add_argument("--gate", metavar="NAME", help="where in the pipeline this is: only rules for it count")
    group.add_argument("--as", dest="kind", choices=KINDS, help="what the target is: only rules for it count")
    group.add_argument(
        "-L", "--label", action="append", default=[], metavar="KEY=VALUE", help="a label for rules' conditions"
    )
    group.add_argument(
        "--set", dest="inputs", action="append", default=[], metavar="NAME=VALUE", help="an input of the policy"
    )
    group.add_argument("--policy-key", action="append", default=[], metavar="FILE", help="who must have signed it")
    group.add_argument("--engine", choices=("auto", "regorus", "opa"), default="auto", help="for rules in Rego")


def inputs(parsed: argparse.Namespace) -> dict[str, Any]:
    """``--set name=value`` flags; a value is YAML, so that numbers and lists are what they look like."""
    from assay import strict_yaml

    made: dict[str, Any] = {}
    for text in parsed.inputs:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {text!r} is not NAME=VALUE")
        made[name] = strict_yaml.loads(value.encode(), f"--set {name}") if value else ""
    return made


def how_to_decide(parsed: argparse.Namespace, label: str) -> Deciding:
    """What the flags of `trusting`, `reading`, `evidence` and `deciding` bring to a decision."""
    from assay.api.deciding import Deciding

    return Deciding(
        trust_in(parsed),
        getattr(parsed, "signature", None),
        parsed.directory,
        options(parsed, label),
        parsed.gate,
        parsed.kind,
        labels(parsed),
        inputs(parsed),
        parsed.engine,
        tuple(parsed.policy_key),
    )


def making(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    """What every command has that signs something and keeps it."""
    signing(parser)
    reading(parser)
    evidence(parser)
    output(parser)
    parser.set_defaults(run=run)


def made_with(parsed: argparse.Namespace, label: str) -> dict[str, Any]:
    """The keyword arguments that `assay.bom`, `assay.sign` and `assay.attest` share, from the flags of `making`."""
    from assay.config import load

    return {
        "signer_choice": sign_with(parsed),
        "directory": parsed.directory,
        "options": options(parsed, label),
        "labels": labels(parsed),
        "config": load(parsed.config),
        "identify": parsed.identify,
    }


def options(parsed: argparse.Namespace, label: str = "reading") -> Options:
    """`Options` from the flags of `reading`, with a progress display on a terminal."""
    from assay.cli.progress import progress
    from assay.targets.interface import Options

    if parsed.workers is not None and not 1 <= parsed.workers <= 1024:
        raise UsageError("--workers is a number from 1 to 1024")
    return Options(
        paths=tuple(parsed.path),
        ignore=tuple(parsed.ignore),
        default_ignores=not parsed.no_default_ignores,
        follow_links=parsed.follow_links,
        workers=parsed.workers,
        trust_cache=getattr(parsed, "trust_cache", False),
        offline=parsed.offline,
        progress=None if parsed.quiet else progress(label),
    )


def sign_with(parsed: argparse.Namespace) -> SignWith:
    """The choice of signer from the flags of `signing`."""
    from assay.api.signers import SignWith

    if parsed.cert and not parsed.key:
        raise UsageError("--cert needs the --key that it is for")
    if (parsed.identity_token or parsed.trust_config) and parsed.key:
        raise UsageError("--identity-token and --trust-config are for --keyless, not for --key")
    return SignWith(
        parsed.key,
        parsed.cert,
        parsed.keyless or bool(parsed.identity_token),
        parsed.identity_token,
        parsed.trust_config,
        parsed.passphrase_file,
    )


def trust_in(parsed: argparse.Namespace) -> TrustIn:
    """The choice of whom to believe from the flags of `trusting`."""
    from assay.api.anchors import TrustIn

    return TrustIn(tuple(parsed.key), parsed.ca, parsed.identity, parsed.issuer, parsed.trust_root)


def labels(parsed: argparse.Namespace) -> dict[str, str]:
    """``-L key=value`` flags."""
    made: dict[str, str] = {}
    for text in parsed.label:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"label {text!r} is not KEY=VALUE")
        if name in made:
            raise UsageError(f"label {name!r} is given twice")
        made[name] = value
    return made
