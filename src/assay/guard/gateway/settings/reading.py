"""`gateway.yaml` to settings: one meaning or an error that names the file and the key."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from assay import strict_yaml
from assay.errors import DocumentError
from assay.files import read_file
from assay.guard.gateway.settings.addresses import address
from assay.guard.gateway.settings.keeping import SIGNALS
from assay.guard.gateway.settings.model import Settings
from assay.guard.gateway.settings.serving import Hardening, RouteSettings
from assay.guard.gateway.settings.telling import told
from assay.guard.gateway.settings.words import hook

LABEL_ONLY = "label-only"
"""The hardening that is always there: the only one that stops membership inference by confidence."""

PROTOCOLS = ("open-inference", "kserve-v1", "sagemaker", "openai")
"""What is served where the file names no routes."""


def load(path: str, over: Mapping[str, Any] | None = None) -> Settings:
    """Read the file; keys of ``over`` stand instead of its own. Raises `UsageError` where it cannot be read,
    `DocumentError` naming what is wrong.
    """
    return read(read_file(path, strict_yaml.MAX_BYTES), path, os.path.dirname(os.path.abspath(path)), over)


def read(data: bytes, name: str, directory: str, over: Mapping[str, Any] | None = None) -> Settings:
    """Settings from YAML bytes; relative paths start at ``directory``."""
    raw, lines = strict_yaml.loads_with_lines(data, name)
    if not isinstance(raw, dict) or raw.get("assay-gateway") != 1:
        raise DocumentError(f"{name} is no gateway file", hint="it begins with 'assay-gateway: 1'")
    if "directory" in raw:
        raise DocumentError(f"{name}: 'directory' is not a key of this file")
    return convert(raw | dict(over or {}), name, directory, lines)


def convert(raw: dict[str, Any], name: str, directory: str, lines: strict_yaml.Lines | None = None) -> Settings:
    """Settings from plain values, checked; ``lines`` say where they stand. Raises `DocumentError`."""
    detect = raw.get("detect")
    if isinstance(detect, dict) and detect.get("mode") is False:  # YAML 1.1 reads a bare ``off`` as a truth value
        raw = raw | {"detect": detect | {"mode": "off"}}
    try:
        settings = _typed(raw)
    except msgspec.ValidationError as error:
        raise told(error, raw, name, lines, _typed) from None
    hardenings = {LABEL_ONLY: Hardening(label_only=True)} | settings.hardenings
    routes = settings.routes or tuple(RouteSettings(protocol=protocol) for protocol in PROTOCOLS)  # type: ignore[arg-type]
    settings = msgspec.structs.replace(settings, hardenings=hardenings, routes=routes, directory=directory)
    if problem := _problem(settings):
        raise DocumentError(f"{name}: {problem}")
    return _placed(settings, name)


def _typed(raw: Any) -> Settings:
    return msgspec.convert(raw, Settings, dec_hook=hook)


def _placed(settings: Settings, name: str) -> Settings:
    """With upstreams that can be used, unix sockets by absolute paths; there may be none at all. Raises `DocumentError`
    naming the key of one that cannot.
    """

    def placed(upstream: str, key: str) -> str:
        try:
            path = address(upstream).path if upstream else ""
        except DocumentError as error:
            raise DocumentError(f"{name}: {key}: {error.message}", hint=error.hint) from None
        return f"unix:{settings.path(path)}" if path else upstream

    routes = tuple(
        route
        if route.upstream is None
        else msgspec.structs.replace(route, upstream=placed(route.upstream, f"routes[{i}].upstream"))
        for i, route in enumerate(settings.routes)
    )
    return msgspec.structs.replace(settings, upstream=placed(settings.upstream, "upstream"), routes=routes)


def _problem(settings: Settings) -> str | None:
    """What is wrong beside the types of fields."""
    known = ", ".join(settings.plans)
    callers = settings.callers
    plans = [callers.anonymous, *(jwt.plan for jwt in callers.jwt), callers.mtls.plan if callers.mtls else None]
    for plan in plans:
        if plan is not None and plan not in settings.plans:
            return f"callers: there is no plan {plan[:100]!r} (there are: {known})"
    for what, count in (
        ("priority", Counter(rule.priority for rule in settings.rules)),
        ("id", Counter(rule.id for rule in settings.rules)),
    ):
        for value, times in count.items():
            if times > 1:
                return f"rules: {times} have the {what} {value}"
    wanted = [route.harden for route in settings.routes] + [plan.harden for plan in settings.plans.values()]
    wanted.append(settings.detect.reactions.harden)
    for name in wanted:
        if name is not None and name not in settings.hardenings:
            return f"there is no hardening {name[:100]!r} (there are: {', '.join(settings.hardenings)})"
    for key, names, signals in (
        ("signals", tuple(settings.detect.signals), (*SIGNALS, "pooled")),
        ("reactions.by-signal", tuple(settings.detect.reactions.by_signal), SIGNALS),
    ):
        if unknown := [name for name in names if name not in signals]:
            return f"detect.{key}: there is no signal {unknown[0][:100]!r} (there are: {', '.join(signals)})"
    if callers.mtls is not None and (settings.tls is None or settings.tls.client_certificates == "none"):
        return "callers.mtls needs tls with client-certificates: optional or required"
    if settings.tls is not None and settings.tls.client_certificates != "none" and settings.tls.client_ca is None:
        return "tls: client-certificates need a client-ca"
    for i, route in enumerate(settings.routes):
        if route.protocol == "json" and route.path is None:
            return f"routes[{i}]: json needs a path"
    return None
