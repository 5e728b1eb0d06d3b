"""Statements that tell the same step become one node; statements that contradict each other stay apart.

A run of assay leaves a link and a provenance, a rerun of a step another pair. They are one step when they agree on its
name and products and the inputs of one are among those of the other. What nobody expected signed is never merged into
what somebody did: it could only add to it what was not proved.
"""

from __future__ import annotations

from collections.abc import Sequence

from assay.evidence.lineage.interface import INPUT, OUTPUT, RUN, Act, Piece, Pieces, Step

MOST_STRANGERS = 50
"""Steps around one artifact that are shown although nobody expected signed them."""

_Place = tuple[int, int]
"""Number of an entry, and of the act in it."""


class Steps:
    """The steps of a store's statements, each made once."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._by_place: dict[_Place, Step] = {}
        self._alike: dict[tuple[str, frozenset[str]], list[Step]] = {}
        self._done: set[str] = set()
        self._keys: dict[tuple[int, int, int], frozenset[str]] = {}
        self.strangers: dict[str, int] = {}
        """By key: steps that nobody expected signed, beyond those that are shown."""

    def about(self, keys: Sequence[str], role: int) -> list[Step]:
        """The steps that read (`INPUT`) or made (`OUTPUT`) the artifact with these keys: the proved ones first."""
        found: dict[str, Step] = {}
        for key in keys:
            for step in self._of(self._pieces.entries(key, role), frozenset((key,)), role, key):
                found.setdefault(step.id, step)
        return list(found.values())

    def through(self, folder: int, files: frozenset[str], role: int) -> list[Step]:
        """The steps that read or made some of the ``files`` that the entry ``folder`` lists."""
        return self._of(self._pieces.sharing(folder, role), files, role, f"entry {folder}")

    def makers(self, keys: Sequence[str]) -> list[Step]:
        """Proved steps that ran and made the artifact: two of them contradict each other."""
        return [step for step in self.about(keys, OUTPUT) if step.proved and step.act.relation == RUN]

    def _of(self, entries: Sequence[int], keys: frozenset[str], role: int, what: str) -> list[Step]:
        found: dict[str, Step] = {}
        strange = 0
        for place, act, piece in self._acts(entries, keys, role):
            strange += not piece.proved
            if not piece.proved and strange > MOST_STRANGERS:
                continue
            # Statements of one step agree on all products: one of those finds the others.
            if role == INPUT and (output := next((item.key for item in act.outputs if item.joins), None)):
                self._gather(output)
            step = self._step(place, act, piece)
            found.setdefault(step.id, step)
        if strange > MOST_STRANGERS:
            self.strangers[what] = strange - MOST_STRANGERS
        return list(found.values())

    def _acts(self, entries: Sequence[int], keys: frozenset[str], role: int) -> list[tuple[_Place, Act, Piece]]:
        found = []
        for seq in entries:
            piece = self._pieces.piece(seq)
            if piece is None:
                continue
            for i, act in enumerate(piece.said.acts):
                at = (seq, i, role)
                if at not in self._keys:
                    things = act.inputs if role == INPUT else act.outputs
                    self._keys[at] = frozenset(item.key for item in things)
                if not keys.isdisjoint(self._keys[at]):
                    found.append(((seq, i), act, piece))
        # The proved and the fullest first: others are then held against them.
        found.sort(key=lambda item: (not item[2].proved, -len(item[1].inputs), -item[0][0], item[0][1]))
        return found

    def _gather(self, key: str) -> None:
        if key not in self._done:
            self._done.add(key)
            self._of(self._pieces.entries(key, OUTPUT), frozenset((key,)), OUTPUT, key)

    def _step(self, place: _Place, act: Act, piece: Piece) -> Step:
        if place in self._by_place:
            return self._by_place[place]
        outputs = frozenset(item.key for item in act.outputs)
        alike = self._alike.setdefault((act.name, outputs), []) if outputs else []
        step = next((step for step in alike if step.proved == piece.proved and _agree(step.act, act)), None)
        if step is None and not piece.proved:
            # A stranger who repeats what is proved adds nothing.
            step = next((step for step in alike if step.proved and _among(act, step.act)), None)
        if step is None:
            number = f".{place[1]}" if place[1] else ""
            step = Step(f"step:{place[0]}{number}", act, proved=piece.proved)
            alike.append(step)
        elif step.proved == piece.proved and len(act.inputs) > len(step.act.inputs):
            step.act = act
        elif step.proved == piece.proved and act.builder and not step.act.builder and _among(step.act, act):
            step.act = act  # provenance says when and by whom, a link does not
        if piece.proved == step.proved:
            step.pieces.append(piece)
        self._by_place[place] = step
        return step


def _agree(one: Act, other: Act) -> bool:
    return (
        one.relation == other.relation and one.outcome == other.outcome and (_among(one, other) or _among(other, one))
    )


def _among(one: Act, other: Act) -> bool:
    return {item.key for item in one.inputs} <= {item.key for item in other.inputs}
