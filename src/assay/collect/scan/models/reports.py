"""Reports of other scanners as evidence about a target.

A report names files by a path of the machine that wrote it; here they become the target's own files, with the digests
that were just computed. What a report says nothing about was not scanned, and a scanner that missed something still
is who says so: its name and version stand in the evidence, and a policy decides whether it counts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from assay.collect.scan.models.judging import one_line
from assay.collect.scan.models.report_readers import MAX_REPORT, Report, Said, read
from assay.errors import DocumentError
from assay.evidence import strict_json
from assay.evidence.predicates import scan as documents
from assay.targets.interface import Manifest


def convert(name: str, data: bytes, manifest: Manifest, now: datetime) -> documents.Scan:
    """The scan predicate about the target of ``manifest`` for the report in the file ``name``.

    Raises `DocumentError` for what is no report of a scanner that is known here, and for one about files that the
    target does not have: it is about something else.
    """
    report = read(name, data)
    files = _Files(manifest, report, name)
    found: dict[str, list[documents.Finding]] = {}
    tiers: dict[str, documents.Tier] = {}
    for said in report.findings:
        path, member = files.place(said.path)
        found.setdefault(path, []).append(_finding(said, member))
        tiers[path] = max(tiers.get(path, "safe"), said.tier, key=documents.ORDER.index)
    skipped = {files.place(path)[0]: why for path, why in report.failed.items()}
    scanned = {files.place(path)[0] for path in report.scanned or ()} | set(tiers)
    if report.scanned is None and manifest.single:
        scanned.add(manifest.names[0])
    listed, left = [], []
    for resource in manifest:
        path = resource.name
        if path in scanned and (path not in skipped or path in tiers):
            assert resource.sha256 is not None
            listed.append(
                documents.File(
                    path=path,
                    tier=tiers.get(path, "safe") if path not in skipped else _worse(tiers[path]),
                    digest={"sha256": resource.sha256.hex()},
                    findings=found.get(path, []),
                )
            )
        else:
            why = skipped.get(path, "the report does not say that it was scanned")
            left.append(documents.Skipped(path=path, reason=one_line(why) or "no reason given"))
    time = min(report.time or now, now)
    return documents.Scan(
        scanner=documents.Scanner(uri=report.uri, version=report.version or "unknown"),
        kind="models",
        started=time,
        finished=time,
        verdict=documents.answer(listed, left),
        files=listed,
        skipped=left,
        tiers=_count([item.tier for item in listed]),
        severities=_count([finding.severity for item in listed for finding in item.findings]),
    )


def foreign(name: str, data: bytes) -> bool:
    """Whether the bytes are to go through `convert`: anything but a scan predicate of our own form."""
    if not data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return True
    content = strict_json.loads(data.removeprefix(b"\xef\xbb\xbf"), name, max_bytes=MAX_REPORT)
    return not {"scanner", "kind", "files"} <= content.keys()


def _worse(tier: documents.Tier) -> documents.Tier:
    return max(tier, "unreadable", key=documents.ORDER.index)


def _count(words: list[Any]) -> dict[Any, int]:
    made: dict[Any, int] = {}
    for word in words:
        made[word] = made.get(word, 0) + 1
    return made


def _finding(said: Said, member: str | None) -> documents.Finding:
    located = member is not None or said.offset is not None
    return documents.Finding(
        rule=one_line(said.rule, 200) or "unnamed",
        severity=said.severity,
        message=one_line(said.message) or "no message",
        location=documents.Location(member=member, offset=said.offset) if located else None,
        call=one_line(said.call) if said.call else None,
    )


class _Files:
    """The target's files, by the paths that a report uses."""

    def __init__(self, manifest: Manifest, report: Report, name: str) -> None:
        self._names = {file: i for i, file in enumerate(manifest.names)}
        self._only = manifest.names[0] if manifest.single else None
        self._report = name
        self._root = ""
        paths = [*(said.path for said in report.findings), *(report.scanned or ()), *report.failed]
        absolute = [path for path in dict.fromkeys(map(_slashed, paths)) if path.startswith("/")]
        if absolute and self._only is None:
            self._root = self._common_root(absolute)
        for path, digest in report.digests.items():
            found = manifest[self._names[self.place(path)[0]]]
            if found.sha256 is None or found.sha256.hex() != digest:
                raise DocumentError(f"{name} is about other bytes of {one_line(path, 200)!r}")

    def place(self, path: str) -> tuple[str, str | None]:
        """The file's name in the target, and the member inside it. Raises `DocumentError` where there is none."""
        path = _slashed(path)
        relative = path[len(self._root) :] if self._root and path.startswith(self._root) else path.removeprefix("./")
        found = self._named(relative)
        if found is None and self._only is not None:
            # The report's one file is the target's one file, whatever folder it lay in.
            at = relative.rfind("/" + self._only)
            found = (self._only, None) if not path else self._named(relative[at + 1 :]) if at >= 0 else None
        if found is None:
            raise self._stranger(path)
        return found

    def _named(self, path: str) -> tuple[str, str | None] | None:
        if path in self._names:
            return path, None
        for at in (i for i, char in enumerate(path) if char == ":"):
            if path[:at] in self._names:
                return path[:at], one_line(path[at + 1 :].lstrip(":")) or None
        return None

    def _common_root(self, paths: list[str]) -> str:
        """The one folder, with a slash, below which all these paths are files of the target."""
        first = paths[0]
        roots = [first[: i + 1] for i, char in enumerate(first) if char == "/"]
        fitting = [
            root
            for root in roots
            if all(path.startswith(root) and self._named(path[len(root) :]) is not None for path in paths)
        ]
        if not fitting:
            raise self._stranger(first)
        if len(fitting) > 1:
            raise DocumentError(
                f"{self._report} may be about {one_line(fitting[0], 200)!r} or about {one_line(fitting[1], 200)!r}",
                hint="run the other scanner in the target's folder, on the path '.'",
            )
        return fitting[0]

    def _stranger(self, path: str) -> DocumentError:
        called = one_line(path, 200) or "a file without a name"
        return DocumentError(
            f"{self._report} speaks of {called!r}, which is no file of the target",
            hint="attest the very folder or file that the other scanner was given",
        )


def _slashed(path: str) -> str:
    return path.replace("\\", "/")
