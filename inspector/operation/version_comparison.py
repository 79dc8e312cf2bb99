"""What a shadow version would change: how often it agrees with the live version, where not, and who is right.

A difference alone says nothing about which version is better. Only labels do: a person's word on a part that the
versions judge differently. Without any label no comparison says that a version is an improvement.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from inspector.config.config import Config
from inspector.domain import Cause, Outcome, ProductVersion, ReviewLabel, label_of
from inspector.errors import RegistryError
from inspector.operation.opening import database_of, registry_of
from inspector.operation.product_versions import chosen_version
from inspector.operation.results import kept_files
from inspector.store.database import Database
from inspector.store.ledger import comparisons
from inspector.store.ledger.comparisons import Flip, FrameGroup, JudgedFrame, ShadowSelection
from inspector.stream.verdict_record import format_time
from inspector.vision.artifacts.binomial import binomial_cdf

SIGNIFICANCE: Final = 0.05
"""A difference this unlikely by chance, on labelled flips, is called one (two-sided sign test)."""

Pair = tuple[Outcome, Outcome]
PASS, REJECT = Outcome.PASS, Outcome.REJECT


class Finding(enum.StrEnum):
    """What may be said of the shadow version."""

    NOTHING_COMPARED = "nothing_compared"
    NO_FLIPS = "no_flips"
    UNLABELLED = "unlabelled"
    UNDECIDED = "undecided"
    IMPROVEMENT = "improvement"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class LabelledFlips:
    """Flips on which a person said whether the part is good or bad, by what the shadow version would change."""

    escapes_avoided: int = 0
    escapes_added: int = 0
    false_rejects_avoided: int = 0
    false_rejects_added: int = 0

    @property
    def shadow_right(self) -> int:
        return self.escapes_avoided + self.false_rejects_avoided

    @property
    def live_right(self) -> int:
        return self.escapes_added + self.false_rejects_added

    @property
    def total(self) -> int:
        return self.shadow_right + self.live_right

    @property
    def chance(self) -> float:
        """How likely labels this one-sided or more are if both versions are equally good."""
        fewer = min(self.shadow_right, self.live_right)
        return min(1.0, 2.0 * binomial_cdf(fewer, self.total, 0.5)) if self.total else 1.0


@dataclass(frozen=True, slots=True)
class ShownFlip:
    """A flip with its kept pictures, which are there only on the machine of the agent that judged the frame."""

    flip: Flip
    pictures: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A shadow version against the version that judged the same frames.

    `live` is None where no version was live. `counts`: frames by (live outcome, shadow outcome). `frames`: frames that
    the live version judged by their score between the first and the last compared frame. `failed`: frames that the
    shadow version could not judge. `unreleased`: its outcomes on frames that were `not_released`.
    `of_other_versions`: frames that another version than `live` judged, which are left out.
    """

    live: ProductVersion | None
    shadow: ProductVersion
    counts: dict[Pair, int]
    frames: int
    failed: int
    unreleased: dict[Outcome, int]
    of_other_versions: int
    simulated: int
    first_at: datetime | None
    last_at: datetime | None
    has_moved_thresholds: bool
    labels: LabelledFlips
    flips: tuple[ShownFlip, ...]

    @property
    def compared(self) -> int:
        return sum(self.counts.values())

    @property
    def agreed(self) -> int:
        return sum(count for (live, shadow), count in self.counts.items() if live is shadow)

    @property
    def flipped(self) -> int:
        return self.compared - self.agreed

    @property
    def agreement(self) -> float | None:
        """The share of compared frames on which both versions agree; None if there are none."""
        return self.agreed / self.compared if self.compared else None

    @property
    def not_scored(self) -> int:
        """Frames that the live version judged meanwhile and the shadow version did not, for lack of idle time."""
        return max(0, self.frames - self.compared - self.failed)

    @property
    def finding(self) -> Finding:
        if not self.compared:
            return Finding.NOTHING_COMPARED
        if not self.flipped:
            return Finding.NO_FLIPS
        labels = self.labels
        if not labels.total:
            return Finding.UNLABELLED
        if labels.chance > SIGNIFICANCE:
            return Finding.UNDECIDED
        if labels.shadow_right < labels.live_right:
            return Finding.WORSE
        # Fewer false rejects do not make up for more bad parts that pass.
        return Finding.UNDECIDED if labels.escapes_added > labels.escapes_avoided else Finding.IMPROVEMENT

    @property
    def statement(self) -> str:
        """What may be said, in a sentence or two."""
        return _statement(self)

    def to_document(self) -> dict[str, Any]:
        """For `--json`."""
        return _document(self)


