"""The family of errors. Each one is a sentence for a person: what was wrong, with which file or field, and what to do.

The command line prints the sentence and ends with the class's exit code; a traceback that reaches a user is a defect.
"""

from __future__ import annotations


class AssayError(Exception):
    """Base of everything that assay raises on purpose."""

    exit_code = 2
    """What the command line ends with: 1 rejected, 2 wrong usage or unreadable input, 3 could not decide."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        """What was wrong, naming the file or field."""
        self.hint = hint
        """What the user can do about it."""

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(AssayError):
    """The call itself makes no sense: an unknown scheme, flags that exclude each other, a bad configuration."""


class TargetError(AssayError):
    """A target cannot be named, read or inventoried faithfully; the message names the file."""


class ChangedError(TargetError):
    """A file changed while it was being read, so that no digest of it would mean anything."""


class DocumentError(AssayError):
    """A document (envelope, bundle, statement, predicate, key, configuration) is malformed or not what it must be."""


class RejectedError(AssayError):
    """The evidence was checked and does not hold: a bad signature, another signer, other bytes."""

    exit_code = 1


class SignatureError(RejectedError):
    """A signature, certificate or log proof does not hold for these bytes and these expected signers."""


class UndecidedError(AssayError):
    """No answer could be given: evidence missing, nobody named to trust, a service out of reach. Never success."""

    exit_code = 3


class StoreError(AssayError):
    """The evidence store is damaged, locked or full."""


class MissingExtraError(AssayError):
    """An optional dependency is needed for this input and is not installed."""

    exit_code = 3

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the extra '{extra}'",
            hint=f"install it from assay's own folder: pip install '.[{extra}]', or all of requirements/all.txt",
        )


class MissingLibraryError(AssayError):
    """A library of the user's own that loads a format is needed for this input and is not installed."""

    exit_code = 3

    def __init__(self, what: str, library: str) -> None:
        super().__init__(f"{what} needs {library}, which is not installed", hint=f"pip install {library}")
