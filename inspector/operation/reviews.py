"""A person's word on results: given, undone, listed. Each change stands in the audit with its user."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.domain import Outcome, Review, ReviewLabel, Verdict
from inspector.errors import StateUnusable, UsageError
from inspector.operation.opening import database_of
from inspector.operation.reasons import ensure_reason
from inspector.operation.results import find_result
from inspector.store import reviews
from inspector.store.pictures.reviewed import keep_reviewed
from inspector.store.reviews import ReviewedResult, ReviewFilter
from inspector.stream.verdict_record import format_time

MOST_KIND: Final = 64
"""Longest kind, in characters: it is a word or two that others use again."""

MOST_NOTE: Final = 2000


@dataclass(frozen=True, slots=True)
class GivenReview:
    """A stored review with its result. `frame`: the part's picture as kept for enrolments; None if it is not here.

    `before`: the review that counted until now.
    """

    review: Review
    verdict: Verdict
    frame: Path | None
    before: Review | None


async def give_review(
    config: Config,
    start: str,
    label: ReviewLabel,
    *,
    by: str,
    kind: str | None = None,
    note: str = "",
    is_blind: bool = False,
) -> GivenReview:
    """Store what a person says of the result whose id starts with `start`. It counts from now on.

    The picture of a part called good or bad is kept apart, where this machine has it: an enrolment may need it when the
    folder of pictures has long lost it. Raises UsageError for an unknown result and for texts that are too long,
    StateUnusable for a picture that can't be kept: the review is stored then.
    """
    kind = _kind(kind)
    if len(note) > MOST_NOTE:
        raise UsageError(f"A reason has at most {MOST_NOTE} characters.")
    verdict = (await find_result(config, start)).verdict
    if verdict.outcome is Outcome.UNINSPECTED:
        raise UsageError(f"Result {verdict.result_id} is of a part without a frame; nobody has seen it.")
    async with database_of(config) as database:
        before = (await reviews.counting_of(database, [verdict.result_id])).get(verdict.result_id)
        clock = SystemClock()
        wanted = Review(verdict.result_id, label, by, clock.now(), kind, note, is_blind)
        review = await reviews.add(database, clock, wanted)
    frame = None
    if label is not ReviewLabel.UNSURE:
        try:
            frame = await asyncio.to_thread(keep_reviewed, config.agent.state_dir, verdict)
        except StateUnusable as error:
            raise StateUnusable(f"The review is stored, but the part's picture is not kept for it: {error}") from error
    return GivenReview(review, verdict, frame, before)


async def undo_review(config: Config, start: str, *, by: str, reason: str) -> Review:
    """Undo the review of a result that counts. Raises UsageError where none counts, and without a reason."""
    ensure_reason(reason, "A review that is undone")
    verdict = (await find_result(config, start)).verdict
    async with database_of(config) as database:
        return await reviews.undo(database, SystemClock(), verdict.result_id, by=by, reason=reason)


async def newest_reviews(config: Config, wanted: ReviewFilter, limit: int) -> list[ReviewedResult]:
    """The newest `limit` reviews, newest first."""
    async with database_of(config) as database:
        return await reviews.listed(database, wanted, limit=limit)


def review_document(review: Review, verdict: Verdict | None) -> dict[str, Any]:
    """A review for machines, with what the result said; null for a result whose row was pruned."""
    return {
        "number": review.number,
        "result_id": review.result_id,
        "label": review.label.value,
        "kind": review.kind,
        "reason": review.note,
        "by": review.by,
        "at": format_time(review.at),
        "blind": review.is_blind,
        "undone_at": None if review.undone_at is None else format_time(review.undone_at),
        "undone_by": review.undone_by,
        "product": None if verdict is None else verdict.product,
        "product_version": None if verdict is None else verdict.product_version,
        "camera": None if verdict is None else verdict.camera,
        "outcome": None if verdict is None else verdict.outcome.value,
        "level": None if verdict is None else verdict.level,
        "received_at": None if verdict is None else format_time(verdict.received_at),
    }


def _kind(kind: str | None) -> str | None:
    if kind is None or not kind.strip():
        return None
    if len(kind.strip()) > MOST_KIND:
        raise UsageError(f"A kind is a word or two, at most {MOST_KIND} characters; the rest belongs to the reason.")
    return kind.strip()
