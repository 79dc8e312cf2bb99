"""After an escape: what was judged since a time, by which version at which threshold, and what may have got through.

Counts are taken hour by hour, so that no query holds the database for long. Kept frames can be judged again by another
version; only those whose picture is on this machine can, and how many that are is always said.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from inspector.config.config import Config
from inspector.domain import FrameFault, Outcome, ProductVersion, Verdict, printable
from inspector.errors import UndecodableFrame, UsageError
from inspector.operation.opening import database_of, registry_of
from inspector.operation.product_versions import versions_of
from inspector.operation.rejudging import JudgedAgain, Rejudge
from inspector.store.database import Database
from inspector.store.ledger.containment import (
    NEAR_LEVEL,
    JudgedGroup,
    Suspicion,
    judged_groups,
    nearest_passes,
    scored_in,
)
from inspector.store.ledger.extent import oldest_at
from inspector.store.pictures.folders import read_kept
from inspector.store.pictures.reviewed import kept_frame
from inspector.stream.verdict_record import format_time

SLICE: Final = timedelta(hours=1)
SHIFTS: Final = (6, 14, 22)
"""Hours of the local day at which shifts begin."""

Progress = Callable[[str, int, int], None]
Key = tuple[Any, ...]


@dataclass
class Tally:
    """What became of rows that have something in common. `highest`: the highest level that passed."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    faults: Counter[FrameFault] = field(default_factory=Counter)
    near: int = 0
    highest: float | None = None
    first_at: datetime | None = None
    last_at: datetime | None = None

    def add(self, group: JudgedGroup) -> None:
        self.outcomes[group.outcome] += group.rows
        if group.fault is not None:
            self.faults[group.fault] += group.rows
        self.near += group.near
        if group.highest is not None:
            self.highest = group.highest if self.highest is None else max(self.highest, group.highest)
        self.first_at = group.first_at if self.first_at is None else min(self.first_at, group.first_at)
        self.last_at = group.last_at if self.last_at is None else max(self.last_at, group.last_at)

    @property
    def rows(self) -> int:
        return self.outcomes.total()

    def to_document(self) -> dict[str, Any]:
        return {
            **{outcome.value: self.outcomes[outcome] for outcome in Outcome},
            "near": self.near,
            "highest_pass": self.highest,
            "frame_health": {fault.value: number for fault, number in sorted(self.faults.items())},
            "first_at": None if self.first_at is None else format_time(self.first_at),
            "last_at": None if self.last_at is None else format_time(self.last_at),
        }


@dataclass(frozen=True, slots=True)
class Flip:
    """A frame that the other version judges otherwise. `picture`: the kept frame."""

    verdict: Verdict
    again: JudgedAgain
    picture: Path

    @property
    def was_passed(self) -> bool:
        """It passed then, and would be rejected now: perhaps an escape."""
        return self.verdict.outcome is Outcome.PASS

    @property
    def words(self) -> str:
        """The flip in a line for people."""
        verdict = self.verdict
        named = [f"part {verdict.part_id}"] if verdict.part_id else []
        named += [f"lot {verdict.lot}"] if verdict.lot else []
        now = "reject" if self.again.is_reject else "pass"
        return printable(
            f"{verdict.outcome.value} at level {verdict.level:.2f}, now {now} at {self.again.level:.2f}: "
            f"{', '.join([*named, verdict.camera, format_time(verdict.received_at), verdict.result_id])}"
        )


@dataclass(frozen=True, slots=True)
class Rescored:
    """Kept frames judged again. `frames`: passed or rejected by their score; `kept`: of these, with a picture here.

    `unreadable`: kept pictures that could not be read.
    """

    version: ProductVersion
    frames: int
    kept: int
    unreadable: int
    flips: tuple[Flip, ...]

    @property
    def judged(self) -> int:
        return self.kept - self.unreadable

    @property
    def passed_to_reject(self) -> int:
        return sum(flip.was_passed for flip in self.flips)

    @property
    def statement(self) -> str:
        """What may be said, and of how many frames."""
        name = f"version {self.version.version} at its threshold of now"
        covered = f"{self.judged} of {self.frames} frames were judged again by {name}"
        if self.judged < self.frames:
            covered += f"; of {self.frames - self.judged} no readable picture is on this machine"
        return (
            f"{covered}. It would reject {self.passed_to_reject} that passed, and pass "
            f"{len(self.flips) - self.passed_to_reject} that were rejected."
        )