async def compare_versions(
    config: Config, product: str, *, number: int | None = None, since: datetime | None = None, most_flips: int = 50
) -> Comparison:
    """The product's shadow version (or version `number`, scored in shadow earlier) against the one that judged.

    Raises RegistryError for an unknown product or version, and where no version was ever scored in shadow.
    """
    async with registry_of(config) as registry:
        versions = [version for version in await registry.products() if version.product == product]
    if not versions:
        raise RegistryError(f"There is no product {product}; see `inspector products list`.")
    async with database_of(config) as database:
        shadow = await _shadow_of(database, versions, number)
        wanted = ShadowSelection(product, shadow.version, since)
        groups = await comparisons.frame_groups(database, wanted)
        live = _reference(groups, versions, shadow)
        own = [group for group in groups if live is not None and _is_judged_by(group, live)]
        if live is None or not own:
            return _comparison(live, shadow, groups, 0, ())
        span = min(group.first_at for group in own), max(group.last_at for group in own)
        frames = await comparisons.judged_frames(database, product, live.version, *span)
        flips = await comparisons.newest_flips(database, wanted, live.version, most_flips)
    shown = tuple(ShownFlip(flip, tuple(kept_files(config.agent.state_dir, flip.result_id))) for flip in flips)
    return _comparison(live, shadow, groups, frames, shown)


async def _shadow_of(database: Database, versions: Sequence[ProductVersion], number: int | None) -> ProductVersion:
    """The version of that number; for None the product's shadow, else the one that was scored in shadow last."""
    if number is not None:
        return chosen_version(versions, number)
    for version in versions:
        if version.is_shadow:
            return version
    product = versions[0].product
    newest = await comparisons.newest_scored_version(database, product)
    if newest is None:
        raise RegistryError(
            f"No version of {product} was scored in shadow; `inspector products shadow {product} VERSION --reason ...` "
            "begins it."
        )
    return chosen_version(versions, newest)


def _reference(
    groups: Sequence[FrameGroup], versions: Sequence[ProductVersion], shadow: ProductVersion
) -> ProductVersion | None:
    """The version that judged the newest compared frame; without any such frame the live one, if there is one."""
    judged = [group for group in groups if group.live_version is not None and group.cause in _JUDGED_CAUSES]
    if judged:
        number = max(judged, key=lambda group: group.last_at).live_version
        return next((version for version in versions if version.version == number), None)
    return next((version for version in versions if version.is_live and version is not shadow), None)


def _is_judged_by(group: FrameGroup, live: ProductVersion) -> bool:
    return group.live_version == live.version and group.cause in _JUDGED_CAUSES


_JUDGED_CAUSES: Final = frozenset({Cause.OK, Cause.ANOMALY})


def _comparison(
    live: ProductVersion | None,
    shadow: ProductVersion,
    groups: Sequence[FrameGroup],
    frames: int,
    flips: tuple[ShownFlip, ...],
) -> Comparison:
    judged = [group for group in groups if group.cause in _JUDGED_CAUSES]
    own = [group for group in groups if live is not None and _is_judged_by(group, live)]
    pairs = [group for group in own if group.shadow_outcome in (PASS, REJECT)]
    unreleased = [group for group in groups if group.cause is Cause.NOT_RELEASED]
    return Comparison(
        live=live,
        shadow=shadow,
        counts=dict(_counted(((group.live_outcome, group.shadow_outcome), group.frames) for group in pairs)),
        frames=frames,
        failed=sum(group.frames for group in own if group.shadow_outcome not in (PASS, REJECT)),
        unreleased=dict(_counted((group.shadow_outcome, group.frames) for group in unreleased)),
        of_other_versions=sum(group.frames for group in judged) - sum(group.frames for group in own),
        simulated=sum(group.simulated for group in pairs),
        first_at=min((group.first_at for group in pairs), default=None),
        last_at=max((group.last_at for group in pairs), default=None),
        has_moved_thresholds=_has_moved(pairs, live, shadow),
        labels=_labelled(pairs),
        flips=flips,
    )


def _counted(pairs: Iterable[tuple[Any, int]]) -> Counter[Any]:
    counted: Counter[Any] = Counter()
    for key, count in pairs:
        counted[key] += count
    return counted


def _has_moved(groups: Sequence[FrameGroup], live: ProductVersion | None, shadow: ProductVersion) -> bool:
    """Whether frames were judged by another threshold than the version has now."""
    of_live = {value for group in groups for value in group.live_thresholds if value is not None}
    of_shadow = {value for group in groups for value in group.shadow_thresholds if value is not None}
    return bool(of_live - {live.threshold if live else None}) or bool(of_shadow - {shadow.threshold})


