"""When the model is proved anew: at the start, when its files change, and when its evidence may have become too old.

What is proved, and how, is handed in by the floor above: this only asks, and says what is known until the next answer.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from hashlib import blake2b

from msgspec.structs import replace

from assay.errors import AssayError
from assay.guard.gateway.core import Proof
from assay.guard.gateway.interface import Decision
from assay.guard.gateway.settings import Settings
from assay.guard.gateway.settings.words import Seconds

Prover = Callable[[bool], Proof]
"""Proves the model; with False, digests of unchanged files may be remembered. Raises `AssayError`."""

LATE = 10
"""After so many times `every` without an answer, and ten minutes at least, the last one no longer counts."""

STALE = Proof(
    Decision(False, 503, "model", "the model is not proved", retry_after=60), "", "nobody has proved the model for long"
)

PENDING = Proof(Decision(False, 503, "model", "the model has not been proved yet", retry_after=5))


def about(settings: Settings) -> str:
    """What an answer is about: the model's section of the file, without how often it is asked for. Empty: no model."""
    model = settings.model
    return "" if model is None else f"{settings.directory} {replace(model, every=Seconds(0))!r}"


def fingerprint(settings: Settings) -> str:
    """Equal for equal gateway files."""
    return blake2b(repr(settings).encode(errors="surrogatepass"), digest_size=16).hexdigest()


def proved(prover: Prover, *, thorough: bool, warn: Callable[[str], None]) -> Proof:
    """One answer; whatever goes wrong is a refusal."""
    try:
        return prover(thorough)
    except AssayError as error:
        problem = error.message
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    warn(f"the model is not proved: {problem}")
    return Proof(Decision(False, 503, "model", "the model cannot be proved", retry_after=60), "", problem)


class Watcher(threading.Thread):
    """Asks again each ``seconds``, and tells each answer."""

    def __init__(
        self, prover: Prover, seconds: float, tell: Callable[[Proof], None], warn: Callable[[str], None]
    ) -> None:
        super().__init__(name="assay-proof", daemon=True)
        self._prover = prover
        self._seconds = seconds
        self._tell = tell
        self._warn = warn
        self._wake = threading.Event()
        self._over = False

    def run(self) -> None:
        """The thread."""
        thorough = True
        while not self._over:
            proof = proved(self._prover, thorough=thorough, warn=self._warn)
            thorough = False
            with contextlib.suppress(RuntimeError):  # the event loop has ended meanwhile
                if not self._over:
                    self._tell(proof)
            self._wake.wait(self._seconds)
            self._wake.clear()

    def now(self) -> None:
        """Ask at once."""
        self._wake.set()

    def stop(self) -> None:
        """No more answers; what is under way is not waited for."""
        self._over = True
        self._wake.set()
