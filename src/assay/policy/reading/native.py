"""assay's own policy files: an initiative of controls of rules, and catalogue rules that they use.

Reading goes on after a problem, so that `assay policy check` shows all of them; whoever wants to use the policy raises
the first. A catalogue rule is a file with inputs; using it binds them and replaces ``${{ inputs.NAME }}`` in its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from assay import strict_yaml
from assay.errors import AssayError
from assay.policy.model import FRAMEWORKS, Control, Policy, Rego, Require, Rule, When
from assay.policy.reading import inputs as declared
from assay.policy.reading.problems import Path, Reading, near
from assay.policy.reading.requirements import Requirements
from assay.policy.reading.signers import Signers
from assay.policy.sources import Sources
from assay.policy.verdict import Level, PolicyReference

POLICY, RULE = "assay-policy", "assay-rule"
"""Keys that tell what a file is; their value is the version of the format."""

Resolve = Callable[[str], "tuple[Sources, str]"]
"""Finds a catalogue rule, ``family/name@v1``: the files it is in, and its name there. Raises `DocumentError`."""

KINDS = ("model", "dataset", "code", "environment", "image", "service")
SCHEMES = ("dir", "file", "git", "hf", "env", "oci")

_DESCRIPTIVE = ("id", "name", "description", "help", *FRAMEWORKS)
POLICY_KEYS = (
    POLICY,
    *_DESCRIPTIVE,
    "version",
    "expires",
    "inputs",
    "signers",
    "defaults",
    "controls",
)
CONTROL_KEYS = (*_DESCRIPTIVE, "mitigation", "when", "disable", "rules")
RULE_KEYS = (
    *_DESCRIPTIVE,
    "level",
    "labels",
    "risk",
    "mitigation",
    "when",
    "disable",
    "require",
    "rego",
    "uses",
    "with",
    "missing",
)
CATALOGUE_KEYS = (RULE, *(name for name in RULE_KEYS if name not in ("uses", "with", "disable")), "version", "inputs")
_OVERRIDES = ("level", "when", "labels", "name", "risk", "mitigation", "description", "help", "missing")
"""What a policy may say of a catalogue rule that it uses, beside ``with``."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")


