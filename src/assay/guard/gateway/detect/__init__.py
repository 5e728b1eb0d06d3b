"""What callers learn: streaming detectors, out of band, whose memory of each caller is bounded.

`build` is the way in; it needs numpy, which the hot path never imports. Nothing here ever sees a key or blocks anybody
by itself: it says how callers stand, and `core` acts on that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.errors import MissingExtraError

if TYPE_CHECKING:
    from assay.guard.gateway.detect.detectors import Detectors
    from assay.guard.gateway.settings import Settings


def build(settings: Settings) -> Detectors | None:
    """The detectors of a gateway; None where they are off. Raises `MissingExtraError` without numpy, `UsageError` or
    `DocumentError` where the calibration or the encoder is not usable.
    """
    if settings.detect.mode == "off":
        return None
    try:
        from assay.guard.gateway.detect import calibration
        from assay.guard.gateway.detect.detectors import Detectors
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        raise MissingExtraError("detection", "gateway") from None
    given = settings.detect.calibration
    return Detectors(settings.detect, None if given is None else calibration.load(settings.path(given)))
