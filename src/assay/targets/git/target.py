"""``git:`` targets: what one commit of a local clone or of a URL holds.

Files are read from the commit's objects, which are hashed again on the way, and from Git LFS content that has
the pointer's SHA-256. A worktree's files, filters and hooks never have a say in what a git target contains.
"""

from __future__ import annotations

import os
import tempfile
import threading
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import BinaryIO, cast

from assay.errors import TargetError, UndecidedError
from assay.targets.git import lfs
from assay.targets.git import pointers as lfs_pointers
from assay.targets.git.catfile import CatFile
from assay.targets.git.columns import Columns, shares
from assay.targets.git.repository import (
    GitFailedError,
    Repository,
    fetch,
    last_line,
    open_repository,
    resolve_commit,
)
from assay.targets.git.tree import FOLDER, Contents, Tree, parse_tree, select
from assay.targets.interface import Facts, Manifest, Options, Reference
from assay.targets.listing import Listing
from assay.targets.names import base_name, is_url, shown, without_userinfo

IN_MEMORY = 8 * 1024 * 1024
"""Bytes of an opened blob that are held in memory; a larger one lies in a temporary file."""

_LINK_LIMIT = 4096  # PATH_MAX
_POINTER_MINIMUM = 40  # bytes; nothing shorter can even resemble a pointer


def open_git(reference: Reference, options: Options, userinfo: str | None = None) -> GitTarget:
    """The target that a ``git:`` reference names. ``userinfo`` logs in to a URL's host and is kept nowhere.

    Raises `TargetError`; `UndecidedError` where a server cannot be reached or ``options.offline`` forbids it.
    """
    try:
        if not is_url(reference.name):
            repository = open_repository(reference.name)
            commit = resolve_commit(repository, reference.revision)
            origin = without_userinfo(repository.config("remote.origin.url") or "")
            return _open(reference, options, repository, commit, origin, None, None)
        if options.offline and not reference.name.startswith("file://"):
            raise UndecidedError(
                f"the repository {shown(reference.name)} is remote, and --offline forbids to reach it",
                hint="clone it beforehand and name the clone: git:PATH",
            )
        temporary = tempfile.TemporaryDirectory(prefix="assay-git-", ignore_cleanup_errors=True)
        try:
            repository, commit = fetch(reference.name, reference.revision, userinfo, temporary.name)
            return _open(reference, options, repository, commit, reference.name, userinfo, temporary)
        except BaseException:
            temporary.cleanup()
            raise
    except GitFailedError as error:
        raise TargetError(f"git fails on {shown(reference.name)}: {last_line(str(error))}") from None