class NativeReader:
    """Reads one policy."""

    def __init__(self, sources: Sources, resolve: Resolve, reading: Reading) -> None:
        self._sources = sources
        self._resolve = resolve
        self._reading = reading
        self._signers = Signers(sources)
        self._defaults: Mapping[str, Any] = {}
        self._notes: list[str] = []
        self._rules: dict[str, int] = {}
        self._catalogue: dict[str, tuple[Any, Any, Sources, str]] = {}

    def read(self, document: Any, given: Mapping[str, Any]) -> Policy:
        """The policy; it is to be used only when there was no problem."""
        reading = self._reading
        found = reading.mapping(document, (), "the policy", POLICY_KEYS)
        self._version(found.get(POLICY), POLICY, reading)
        found = self._bound(found, given, (), reading)
        defaults = reading.mapping(
            found.get("defaults") or {}, ("defaults",), "defaults", ("level", "signed-by", "max-age")
        )
        self._signers.declare(found.get("signers"), ("signers",), reading)
        self._defaults = defaults
        controls = found.get("controls")
        if not isinstance(controls, list) or not controls:
            reading.wrong(("controls",), "controls is not a list with at least one control")
            controls = []
        made: list[Control] = []
        ids: dict[str, int] = {}
        for i, item in enumerate(controls):
            control = self._control(item, ("controls", i), i)
            if control is None:
                continue
            self._unique(control.id, ids, ("controls", i, "id"), "control", reading)
            made.append(control)
        if not any(control.rules for control in made) and not any(problem.fatal for problem in reading.problems):
            reading.wrong((), "no rule is left: the policy would accept nothing")
        reference = PolicyReference(
            reading.text(found.get("id"), ("id",), "id") or _slug(found.get("name")) or "policy",
            reading.text(found.get("name"), ("name",), "name") or str(found.get("id") or "policy"),
            reading.text(found.get("version"), ("version",), "version"),
            self._sources.uri,
            self._sources.sha256(),
            self._sources.signer,
        )
        self._identifier(reference.id, ("id",), reading)
        return Policy(
            reference,
            tuple(made),
            self._signers.groups,
            reading.text(found.get("description"), ("description",), "description"),
            reading.text(found.get("help"), ("help",), "help"),
            self._expiry(found.get("expires")),
            tuple(self._notes),
        )

    def _control(self, value: Any, path: Path, number: int) -> Control | None:
        reading = self._reading
        found = reading.mapping(value, path, "a control", CONTROL_KEYS)
        if not found or reading.flag(found.get("disable"), (*path, "disable"), "disable"):
            return None
        name = reading.text(found.get("name"), (*path, "name"), "name")
        control = reading.text(found.get("id"), (*path, "id"), "id") or _slug(name) or f"control-{number + 1}"
        self._identifier(control, (*path, "id"), reading)
        rules = found.get("rules")
        if not isinstance(rules, list) or not rules:
            reading.wrong((*path, "rules"), f"the control {control!r} has no rules")
            rules = []
        when = self._when(found.get("when"), (*path, "when"), reading)
        made = (self._rule(item, (*path, "rules", i), control, when, i) for i, item in enumerate(rules))
        return Control(
            control,
            name or control,
            tuple(rule for rule in made if rule is not None),
            reading.text(found.get("description"), (*path, "description"), "description"),
            reading.text(found.get("mitigation"), (*path, "mitigation"), "mitigation"),
            when,
            self._frameworks(found, path, reading),
        )

    def _rule(self, value: Any, path: Path, control: str, outer: When, number: int) -> Rule | None:
        reading = self._reading
        found = reading.mapping(value, path, "a rule", RULE_KEYS)
        if not found or reading.flag(found.get("disable"), (*path, "disable"), "disable"):
            return None
        uses = found.get("uses")
        if uses is not None:
            rule = self._used(found, path, control, number)
        else:
            if "with" in found and "rego" not in found:
                reading.wrong((*path, "with"), "with is for a rule that uses another, or one in Rego")
            name = reading.text(found.get("name"), (*path, "name"), "name")
            given = reading.text(found.get("id"), (*path, "id"), "id")
            rule = self._made(found, given or _slug(name) or f"{control}.{number + 1}", path, reading, self._sources)
        if rule is None:
            return None
        self._identifier(rule.id, (*path, "id"), reading)
        self._unique(rule.id, self._rules, (*path, "id" if "id" in found else "uses"), "rule", reading)
        if rule.when.gates and outer.gates and not {*rule.when.gates} & {*outer.gates}:
            reading.wrong(
                (*path, "when"),
                f"the rule {rule.id!r} can never be reached: it is for the gate {', '.join(rule.when.gates)}, its "
                f"control for {', '.join(outer.gates)}",
            )
        if _disjoint(rule.when.targets, outer.targets):
            reading.wrong(
                (*path, "when"), f"the rule {rule.id!r} can never be reached: its control is for other targets"
            )
        return rule

    def _used(self, found: Mapping[str, Any], path: Path, control: str, number: int) -> Rule | None:
        """A rule of the catalogue, with the inputs and the few fields that the policy gives it."""
        outer = self._reading
        for name in ("require", "rego"):
            if name in found:
                outer.wrong((*path, name), f"a rule that uses another cannot have its own {name}")
        uses = outer.text(found["uses"], (*path, "uses"), "uses")
        try:
            document, lines, sources, file = self._file(uses)
        except AssayError as error:
            outer.caught((*path, "uses"), error)
            return None
        reading = Reading(file, lines, outer.problems)
        before = len(outer.problems)
        body = reading.mapping(document, (), "the rule", CATALOGUE_KEYS)
        self._version(body.get(RULE), RULE, reading)
        given = found.get("with") or {}
        if not isinstance(given, dict):
            outer.wrong((*path, "with"), "with is not a mapping of inputs to values")
            given = {}
        try:
            offered = declared.declare(body.get("inputs") or [], file)
            bound = declared.bind(offered, given, f"with of {uses}")
            body = declared.substitute({name: item for name, item in body.items() if name != "inputs"}, bound, file)
        except AssayError as error:
            outer.caught((*path, "with"), error)
            return None
        merged = {**body, **{name: found[name] for name in _OVERRIDES if name in found}}
        # Frameworks that the policy names come on top of those that the rule itself speaks for.
        for name in FRAMEWORKS:
            if name in found:
                own = reading.texts(body.get(name), (name,), name)
                merged[name] = [*own, *outer.texts(found[name], (*path, name), name)]
        default = reading.text(body.get("id"), ("id",), "id") or uses.partition("@")[0]
        name = outer.text(found.get("id"), (*path, "id"), "id") or default
        rule = self._made(merged, name, (), reading, sources, uses=uses, arguments=bound)
        if len(outer.problems) > before:
            # What is wrong in a catalogue rule is often what the policy gave it: name the place that can be mended.
            for problem in outer.problems[before:]:
                if problem.file == file and problem.fatal:
                    outer.wrong((*path, "uses"), f"{uses} cannot be used like this")
                    break
        return rule

    def _file(self, uses: str) -> tuple[Any, Any, Sources, str]:
        if uses not in self._catalogue:
            sources, name = self._resolve(uses)
            file = f"{sources.uri}/{name}" if sources is not self._sources else name
            document, lines = strict_yaml.loads_with_lines(sources.read(name), file)
            self._catalogue[uses] = (document, lines, sources, file)
        return self._catalogue[uses]

    def _made(
        self,
        found: Mapping[str, Any],
        rule: str,
        path: Path,
        reading: Reading,
        sources: Sources,
        *,
        uses: str | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> Rule:
        rego = self._rego(found.get("rego"), (*path, "rego"), reading, sources)
        require: Require | None = None
        if "require" in found:
            require = Requirements(self._signers, self._defaults).read(found["require"], (*path, "require"), reading)
        elif rego is None:
            reading.wrong(path, f"the rule {rule!r} demands nothing", "add require, rego or uses")
        if rego is not None and require is not None and len(require.selectors) > 1:
            reading.wrong((*path, "rego"), "a rule in Rego asks for one kind of evidence")
        given = found.get("with") or {}
        return Rule(
            rule,
            reading.text(found.get("name"), (*path, "name"), "name") or rule,
            self._level(found.get("level"), (*path, "level"), reading),
            reading.text(found.get("description"), (*path, "description"), "description"),
            reading.text(found.get("risk"), (*path, "risk"), "risk"),
            reading.text(found.get("mitigation"), (*path, "mitigation"), "mitigation"),
            reading.text(found.get("help"), (*path, "help"), "help"),
            reading.texts(found.get("labels"), (*path, "labels"), "labels"),
            self._when(found.get("when"), (*path, "when"), reading),
            require,
            rego,
            arguments if arguments is not None else given if isinstance(given, dict) else {},
            self._frameworks(found, path, reading),
            uses,
            reading.text(found.get("missing"), (*path, "missing"), "missing") or None,
            reading.file,
            reading.line(path),
        )

    def _rego(self, value: Any, path: Path, reading: Reading, sources: Sources) -> Rego | None:
        if value is None:
            return None
        allowed = ("path", "script", "version", "network", "engine", "shape")
        found = reading.mapping({"path": value} if isinstance(value, str) else value, path, "rego", allowed)
        if ("path" in found) == ("script" in found):
            reading.wrong(path, "rego needs either path (a file beside the policy) or script (the text itself)")
            return None
        name = reading.text(found.get("path"), (*path, "path"), "path") or "rule.rego"
        try:
            text = sources.read(name).decode() if "path" in found else str(found["script"])
        except AssayError as error:
            reading.caught((*path, "path"), error)
            return None
        except UnicodeDecodeError:
            reading.wrong((*path, "path"), f"{name} is not UTF-8 text")
            return None
        except OSError as error:
            reading.wrong((*path, "path"), f"{name!r}: {error.strerror}")
            return None
        choices = (("version", ("auto", "v0", "v1")), ("engine", ("auto", "regorus", "opa")), ("shape", ("", "valint")))
        for key, known in choices:
            if key in found and found[key] not in known:
                reading.wrong((*path, key), f"{key} {found[key]!r} is not known", near(str(found[key]), known))
        return Rego(
            {name: text},
            str(found.get("version", "auto")),
            reading.texts(found.get("network"), (*path, "network"), "network"),
            found.get("shape") == "valint",
            str(found.get("engine", "auto")),
        )

    def _when(self, value: Any, path: Path, reading: Reading) -> When:
        if value is None:
            return When()
        found = reading.mapping(value, path, "when", ("gate", "target", "labels"))
        targets = reading.texts(found.get("target"), (*path, "target"), "target")
        for name in targets:
            if name not in (*KINDS, *SCHEMES):
                reading.wrong((*path, "target"), f"no target is a {name!r}", near(name, (*KINDS, *SCHEMES)))
        labels = found.get("labels") or {}
        if not isinstance(labels, dict) or not all(isinstance(item, str | int) for item in labels.values()):
            reading.wrong((*path, "labels"), "labels is not a mapping of names to values")
            labels = {}
        gates = reading.texts(found.get("gate"), (*path, "gate"), "gate")
        if not all(name.strip() for name in gates):
            reading.wrong((*path, "gate"), "a gate has no name", "leave gate out where every gate is meant")
        return When(gates, targets, {name: str(item) for name, item in labels.items()})

    def _level(self, value: Any, path: Path, reading: Reading) -> Level:
        text = str(value if value is not None else self._defaults.get("level", "error"))
        try:
            return Level(text)
        except ValueError:
            reading.wrong(path, f"level {text[:40]!r} is not known", near(text, [level.value for level in Level]))
            return Level.ERROR

    @staticmethod
    def _frameworks(found: Mapping[str, Any], path: Path, reading: Reading) -> dict[str, tuple[str, ...]]:
        return {name: reading.texts(found[name], (*path, name), name) for name in FRAMEWORKS if name in found}

    def _expiry(self, value: Any) -> datetime | None:
        if value is None:
            return None
        try:
            time = datetime.fromisoformat(str(value).strip())
        except ValueError:
            self._reading.wrong(("expires",), f"expires {str(value)[:40]!r} is not a date", "write 2027-01-31")
            return None
        return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)

    @staticmethod
    def _version(value: Any, key: str, reading: Reading) -> None:
        if value != 1:
            reading.wrong((key,), f"{key} {str(value)[:20]!r} is not a version that is known here", f"write {key}: 1")

    @staticmethod
    def _bound(found: Mapping[str, Any], given: Mapping[str, Any], path: Path, reading: Reading) -> dict[str, Any]:
        try:
            offered = declared.declare(found.get("inputs") or [], reading.file)
            bound = declared.bind(offered, given, "the policy's inputs")
            rest = {name: item for name, item in found.items() if name != "inputs"}
            made: dict[str, Any] = declared.substitute(rest, bound, reading.file)
            return made
        except AssayError as error:
            reading.caught((*path, "inputs"), error)
            return dict(found)

    @staticmethod
    def _identifier(text: str, path: Path, reading: Reading) -> None:
        if not _ID.fullmatch(text):
            reading.wrong(path, f"{text[:100]!r} is no id: letters, digits, '.', '_', '/' and '-' only")

    @staticmethod
    def _unique(text: str, seen: dict[str, int], path: Path, what: str, reading: Reading) -> None:
        line = reading.line(path)
        if text in seen:
            reading.wrong(path, f"the {what} id {text!r} is used twice (also in line {seen[text]})", "give each its id")
        seen.setdefault(text, line)


def _disjoint(one: Collection[str], other: Collection[str]) -> bool:
    """Whether no target is both: a kind and a scheme (a model in git) never contradict each other."""
    return any(
        {*one} <= {*words} and {*other} <= {*words} and bool(one and other) and not {*one} & {*other}
        for words in (KINDS, SCHEMES)
    )


def _slug(value: Any) -> str:
    """An id from a name: ``Signed by us!`` is ``signed-by-us``."""
    return re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:80] if isinstance(value, str) else ""
