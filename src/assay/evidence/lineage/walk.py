"""The walk from one artifact to where it comes from and to what became of it.

It follows proved edges only. What is not proved is drawn at its side, once, and leads nowhere: a stranger's statement
in a store can neither lengthen a path nor add to a count. Cycles end at what was seen, and so do graphs beyond a limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from assay.evidence.lineage import kinds
from assay.evidence.lineage.circles import cycles
from assay.evidence.lineage.interface import (
    FOLDER,
    INPUT,
    MEMBER,
    OUTPUT,
    SAME,
    SUBJECT,
    Artifact,
    Edge,
    Lineage,
    Piece,
    Pieces,
    Step,
    Thing,
)
from assay.evidence.lineage.reading import is_step
from assay.evidence.lineage.steps import MOST_STRANGERS, Steps

MOST_STEPS = 20_000
"""Steps of one graph."""
MOST_EVIDENCE = 100
"""Statements about one artifact that are hung on it."""
MOST_FOLDERS = 200
"""Folders that hold one file."""
MOST_LISTS = 5000
"""Lists of files that are looked at for one file."""
MOST_INPUTS = 40
"""Inputs (products) of one step, which no other step made (used), that are drawn one by one."""

_ASIDE = ("installation", "system", "code", "other")
"""Roles that are counted and not drawn, unless other evidence speaks of them."""


@dataclass(frozen=True, slots=True)
class Start:
    """What the walk starts from."""

    keys: tuple[str, ...]
    """Of the artifact; the first one names it."""
    name: str
    kind: str = ""
    files: tuple[str, ...] = ()
    """Keys of its files where it was read here: no statement is needed to know what is in it."""


@dataclass(frozen=True, slots=True)
class _At:
    """A place on the way."""

    node: str
    depth: int
    """Steps from the target."""
    file: str | None = None
    """It was reached from a file to its folder or back; the next edge must be a step, or folders that share a file
    (a licence, a tokenizer) would all be one another's relatives."""


def walk(
    pieces: Pieces,
    start: Start,
    *,
    up: bool = True,
    down: bool = True,
    depth: int | None = None,
    most: int = MOST_STEPS,
) -> Lineage:
    """The lineage of an artifact: where it comes from (``up``), what became of it (``down``).

    ``depth`` limits the number of steps from the target; ``most`` that of steps in all.
    """
    made = _Walk(pieces, start, depth, most)
    if up:
        made.follow(upwards=True)
    if down:
        made.follow(upwards=False)
    return made.finish()


