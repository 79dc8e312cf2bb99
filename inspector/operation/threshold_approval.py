"""How far a person alone may move a threshold, and what a second person approves. All of it stands in the audit.

The approved level of a version is that of its enrolment, 1, until a second person has approved another. Small moves do
not count as approved, so that many of them together lead no further than one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.domain import ProductVersion
from inspector.errors import UsageError
from inspector.operation.opening import registry_of
from inspector.operation.reasons import ensure_reason
from inspector.operation.user import is_proven, is_same_person
from inspector.operation.version_signatures import threshold_signature
from inspector.store import audit
from inspector.store.audit import Change
from inspector.store.database import Database
from inspector.vision.artifacts.thresholds import HIGHEST_LEVEL, LOWEST_LEVEL, EnrolledThreshold, moved_level

SLACK: Final = 1e-6
"""A level at exactly the allowed share is allowed, whatever rounding says."""


class SecondPersonNeeded(UsageError):
    """The level is further from the last approved one than a person alone may move it. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A level that one person asks for, and that a second person may approve. `approved`: the level until now."""

    product: str
    version: int
    level: float
    approved: float
    by: str
    at: datetime
    reason: str


async def approved_level(database: Database, version: ProductVersion) -> float:
    """The level that a second person approved last; 1 where none did."""
    entry = await audit.newest(database, _object(version, "approved"))
    return 1.0 if entry is None or entry.new is None else float(entry.new)


async def ensure_near(database: Database, version: ProductVersion, level: float, share: float) -> None:
    """Raises SecondPersonNeeded where the level is further from the approved one than this share of it."""
    approved = await approved_level(database, version)
    if abs(level - approved) <= share * approved + SLACK:
        return
    low, high = approved * (1 - share), approved * (1 + share)
    raise SecondPersonNeeded(
        f"Level {level:g} of {version.product} version {version.version} needs a second person: alone anyone may "
        f"choose from {low:.3g} to {high:.3g}, which is {share:.0%} around the approved level {approved:g} "
        "(agent.threshold_share)."
    )


async def ensure_approved(database: Database, version: ProductVersion, share: float, what: str) -> None:
    """Raises UsageError where the version's threshold stands further from the approved level than a person may move it.

    A threshold that was moved in this registry was bound when it was moved. `what` ends "it is not ...".
    """
    level = moved_level(version)
    if level is None or await _was_moved_here(database, version):
        return
    approved = await approved_level(database, version)
    if abs(level - approved) <= share * approved + SLACK:
        return
    name = f"{version.product} version {version.version}"
    command = f"`inspector products threshold {version.product} --version {version.version} --level"
    other = ""
    if LOWEST_LEVEL <= level <= HIGHEST_LEVEL:
        other = f", or propose it with {command} {level:.3g} --reason ...` and let a second person say --approve"
    raise UsageError(
        f"{name} is not {what}: its threshold was moved to level {level:.3g} of its enrolment, and alone anyone may "
        f"choose from {approved * (1 - share):.3g} to {approved * (1 + share):.3g} (agent.threshold_share). Move it "
        f"back with {command} {approved:g} --reason ...`{other}."
    )


async def _was_moved_here(database: Database, version: ProductVersion) -> bool:
    """Whether the last move of the threshold that stands in the audit led to where it stands."""
    last = await audit.newest(database, f"product/{version.product}/version {version.version}/threshold")
    return last is not None and last.new == f"{version.threshold:.6g}"


async def propose_threshold(config: Config, version: ProductVersion, level: float, *, by: str, reason: str) -> Proposal:
    """Ask a second person for this level. A later proposal for the version replaces it. Raises UsageError."""
    ensure_reason(reason, "A moved threshold")
    EnrolledThreshold.of(version.manifest).score_at(level)
    async with registry_of(config) as registry:
        approved = await approved_level(registry.database, version)
        at = SystemClock().now()
        change = Change(by, _object(version, "proposed"), f"{approved:.6g}", f"{level:.6g}", reason)
        await audit.record(registry.database, at, change)
    return Proposal(version.product, version.version, level, approved, by, at, reason)


async def open_proposal(database: Database, version: ProductVersion) -> Proposal | None:
    """The last proposal for the version; None if there is none, or if it was approved."""
    asked = await audit.newest(database, _object(version, "proposed"))
    approved = await audit.newest(database, _object(version, "approved"))
    if asked is None or asked.new is None or (approved is not None and approved.seq > asked.seq):
        return None
    before = 1.0 if approved is None or approved.new is None else float(approved.new)
    return Proposal(version.product, version.version, float(asked.new), before, asked.user, asked.at, asked.reason)


async def approve_threshold(config: Config, version: ProductVersion, *, by: str, reason: str) -> ProductVersion:
    """Move the threshold to the proposed level, which is the approved one from now on. Returns the version.

    Raises UsageError where nothing is proposed, for the person who proposed it, and without a reason.
    """
    ensure_reason(reason, "An approved threshold")
    async with registry_of(config) as registry:
        proposal = await open_proposal(registry.database, version)
        if proposal is None:
            raise UsageError(f"Nothing is proposed for the threshold of {version.product} version {version.version}.")
        if not is_proven(by) or not is_proven(proposal.by):
            raise UsageError(
                f"{by} can't approve what {proposal.by} proposed: in a user namespace anybody can have any user id. "
                "Propose and approve as users of the machine, or in the console."
            )
        if is_same_person(proposal.by, by):
            raise UsageError(
                f"{by} proposed level {proposal.level:g} of {version.product}; somebody else has to approve it."
            )
        score = EnrolledThreshold.of(version.manifest).score_at(proposal.level)
        why = f"{reason} (proposed by {proposal.by}: {proposal.reason})"
        signature = await threshold_signature(config, registry, version, score, by=proposal.by, approved_by=by)
        moved = await registry.move_threshold(
            version.product, version.version, score, by=by, reason=why, signature=signature
        )
        levels = (f"{proposal.approved:.6g}", f"{proposal.level:.6g}")
        await audit.record(
            registry.database, SystemClock().now(), Change(by, _object(version, "approved"), *levels, why)
        )
        return moved


def _object(version: ProductVersion, what: str) -> str:
    return f"product/{version.product}/version {version.version}/threshold {what}"
