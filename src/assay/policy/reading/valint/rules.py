"""One rule of valint's, with the rules of a bundle that it uses, as a rule of ours.

A rule that it uses comes from the policy's own bundle, else from the caller's catalogue; one that is in neither is an
error and never an empty rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from assay.errors import AssayError
from assay.policy.model import Rego, Require, Rule, SignerGroup, When
from assay.policy.reading.problems import near
from assay.policy.reading.valint import layers as laid
from assay.policy.reading.valint import owners, selectors
from assay.policy.reading.valint.files import File, words
from assay.policy.reading.valint.generations import Written
from assay.policy.reading.valint.layers import Layer
from assay.policy.reading.valint.templates import Scope, render
from assay.policy.sources import Sources
from assay.policy.verdict import Level

Resolve = Callable[[str], "tuple[Sources, str]"]
"""Finds a catalogue rule outside of the policy's own bundle. Raises `DocumentError`."""

KEYS = words(
    "id name type description full-description mitigation notes help url labels level initiatives inputs input_example "
    "config-type required-valint-version require-scribe-api fail-on-missing-evidence skip-evidence aggregate-results "
    "all-evidence disable enable when evidence with identity path script uses env"
)

_USES = re.compile(r"([A-Za-z0-9_][\w.+-]*(?:/[A-Za-z0-9_][\w.+ -]*)+)@([A-Za-z0-9_][\w.-]*(?:/[\w.-]+)*)")
_TYPES = ("verify-artifact", "git-owner")
_MAX_CHAIN = 10
_MISSING = "the rule demands that this evidence exists"


@dataclass(slots=True)
class Notes:
    """What the user should know, each sentence once with the rules that it is about."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, rule: str, note: str) -> None:
        """A sentence that begins with its verb, about a rule."""
        if rule not in self.found.setdefault(note, []):
            self.found[note].append(rule)

    def sentences(self) -> Iterator[str]:
        """All of them."""
        for note, rules in self.found.items():
            more = f" and {len(rules) - 5} more" if len(rules) > 5 else ""
            yield f"{', '.join(repr(rule) for rule in rules[:5])}{more}: {note}"


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a rule."""

    rule: Rule
    groups: tuple[SignerGroup, ...]