class _Walk:
    def __init__(self, pieces: Pieces, start: Start, depth: int | None, most: int) -> None:
        self._pieces, self._start, self._depth, self._most = pieces, start, depth, most
        self._steps = Steps(pieces)
        self._places: set[str] = set()
        self._same: dict[str, tuple[str, ...]] = {}
        keys = self._close(start.keys)
        self._same |= dict.fromkeys(keys, keys)
        self.graph = Lineage(keys[0])
        self._artifact(Thing(keys[0], start.name), proved=True).kind = start.kind

    def follow(self, *, upwards: bool) -> None:
        """Breadth first, so that what is nearest is there when a limit is reached."""
        graph = self.graph
        reached = graph.sources if upwards else graph.uses
        queue = deque([_At(graph.target, 0)])
        # Reached by a step, everything may follow; reached as a file or folder of something, only a step.
        seen = {(graph.target, False)}
        while queue:
            at = queue.popleft()
            found = [*self._through_steps(at, upwards=upwards)]
            if at.file is None:
                found += self._through_files(at, upwards=upwards)
            for after in found:
                if after.node != graph.target:
                    reached.add(after.node)
                whole = (after.node, False)
                if whole in seen or (after.file is not None and (after.node, True) in seen):
                    continue
                seen.add((after.node, after.file is not None))
                queue.append(after)

    def _through_steps(self, at: _At, *, upwards: bool) -> list[_At]:
        found: list[_At] = []
        if self._depth is not None and at.depth >= self._depth:
            return found
        strange = 0
        around = sorted(self._steps_at(at, OUTPUT if upwards else INPUT).values(), key=_unproved)
        for step, problem in around:
            proved = step.proved and not problem
            strange += not proved
            if strange > MOST_STRANGERS or not self._drawn(step):
                continue
            if upwards:
                self._keep(Edge(step.id, at.node, "made", proved, step.problem or problem))
            else:
                self._keep(Edge(at.node, step.id, "used", proved, step.problem or problem))
            far = step.act.inputs if upwards else step.act.outputs
            ahead = [self._edge(step, item, not upwards) for item in self._shown(step, far, inputs=upwards)]
            if proved:
                ends = [edge.start if upwards else edge.end for edge in ahead if edge.proved]
                found += [_At(end, at.depth + 1) for end in ends if not self.graph.artifacts[end].place]
                self._places |= {end for end in ends if self.graph.artifacts[end].place}
        if strange > MOST_STRANGERS:
            self._note(
                f"{strange - MOST_STRANGERS:,} more steps around {at.node[:19]} that are not proved are not shown"
            )
        return found

    def _steps_at(self, at: _At, role: int) -> dict[str, tuple[Step, str]]:
        """Steps by id that read (made) an artifact or, of a folder, some of its files; and why that is not proved."""
        keys = self._same_as(at.node)
        found = {step.id: (step, "") for step in self._steps.about(keys, role)}
        if at.file is not None:
            return found
        for seq in dict.fromkeys(seq for key in keys for seq in self._pieces.entries(key, FOLDER)):
            piece = self._pieces.piece(seq)
            if piece is not None:
                for step in self._steps.through(seq, frozenset(piece.said.members), role):
                    if piece.proved or step.id not in found:
                        found.setdefault(step.id, (step, piece.problem))
                        found[step.id] = (step, "") if piece.proved else found[step.id]
        if at.node == self.graph.target:
            for step in self._steps.about(self._start.files, role):
                found[step.id] = (step, "")
        return found

    def _edge(self, step: Step, item: Thing, output: bool) -> Edge:
        proved = step.proved and (item.strong or item.place)
        key = self._artifact(item, proved=proved).key
        reason = "" if proved else step.problem if not step.proved else _why(item)
        edge = Edge(step.id, key, "made", proved, reason) if output else Edge(key, step.id, "used", proved, reason)
        return self._keep(edge)

    def _keep(self, edge: Edge) -> Edge:
        known = self.graph.edges.setdefault((edge.start, edge.end, edge.kind), edge)
        if edge.proved and not known.proved:
            known.proved, known.reason = True, ""
        return known

    def _drawn(self, step: Step) -> bool:
        """Whether the step is in the graph, after putting it there while there is room."""
        steps = self.graph.steps
        if step.id not in steps:
            if len(steps) >= self._most:
                self._missing(f"the graph has more than {self._most:,} steps: those farther away were not looked for")
                return False
            steps[step.id] = step
        return True

    def _shown(self, step: Step, things: Sequence[Thing], *, inputs: bool) -> list[Thing]:
        """The things of a step that are drawn: what other evidence speaks of, and the rest as far as people read on.

        Files below a folder that the same statement names are that folder, unless somebody else made or uses them.
        """
        folders = tuple(item.name.rstrip("/") + "/" for item in things if item.folder and item.name)
        whole = frozenset(self._same_as(item.key)[0] for item in things if item.folder)
        drawn: dict[str, Thing] = {}
        left: dict[str, int] = {}
        for item in things:
            below = bool(folders) and not item.folder and item.name.startswith(folders)
            aside = item.role in _ASIDE or below or len(drawn) >= MOST_INPUTS
            if not aside or self._elsewhere(step, item, whole if below else frozenset(), inputs=inputs):
                drawn[item.key] = item
                continue
            if inputs or not below:
                role = (item.role or "input") if inputs else "product"
                left[role] = left.get(role, 0) + 1
            if not below:  # the folder that holds it stands for it, where one is known
                drawn |= {folder.key: folder for folder in self._holding(item)}
        kept = {name: count for name, count in step.others.items() if (name == "product") is inputs}
        step.others = kept | left
        return list(drawn.values())

    def _elsewhere(self, step: Step, item: Thing, whole: frozenset[str], *, inputs: bool) -> bool:
        """Whether the walk would go on from here: another step made it (used it), and not with a folder in ``whole``,
        through which the walk goes on anyway.
        """
        if not item.joins:
            return False
        own = {piece.seq for piece in step.pieces}
        for other in self._steps.about(self._same_as(item.key), OUTPUT if inputs else INPUT):
            things = other.act.outputs if inputs else other.act.inputs
            folders = (self._same_as(thing.key)[0] for thing in things if thing.folder)
            if own.isdisjoint(piece.seq for piece in other.pieces) and whole.isdisjoint(folders):
                return True
        return False

    def _holding(self, item: Thing) -> list[Thing]:
        """The folders that a proved list of files says the file is in."""
        pieces = self._lists((item.key,)) if item.joins else ()
        return [piece.said.subjects[0] for piece in pieces if piece.proved]

    def _lists(self, keys: Sequence[str]) -> list[Piece]:
        """Lists of files that hold this file: the proved ones, and some of those that are not."""
        found: dict[bool, list[Piece]] = {True: [], False: []}
        entries = [seq for key in keys for seq in self._pieces.entries(key, MEMBER)]
        for seq in entries[:MOST_LISTS]:
            piece = self._pieces.piece(seq)
            if piece is not None and len(found[piece.proved]) < (MOST_FOLDERS if piece.proved else MOST_STRANGERS):
                found[piece.proved].append(piece)
        if len(entries) > MOST_LISTS or len(found[True]) == MOST_FOLDERS:
            self._missing(f"one file is in more than {MOST_FOLDERS} folders: not all of them were looked at")
        return [*found[True], *found[False]]

    def _through_files(self, at: _At, *, upwards: bool) -> list[_At]:
        """To the folders that hold this file."""
        found = []
        for piece in self._lists(self._same_as(at.node)):
            found += self._beside(at, piece.said.subjects[0], piece.problem, upwards=upwards)
        return found

    def _beside(self, at: _At, thing: Thing, problem: str, *, upwards: bool) -> list[_At]:
        """One edge between a file and its folder, in the direction in which the data went."""
        key = self._artifact(thing, proved=not problem).key
        if key == at.node:
            return []
        start, end = (key, at.node) if upwards else (at.node, key)
        edge = self._keep(Edge(start, end, "part", not problem, problem))
        return [_At(key, at.depth, file=at.node)] if edge.proved else []

    def _artifact(self, thing: Thing, *, proved: bool) -> Artifact:
        keys = self._same_as(thing.key)
        node = self.graph.artifacts.get(keys[0])
        if node is None:
            node = self.graph.artifacts[keys[0]] = Artifact(keys[0], place=thing.place)
            self._hang(node, keys)
        node.names[thing.name] = node.names.get(thing.name, False) or proved
        return node

    def _hang(self, node: Artifact, keys: tuple[str, ...]) -> None:
        entries = sorted({seq for key in keys for seq in self._pieces.entries(key, SUBJECT)}, reverse=True)
        room = {True: MOST_EVIDENCE, False: MOST_STRANGERS}
        for seq in entries:
            piece = self._pieces.piece(seq)
            if piece is None:
                continue
            if not is_step(piece.said.predicate_type):
                room[piece.proved] -= 1
                if room[piece.proved] < 0:
                    node.more += 1
                    continue
                node.evidence.append(piece)
            if piece.proved and not node.kind:
                node.kind = piece.said.kind
            for item in piece.said.subjects:
                if item.key in keys:
                    node.names[item.name] = node.names.get(item.name, False) or piece.proved

    def _same_as(self, key: str) -> tuple[str, ...]:
        if key not in self._same:
            found = self._close((key,))
            self._same |= dict.fromkeys(found, found)
        return self._same[key]

    def _close(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        """All keys of one artifact, as proved statements state several digests of one subject. At most a hundred."""
        found, queue = dict.fromkeys(keys), deque(keys)
        while queue and len(found) < 100:
            for seq in self._pieces.entries(queue.popleft(), SAME):
                piece = self._pieces.piece(seq)
                groups = piece.said.same if piece is not None and piece.proved else ()
                for group in groups:
                    if not found.keys().isdisjoint(group):
                        queue.extend(key for key in group if key not in found)
                        found |= dict.fromkeys(group)
        return (*keys, *sorted(key for key in found if key not in keys)) if len(keys) > 1 else _ordered(tuple(found))

    def _missing(self, text: str) -> None:
        if text not in self.graph.incomplete:
            self.graph.incomplete.append(text)

    def _note(self, text: str) -> None:
        if text not in self.graph.notes:
            self.graph.notes.append(text)

    def finish(self) -> Lineage:
        """The graph, with kinds and what is odd about it."""
        graph = self.graph
        for node in graph.artifacts.values():
            if not node.kind:
                node.kind = kinds.of_place(node.name) if node.place else kinds.of_artifact(node.name)
        for step in graph.steps.values():
            act = step.act
            self._complete(step)
            read, made = ([self._kind(item) for item in things] for things in (act.inputs, act.outputs))
            step.kind = kinds.of_step(act.name, act.build_type, act.command, read, made)
        for edge in graph.edges.values():
            if edge.proved and edge.kind == "made" and not graph.artifacts[edge.end].kind:
                graph.artifacts[edge.end].kind = kinds.MAKES.get(graph.steps[edge.start].kind, "")
            elif edge.proved and edge.kind == "used" and not graph.artifacts[edge.start].kind:
                graph.artifacts[edge.start].kind = kinds.READS.get(graph.steps[edge.end].kind, "")
        for node in list(graph.artifacts.values()):
            makers = self._steps.makers(self._same_as(node.key)) if not node.place else []
            if len(makers) > 1:
                names = ", ".join(sorted(f"{step.act.name!r} ({', '.join(step.signers)})" for step in makers)[:5])
                self._note(f"{node.name}: {len(makers)} steps are said to have made it, which contradict: {names}")
        for cycle in cycles(graph)[:5]:
            self._note("a circle, which no pipeline has: " + " → ".join(cycle))
        if count := sum(self._steps.strangers.values()):
            self._note(f"{count:,} more steps that nobody expected signed are not shown")
        graph.uses |= self._places
        return graph

    def _complete(self, step: Step) -> None:
        """The step's edges to what the walk reached another way."""
        for things, output in ((step.act.inputs, False), (step.act.outputs, True)):
            for item in things if step.proved else ():
                if item.joins and self._same_as(item.key)[0] in self.graph.artifacts:
                    self._edge(step, item, output)

    def _kind(self, thing: Thing) -> str:
        node = self.graph.artifacts.get(self._same.get(thing.key, (thing.key,))[0])
        return node.kind if node is not None else kinds.of_artifact(thing.name)


def _ordered(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(keys, key=lambda key: (not key.startswith("sha256:"), key)))


def _unproved(found: tuple[Step, str]) -> bool:
    return not found[0].proved or bool(found[1])


def _why(item: Thing) -> str:
    kind = item.key.partition(":")[0]
    if kind in ("uri", "name"):
        return "only a name, no digest"
    return f"only a weak digest ({kind})"