class GitTarget:
    """One commit's files; see `Target` for the contract."""

    single = False

    def __init__(
        self,
        reference: Reference,
        name: str,
        facts: Facts,
        options: Options,
        repository: Repository,
        contents: Contents,
        large: dict[int, tuple[lfs_pointers.Pointer, str]],
        temporary: tempfile.TemporaryDirectory[str] | None,
    ) -> None:
        self.reference = reference
        self.name = name
        self.facts = facts
        self.names: Sequence[str] = contents.names
        self.sizes = contents.sizes
        self._oids = contents.oids
        self._options = options
        self._repository = repository
        self._large = large
        self._temporary = temporary
        self._cat: CatFile | None = None
        self._lock = threading.Lock()

    def open(self, name: str) -> BinaryIO:
        """A seekable file of one resource. Git LFS content is held against its pointer by `manifest` only."""
        i = bisect_left(self.names, name)
        if i == len(self.names) or self.names[i] != name:
            raise TargetError(f"{self.name} has no file {shown(name)}")
        if i in self._large:
            try:
                return open(self._large[i][1], "rb")
            except OSError as error:
                raise TargetError(f"the Git LFS content of {shown(name)} cannot be read: {error.strerror}") from None
        file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  (the caller closes it)
        with self._lock:
            cat = self._cat = self._cat or CatFile(self._repository)
            try:
                cat.request(self._oids[i])
                for data in cat.read(self._oids[i], name):
                    file.write(data)
            except BaseException:
                file.close()
                cat.close()  # its stream stands somewhere inside the object
                self._cat = None
                raise
        file.seek(0)
        return cast(BinaryIO, file)

    def manifest(self, *, sha256: bool = True, blake3: bool = True) -> Manifest:
        """Digest every file. Blobs are held against their object id, Git LFS content against its pointer."""
        digests = Columns(len(self.names), sum(self.sizes), sha256, blake3, self._options)
        blobs = [i for i in range(len(self.names)) if i not in self._large]
        self._digest_blobs(blobs, digests)
        if self._large:
            self._digest_large(digests)
        return digests.manifest(self.names)

    def _digest_blobs(self, blobs: list[int], digests: Columns) -> None:
        """Share the blobs among as many git processes as there are workers, neighbours together."""
        workers = min(self._options.workers or len(os.sched_getaffinity(0)), 8, len(blobs) // 16 + 1)
        parts = shares(blobs, self.sizes, workers)
        if len(parts) < 2:
            for share in parts:
                self._digest_share(share, digests)
            return
        from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

        with ThreadPoolExecutor(len(parts)) as pool:
            futures = [pool.submit(self._digest_share, share, digests) for share in parts]
            try:
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
            finally:
                digests.stop = True  # ends the others, should one have failed

    def _digest_share(self, share: list[int], digests: Columns) -> None:
        with CatFile(self._repository) as cat:
            cat.request_all([self._oids[i] for i in share])
            for i in share:
                digests.stream(i, cat.read(self._oids[i], self.names[i]))

    def _digest_large(self, digests: Columns) -> None:
        """Digest Git LFS content where it lies, on all cores; always with SHA-256, as the pointer demands."""
        from assay.targets.digest.engine import digest

        positions = sorted(self._large)
        listing = Listing(
            "/",
            [self.names[i] for i in positions],
            array("Q", [self.sizes[i] for i in positions]),
            {k: self._large[i][1].lstrip("/") for k, i in enumerate(positions)},
        )
        found = digest(
            listing,
            sha256=True,
            blake3=digests.blake3,
            workers=self._options.workers,
            progress=digests.beyond() if self._options.progress else None,
        )
        for k, i in enumerate(positions):
            resource, (pointer, path) = found[k], self._large[i]
            assert resource.sha256 is not None
            lfs.check_content(self.names[i], pointer, path, resource.sha256)
            digests.put(i, resource.size, resource.sha256, resource.blake3, resource.segments)

    def __enter__(self) -> GitTarget:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._cat is not None:
            self._cat.close()
            self._cat = None
        if self._temporary is not None:
            self._temporary.cleanup()


def _open(
    reference: Reference,
    options: Options,
    repository: Repository,
    commit: str,
    origin: str | None,
    userinfo: str | None,
    temporary: tempfile.TemporaryDirectory[str] | None,
) -> GitTarget:
    what = shown(reference.name)
    with CatFile(repository) as cat:
        tree_oid = _tree_of(cat, commit)
        tree = parse_tree(repository.run("ls-tree", "-r", "-t", "-z", "--full-tree", tree_oid))
        _check_trees(repository, tree_oid, tree)

        def read_link(oid: str, name: str) -> str:
            cat.request(oid)
            text = b"".join(cat.read(oid, name, limit=_LINK_LIMIT))
            return text.decode("utf-8", "surrogateescape")

        contents = select(tree, options, read_link, what)
    contents.sizes = _sizes(repository, contents)
    pointers, inexact = _pointers(repository, contents)
    large = lfs.locate(repository, reference.name, pointers, userinfo, offline=options.offline)
    for name, (pointer, _) in large.items():
        contents.sizes[bisect_left(contents.names, name)] = pointer.size
    notes: dict[str, object] = {}
    if contents.submodules:
        notes["submodules"] = [{"path": path, "commit": oid} for path, oid in sorted(contents.submodules)]
    if large:
        notes["lfs"] = sorted(large)
    if inexact:
        notes["lfs_inexact"] = inexact
    facts = Facts(
        origin=origin or None,
        revision=commit,
        digests={"gitCommit": commit, "gitTree": tree_oid},
        ignored=tuple(sorted(contents.ignored)),
        ignore_rules=contents.rules,
        followed_links=contents.followed,
        part=options.paths,
        notes=notes,
    )
    pinned = Reference("git", reference.name, commit)
    by_position = {bisect_left(contents.names, name): found for name, found in large.items()}
    return GitTarget(pinned, _name(reference, repository), facts, options, repository, contents, by_position, temporary)


def _name(reference: Reference, repository: Repository) -> str:
    if is_url(reference.name):
        return base_name(reference.name)
    directory = repository.directory
    if repository.worktree is None and os.path.basename(directory) == ".git":
        directory = os.path.dirname(directory)
    try:
        base_name(directory).encode()
    except UnicodeEncodeError:
        raise TargetError(f"the name of the repository {shown(directory)} is not UTF-8") from None
    return base_name(directory)


def _tree_of(cat: CatFile, commit: str) -> str:
    """The tree that a commit names, read from the commit itself."""
    cat.request(commit)
    data = b"".join(cat.read(commit, "commit " + commit))
    word, _, oid = data.partition(b"\n")[0].partition(b" ")
    if word != b"tree":
        raise TargetError(f"the commit {commit} is malformed: it names no tree", hint="git fsck")
    return oid.decode("ascii", "replace")


def _check_trees(repository: Repository, root: str, tree: Tree) -> None:
    """Hash every tree object again: what git lists is only as true as the objects that it read."""
    folders = {oid: at + base for at, inner in tree.items() for base, (kind, oid) in inner.items() if kind == FOLDER}
    folders[root] = "root"
    with CatFile(repository) as cat:
        cat.request_all(list(folders))
        for oid, name in folders.items():
            for _ in cat.read(oid, f"folder {name}"):
                pass


def _sizes(repository: Repository, contents: Contents) -> array[int]:
    """Sizes of the blobs, as git's index of objects gives them."""
    asked = "".join(oid + "\n" for oid in contents.oids).encode()
    try:
        answer = repository.run("cat-file", "--batch-check=%(objecttype) %(objectsize)", "--buffer", stdin=asked)
    except GitFailedError:
        answer = b""  # a partial clone that would have fetched: nobody can tell which one
    sizes = array("Q")
    for line in answer.splitlines():
        kind, _, size = line.partition(b" ")
        if kind != b"blob":
            break
        sizes.append(int(size))
    if len(sizes) != len(contents.names):
        raise TargetError(
            f"the repository lacks the object of {shown(contents.names[len(sizes)])}",
            hint="the clone is partial or damaged: git fetch --refetch, or git fsck",
        )
    return sizes


def _pointers(repository: Repository, contents: Contents) -> tuple[dict[str, lfs_pointers.Pointer], list[str]]:
    """Git LFS pointers by name, and the names of files that only resemble one."""
    small = [i for i, size in enumerate(contents.sizes) if _POINTER_MINIMUM <= size < lfs_pointers.POINTER_LIMIT]
    pointers: dict[str, lfs_pointers.Pointer] = {}
    inexact: list[str] = []
    with CatFile(repository) as cat:
        cat.request_all([contents.oids[i] for i in small])
        for i in small:
            name = contents.names[i]
            data = b"".join(cat.read(contents.oids[i], name))
            pointer = lfs_pointers.parse_pointer(data)
            if pointer is not None:
                pointers[name] = pointer
            elif lfs_pointers.resembles_pointer(data):
                inexact.append(name)
    return pointers, inexact
