"""Licences as CycloneDX wants them: SPDX ids, one expression alone, or names; always with the place that
states them.
"""

from __future__ import annotations

from collections.abc import Sequence

from assay.collect.bom.documents.words import clean
from assay.collect.bom.interface import Licence
from assay.evidence.predicates.cyclonedx_types import License, LicenseChoice, Property

SOURCE = "assay:source"
"""Property of a licence: the file and field that states it, at the target's revision."""
EXPRESSION_SOURCE = "assay:licence:source"
"""Property of a component whose licence is one expression, which can have no properties itself."""


def choices(stated: Sequence[Licence]) -> tuple[list[LicenseChoice], list[Property]]:
    """The list for ``licenses``, and properties to add to the component.

    The format allows either one expression alone or a list of licences; where several are stated and one of
    them is an expression, that one is listed by its text as a name, since to join them would state what
    nobody stated.
    """
    sources: dict[tuple[str, bool], list[str]] = {}
    for licence in stated:
        places = sources.setdefault((clean(licence.expression), licence.spdx), [])
        if licence.source not in places:
            places.append(licence.source)
    if len(sources) == 1:
        (((text, spdx), places),) = sources.items()
        if spdx and not is_id(text):
            return (
                [LicenseChoice(expression=text, acknowledgement="declared")],
                [Property(EXPRESSION_SOURCE, clean(place)) for place in places],
            )
    made = []
    for (text, spdx), places in sorted(sources.items()):
        properties = [Property(SOURCE, clean(place)) for place in places]
        single = spdx and is_id(text)
        made.append(
            LicenseChoice(
                license=License(
                    id=text if single else None,
                    name=None if single else text,
                    acknowledgement="declared",
                    properties=properties,
                )
            )
        )
    return made, []


def is_id(expression: str) -> bool:
    """Whether an SPDX expression is one id of SPDX's list, and neither compound nor a reference."""
    return not any(c in expression for c in " ()+:") and not expression.lower().startswith("licenseref-")
