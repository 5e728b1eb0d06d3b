"""Chat templates (Jinja): some programs render them without a sandbox, so a template can be a program (CVE-2024-34359).

The template is cut into tokens, never rendered, and judged by what a chat template has no use for: Python's inner
attributes, computed attribute names, other files. Source: Jinja 3's ``lexer.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.collect.scan.models.formats.telling import DENIAL, EXECUTION, shown, tell
from assay.collect.scan.models.interface import Finding, Scan, Severity, Tier

MAX_TEMPLATE = 1 << 20
"""Characters; published chat templates have at most some 30,000."""

MAX_TOKENS = 200_000
"""Tokens of one template that are looked at."""

_BLOCK = re.compile(r"\{%|\{\{|\{#")
_TOKEN = re.compile(
    r"""\s+|(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)"""
    r"""|(?P<name>[^\W\d]\w*)|(?P<end>-?%\}|-?\}\}|\+%\})|(?P<operator>\*\*|//|[|.\[\](){},:~+\-*/%<>=!;@^&?$#`\\"'])|.""",
    re.DOTALL,
)
_INNER = re.compile(
    r"__(?:class|mro|bases?|subclasses|globals|builtins|import|init|dict|getattr(?:ibute)?|getitem|call|code|closure|"
    r"reduce(?:_ex)?|self|func|module|loader|spec|new|subclasshook|wrapped|defaults|kwdefaults|annotations|doc|main|"
    r"file|qualname|traceback|context|cause)__",
    re.IGNORECASE,  # a filter may bring it into its right case
)
_FRAMES = frozenset(
    {"func_globals", "func_code", "im_func", "gi_frame", "gi_code", "cr_frame", "cr_code", "ag_frame", "f_globals",
     "f_locals",
     "f_builtins", "f_back", "tb_frame", "mro", "_TemplateReference__context", "_module",
     "environment", "_load_form_data"}
)  # fmt: skip
_RUNS = frozenset(
    {"popen", "system", "eval", "exec", "Popen", "check_output", "spawn", "fork", "execve", "importlib", "subprocess"}
)
_FILES = frozenset({"include", "import", "from", "extends"})
_FLASK = frozenset({"lipsum", "cycler", "joiner", "url_for", "get_flashed_messages", "request", "config", "g"})
_FRAGMENT = re.compile(r"__[a-z]{1,12}|[a-z]{1,12}__")
_BUILDS = frozenset({"format", "join", "replace", "reverse"})
"""Filters that put a text together."""

_LARGE = 10_000_000
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|(.))", re.DOTALL)


def looks_like_template(text: str) -> bool:
    """Whether a text has any of Jinja's marks."""
    return "{{" in text or "{%" in text


def examine_template(text: str, scan: Scan, where: str) -> Iterator[Finding]:
    """What is wrong with a chat template; ``where`` names it in the findings."""
    if len(text) > MAX_TEMPLATE:
        yield tell(
            scan,
            "template/too-large",
            Tier.UNKNOWN,
            Severity.MEDIUM,
            f"template of {len(text):,} characters, not examined",
            within=where,
            atlas=DENIAL,
        )
        return
    seen: set[str] = set()
    for rule, tier, severity, message, call in _problems(text):
        if rule not in seen:
            seen.add(rule)
            yield tell(
                scan,
                rule,
                tier,
                severity,
                message,
                call=call,
                atlas=DENIAL if rule == "template/bomb" else EXECUTION,
                within=where,
                mitigation="render templates in a sandbox only (jinja2.sandbox.ImmutableSandboxedEnvironment)",
            )


_Problem = tuple[str, Tier, Severity, str, str | None]


def _problems(text: str) -> Iterator[_Problem]:
    left = MAX_TOKENS
    at = 0
    whole = texts = ""
    while match := _BLOCK.search(text, at):
        if match[0] == "{#":
            end = text.find("#}", match.end())
            if end < 0:
                yield "template/broken", Tier.UNKNOWN, Severity.MEDIUM, "a comment does not end", None
                return
            at = end + 2
            continue
        tokens, at, closed = _tokens(text, match.end(), left)
        left -= len(tokens)
        body = text[match.start() : at]
        if not closed or left <= 0:
            yield (
                "template/broken",
                Tier.UNKNOWN,
                Severity.MEDIUM,
                "a tag does not end or the template has too many",
                None,
            )
            return
        yield from _tag(tokens, body)
        whole += "".join(value for kind, value in tokens if kind in ("string", "name"))
        texts += "".join(value for kind, value in tokens if kind == "string")
        if match[0] == "{%" and [value for _, value in tokens[:1]] == ["raw"]:
            end_raw = re.compile(r"\{%[-+]?\s*endraw\s*[-+]?%\}").search(text, at)
            at = end_raw.end() if end_raw else len(text)
    # Pieces of a name that are put together over several tags ({% set a = "__cla" %}{% set b = "ss__" %}).
    for candidate in (whole, whole[::-1], texts, texts[::-1]):
        if found := _INNER.search(candidate):
            yield _escape(found[0], "")


def _tokens(text: str, at: int, limit: int) -> tuple[list[tuple[str, str]], int, bool]:
    """The tokens of one tag that begins at ``at``, where it ends, and whether it does."""
    tokens: list[tuple[str, str]] = []
    while at < len(text) and len(tokens) < limit:
        match = _TOKEN.match(text, at)
        if match is None:
            break
        at = match.end()
        kind = match.lastgroup
        if kind == "end":
            return tokens, at, True
        if kind == "string":
            tokens.append((kind, _unescape(match[0][1:-1])))
        elif match[0] in ("'", '"'):
            return tokens, at, False  # a text that does not end: looking on would take quadratic time
        elif kind is not None:
            tokens.append((kind, match[0]))
        elif not match[0].isspace():
            tokens.append(("operator", match[0]))
    return tokens, at, False


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1] or match[2] or match[3]
        try:
            return chr(int(code, 16)) if code else chr(int(match[4], 8)) if match[4] else match[5]
        except (ValueError, OverflowError):
            return ""

    return _ESCAPE.sub(one, text) if "\\" in text else text


