"""What constraints say about drift, as the settings that `watch.drift` reads."""

from __future__ import annotations

from assay.watch.constraints.model import Constraints, Drift
from assay.watch.drift.settings import ColumnSettings, Settings

_NUMBERS = {"simple": ("ks",), "robust": ("ks",)}
_CATEGORIES = {"l_infinity": ("l_infinity",), "chi_square": ("l_infinity",)}


def drift_settings(constraints: Constraints, base: Settings | None = None) -> Settings:
    """``base`` (the defaults) with what the constraints say; columns that are not to be compared are ignored.

    The chi-square test decides through its share in every verdict's significance; the effect is SageMaker's L-infinity.
    """
    from dataclasses import replace

    base = base or Settings()
    general = constraints.settings.drift
    own = {name: column.drift for name, column in constraints.columns.items() if column.drift is not None}
    return replace(
        base,
        least=max(base.least, constraints.settings.least_rows),
        effects={**base.effects, **general.effects},
        numbers=_NUMBERS.get(general.method, base.numbers),
        categories=_CATEGORIES.get(general.categorical, base.categories),
        columns={**base.columns, **{name: _column(drift) for name, drift in own.items() if drift.compare}},
        ignore=base.ignore | {name for name in constraints.columns if not constraints.drift(name).compare},
    )


def _column(drift: Drift) -> ColumnSettings:
    decide = (*_NUMBERS.get(drift.method, ()), *_CATEGORIES.get(drift.categorical, ()))
    return ColumnSettings(effects=dict(drift.effects), decide=decide or None)
