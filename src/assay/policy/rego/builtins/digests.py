"""``crypto.*``: digests and message authentication codes of texts, in hex. None of it decides what assay trusts."""

from __future__ import annotations

import hashlib
import hmac


def md5(text: str) -> str:
    """``crypto.md5``."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def sha1(text: str) -> str:
    """``crypto.sha1``."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def sha256(text: str) -> str:
    """``crypto.sha256``."""
    return hashlib.sha256(text.encode()).hexdigest()


def hmac_md5(text: str, key: str) -> str:
    """``crypto.hmac.md5``."""
    return hmac.new(key.encode(), text.encode(), "md5").hexdigest()


def hmac_sha1(text: str, key: str) -> str:
    """``crypto.hmac.sha1``."""
    return hmac.new(key.encode(), text.encode(), "sha1").hexdigest()


def hmac_sha256(text: str, key: str) -> str:
    """``crypto.hmac.sha256``."""
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()


def hmac_sha512(text: str, key: str) -> str:
    """``crypto.hmac.sha512``."""
    return hmac.new(key.encode(), text.encode(), "sha512").hexdigest()


def equal(one: str, other: str) -> bool:
    """``crypto.hmac.equal``."""
    return hmac.compare_digest(one.encode(), other.encode())
