"""Shares of a window, and what chance does to them: exact binomial bounds and tails, no normal approximation.

A count that is compared with its expectation alone cries wolf in every second window; these functions say how often a
clean window would show as much.
"""

from __future__ import annotations


def least_share(hits: int, total: int, chance: float) -> float:
    """Lower end of Clopper and Pearson's one-sided interval for the share that ``hits`` of ``total`` are a sample of.

    The true share is below it in at most ``chance`` of all samples. 0 where nothing was counted.
    """
    from scipy.special import betaincinv

    if hits <= 0 or total <= 0:
        return 0.0
    return float(betaincinv(hits, total - hits + 1, chance))


def tail(misses: int, total: int, allowed: float) -> float:
    """How likely ``misses`` or more of ``total`` are, when each one misses with probability ``allowed``."""
    from scipy.special import bdtrc

    if misses <= 0:
        return 1.0
    if allowed <= 0:
        return 0.0
    return 1.0 if allowed >= 1 else float(bdtrc(misses - 1, total, allowed))


def is_short(misses: int, total: int, least: float, chance: float) -> bool:
    """Whether the share that does not miss is below ``least`` by more than chance explains.

    With ``chance`` 0 shares are compared as they are. A demanded share of 1 allows no miss at all.
    """
    if total <= 0 or misses / total <= 1 - least:
        return False
    return chance <= 0 or tail(misses, total, 1 - least) < chance


def lenient(share: float) -> float:
    """A share rounded down to four digits of what is missing from 1, so that a person can read it."""
    if share >= 1:
        return 1.0
    missing = 1 - share
    rounded = float(f"{missing:.3e}")
    rounded = rounded if rounded >= missing else float(f"{missing * 1.001:.3e}")
    return max(0.0, 1 - rounded)
