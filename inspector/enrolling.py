"""Enrolment composed: good images in, a version in the registry out, its look-alikes named.

Used by the command line and the demo. Running agents notice the new version by themselves.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from inspector import app
from inspector.config import NAME_PATTERN, Config
from inspector.domain import ProductVersion
from inspector.errors import UsageError
from inspector.vision.engines import create_engine
from inspector.vision.enrolment import Enrolment, EnrolmentOptions, EnrolmentReport, enrol, look_alikes
from inspector.vision.folders import ImageSource

ALIKE = 0.9
"""Products whose anchors are this much alike are named: the router may take one for the other."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A stored version with what a person should read about it. `alike`: (product, likeness 0 to 1)."""

    version: ProductVersion
    report: EnrolmentReport
    alike: tuple[tuple[str, float], ...]


async def enrol_into(
    config: Config,
    product: str,
    images: Sequence[ImageSource],
    options: EnrolmentOptions,
    *,
    by: str,
    shadow: bool = False,
    progress: Progress | None = None,
) -> Enrolled:
    """Enrol `product` and make it live (or its shadow). Nothing is stored unless all of it went well.

    Raises EnrolmentError, UsageError, WeightsMissing, EngineError, LedgerUnavailable.
    """
    if not re.fullmatch(NAME_PATTERN, product):
        raise UsageError(f"{product!r} can't be a product's name: letters, digits, dots, dashes, at most 64 of them.")
    async with app.open_registry(config) as registry:  # before the minutes of work, not after them
        done: Enrolment = await asyncio.to_thread(_enrol, config, product, images, options, progress)
        live = await registry.live()
        others = [
            await registry.artifact(version.product, version.version)
            for version in live.versions
            if version.product != product
        ]
        version = await registry.add_version(
            product, done.artifact, done.manifest, by=by, activate=not shadow, shadow=shadow
        )
    alike = tuple((name, likeness) for name, likeness in look_alikes(done.artifact, others) if likeness >= ALIKE)
    return Enrolled(version, done.report, alike)


def _enrol(
    config: Config,
    product: str,
    images: Sequence[ImageSource],
    options: EnrolmentOptions,
    progress: Progress | None,
) -> Enrolment:
    engine = create_engine(config.engine.name, config.agent.state_dir / "engines", config.engine.threads)
    # A training of minutes that was interrupted goes on when the same images are enrolled again.
    training = replace(options.training, folder=options.training.folder or config.agent.state_dir / "training")
    options = replace(options, training=training)
    return enrol(product, images, options, engine, progress)
