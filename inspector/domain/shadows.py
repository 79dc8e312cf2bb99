"""What a shadow version found on one frame: a row of `shadow_results`. It decides nothing and reaches no gate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from inspector.domain.frames import ResultId
from inspector.domain.verdicts import Outcome


@dataclass(frozen=True, slots=True)
class ShadowResult:
    """The judgement of a shadow version. `result_id`: the row of the same frame in `results`.

    `outcome` is PASS or REJECT, or UNJUDGED for a frame that the version failed on; `detail` then says why, and
    `level`, `score` and `threshold` are None. `score_ms`: the whole time that the scorer was busy with it.
    """

    result_id: ResultId
    camera: str
    product: str
    product_version: int
    outcome: Outcome
    artifact_digest: str
    decided_at: datetime
    score_ms: float
    level: float | None = None
    score: float | None = None
    threshold: float | None = None
    detail: str | None = None
