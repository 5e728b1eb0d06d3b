"""`assay keys generate|show`."""

from __future__ import annotations

import argparse
import os

from assay.cli import printing
from assay.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's flags."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    make = actions.add_parser("generate", help="make a key pair: FILE (private) and FILE's .pub beside it")
    make.add_argument("-O", "--output-file", metavar="FILE", help="private key file (default: your default key)")
    make.add_argument(
        "--algorithm",
        default="ecdsa-p256",
        metavar="NAME",
        help="ecdsa-p256 (default, read by every tool), ecdsa-p384, ed25519, rsa-pss-3072, ml-dsa-65",
    )
    make.add_argument("--encrypt", action="store_true", help="protect it with a passphrase")
    make.add_argument("--passphrase-file", metavar="FILE", help="the passphrase (or $ASSAY_PASSPHRASE)")
    make.add_argument("--json", action="store_true")
    make.set_defaults(run=generate)
    show = actions.add_parser("show", help="a key's id, algorithm and public half")
    show.add_argument(
        "file", nargs="?", metavar="FILE", help="public key, private key or certificate (default: your key)"
    )
    show.add_argument("--passphrase-file", metavar="FILE")
    show.add_argument("--json", action="store_true")
    show.set_defaults(run=show_key)


def generate(parsed: argparse.Namespace) -> int:
    """Make a key pair; an existing file is never overwritten."""
    from assay.api.anchors import public_path
    from assay.api.signers import passphrase
    from assay.config import default_key
    from assay.evidence import keys
    from assay.files import write_atomic

    private = parsed.output_file or default_key()
    public = public_path(private)
    if public == private:
        raise UsageError(f"{private!r} would be the public key's name too", hint="call the private key FILE.pem")
    for path in (private, public):
        if os.path.lexists(path):
            raise UsageError(f"{path} exists already", hint="keys are never overwritten; name another file with -O")
    secret = None
    if parsed.encrypt or parsed.passphrase_file:
        secret = passphrase(parsed.passphrase_file)("Passphrase for the new key: ")
        if not secret:
            raise UsageError("the passphrase is empty")
    key = keys.generate(parsed.algorithm)
    os.makedirs(os.path.dirname(os.path.abspath(private)), mode=0o700, exist_ok=True)
    try:
        write_atomic(private, key.pem(secret), mode=0o600, exclusive=True)
        write_atomic(public, key.public.pem, exclusive=True)
    except FileExistsError as error:
        raise UsageError(f"{error.filename2 or error.filename} exists already") from None
    if parsed.json:
        printing.as_json(
            {"private": private, "public": public, "algorithm": key.public.algorithm, "id": key.public.key_id}
        )
    else:
        printing.line(
            f"made {printing.place(private)} (keep it secret) and {printing.place(public)} (give it to verifiers)"
        )
        printing.line(f"  {key.public.algorithm}, id {key.public.key_id}")
        if secret is None:
            printing.line("  not encrypted; --encrypt protects it with a passphrase")
    return 0


def show_key(parsed: argparse.Namespace) -> int:
    """Show a key."""
    from assay.api.anchors import public_path
    from assay.api.signers import passphrase
    from assay.config import default_key
    from assay.evidence import keys
    from assay.files import read_file

    path = parsed.file or public_path(default_key())
    if parsed.file is None and not os.path.isfile(path):
        raise UsageError("you have no default key yet", hint="make one with 'assay keys generate'")
    data = read_file(path, 1 << 20)
    if b"PRIVATE KEY" in data:
        key = keys.load_private(data, path, passphrase(parsed.passphrase_file)).public
    else:
        key = keys.load_public(data, path)
    if parsed.json:
        printing.as_json({"file": path, "algorithm": key.algorithm, "id": key.key_id, "public": key.pem.decode()})
    else:
        printing.line(f"{path}: {key.algorithm}, id {key.key_id}")
        printing.line(key.pem.decode().rstrip())
    return 0
