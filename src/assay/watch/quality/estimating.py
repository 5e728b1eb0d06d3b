"""Is the model probably still good enough, before the ground truth is here? Estimated quality becomes a `Look`.

Its checks are warnings and carry the assumption that they rest on; nothing here may be taken for measured quality.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from assay.watch.interface import Check, Look, Metric, Topic, Window
from assay.watch.quality.checking import Settings, judge, plain
from assay.watch.quality.estimated import ASSUMPTION
from assay.watch.quality.interface import Quality
from assay.watch.quality.thresholds import Threshold


def look(
    quality: Quality,
    thresholds: Iterable[Threshold],
    window: Window,
    settings: Settings | None = None,
    *,
    dimensions: Mapping[str, str] | None = None,
) -> Look:
    """Hold an estimated ``quality`` against the ``thresholds`` of those metrics that can be estimated."""
    settings = settings or Settings()
    few = quality.samples < settings.smallest
    reason = f"{quality.samples:,} predictions are fewer than the {settings.smallest:,} that are needed" if few else ""
    checks = [_warning(judge(quality, item, settings, reason)) for item in thresholds if item.metric in quality.metrics]
    metrics = [
        Metric(f"estimated_{name}", window.end, item.value, dimensions=dimensions or {})
        for name, item in quality.metrics.items()
        if item.value is not None
    ]
    details: dict[str, object] = {"estimated": True, "assumption": ASSUMPTION, "quality": plain(quality)}
    return Look(Topic.MODEL_QUALITY, window, quality.samples, tuple(checks), tuple(metrics), details=details)


def _warning(check: Check) -> Check:
    message = f"{check.message}. {ASSUMPTION}"
    return replace(check, check=f"estimated_{check.check}", severity="warning", message=message, sagemaker=None)
