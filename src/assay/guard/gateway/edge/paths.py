"""The paths of each serving protocol, as an edge's first line: what is not here has no way to the model server at all.
The decision service is exact about methods, models and versions; here a pattern may only be wider than it, never miss
one of its paths.
"""

from __future__ import annotations

import re

from assay.guard.gateway.settings.serving import RouteSettings

_MODEL = "{model}"
PATHS = {
    "open-inference": (
        "/v2/?",
        "/v2/health/(?:live|ready)",
        f"/v2/models/{_MODEL}(?:/versions/[^/]+)?(?:/ready|/infer)?",
    ),
    "kserve-v1": (
        "/v1/models/?",
        f"/v1/models/{_MODEL}(?:/versions/[^/]+|/labels/[^/]+)?(?:/metadata)?",
        f"/v1/models/{_MODEL}(?:/versions/[^/]+|/labels/[^/]+)?:(?:predict|explain|classify|regress)",
    ),
    "sagemaker": ("/ping", "/invocations"),
    "openai": (
        "/v1/models/?",
        "/v1/models/[^/]+(?:/[^/]+)?",
        "/health",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
    ),
}
"""Regular expressions that nginx, HAProxy (PCRE) and Envoy (RE2) read alike: no look-around, no captures.
Where the path says the model, ``{model}`` becomes the route's models: routes to different servers are told apart by it.
"""


def pattern(route: RouteSettings, prefix: str) -> str:
    """An anchored expression for all paths of a route; ``prefix`` is its checked `RouteSettings.path`."""
    if route.protocol == "json":
        return f"^{_literal(prefix)}$"
    paths = "|".join(PATHS[route.protocol]).replace("{model}", _models(route.models))
    return f"^{_literal(prefix.rstrip('/'))}(?:{paths})$"


def _models(globs: tuple[str, ...]) -> str:
    """Any of the globs; where one says more than names with ``*`` and ``?``, any name (the service is exact)."""
    if not all(re.fullmatch(r"[A-Za-z0-9._~*?-]{1,200}", glob) for glob in globs) or "*" in globs:
        return "[^/]+"
    return f"(?:{'|'.join(_literal(glob).replace('*', '[^/]*').replace('?', '[^/]') for glob in globs)})"


def _literal(text: str) -> str:
    """`text` for a regular expression; only ``.`` needs care in what `words.path` lets through."""
    return re.sub(r"\.", "[.]", text)
