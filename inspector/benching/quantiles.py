"""Percentiles by nearest rank: each is a measured value. A frame without an answer counts as slower than all others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

SHARES: Final = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "p999": 0.999}


def quantile(ordered: Sequence[float], share: float, lost: int = 0) -> float | None:
    """The smallest value that at least this share of all values does not exceed; None if that is a lost one.

    `ordered`: ascending. `lost`: values that are missing because they never came; they count as infinite.
    """
    total = len(ordered) + lost
    rank = max(1, math.ceil(round(share * total, 9)))  # rounded, because 0.999 * 1000 is a little more than 999
    return ordered[rank - 1] if rank <= len(ordered) else None


def quantiles(values: Sequence[float], lost: int = 0) -> dict[str, float | None]:
    """p50, p95, p99, p999 and max, to three decimals. Max is None if any value is lost."""
    ordered = sorted(values)
    found = {name: quantile(ordered, share, lost) for name, share in SHARES.items()}
    found["max"] = ordered[-1] if ordered and not lost else None
    return {name: None if value is None else round(value, 3) for name, value in found.items()}
