"""Compares the results of the demo's line with the expert labels. All figures are counted from the store's rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inspector.demo.line import Shown
from inspector.domain import Outcome, Verdict
from inspector.training.statistics.ranking import image_auroc


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one run. Shares are fractions of the parts shown, None if there is nothing to count."""

    frames: int
    verdicts: int
    passes: int
    rejects: int
    unjudged: int
    missed: int
    duplicates: int
    image_auroc: float | None
    false_reject_share: float | None
    missed_defect_share: float | None
    routing_accuracy: float | None
    routing_accuracy_good: float | None
    latency_ms: dict[str, float | None]
    deadline_misses: int
    counts: dict[str, int]


def summarise(shown: Sequence[Shown], rows: Sequence[Verdict]) -> Summary:
    """The figures of these rows. Rows and parts are joined by camera and trigger id.

    The row of a missed part whose frame came after all does not count.
    """
    rows = [row for row in rows if row.corrected_by is None]
    by_part: dict[tuple[str, int | None], list[Verdict]] = {}
    for row in rows:
        by_part.setdefault((row.camera, row.trigger_id), []).append(row)
    rows_of = {part: by_part.get((part.camera, part.trigger_id), []) for part in shown}
    pairs = [(part, own[0]) for part, own in rows_of.items() if own]
    outcomes = Counter(row.outcome for row in rows)
    good = [row for part, row in pairs if part.cell.is_good]
    defective = [row for part, row in pairs if not part.cell.is_good]
    return Summary(
        frames=len(shown),
        verdicts=len(rows),
        passes=outcomes[Outcome.PASS],
        rejects=outcomes[Outcome.REJECT],
        unjudged=outcomes[Outcome.UNJUDGED],
        missed=len(shown) - len(pairs) + outcomes[Outcome.UNINSPECTED],
        duplicates=sum(len(own) - 1 for own in by_part.values()),
        image_auroc=_auroc(good, defective),
        false_reject_share=_share([row.outcome is Outcome.REJECT for row in good]),
        missed_defect_share=_share([row.outcome is Outcome.PASS for row in defective]),
        routing_accuracy=_share([row.product == part.cell.product for part, row in pairs]),
        routing_accuracy_good=_share([row.product == part.cell.product for part, row in pairs if part.cell.is_good]),
        latency_ms=_percentiles([row.total_ms for row in rows if row.total_ms is not None]),
        deadline_misses=sum(row.gate is not None and not row.published for row in rows),
        counts={"good": len(good), "defective": len(defective)},
    )


def _auroc(good: Sequence[Verdict], defective: Sequence[Verdict]) -> float | None:
    levels = [np.array([row.level for row in rows if row.level is not None]) for rows in (good, defective)]
    return image_auroc(*levels)


def _share(facts: Sequence[bool]) -> float | None:
    return sum(facts) / len(facts) if facts else None


def _percentiles(values: Sequence[float]) -> dict[str, float | None]:
    names = {"p50": 50, "p95": 95, "p99": 99}
    if not values:
        return dict.fromkeys(names)
    return {name: round(float(np.percentile(values, q)), 2) for name, q in names.items()}
