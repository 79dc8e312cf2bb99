"""What `--head auto` takes: the default head, and why.

A choice by drawn defects was measured and dropped. Drawn defects rank heads wrongly: on twelve products they gained
nothing, and where the default head failed they did not say so (docs/measurements.md). `benchmarks.head_choice`
measures such a choice again.
"""

from __future__ import annotations

from inspector.training.choice.trial import Choice
from inspector.training.heads.factory import DEFAULT

REASON = (
    "auto is the default head, because drawn defects do not tell which head finds real ones; "
    "inspector evaluate compares heads on labelled images"
)


def default_head() -> Choice:
    """The choice that `auto` makes. Its evidence is empty, because nothing is tried."""
    return Choice("head", DEFAULT, {}, REASON)
