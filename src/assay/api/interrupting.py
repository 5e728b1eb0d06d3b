"""Signals to `assay run` after its step: whoever is impatient gets less evidence, not none.

While files are digested, the first signal stops that, and what is known is signed at once; the next one ends us. While
evidence is signed and written, the first signal waits, since that takes a moment. Nothing is ever signed by half.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

_Made = TypeVar("_Made")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupting:
    """From `take`, just before the step is started (while it runs its monitor has the signals), to the end of all."""

    def __init__(self) -> None:
        self._former: dict[int, Any] = {}
        self._waiting = 0
        """Signals that nobody has heeded yet."""
        self._may_stop = False
        """Whether what is under way is given up at the first one."""

    def __enter__(self) -> Interrupting:
        return self

    def take(self) -> None:
        """Have the signals from now on. Other threads than the main one get none."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                    self._former[number] = signal.signal(number, self._signalled)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, former in self._former.items():
            signal.signal(number, former if former is not None else signal.SIG_DFL)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._waiting += 1
        if self._may_stop or self._waiting > 1:
            self._may_stop = False
            raise KeyboardInterrupt

    def either(self, whole: Callable[[], _Made], quick: Callable[[], _Made]) -> tuple[_Made, bool]:
        """What ``whole`` returns, or what ``quick`` does when a signal has come before or meanwhile; and which."""
        try:
            self._may_stop = True
            if not self._waiting:
                made = whole()
                self._may_stop = False
                return made, True
        except KeyboardInterrupt:
            pass
        self._may_stop = False
        self._waiting = 0
        return quick(), False