@dataclass(frozen=True, slots=True)
class Containment:
    """What is in question. `near`: the passes nearest to the threshold, highest level first."""

    suspicion: Suspicion
    shifts: tuple[int, ...]
    groups: tuple[JudgedGroup, ...]
    near: tuple[Verdict, ...]
    rescored: Rescored | None = None

    @property
    def total(self) -> Tally:
        return next(iter(self.by(lambda _group: ()).values()), Tally())

    @property
    def versions(self) -> dict[Key, Tally]:
        """By product, version and threshold; rows without a known product come last."""
        return self.by(lambda group: (group.product, group.version, group.threshold))

    @property
    def lots(self) -> dict[Key, Tally]:
        return self.by(lambda group: (group.lot,))

    @property
    def cameras(self) -> dict[Key, Tally]:
        return self.by(lambda group: (group.camera,))

    @property
    def by_shift(self) -> dict[Key, Tally]:
        """By the local day on which the shift began, and the hour."""
        return self.by(lambda group: shift_of(group.first_at, self.shifts))

    def to_document(self) -> dict[str, Any]:
        """For `--json` and the report."""
        wanted = self.suspicion
        return {
            "product": wanted.product,
            "version": wanted.version,
            "camera": wanted.camera,
            "lot": wanted.lot,
            "since": format_time(wanted.since),
            "until": format_time(wanted.until),
            "rows": self.total.rows,
            "near_level": NEAR_LEVEL,
            "versions": _listed(self.versions, "product", "version", "threshold"),
            "lots": _listed(self.lots, "lot"),
            "shifts": [
                {"shift": f"{day} {hour:02d}:00", **tally.to_document()} for (day, hour), tally in self.by_shift.items()
            ],
            "cameras": _listed(self.cameras, "camera"),
            "near_passes": [_near_document(verdict) for verdict in self.near],
            "rescored": None if self.rescored is None else _rescored_document(self.rescored),
        }

    def by(self, key_of: Callable[[JudgedGroup], Key]) -> dict[Key, Tally]:
        """A tally for each key that `key_of` gives, in the order of the keys."""
        tallies: dict[Key, Tally] = {}
        for group in self.groups:
            tallies.setdefault(key_of(group), Tally()).add(group)
        return dict(sorted(tallies.items(), key=lambda item: [(part is None, part or 0) for part in item[0]]))


def contain(
    config: Config,
    suspicion: Suspicion,
    *,
    rescore: int | None = None,
    shifts: Sequence[int] = SHIFTS,
    limit: int = 50,
    progress: Progress = lambda _phase, _done, _total: None,
) -> Containment:
    """What is in question. `rescore`: judge kept frames again by this version of the product. Blocks.

    Raises UsageError where a version is named without a product; RegistryError for an unknown product or version;
    ArtifactError where the version can't be opened here.
    """
    if suspicion.product is None and (rescore is not None or suspicion.version is not None):
        raise UsageError("A version belongs to a product; name it with --product.")
    found = asyncio.run(_found(config, suspicion, shifts, limit, progress))
    if rescore is None:
        return found
    return replace(found, rescored=_rescored(config, suspicion, rescore, progress))


def shift_of(at: datetime, shifts: Sequence[int]) -> tuple[str, int]:
    """The local day on which the shift of this moment began, and its hour."""
    local = at.astimezone()
    begun = [hour for hour in sorted(shifts) if hour <= local.hour]
    if begun:
        return f"{local:%Y-%m-%d}", begun[-1]
    return f"{local - timedelta(days=1):%Y-%m-%d}", max(shifts)


async def contained_in(
    database: Database,
    wanted: Suspicion,
    *,
    shifts: Sequence[int] = SHIFTS,
    limit: int = 50,
    progress: Progress = lambda _phase, _done, _total: None,
) -> Containment:
    """As `contain`, over an open database. No frame is judged again."""
    groups: list[JudgedGroup] = []
    near: list[Verdict] = []
    pieces = list(_slices(await _within_store(database, wanted)))
    for done, piece in enumerate(pieces):
        progress("hours", done, len(pieces))
        of_hour = await judged_groups(database, piece)
        groups += of_hour
        least = min((verdict.level or 0.0 for verdict in near), default=0.0) if len(near) >= limit else 0.0
        if any(group.highest is not None and group.highest > least for group in of_hour):
            near += await nearest_passes(database, piece, limit)
            near = sorted(near, key=lambda verdict: -(verdict.level or 0.0))[:limit]
    progress("hours", len(pieces), len(pieces))
    return Containment(wanted, tuple(shifts), tuple(groups), tuple(near))


