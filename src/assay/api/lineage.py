"""`lineage`: where an artifact comes from and what became of it, as far as signed evidence in a store proves it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from assay.api.anchors import TrustIn, anchors
from assay.api.deciding import refuse_own_words
from assay.api.keeping import open_store, store_path
from assay.api.reporting import Expected
from assay.config import Config, load
from assay.errors import UndecidedError, UsageError
from assay.evidence.lineage.interface import Lineage
from assay.evidence.lineage.walk import MOST_STEPS, Start, walk
from assay.evidence.witnesses import weak, witnesses
from assay.targets.interface import Options
from assay.targets.names import parse
from assay.targets.registry import resolve

if TYPE_CHECKING:
    from assay.evidence.bundle import Bundle
    from assay.evidence.statement import Statement
    from assay.evidence.trust.interface import Anchor

Progress = Callable[[int, int], None]
"""Told how many statements were read, and of how many."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def lineage(
    target: str,
    *,
    up: bool = True,
    down: bool = True,
    depth: int | None = None,
    trust: TrustIn | None = None,
    directory: str | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    config: Config | None = None,
    most: int = MOST_STEPS,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> Lineage:
    """The graph around ``target``: a target as every command takes it, or ``sha256:HEX`` of one that is not here.

    ``up``: the steps and artifacts that it was made from; ``down``: everything made from it. ``depth`` limits the
    number of steps from the target, ``most`` the number of steps in all. An edge is proved when a signer signed it
    whom ``trust`` names, else whom the configuration's rule for the target of its statement names, else the user's own
    key; everything about the target itself is held against whom `verify` would expect for it.
    Raises `UndecidedError` where there is no evidence about the target, and other `AssayError`s.
    """
    if depth is not None and depth < 1:
        raise UsageError("--depth is a number of steps, at least 1")
    config = config if config is not None else load(None)
    now = now or datetime.now(UTC)
    trust = trust or TrustIn()
    start, own = _start(target, options, trust, config)
    proving = _Proving(Expected(trust, config), own, start.keys, now)
    from assay.evidence.lineage.gathering import Gathered

    with open_store(directory, config=config) as store:
        with Gathered(store, proving, progress) as gathered:
            made = walk(gathered, start, up=up, down=down, depth=depth, most=most)
        made.incomplete += [*gathered.problems, *store.doubts]
        made.notes += [*proving.expected.problems, *(note for note in store.notes if note not in store.doubts)]
    node = made.artifacts[made.target]
    if not node.evidence and not made.edges:
        where = store_path(directory, config)
        raise UndecidedError(
            f"there is no evidence about {target!r} ({made.target}) in the {gathered.count:,} statement(s) of {where}",
            hint="record the steps that make and use it with 'assay run --inputs … --outputs … -- COMMAND', sign it "
            "with 'assay sign', or add other tools' statements with 'assay evidence import FILE'",
        )
    return made


def _start(target: str, options: Options, trust: TrustIn, config: Config) -> tuple[Start, Sequence[Anchor] | None]:
    """What to look for, and who is expected to sign evidence about it; None where the statements themselves decide."""
    if target.startswith("sha256:"):
        if not _DIGEST.fullmatch(target):
            raise UsageError(
                f"{target[:80]!r} is not sha256: and 64 lower-case hex digits",
                hint="trees show the first 12 of them; all stand in 'assay lineage TARGET -o json'",
            )
        return Start((target,), target[:19]), None
    refuse_own_words(parse(target), config)
    with resolve(target, options) as thing:
        manifest = thing.manifest()
        contents, root = manifest.contents().hex(), manifest.oms_root().hex()
        column = manifest.sha256.hex()
        files = () if manifest.single else tuple(f"sha256:{column[i : i + 64]}" for i in range(0, len(column), 64))
        keys = (f"sha256:{contents}",) if manifest.single else (f"sha256:{contents}", f"sha256:{root}")
        try:
            own: Sequence[Anchor] = anchors(trust, config, thing.reference)
        except UndecidedError:
            own = ()  # then nothing about it is proved, and the answer says so
        return Start(keys, thing.name, files=files), own


class _Proving:
    """Who signed a statement, among those who are expected to."""

    def __init__(self, expected: Expected, own: Sequence[Anchor] | None, keys: Sequence[str], now: datetime) -> None:
        self.expected = expected
        self._own, self._now = own, now
        self._digests = {key.partition(":")[2] for key in keys}

    def __call__(self, bundle: Bundle, statement: Statement | None) -> tuple[tuple[str, ...], str]:
        """See `assay.evidence.lineage.gathering.Prove`."""
        if statement is None:
            anchors = self.expected.everybody()
        else:
            problem = weak(statement)
            if problem is not None:
                return (), problem
            anchors = self._anchors(statement)
        found, problem = witnesses(bundle, anchors, self._now)
        return tuple(dict.fromkeys(str(proof) for _, proof in found)), problem or ""

    def _anchors(self, statement: Statement) -> Sequence[Anchor]:
        """Stops: a signer who is expected for one target, who states something of another under the first one's name.

        What is about the very target that was asked for counts only by those whom its own rule names.
        """
        if self._own is not None and any(
            self._digests.intersection(subject.digest.values()) for subject in statement.subjects
        ):
            return self._own
        return self.expected.of(statement)
