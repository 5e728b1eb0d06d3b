"""Rows beside the rows most like them: near-duplicates, contradicted labels, rows far from their class."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from assay.collect.scan.poisoning.columns import Matrix, Numbers
from assay.collect.scan.poisoning.features import Features
from assay.collect.scan.poisoning.libraries import library

NEIGHBOURS = 15

CLOSE = 0.1
"""Rows are near-duplicates when they are closer than this part of the usual distance to the nearest row."""

ALIKE = 0.8
"""Texts are near-duplicates when they share this part of their word pairs."""


@dataclass(frozen=True, slots=True)
class Near:
    """The nearest rows of each row."""

    distance: Matrix
    """Rows by neighbours, nearest first; the row itself is not among them."""
    index: Numbers
    """The same shape: positions."""
    cluster: Numbers
    """Near-duplicates have the same number."""


def near(features: Features, keys: list[bytes]) -> Near:
    """Find the neighbours, and with ``keys`` (equal for equal contents) the clusters."""
    matrix = features.matrix
    count = min(NEIGHBOURS, len(matrix) - 1)
    finder = library("sklearn.neighbors").NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(matrix)
    distance, index = finder.kneighbors(matrix)
    # Of many equal rows the row itself need not come first: it is moved to the front and dropped.
    own = index == np.arange(len(matrix))[:, None]
    own[~own.any(axis=1), -1] = True
    distance = distance[~own].reshape(len(matrix), count)
    index = index[~own].reshape(len(matrix), count)
    return Near(distance, index, _clusters(features, keys, distance, index))


def _clusters(features: Features, keys: list[bytes], distance: Matrix, index: Numbers) -> Numbers:
    parent = list(range(len(keys)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[bytes, int] = {}
    for i, key in enumerate(keys):
        parent[root(i)] = root(first.setdefault(key, i))
    apart = distance[:, 0][distance[:, 0] > 1e-9] if distance.size else distance.ravel()
    usual = float(np.median(apart)) if len(apart) else 0.0
    with_text = any(features.words)
    pairs = [_pairs(words) for words in features.words] if with_text else []
    for i, j in np.argwhere(distance <= usual * (1.0 if with_text else CLOSE)):
        other = int(index[i, j])
        if not with_text or _alike(pairs[i], pairs[other]):
            parent[root(int(i))] = root(other)
    return np.array([root(i) for i in range(len(keys))], dtype=np.int64)


def _pairs(words: list[str]) -> frozenset[tuple[str, str]]:
    return frozenset(itertools.pairwise(words)) or frozenset((word, "") for word in words)


def _alike(one: frozenset[tuple[str, str]], other: frozenset[tuple[str, str]]) -> bool:
    both = len(one & other)
    return both > 0 and both >= ALIKE * (len(one) + len(other) - both)


def votes(near: Near, y: Numbers, classes: int) -> Matrix:
    """Part of the labelled neighbours that has each class; near-duplicates of the row itself do not vote."""
    made = np.zeros((len(y), classes))
    rows = np.arange(len(y))
    for j in range(near.index.shape[1]):
        other = near.index[:, j]
        counts = (y[other] >= 0) & (near.cluster[other] != near.cluster)
        np.add.at(made, (rows[counts], y[other[counts]]), 1.0)
    total = made.sum(axis=1, keepdims=True)
    shares: Matrix = np.divide(made, total, out=np.zeros_like(made), where=total >= 5)
    return shares


def conflicts(near: Near, y: Numbers) -> list[tuple[Numbers, int | None]]:
    """Clusters of near-duplicates with more than one label, and the label of their majority, if there is one."""
    members: dict[int, list[int]] = defaultdict(list)
    for i, cluster in enumerate(near.cluster):
        if y[i] >= 0:
            members[int(cluster)].append(i)
    made: list[tuple[Numbers, int | None]] = []
    for rows in members.values():
        kinds = Counter(int(y[i]) for i in rows).most_common(2)
        if len(kinds) > 1:
            made.append((np.array(rows), kinds[0][0] if kinds[0][1] > kinds[1][1] else None))
    return made


def far(near: Near, matrix: Matrix, y: Numbers) -> Matrix:
    """How far each row is from its own class, in robust spreads above the class's median; 0 for small classes."""
    made = np.zeros(len(y))
    for c in np.unique(y):
        rows = np.flatnonzero(y == c)
        if len(rows) < 20:
            continue
        finder = library("sklearn.neighbors").NearestNeighbors(n_neighbors=6, algorithm="brute").fit(matrix[rows])
        distance = np.log(finder.kneighbors(matrix[rows])[0][:, 1:].mean(axis=1) + 1e-6)
        made[rows] = spreads(distance)
    return made


def spectral(matrix: Matrix, y: Numbers) -> Matrix:
    """Spectral signature: how far each row lies along its class's strongest direction, in robust spreads.

    Source: Tran, Li and Madry, "Spectral Signatures in Backdoor Attacks", NeurIPS 2018, algorithm 1, here on the
    features that rows have instead of a trained network's.
    """
    made = np.zeros(len(y))
    for c in np.unique(y):
        rows = np.flatnonzero(y == c)
        if len(rows) < 20:
            continue
        centred = matrix[rows] - matrix[rows].mean(axis=0)
        direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
        along = centred @ direction
        made[rows] = np.abs(spreads(along))
    return made


def spreads(values: Matrix) -> Matrix:
    """Distance from the median in units of the standard deviation that the middle of the values suggests."""
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle))
    made: Matrix = (values - middle) / max(float(spread), 1e-9) if spread > 0 else np.zeros_like(values)
    return made