async def _within_store(database: Database, wanted: Suspicion) -> Suspicion:
    """The same without the time from which nothing is stored."""
    oldest = await oldest_at(database)
    return wanted if oldest is None else replace(wanted, since=min(max(wanted.since, oldest), wanted.until))


async def _found(
    config: Config, wanted: Suspicion, shifts: Sequence[int], limit: int, progress: Progress
) -> Containment:
    if wanted.product is not None:
        await versions_of(config, wanted.product)  # a mistyped name must not look like an empty time
    async with database_of(config) as database:
        return await contained_in(database, wanted, shifts=shifts, limit=limit, progress=progress)


def _listed(tallies: dict[Key, Tally], *names: str) -> list[dict[str, Any]]:
    return [dict(zip(names, key, strict=True)) | tally.to_document() for key, tally in tallies.items()]


def _near_document(verdict: Verdict) -> dict[str, Any]:
    names = ("result_id", "level", "part_id", "lot", "trigger_id", "camera", "product", "product_version", "threshold")
    return {name: getattr(verdict, name) for name in names} | {"received_at": format_time(verdict.received_at)}


def _rescored_document(rescored: Rescored) -> dict[str, Any]:
    return {
        "version": rescored.version.version,
        "threshold": rescored.version.threshold,
        "frames": rescored.frames,
        "kept": rescored.kept,
        "judged": rescored.judged,
        "pass_to_reject": rescored.passed_to_reject,
        "reject_to_pass": len(rescored.flips) - rescored.passed_to_reject,
        "statement": rescored.statement,
        "flips": [
            {
                "result_id": flip.verdict.result_id,
                "part_id": flip.verdict.part_id,
                "lot": flip.verdict.lot,
                "camera": flip.verdict.camera,
                "received_at": format_time(flip.verdict.received_at),
                "outcome_then": flip.verdict.outcome.value,
                "level_then": flip.verdict.level,
                "level_now": flip.again.level,
            }
            for flip in rescored.flips
        ],
    }


def _slices(wanted: Suspicion) -> Iterator[Suspicion]:
    """Pieces that lie in one hour of the day each, so that each lies in one shift."""
    begin = wanted.since
    while begin < wanted.until:
        end = min(begin.replace(minute=0, second=0, microsecond=0) + SLICE, wanted.until)
        yield replace(wanted, since=begin, until=end)
        begin = end


def _rescored(config: Config, wanted: Suspicion, number: int, progress: Progress) -> Rescored:
    product = wanted.product or ""
    version, artifact = asyncio.run(_version_with_artifact(config, product, number))
    rejudge = Rejudge(config, version, artifact)
    pieces = list(_slices(wanted))
    frames = kept = unreadable = 0
    flips: list[Flip] = []
    for done, piece in enumerate(pieces):
        progress("judged again", done, len(pieces))
        verdicts = asyncio.run(_scored(config, piece))
        frames += len(verdicts)
        for verdict, picture in _kept(config.agent.state_dir, verdicts):
            kept += 1
            try:
                again = rejudge.judge(verdict.camera, read_kept(picture))
            except (OSError, UndecodableFrame):
                unreadable += 1
                continue
            if again.is_reject is not (verdict.outcome is Outcome.REJECT):
                flips.append(Flip(verdict, again, picture))
    progress("judged again", len(pieces), len(pieces))
    return Rescored(version, frames, kept, unreadable, tuple(flips))


async def _version_with_artifact(config: Config, product: str, number: int) -> tuple[ProductVersion, bytes]:
    async with registry_of(config) as registry:
        versions = [each for each in await registry.products() if each.product == product]
        artifact = await registry.artifact(product, number)
        return next(each for each in versions if each.version == number), artifact


async def _scored(config: Config, piece: Suspicion) -> list[Verdict]:
    async with database_of(config) as database:
        return [verdict for verdict in await scored_in(database, piece) if verdict.product == piece.product]


def _kept(state_dir: Path, verdicts: Iterable[Verdict]) -> Iterator[tuple[Verdict, Path]]:
    for verdict in verdicts:
        picture = kept_frame(state_dir, verdict)
        if picture is not None:
            yield verdict, picture
