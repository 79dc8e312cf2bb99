"""When a golden challenge is due at a gate: at times of day, after an activation, after a changeover. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from inspector.config.line_sections import GateSection
from inspector.domain import GoldenState


@dataclass(frozen=True, slots=True)
class Made:
    """What a gate judges now: the product that its line makes (None: not known), and all live versions.

    A version is written as `product:version`. `versions` None: they are not loaded yet.
    """

    product: str | None
    versions: Sequence[str] | None

    def of_product(self) -> list[str]:
        """The versions that can judge a part now."""
        versions = self.versions or ()
        if self.product is None:
            return list(versions)
        return [version for version in versions if version.rpartition(":")[0] == self.product]


def has_duties(gate: GateSection) -> bool:
    """Whether challenges can be due at this gate."""
    return bool(gate.golden_at) or gate.golden_after_activation or gate.golden_after_changeover


def due_for(golden: GoldenState, gate: GateSection, made: Made, now: datetime) -> str | None:
    """Why a challenge is due now, for a person; None if none is due. A gate without any challenge owes each duty."""
    if gate.golden_at and gate.golden_zone is not None:
        begun = shift_begun(gate.golden_at, gate.golden_zone, now)
        if golden.settled_at is None or golden.settled_at < begun:
            return f"the shift of {begun.astimezone(ZoneInfo(gate.golden_zone)):%H:%M} ({gate.golden_zone})"
    if gate.golden_after_activation and made.versions is not None:
        fresh = [version for version in made.of_product() if version not in golden.versions]
        if fresh:
            return f"the activation of {', '.join(fresh[:5])}"
    if gate.golden_after_changeover and made.product is not None and made.product != golden.product:
        return f"the changeover to {made.product}"
    return None


def shift_begun(times: Sequence[str], zone: str, now: datetime) -> datetime:
    """The last moment up to now at which one of these times of day (HH:MM) was in that zone, in UTC."""
    local = now.astimezone(ZoneInfo(zone))
    moments = [
        datetime.combine(local.date() - timedelta(days=back), time.fromisoformat(text), ZoneInfo(zone)).astimezone(UTC)
        for back in (0, 1)
        for text in times
    ]
    return max(moment for moment in moments if moment <= now)
