"""From a commit's tree to the resources of a target, by the rules that `list_tree` has for folders.

Pure but for the reading of links, which is handed in. It must accept no tree that a checkout would show
differently: malformed entries, ambiguous names and links that leave the tree are errors that name the file.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from assay.errors import TargetError
from assay.targets.ignore import DEFAULT_IGNORES, Ignore, Selection
from assay.targets.interface import Options
from assay.targets.tree import MAX_DEPTH, MAX_FOLDER_LINKS, check_names

FILE, FOLDER, LINK, SUBMODULE = "file", "folder", "link", "submodule"

_KINDS = {"100": FILE, "040": FOLDER, "120": LINK, "160": SUBMODULE}
_LINK_STEPS = 40  # links in a chain, as the kernel allows

Tree = dict[str, dict[str, tuple[str, str]]]
"""By folder (``""``, ``"a/"``, ``"a/b/"``): by name: kind and object id."""


@dataclass(slots=True)
class Contents:
    """What a target takes from a tree: columns, in order of name."""

    names: list[str] = field(default_factory=list)
    """Resource names."""
    oids: list[str] = field(default_factory=list)
    """Their blobs."""
    sizes: array[int] = field(default_factory=lambda: array("Q"))
    """Filled in by whoever asks git for them."""
    ignored: list[str] = field(default_factory=list)
    """Names left out, folders with a trailing slash."""
    submodules: list[tuple[str, str]] = field(default_factory=list)
    """Path and commit of repositories that the commit only refers to."""
    rules: tuple[str, ...] = ()
    """The ignore globs in force."""
    followed: bool = False
    """A link was followed."""


def parse_tree(listing: bytes) -> Tree:
    """The answer of ``git ls-tree -r -t -z --full-tree``. Raises `TargetError` for a malformed tree."""
    tree: Tree = {"": {}}
    for line in listing.split(b"\0")[:-1]:
        meta, tab, raw = line.partition(b"\t")
        mode, _, oid = meta.decode("ascii", "replace").split(" ")
        path = raw.decode("utf-8", "surrogateescape")
        folder, slash, base = path.rpartition("/")
        kind = _KINDS.get(mode[:3])
        if not tab or kind is None or base in ("", ".", "..") or folder + slash not in tree:
            raise TargetError(f"the commit's tree has a malformed entry {path!r}", hint="git fsck")
        if base in tree[folder + slash]:
            raise TargetError(f"the commit's tree has the entry {path!r} twice", hint="git fsck")
        tree[folder + slash][base] = (kind, oid)
        if kind == FOLDER:
            tree[path + "/"] = {}
    return tree


def select(tree: Tree, options: Options, read_link: Callable[[str, str], str], what: str) -> Contents:
    """The resources that ``options`` take from ``tree``; ``read_link(oid, name)`` gives a link's text.

    ``what`` names the repository in messages. Raises `TargetError`, and `UsageError` for a bad glob.
    """
    walk = _Walk(tree, options, read_link)
    walk.folder("", "", ("",))
    walk.check(what)
    return walk.contents


class _Walk:
    def __init__(self, tree: Tree, options: Options, read_link: Callable[[str, str], str]) -> None:
        self._tree = tree
        self._read_link = read_link
        self._follow = options.follow_links
        self._ignore = Ignore.of((DEFAULT_IGNORES if options.default_ignores else ()) + options.ignore)
        self._select = Selection.of(options.paths) if options.paths else None
        self._unmatched = set(range(len(options.paths)))
        self._folder_links = 0
        self.contents = Contents(rules=self._ignore.rules)

    def check(self, what: str) -> None:
        """Every glob must have matched, and something must be there."""
        ignored = sorted(self.contents.ignored)
        hint = f"{len(ignored)} ignored: {', '.join(map(repr, ignored[:5]))}" if ignored else None
        if self._select is not None and self._unmatched:
            glob = self._select.globs[min(self._unmatched)]
            raise TargetError(f"--path {glob!r} matches no file of {what}", hint=hint)
        if not self.contents.names:
            raise TargetError(f"{what} has no files", hint=hint)

    def folder(self, real: str, prefix: str, above: tuple[str, ...]) -> None:
        """Take a folder: ``real`` is where it lies in the tree, ``prefix`` its name, ``above`` its ancestors."""
        if len(above) > MAX_DEPTH:
            raise TargetError(f"{prefix!r} lies more than {MAX_DEPTH} folders deep")
        entries: list[tuple[str, str, str]] = []  # label (a folder's with a slash), oid, folder's place in the tree
        plain: list[str] = []
        for base, (kind, oid) in self._tree[real].items():
            name = prefix + base
            label = base + "/" if kind == FOLDER else base
            if self._ignore.matches(prefix, label):
                self.contents.ignored.append(prefix + label)
                continue
            place = real + label
            if kind == SUBMODULE:
                self.contents.submodules.append((name, oid))
            elif kind == LINK:
                if self._select is not None and not (self._select.hits(name) or self._select.enters(name)):
                    continue
                label, oid, place = self._link(real, base, name, oid)
                entries.append((label, oid, place))
            elif kind == FILE or self._select is None or self._select.enters(name):
                entries.append((label, oid, place))
            plain.append(base)
        check_names(prefix, plain)
        entries.sort()
        for label, oid, place in entries:
            if label.endswith("/"):
                if place in above:
                    raise TargetError(f"{prefix + label[:-1]!r} is a link to a folder that contains it")
                self.folder(place, prefix + label, (*above, place))
            else:
                self._file(prefix + label, oid)

    def _file(self, name: str, oid: str) -> None:
        if self._select is not None:
            hits = self._select.hits(name)
            if not hits:
                return
            self._unmatched.difference_update(hits)
        self.contents.names.append(name)
        self.contents.oids.append(oid)

    def _link(self, real: str, base: str, name: str, oid: str) -> tuple[str, str, str]:
        """A followed link as an entry: the file or folder that it stands for, under the link's own name."""
        if not self._follow:
            raise TargetError(
                f"{name!r} is a symbolic link",
                hint="--follow-links follows links that stay inside the target; --ignore leaves it out",
            )
        kind, found, place = self._resolve(real, self._read_link(oid, name), name)
        self.contents.followed = True
        if kind == FOLDER:
            self._folder_links += 1
            if self._folder_links > MAX_FOLDER_LINKS:
                raise TargetError(f"more than {MAX_FOLDER_LINKS} links to folders, {name!r} is one")
            return base + "/", "", place
        return base, found, place

    def _resolve(self, folder: str, text: str, name: str) -> tuple[str, str, str]:
        """Kind, object and place of what the link ``name`` in ``folder`` with the target ``text`` stands for."""
        at = folder.split("/")[:-1]
        todo = self._steps(text, name)
        steps = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not at:
                    raise _outside(name)
                at.pop()
                continue
            here = "".join(p + "/" for p in at)
            kind, oid = self._tree[here].get(part, ("", ""))
            if kind == LINK:
                steps += 1
                if steps > _LINK_STEPS:
                    raise TargetError(f"{name!r} is a link that leads back to itself")
                todo += self._steps(self._read_link(oid, here + part), name)
            elif kind == FOLDER:
                at.append(part)
            elif kind == FILE and not todo:
                return FILE, oid, here + part
            else:
                raise TargetError(f"{name!r} is a link that leads nowhere in the commit")
        return FOLDER, "", "".join(p + "/" for p in at)

    @staticmethod
    def _steps(text: str, name: str) -> list[str]:
        if text.startswith("/"):
            raise _outside(name)
        return text.split("/")[::-1]


def _outside(name: str) -> TargetError:
    return TargetError(
        f"{name!r} is a link out of the target",
        hint="replace it by a copy of the file, or leave it out with --ignore",
    )
