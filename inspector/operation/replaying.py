"""Judges a recorded frame again by the version that judged it: are these the same bits, and if not, what differs?"""

from __future__ import annotations

import asyncio
import enum
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from inspector import __version__
from inspector.agent.process_figures import processor_name
from inspector.config.config import Config
from inspector.domain import ProductVersion, Verdict
from inspector.errors import StateUnusable, UsageError
from inspector.operation.opening import registry_of
from inspector.operation.rejudging import TOLERANCE, JudgedAgain, Rejudge
from inspector.operation.results import find_result
from inspector.store.console.agents import processor_at
from inspector.store.database import configured
from inspector.store.pictures.folders import read_kept
from inspector.store.pictures.reviewed import kept_frame, reviewed_frame

SOFTWARE: Final = f"inspector {__version__}"


class Sameness(enum.StrEnum):
    """How the score of now compares with the recorded one."""

    SAME_BITS = "same_bits"
    WITHIN_TOLERANCE = "within_tolerance"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Replay:
    """A frame judged again. `level`: the score of now at the threshold of then, as the recorded level is.

    `tolerance`: by how much levels may differ between engines and processors. `differs`: what is not as it was then.
    `processor_then`: None if it was not recorded.
    """

    verdict: Verdict
    again: JudgedAgain
    level: float
    frame: Path
    engine: str
    differs: tuple[str, ...]
    processor_then: str | None
    processor_now: str
    tolerance: float = TOLERANCE

    @property
    def sameness(self) -> Sameness:
        if self.again.score == self.verdict.score:
            return Sameness.SAME_BITS
        return Sameness.WITHIN_TOLERANCE if abs(self.difference) <= self.tolerance else Sameness.DIFFERS

    @property
    def difference(self) -> float:
        """In levels, at the threshold of then."""
        assert self.verdict.level is not None  # noqa: S101 - `replay` refuses results without a level
        return self.level - self.verdict.level

    @property
    def has_same_outcome(self) -> bool:
        """Whether the frame passes or is rejected now, at the threshold of then, as it was then."""
        assert self.verdict.level is not None  # noqa: S101 - as above
        return (self.level > 1.0) is (self.verdict.level > 1.0)

    def to_document(self) -> dict[str, Any]:
        verdict = self.verdict
        return {
            "result_id": verdict.result_id,
            "product": verdict.product,
            "product_version": verdict.product_version,
            "finding": self.sameness.value,
            "score_then": verdict.score,
            "score_now": self.again.score,
            "level_then": verdict.level,
            "level_now": self.level,
            "difference": self.difference,
            "tolerance": self.tolerance,
            "same_outcome": self.has_same_outcome,
            "engine_then": verdict.engine,
            "engine_now": self.engine,
            "software_then": verdict.software,
            "software_now": SOFTWARE,
            "processor_then": self.processor_then,
            "processor_now": self.processor_now,
            "differs": list(self.differs),
            "frame": str(self.frame),
        }


def replay(config: Config, start: str) -> Replay:
    """Judge the frame of the result whose id starts with `start` again. Blocks.

    Raises UsageError for a result that was not judged by a score, whose frame is not kept here, or is not the same any
    more; RegistryError where its version is gone; ArtifactError where an agent would refuse the version here.
    """
    verdict = asyncio.run(find_result(config, start)).verdict
    if verdict.score is None or verdict.level is None or verdict.threshold is None or verdict.product is None:
        raise UsageError(f"Result {verdict.result_id} has no score ({verdict.cause.value}); nothing can be compared.")
    frame, payload = _frame_of(config, verdict)
    version, artifact = asyncio.run(_version_of(config, verdict))
    rejudge = Rejudge(config, version, artifact)
    again = rejudge.judge(verdict.camera, payload)
    level = rejudge.level(again.score, verdict.threshold)
    then, now = asyncio.run(_processor_of(config, verdict)), processor_name()
    differs = _differing(verdict, rejudge)
    if then is not None and then != now:
        differs.append(f"the processor was {then} and is {now}")
    return Replay(verdict, again, level, frame, rejudge.engine, tuple(differs), then, now)


def _frame_of(config: Config, verdict: Verdict) -> tuple[Path, bytes]:
    """The kept frame. Raises UsageError where it is not here, or its bytes are not those that were judged."""
    state_dir = config.agent.state_dir
    frame = kept_frame(state_dir, verdict) or reviewed_frame(state_dir, verdict.product or "", verdict.result_id)
    if frame is None:
        raise UsageError(
            f"The frame of result {verdict.result_id} is not kept on this machine: rejects, unjudged frames and a "
            "share of the passes are (images.keep_passes), until images.max_mib or a rule of retention takes them."
        )
    try:
        payload = read_kept(frame)
    except OSError as error:
        raise StateUnusable(f"The frame {frame} can't be read ({error.strerror}).") from error
    if hashlib.sha256(payload).hexdigest() != verdict.frame_sha256:
        raise UsageError(f"The file {frame} is not the frame that was judged: its SHA-256 is another.")
    return frame, payload


async def _version_of(config: Config, verdict: Verdict) -> tuple[ProductVersion, bytes]:
    """The version with the digest that the row names, whatever its number: it may have been imported again."""
    product = verdict.product or ""
    async with registry_of(config) as registry:
        versions = [each for each in await registry.products() if each.product == product]
        same = [each for each in versions if each.digest == verdict.artifact_digest]
        if not same:
            raise UsageError(
                f"The registry has no version of {product} with the artifact {verdict.artifact_digest}; import it."
            )
        return same[0], await registry.artifact(product, same[0].version)


async def _processor_of(config: Config, verdict: Verdict) -> str | None:
    async with configured(config) as database:
        return await processor_at(database, verdict.agent, verdict.received_at)


def _differing(verdict: Verdict, rejudge: Rejudge) -> list[str]:
    differs = []
    if verdict.engine != rejudge.engine:
        differs.append(f"the engine was {verdict.engine} and is {rejudge.engine}")
    if verdict.software != SOFTWARE:
        differs.append(f"the software was {verdict.software} and is {SOFTWARE}")
    if not rejudge.is_configured(verdict.camera):
        differs.append(f"camera {verdict.camera} is not configured here, so that the usual limits apply")
    if verdict.threshold != rejudge.version.threshold:
        differs.append(f"the threshold was {verdict.threshold:.6g} and is {rejudge.version.threshold:.6g}")
    return differs
