"""Parts of a product that people reviewed and this machine has pictures of: good ones to learn, bad ones to check.

Only parts that a version had judged by their score are used: a dark frame teaches nothing about the product.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inspector.domain import ReviewLabel, printable
from inspector.store import reviews
from inspector.store.database import Database
from inspector.store.pictures.reviewed import keep_reviewed
from inspector.store.reviews import ReviewedResult
from inspector.training.dataset.folders import ImageSource
from inspector.training.evidence.known_bad import ConfirmedPart


@dataclass(frozen=True, slots=True)
class ReviewedParts:
    """`good`: frames to learn from. `bad`: parts that the new version must reject; `bad_sha256` has their digests.

    `good_without_picture` and `bad_without_picture`: reviewed parts whose picture is not on this machine.
    """

    good: tuple[ImageSource, ...] = ()
    bad: tuple[ConfirmedPart, ...] = ()
    bad_sha256: frozenset[str] = frozenset()
    good_without_picture: int = 0
    bad_without_picture: int = 0

    @property
    def notes(self) -> list[str]:
        """What a person should know of the reviews that were used, in words."""
        notes = [
            f"{len(self.good)} parts that people called good were taken in, and the version was checked against "
            f"{len(self.bad)} that people called bad"
        ]
        if self.good_without_picture:
            notes.append(f"{self.good_without_picture} parts called good have no picture on this machine")
        if self.bad_without_picture:
            notes.append(
                f"{self.bad_without_picture} parts called bad have no picture on this machine, so that nobody knows "
                "whether the version would pass them"
            )
        return notes


async def reviewed_parts(database: Database, state_dir: Path, product: str) -> ReviewedParts:
    """The parts by the review of each that counts. Raises StateUnusable where their folder can't be written."""
    good, bad = [await reviews.all_counting(database, product, label) for label in (ReviewLabel.GOOD, ReviewLabel.BAD)]
    return await asyncio.to_thread(_found, state_dir, good, bad)


def without_bad(images: Sequence[ImageSource], parts: ReviewedParts) -> tuple[list[ImageSource], list[str]]:
    """The images without those that people called bad, and a note for each that is left out. Reads all images."""
    kept: list[ImageSource] = []
    notes: list[str] = []
    for image in images:
        if parts.bad_sha256 and _sha256(image) in parts.bad_sha256:
            notes.append(f"{image.name} was left out: people call this part bad")
        else:
            kept.append(image)
    return kept, notes


def only_new(good: Sequence[ImageSource], before: Sequence[ImageSource]) -> list[ImageSource]:
    """The good parts that are not among the images already."""
    known = {image.path.resolve() for image in before if image.path is not None}
    return [image for image in good if image.path is None or image.path.resolve() not in known]


def _found(state_dir: Path, good: Sequence[ReviewedResult], bad: Sequence[ReviewedResult]) -> ReviewedParts:
    good_frames, bad_frames = list(_frames(state_dir, good)), list(_frames(state_dir, bad))
    confirmed = [ConfirmedPart(ImageSource.of(path), _said(each)) for each, path in bad_frames if path is not None]
    return ReviewedParts(
        good=tuple(ImageSource.of(path) for _, path in good_frames if path is not None),
        bad=tuple(confirmed),
        bad_sha256=frozenset(digest for part in confirmed if (digest := _sha256(part.source)) is not None),
        good_without_picture=sum(path is None for _, path in good_frames),
        bad_without_picture=sum(path is None for _, path in bad_frames),
    )


def _frames(state_dir: Path, found: Sequence[ReviewedResult]) -> Iterator[tuple[ReviewedResult, Path | None]]:
    """Each part that was judged by its score, with its picture kept apart; oldest review first."""
    for each in reversed(found):
        if each.verdict is not None and each.verdict.level is not None:
            yield each, keep_reviewed(state_dir, each.verdict)


def _said(each: ReviewedResult) -> str:
    review, verdict = each.review, each.verdict
    part = f", part {printable(verdict.part_id)}" if verdict is not None and verdict.part_id else ""
    kind = f"{printable(review.kind)}, " if review.kind else ""
    return f"result {review.result_id[:8]}{part}: {kind}says {printable(review.by)}"


def _sha256(image: ImageSource) -> str | None:
    try:
        return hashlib.sha256(image.read()).hexdigest()
    except OSError:  # named when it is read to be learnt
        return None