def is_good(word: str | None) -> bool | None:
    """Whether a person called the part good; None without a word, and for words such as `unsure`."""
    label = ReviewLabel.UNSURE if word is None else label_of(word)
    return None if label is ReviewLabel.UNSURE else label is ReviewLabel.GOOD


def _labelled(groups: Sequence[FrameGroup]) -> LabelledFlips:
    counted: Counter[tuple[bool, Outcome]] = Counter()
    for group in groups:
        good = is_good(group.label)
        if good is not None and group.live_outcome is not group.shadow_outcome:
            counted[good, group.shadow_outcome] += group.frames
    return LabelledFlips(
        escapes_avoided=counted[False, REJECT],
        escapes_added=counted[False, PASS],
        false_rejects_avoided=counted[True, PASS],
        false_rejects_added=counted[True, REJECT],
    )


def _statement(found: Comparison) -> str:
    labels, unlabelled = found.labels, found.flipped - found.labels.total
    match found.finding:
        case Finding.NOTHING_COMPARED:
            return "No frame was judged by both versions yet."
        case Finding.NO_FLIPS:
            return f"Both versions agree on all {found.compared} frames; there is no difference to judge."
        case Finding.UNLABELLED:
            return (
                f"The versions differ on {found.flipped} of {found.compared} frames. None of these parts has a label, "
                "so nothing says which version is right, and the difference can't be called an improvement."
            )
    right = (
        f"Of {labels.total} labelled flips the shadow version is right on {labels.shadow_right} and the live version "
        f"on {labels.live_right}"
    )
    rest = f"; {unlabelled} flips have no label" if unlabelled else ""
    return f"{right}{rest}. {_conclusion(found)}"


def _conclusion(found: Comparison) -> str:
    labels = found.labels
    match found.finding:
        case Finding.IMPROVEMENT:
            return f"The shadow version is an improvement on these frames (sign test, p = {labels.chance:.2g})."
        case Finding.WORSE:
            return f"The shadow version is worse on these frames (sign test, p = {labels.chance:.2g})."
    if labels.chance <= SIGNIFICANCE:
        return (
            f"It rejects fewer good parts, but passes {labels.escapes_added} bad parts and finds only "
            f"{labels.escapes_avoided} more: a person has to weigh that."
        )
    return "This may be chance: label more flips."


def _document(found: Comparison) -> dict[str, Any]:
    labels = found.labels
    return {
        "product": found.shadow.product,
        "live_version": None if found.live is None else found.live.version,
        "shadow_version": found.shadow.version,
        "live_threshold": None if found.live is None else found.live.threshold,
        "shadow_threshold": found.shadow.threshold,
        "thresholds_moved": found.has_moved_thresholds,
        "first_at": None if found.first_at is None else format_time(found.first_at),
        "last_at": None if found.last_at is None else format_time(found.last_at),
        "frames": found.frames,
        "compared": found.compared,
        "not_scored": found.not_scored,
        "failed": found.failed,
        "simulated": found.simulated,
        "of_other_versions": found.of_other_versions,
        "unreleased": {outcome.value: count for outcome, count in found.unreleased.items()},
        "agreed": found.agreed,
        "agreement": found.agreement,
        "both_pass": found.counts.get((PASS, PASS), 0),
        "both_reject": found.counts.get((REJECT, REJECT), 0),
        "flips": {
            "total": found.flipped,
            "pass_to_reject": found.counts.get((PASS, REJECT), 0),
            "reject_to_pass": found.counts.get((REJECT, PASS), 0),
        },
        "labels": {
            "labelled": labels.total,
            "unlabelled": found.flipped - labels.total,
            "shadow_right": labels.shadow_right,
            "live_right": labels.live_right,
            "escapes_avoided": labels.escapes_avoided,
            "escapes_added": labels.escapes_added,
            "false_rejects_avoided": labels.false_rejects_avoided,
            "false_rejects_added": labels.false_rejects_added,
        },
        "finding": found.finding.value,
        "statement": found.statement,
        "shown_flips": [_flip_document(shown) for shown in found.flips],
    }


def _flip_document(shown: ShownFlip) -> dict[str, Any]:
    flip = shown.flip
    return {
        "result_id": flip.result_id,
        "camera": flip.camera,
        "received_at": format_time(flip.received_at),
        "lot": flip.lot,
        "part_id": flip.part_id,
        "live": _judged_document(flip.live),
        "shadow": _judged_document(flip.shadow),
        "label": flip.label,
        "pictures": [str(path) for path in shown.pictures],
    }


def _judged_document(judged: JudgedFrame) -> dict[str, Any]:
    return {
        "outcome": judged.outcome.value,
        "level": judged.level,
        "score": judged.score,
        "threshold": judged.threshold,
    }