def _escape(name: str, body: str) -> _Problem:
    return (
        "template/sandbox-escape",
        Tier.MALICIOUS,
        Severity.CRITICAL,
        f"template reaches for {shown(name, 60)}, which leads out of the template into Python (CVE-2024-34359)",
        body or None,
    )


def _tag(tokens: list[tuple[str, str]], body: str) -> Iterator[_Problem]:
    """What is wrong with one tag."""
    previous = ("", "")
    if tokens and tokens[0][1] in _FILES and tokens[0][0] == "name":
        yield "template/other-file", Tier.UNKNOWN, Severity.HIGH, f"template loads another file ({tokens[0][1]})", body
    for i, (kind, value) in enumerate(tokens):
        following = tokens[i + 1] if i + 1 < len(tokens) else ("", "")
        if kind in ("name", "string") and (inner := _INNER.search(value)):
            yield _escape(inner[0], body)
        elif (kind in ("name", "string") and value in _FRAMES and _accesses(previous, following)) or (
            kind == "name" and value in _RUNS and previous[1] in (".", "[") and following[1] == "("
        ):
            yield _escape(value, body)
        elif kind == "name" and previous[1] == "." and value.startswith("_"):
            yield (
                "template/private",
                Tier.UNKNOWN,
                Severity.HIGH,
                f"template uses the inner attribute {shown(value)}",
                body,
            )
        elif kind == "string" and (
            _FRAGMENT.fullmatch(value)
            or (value.strip("_") == "" != value and {previous[1], following[1]} & {"*", "~", "+"})
            or ("%c" in value and following[1] in ("%", "|"))
        ):
            yield (
                "template/private",
                Tier.UNKNOWN,
                Severity.HIGH,
                f"template holds a piece of an inner name, {value}",
                body,
            )
        elif kind == "name" and value in _FLASK and previous[1] != "." and following[1] in (".", "[", "|"):
            yield "template/global", Tier.UNKNOWN, Severity.HIGH, f"template takes apart Jinja's own {value}", body
        elif kind == "name" and value == "attr" and previous[1] == "|":
            yield from _attr(tokens[i + 1 :], body)
        elif kind == "name" and value == "format" and previous[1] == "." and i >= 2 and "{" in tokens[i - 2][1]:
            if re.search(r"\{\w*[.\[]", tokens[i - 2][1]):
                yield _escape("str.format with attribute access", body)
        elif value == "[" and kind == "operator" and _subscribes(previous) and _computes(tokens[i + 1 :]):
            yield "template/computed", Tier.UNKNOWN, Severity.HIGH, "template computes the name of what it takes", body
        elif kind == "number" and _number(value) >= _LARGE:
            near = {token[1] for token in tokens[max(0, i - 3) : i + 2]}
            if near & {"range", "*", "**"}:
                yield "template/bomb", Tier.UNKNOWN, Severity.HIGH, f"template counts to {shown(value, 40)}", body
        elif value == "**" and kind == "operator" and previous[0] == "number" and following[0] == "number":
            yield "template/bomb", Tier.UNKNOWN, Severity.HIGH, "template computes a power", body
        previous = (kind, value)
    joined = "".join(value for kind, value in tokens if kind in ("string", "name"))
    for candidate in (joined, joined[::-1]):
        if inner := _INNER.search(candidate):
            yield _escape(inner[0], body)


def _accesses(previous: tuple[str, str], following: tuple[str, str]) -> bool:
    return previous[1] == "." or (previous[1] in ("[", "(") and following[1] in ("]", ")"))


def _subscribes(previous: tuple[str, str]) -> bool:
    """Whether a bracket behind this token takes something out of what is before it."""
    return previous[0] in ("name", "string") or previous[1] in ("]", ")", "}")


def _computes(rest: list[tuple[str, str]]) -> bool:
    """Whether what stands in a bracket puts a text together."""
    depth, texts, adds = 1, False, False
    for i, (kind, value) in enumerate(rest):
        depth += {"[": 1, "(": 1, "{": 1, "]": -1, ")": -1, "}": -1}.get(value, 0) if kind == "operator" else 0
        if depth == 0:
            break
        if (kind, value) == ("operator", "~") or (i and rest[i - 1][1] == "|" and kind == "name" and value in _BUILDS):
            return True
        texts = texts or kind == "string"
        adds = adds or (kind == "operator" and value in ("+", "%"))
    return texts and adds


def _attr(rest: list[tuple[str, str]], body: str) -> Iterator[_Problem]:
    """The argument of the filter ``attr``: a literal can be judged, what is computed cannot."""
    if len(rest) >= 3 and rest[0][1] == "(" and rest[1][0] == "string" and rest[2][1] == ")":
        if rest[1][1].startswith("_"):
            yield _escape(rest[1][1], body)
        else:
            yield "template/attr", Tier.UNKNOWN, Severity.MEDIUM, "template takes an attribute by name", body
    else:
        yield _escape("an attribute whose name it computes", body)


def _number(text: str) -> float:
    try:
        return float(text.replace("_", ""))
    except (ValueError, OverflowError):
        return float("inf")