class RuleReader:
    """Reads the rules of one policy."""

    def __init__(self, file: File, resolve: Resolve, scope: Scope, notes: Notes, *, beside: str | None = None) -> None:
        """``beside`` names the file in Rego that rules without a script of their own have, if it is there."""
        self._file, self._resolve, self._scope, self._notes, self._beside = file, resolve, scope, notes, beside
        self._files: dict[tuple[str, str], File] = {}

    def read(self, written: Written, defaults: tuple[Mapping[str, Any], ...], control: str, number: int) -> Made | None:
        """The rule, or None for one that is switched off. ``defaults`` come the nearest first."""
        own = Layer(self._file, written.path, written.fields)
        layers, native = self._chain(own)
        name = laid.text(layers, "name")
        rule = laid.identifier(layers) or slug(name) or f"{control}.{number + 1}"
        if self._off(layers, rule):
            return None
        self._remark(layers, rule)
        level = self._level(layers, defaults)
        evidence = laid.evidence(layers, defaults, self._scope)
        arguments = laid.arguments(layers, self._scope)
        identity = arguments.get("identity")
        for layer in layers:
            if layer.fields.get("identity") is not None:
                identity = render(layer.fields["identity"], self._scope, layer.file.place(layer.path))
                break
        wanted = selectors.wanted(evidence, identity, self._scope, own.file, own.path)
        groups = (wanted.group,) if wanted.group is not None else ()
        if native is not None:
            return self._catalogue(own, native, rule, level, arguments, wanted)
        skips = laid.flag(layers, "skip-evidence")
        owner = self._type(layers) == "git-owner"
        rego = self._owner_rego() if owner else self._rego(layers, rule)
        if owner:
            arguments = owners.arguments(arguments, own.file, (*own.path, "with"))
            if wanted.selector.types == ("*",):
                wanted = replace(wanted, selector=replace(wanted.selector, types=("https://cyclonedx.org/bom*",)))
            self._notes.add(rule, owners.NOTE)
        if skips and rego is None:
            raise own.wrong("skip-evidence", "the rule asks for no evidence and has no script: it demands nothing")
        if skips:
            self._notes.add(rule, "asks for no evidence: nothing signed stands behind what it says")
        else:
            for note in wanted.notes:
                self._notes.add(rule, note)
        made = Rule(
            rule,
            name or rule,
            level,
            description=laid.text(layers, "description"),
            mitigation=laid.text(layers, "mitigation"),
            help=laid.text(layers, "help") or laid.text(layers, "url"),
            labels=laid.labels(layers),
            when=When() if skips else wanted.when,
            require=None if skips else Require((wanted.selector,)),
            rego=rego,
            arguments=arguments,
            uses=laid.text([own], "uses") or None,
            missing=_MISSING if laid.flag(layers, "fail-on-missing-evidence") else None,
            file=own.file.name,
            line=own.file.lines.at(*own.path),
        )
        return Made(made, groups)

    def _chain(self, own: Layer) -> tuple[list[Layer], tuple[str, Sources, str] | None]:
        """The rule and what it uses, nearest first; and the native catalogue rule at the end, if there is one."""
        layers, layer = [own], own
        seen = {(own.file.sources.uri, own.file.name)}
        while True:
            layer.file.mapping(layer.fields, layer.path, "a rule", KEYS)
            if layer.fields.get("uses") is None:
                return layers, None
            uses = layer.file.text(layer.fields["uses"], (*layer.path, "uses"), "uses")
            file = self._used(uses, layer)
            if isinstance(file.document, dict) and "assay-rule" in file.document:
                return layers, (uses, file.sources, file.name)
            place = (file.sources.uri, file.name)
            if place in seen or len(layers) >= _MAX_CHAIN:
                raise layer.wrong("uses", f"{uses} leads in a circle, or through more than {_MAX_CHAIN} rules")
            seen.add(place)
            layer = Layer(file, (), file.mapping(file.document, (), "the rule"))
            layers.append(layer)

    def _used(self, uses: str, layer: Layer) -> File:
        match = _USES.fullmatch(uses)
        if match is None or ".." in uses:
            raise layer.wrong("uses", f"{uses[:100]!r} is not of the form family/name@v2")
        key = (layer.file.sources.uri, uses)
        if key not in self._files:
            self._files[key] = self._find(uses, match[1], match[2], layer)
        return self._files[key]

    def _find(self, uses: str, name: str, version: str, layer: Layer) -> File:
        """A rule in the policy's own bundle, else one that the caller's catalogue has."""
        first = version.split("/")[0]
        folders = (f"{version}/rules/", f"{version}/", f"{first}/rules/", f"{first}/", "rules/", "")
        for folder in dict.fromkeys(folders):
            for ending in (".yaml", ".yml"):
                try:
                    layer.file.sources.read(f"{folder}{name}{ending}")
                except (AssayError, OSError) as error:
                    if layer.file.absent(error):
                        continue
                    raise layer.wrong("uses", f"{folder}{name}{ending} cannot be read") from error
                return File.load(layer.file.sources, f"{folder}{name}{ending}")
        try:
            sources, found = self._resolve(uses)
        except AssayError as error:
            raise layer.wrong("uses", f"{uses} is not in the policy's bundle ({error.message})", error.hint) from None
        return File.load(sources, found)

    def _off(self, layers: list[Layer], rule: str) -> bool:
        off = laid.flag(layers, "disable") or not laid.flag(layers, "enable", default=True)
        if off:
            self._notes.add(rule, "is switched off in the file and was left out")
        return off

    def _remark(self, layers: list[Layer], rule: str) -> None:
        if laid.flag(layers, "all-evidence"):
            raise layers[0].wrong(
                "all-evidence",
                "a rule over all evidence at once is not known here: a rule passes when some evidence satisfies it",
                "leave all-evidence out where that is enough",
            )
        if laid.flag(layers, "require-scribe-api"):
            self._notes.add(rule, "asks a hosted service, which assay does not: it will end as an error")
        if laid.flag(layers, "aggregate-results"):
            self._notes.add(rule, "asks for aggregated results, which changes nothing here")

    def _level(self, layers: list[Layer], defaults: tuple[Mapping[str, Any], ...]) -> Level:
        own, *used = layers
        stated = [own.fields.get("level"), *(item.get("level") for item in defaults)]
        stated += [layer.fields.get("level") for layer in used]
        text = next((str(item) for item in stated if item is not None), "error")
        try:
            return Level(text)
        except ValueError:
            known = [level.value for level in Level]
            raise own.wrong("level", f"level {text[:40]!r} is not known", near(text, known)) from None

    def _rego(self, layers: list[Layer], rule: str) -> Rego | None:
        for layer in layers:
            path, script = layer.fields.get("path"), layer.fields.get("script")
            if path is not None and script is not None:
                raise layer.wrong("path", "path and script are both given")
            if script is not None:
                if not isinstance(script, str) or not script.strip():
                    raise layer.wrong("script", "script is not the text of a rule in Rego")
                return Rego({f"{layer.file.name}.rego": script}, wrapped=True)
            if path is not None:
                at = (*layer.path, "path")
                name = render(layer.file.text(path, at, "path"), self._scope, layer.file.place(at))
                name, text = layer.file.beside(name, at)
                return Rego({name: text}, wrapped=True)
        if self._beside is None:
            return None
        try:
            text = self._file.sources.read(self._beside).decode()
        except (AssayError, OSError) as error:
            if self._file.absent(error):
                return None
            raise
        except UnicodeDecodeError:
            raise layers[0].wrong("name", f"{self._beside}, which lies beside the file, is not UTF-8 text") from None
        self._notes.add(rule, f"is decided by {self._beside}, which lies beside the file")
        return Rego({self._beside: text}, wrapped=True)

    @staticmethod
    def _owner_rego() -> Rego:
        return Rego({owners.NAME: owners.REGO}, version="v1", wrapped=True)

    def _catalogue(
        self,
        own: Layer,
        native: tuple[str, Sources, str],
        rule: str,
        level: Level,
        arguments: Mapping[str, Any],
        wanted: selectors.Wanted,
    ) -> Made:
        """A rule of ours that the file uses: ours decides what is demanded, the file may narrow the evidence."""
        from assay.policy.reading.native import NativeReader
        from assay.policy.reading.problems import Problem, Reading

        uses, sources, name = native
        for key in ("path", "script", "type", "skip-evidence"):
            if own.fields.get(key) is not None:
                raise own.wrong(key, f"{uses} is assay's own rule here, which takes no {key}")
        given = {key: value for key, value in arguments.items() if key != "identity"}
        use = {"id": rule, "uses": uses, "level": level.value, "with": given}
        document = {"assay-policy": 1, "id": "valint", "controls": [{"id": "valint", "rules": [use]}]}
        problems: list[Problem] = []
        reading = Reading(own.file.place(own.path), {}, problems)
        policy = NativeReader(sources, lambda _: (sources, name), reading).read(document, {})
        fatal = next((problem for problem in problems if problem.fatal), None)
        if fatal is not None or not policy.rules:
            raise own.wrong(
                "uses",
                f"{uses} is assay's own rule here and cannot be used like this: {fatal.message if fatal else 'empty'}",
                fatal.suggestion if fatal else None,
            )
        (made,) = policy.rules
        if made.require is not None:
            chosen = made.require.selectors
            narrowed = tuple(
                replace(
                    item,
                    labels={**item.labels, **wanted.selector.labels},
                    where=(*item.where, *wanted.selector.where),
                    signed_by=wanted.selector.signed_by if wanted.group is not None else item.signed_by,
                )
                for item in chosen
            )
            made = replace(made, require=replace(made.require, selectors=narrowed))
        self._notes.add(rule, "uses assay's own rule of that name")
        groups = (*policy.signers.values(), *((wanted.group,) if wanted.group is not None else ()))
        made = replace(
            made,
            name=laid.text([own], "name") or made.name,
            description=laid.text([own], "description") or made.description,
            mitigation=laid.text([own], "mitigation") or made.mitigation,
            file=own.file.name,
            line=own.file.lines.at(*own.path),
        )
        return Made(made, groups)

    def _type(self, layers: list[Layer]) -> str:
        text = laid.text(layers, "type") or _TYPES[0]
        if text not in _TYPES:
            raise layers[0].wrong("type", f"the type {text[:60]!r} is not known", near(text, _TYPES))
        return text


def slug(name: str) -> str:
    """An id from a name: itself where it is fit for one, else ``Signed by us!`` as ``signed-by-us``."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
        return name
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80]
