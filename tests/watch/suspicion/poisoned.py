"""Windows of a synthetic table, honest and attacked, as in the reference's table of patterns."""

import numpy as np
import polars as pl
from sklearn.datasets import make_classification

REFERENCE, ROWS = 3000, 2000
KINDS = ("clean", "covariate-shift", "label-flips", "targeted-flips", "feedback", "backdoor")


def frame(features, labels, sources):
    columns = {f"f{i}": features[:, i] for i in range(features.shape[1])}
    return pl.DataFrame({**columns, "label": labels.astype(int), "source": [f"s{source}" for source in sources]})


def make(kind, seed):
    """The reference, and a window of 2,000 rows from 30 sources that shows ``kind``."""
    draw = np.random.default_rng(seed + 100)
    every, truth = make_classification(
        n_samples=9000,
        n_features=12,
        n_informative=7,
        n_redundant=2,
        n_clusters_per_class=2,
        class_sep=1.4,
        flip_y=0.02,
        random_state=seed,
    )
    chosen = np.arange(REFERENCE, REFERENCE + ROWS)
    if kind == "covariate-shift":
        weight = np.exp(every[REFERENCE:, 0] / every[:, 0].std())
        chosen = REFERENCE + draw.choice(len(every) - REFERENCE, ROWS, replace=False, p=weight / weight.sum())
    features, labels, sources = every[chosen].copy(), truth[chosen].copy(), draw.integers(0, 30, ROWS)
    if kind == "label-flips":
        flipped = draw.choice(ROWS, int(0.08 * ROWS), replace=False)
        labels[flipped] = 1 - labels[flipped]
    elif kind == "targeted-flips":
        near = np.argsort(((features - features[draw.integers(ROWS)]) ** 2).sum(axis=1))[: int(0.05 * ROWS)]
        labels[near] = 1 - np.bincount(labels[near]).argmax()
    elif kind == "feedback":
        count = int(0.05 * ROWS)
        of = draw.choice(draw.choice(ROWS, 8, replace=False), count)
        features[:count] = features[of] + draw.normal(0, 0.01, (count, features.shape[1]))
        labels[:count], sources[:count] = 1 - labels[of], draw.choice([1, 2], count)
    elif kind == "backdoor":
        marked = draw.choice(np.flatnonzero(labels == 0), int(0.05 * ROWS), replace=False)
        features[marked, 5], features[marked, 9], labels[marked] = 3.7, -2.2, 1
        sources[marked] = draw.choice([4, 5], len(marked))
    reference = frame(every[:REFERENCE], truth[:REFERENCE], draw.integers(0, 30, REFERENCE))
    return reference, frame(features, labels, sources)
