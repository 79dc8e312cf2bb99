"""Joins the results of a shadow version with the rows of the same frames, for `products compare`. Reads only.

Everything is counted by the database, so that a comparison over weeks needs no memory. Only flips are read row by row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from inspector.domain import Cause, Outcome
from inspector.errors import RowDamaged
from inspector.store import tables
from inspector.store.database import Database
from inspector.store.reviews import counts

T = TypeVar("T")

_SHADOW: Final = tables.shadow_results.c
_LIVE: Final = tables.results.c
_JUDGED: Final = (Cause.OK.value, Cause.ANOMALY.value)


@dataclass(frozen=True, slots=True)
class ShadowSelection:
    """The shadow results of one version. `since`: from this time on; None: all that are stored."""

    product: str
    version: int
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class FrameGroup:
    """Frames that are alike in what both versions said of them, and in the newest label that a person gave them.

    `live_version` is None for frames of a product without a live version. The thresholds are the smallest and the
    largest that the frames of the group were judged by; None where there was none.
    """

    live_version: int | None
    cause: Cause
    live_outcome: Outcome
    shadow_outcome: Outcome
    label: str | None
    frames: int
    simulated: int
    first_at: datetime
    last_at: datetime
    live_thresholds: tuple[float | None, float | None]
    shadow_thresholds: tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class JudgedFrame:
    """What one version said of a frame."""

    outcome: Outcome
    level: float | None
    score: float | None
    threshold: float | None


@dataclass(frozen=True, slots=True)
class Flip:
    """A frame on which the two versions differ, with the newest label that a person gave it."""

    result_id: str
    camera: str
    received_at: datetime
    lot: str | None
    part_id: str | None
    live: JudgedFrame
    shadow: JudgedFrame
    label: str | None


async def newest_scored_version(database: Database, product: str) -> int | None:
    """The version of the product that was scored in shadow last; None if none ever was."""
    query = sa.select(_SHADOW.product_version).where(_SHADOW.product == product).order_by(_SHADOW.id.desc()).limit(1)
    async with database.reading() as connection:
        number: int | None = (await connection.execute(query)).scalar_one_or_none()
    return number


async def frame_groups(database: Database, wanted: ShadowSelection) -> list[FrameGroup]:
    """All frames that the shadow version scored and that still have their row, in groups."""
    labels = _newest_labels()
    keys = (_LIVE.product_version, _LIVE.cause, _LIVE.outcome, _SHADOW.outcome, labels.c.label)
    query = (
        sa.select(
            _LIVE.product_version.label("live_version"),
            _LIVE.cause.label("cause"),
            _LIVE.outcome.label("live_outcome"),
            _SHADOW.outcome.label("shadow_outcome"),
            labels.c.label.label("label"),
            sa.func.count().label("frames"),
            sa.func.sum(sa.case((_LIVE.simulated, 1), else_=0)).label("simulated"),
            sa.func.min(_LIVE.received_at).label("first_at"),
            sa.func.max(_LIVE.received_at).label("last_at"),
            sa.func.min(_LIVE.threshold).label("live_least"),
            sa.func.max(_LIVE.threshold).label("live_most"),
            sa.func.min(_SHADOW.threshold).label("shadow_least"),
            sa.func.max(_SHADOW.threshold).label("shadow_most"),
        )
        .select_from(_paired(labels))
        .where(*_selected(wanted))
        .group_by(*keys)
    )
    async with database.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [_understood(_group, row) for row in rows]


async def judged_frames(database: Database, product: str, version: int, first: datetime, last: datetime) -> int:
    """Frames that this version passed or rejected by their score, received from `first` to `last`."""
    query = sa.select(sa.func.count()).where(
        _LIVE.received_at >= first,
        _LIVE.received_at <= last,
        _LIVE.product == product,
        _LIVE.product_version == version,
        _LIVE.cause.in_(_JUDGED),
    )
    async with database.reading() as connection:
        return int((await connection.execute(query)).scalar_one())


async def newest_flips(database: Database, wanted: ShadowSelection, live_version: int, limit: int) -> list[Flip]:
    """The newest `limit` frames that one version passes and the other rejects, newest first."""
    labels = _newest_labels()
    query = (
        sa.select(
            *(_LIVE[name] for name in ("result_id", "camera", "received_at", "lot", "part_id")),
            *(_LIVE[name].label(f"live_{name}") for name in ("outcome", "level", "score", "threshold")),
            *(_SHADOW[name].label(f"shadow_{name}") for name in ("outcome", "level", "score", "threshold")),
            labels.c.label.label("label"),
        )
        .select_from(_paired(labels))
        .where(
            *_selected(wanted),
            _LIVE.product_version == live_version,
            _LIVE.cause.in_(_JUDGED),
            _SHADOW.outcome.in_((Outcome.PASS.value, Outcome.REJECT.value)),
            _LIVE.outcome != _SHADOW.outcome,
        )
        .order_by(_LIVE.seq.desc())
        .limit(limit)
    )
    async with database.reading() as connection:
        rows = (await connection.execute(query)).mappings().all()
    return [_understood(_flip, row) for row in rows]


def _understood(make: Callable[[Any], T], row: Any) -> T:
    """What `make` makes of the row. Raises RowDamaged for a word that is no outcome or cause."""
    try:
        return make(row)
    except ValueError as error:
        raise RowDamaged(
            f"A result holds a word that is none of ours ({error}); mend it there, or restore the database."
        ) from error


def _newest_labels() -> sa.Subquery:
    reviewed = sa.select(tables.reviews.c.result_id, tables.reviews.c.label).where(counts())
    return reviewed.subquery("newest_labels")


def _paired(labels: sa.Subquery) -> sa.Join:
    joined = tables.shadow_results.join(tables.results, _LIVE.result_id == _SHADOW.result_id)
    return joined.outerjoin(labels, labels.c.result_id == _SHADOW.result_id)


def _selected(wanted: ShadowSelection) -> list[sa.ColumnElement[bool]]:
    conditions = [_SHADOW.product == wanted.product, _SHADOW.product_version == wanted.version]
    if wanted.since is not None:
        conditions.append(_SHADOW.decided_at >= wanted.since)
    return conditions


def _group(row: Any) -> FrameGroup:
    return FrameGroup(
        live_version=row["live_version"],
        cause=Cause(row["cause"]),
        live_outcome=Outcome(row["live_outcome"]),
        shadow_outcome=Outcome(row["shadow_outcome"]),
        label=row["label"],
        frames=row["frames"],
        simulated=row["simulated"],
        first_at=row["first_at"],
        last_at=row["last_at"],
        live_thresholds=(row["live_least"], row["live_most"]),
        shadow_thresholds=(row["shadow_least"], row["shadow_most"]),
    )


def _flip(row: Any) -> Flip:
    live, shadow = (
        JudgedFrame(
            outcome=Outcome(row[f"{whose}_outcome"]),
            level=row[f"{whose}_level"],
            score=row[f"{whose}_score"],
            threshold=row[f"{whose}_threshold"],
        )
        for whose in ("live", "shadow")
    )
    return Flip(
        result_id=row["result_id"],
        camera=row["camera"],
        received_at=row["received_at"],
        lot=row["lot"],
        part_id=row["part_id"],
        live=live,
        shadow=shadow,
        label=row["label"],
    )
