"""Exact statements about shares: bounds and intervals of the binomial distribution."""

from __future__ import annotations

import math
from collections.abc import Callable


def upper_bound(above: int, n: int, confidence: float) -> float:
    """p such that the rate of scores above the (n - above)-th order statistic is below p with `confidence`.

    For scores of any distribution without ties, that rate is Beta(above + 1, n - above):
    P(rate <= p) = P(Bin(n, p) >= above + 1). For above = 0 it is 1 - (1 - confidence)^(1/n).
    """
    return _solve(lambda p: 1.0 - binomial_cdf(above, n, p), confidence)


def clopper_pearson(hits: int, n: int, confidence: float) -> tuple[float, float]:
    """The two-sided exact interval of a share, `hits` of `n`."""
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if hits == 0 else _solve(lambda p: 1.0 - binomial_cdf(hits - 1, n, p), tail)
    high = 1.0 if hits == n else _solve(lambda p: 1.0 - binomial_cdf(hits, n, p), 1.0 - tail)
    return low, high


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(Bin(n, p) <= k)."""
    if p <= 0.0:
        return 1.0
    if p >= 1.0:
        return 1.0 if k >= n else 0.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    ]
    return min(1.0, math.fsum(math.exp(value) for value in logs))


def _solve(rising: Callable[[float], float], target: float) -> float:
    """The p in [0, 1] at which a rising function reaches `target`, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return high
