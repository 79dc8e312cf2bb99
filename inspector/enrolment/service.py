"""Enrolment composed: good images in, a version in the registry out, its report beside it, its look-alikes named.

Used by the command line and the demo. Running agents notice the new version by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.config.sections import NAME_PATTERN
from inspector.domain import ProductVersion
from inspector.enrolment.enrolled_images import folder_of, keep_list, load_list, without
from inspector.enrolment.giving_way import apart
from inspector.enrolment.inheriting import differing, inherited
from inspector.errors import ArtifactError, EnrolmentError, UsageError
from inspector.store.database import configured, ensure_schema
from inspector.store.registry.registry import SqlRegistry
from inspector.training.dataset.folders import ImageSource, NotTaken
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol, neighbour_of
from inspector.training.evidence.report import EnrolmentReport
from inspector.training.evidence.routing_check import Neighbour
from inspector.vision.artifacts.thresholds import moved_note
from inspector.vision.engines.factory import create_engine

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class EnrolmentOrder:
    """What to do around the enrolment itself.

    `adds`: the live version's images come before the new ones. `page`: where the report goes, None for the state
    folder. `not_taken`: what was offered and is no image, for the report. `excluded`: images that are
    left out, by path or file name. `gives_way`: the work is done where a line that runs on this box does not feel it.
    `insists`: the version goes live whatever its evidence objects to. `named`: with `adds`, what the person said of
    `inheriting.NAMEABLE`; the rest is as in the live version.
    """

    by: str
    shadow: bool = False
    adds: bool = False
    page: Path | None = None
    not_taken: tuple[NotTaken, ...] = ()
    excluded: tuple[str, ...] = ()
    gives_way: bool = False
    insists: bool = False
    named: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A stored version with what a person should read about it. `alike`: (product, likeness 0 to 1).

    `page`: the report's file. `objections`: why it was stored but not made live; empty where it was, or is a shadow.
    """

    version: ProductVersion
    report: EnrolmentReport
    alike: tuple[tuple[str, float], ...]
    page: Path
    enrolment: Enrolment
    objections: tuple[str, ...] = ()


async def enrol_into(
    config: Config,
    product: str,
    images: Sequence[ImageSource],
    options: EnrolmentOptions,
    order: EnrolmentOrder,
    progress: Progress | None = None,
) -> Enrolled:
    """Enrol `product` and make it live (or its shadow). Nothing is stored unless all of it went well.

    Where more than a tenth of a product's good frames would be routed wrongly beside it, the new one's own or
    another's, it is stored and what was live stays live: parts would meet a head that is not theirs.

    Raises EnrolmentError, UsageError, WeightsMissing, EngineError, LedgerUnavailable, OSError for a report that can't
    be written; the version is stored then.
    """
    ensure_name(product)
    if order.page is not None and not order.page.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {order.page.absolute().parent} for the report.")
    async with _registry_of(config) as registry:  # before the minutes of work, not after them
        live, refused = await _neighbours(registry)
        current = {each.product: each for each in (await registry.live()).versions}.get(product)
        notes = _notes_of_current(current)
        before: list[ImageSource] = []
        if order.adds:
            if current is None:
                raise UsageError(f"There is no live version of {product} to add to; enrol it without --add.")
            before = await asyncio.to_thread(load_list, config.agent.state_dir, product, current.digest)
            options = inherited(options, current.manifest, order.named)
            notes += _notes_of_inherited(current, options)
        sources, unknown = without([*before, *images], order.excluded)
        if unknown:
            raise UsageError(f"There is no image {unknown[0]} among those given; name it by its path or file name.")
        work = partial(_enrol, _one_thread(config) if order.gives_way else config, product, sources, options, live)
        tell = progress or (lambda _phase, _done, _total: None)
        do = apart if order.gives_way else asyncio.to_thread
        done = await do(work, tell)
        done = replace(done, report=replace(done.report, warnings=(*done.report.warnings, *notes, *refused)))
        objections = () if order.shadow or order.insists else done.evidence.objections
        activate = not order.shadow and not objections
        version = await registry.add_version(
            product, done.artifact, done.manifest, by=order.by, activate=activate, shadow=order.shadow
        )
    await asyncio.to_thread(_keep_list, config, product, done, sources)
    draw = partial(_write_page, config, done, version, order)
    try:
        page = await do(draw, tell)
    except EnrolmentError:  # its process was ended: the version stands, and nobody shall read that it does not
        page = await asyncio.to_thread(draw, tell)
    return Enrolled(version, done.report, done.evidence.routing.alike, page, done, objections)


@contextlib.asynccontextmanager
async def _registry_of(config: Config) -> AsyncIterator[SqlRegistry]:
    """Raises LedgerUnavailable, SchemaOutdated."""
    # Not through the composition root: what it brings in is loaded at a running line's cost.
    async with configured(config) as database:
        await ensure_schema(database)
        async with SqlRegistry(database, SystemClock()) as registry:
            yield registry


def ensure_name(product: str) -> None:
    """Raises UsageError for what can't be a product's name."""
    if not re.fullmatch(NAME_PATTERN, product):
        raise UsageError(f"{product!r} can't be a product's name: letters, digits, dots, dashes, at most 64 of them.")


def _notes_of_inherited(current: ProductVersion, options: EnrolmentOptions) -> list[str]:
    kept = ", ".join(differing(options))
    return [f"learnt as version {current.version} was, or as named now: {kept}"] if kept else []


async def _neighbours(registry: SqlRegistry) -> tuple[list[Neighbour], list[str]]:
    """The live products as routing sees them, one artifact in memory at a time; and a warning for each unreadable one,
    which agents refuse as well.
    """
    found, refused = [], []
    for each in (await registry.live()).versions:
        try:
            found.append(neighbour_of(await registry.artifact(each.product, each.version)))
        except ArtifactError as error:
            refused.append(f"{each.product} took no part in the routing check, its live version can't be read: {error}")
    return found, refused


def _notes_of_current(current: ProductVersion | None) -> list[str]:
    """What of the live version does not pass to a new one."""
    if current is None or not (moved := moved_note(current)):
        return []
    return [f"of version {current.version}, {moved}; a new version has a threshold of its own, move it if you need to"]


def _enrol(
    config: Config,
    product: str,
    images: Sequence[ImageSource],
    options: EnrolmentOptions,
    live: Sequence[Neighbour],
    progress: Progress,
) -> Enrolment:
    engine = create_engine(config.engine.name, config.agent.state_dir / "engines", config.engine.threads)
    # A training of minutes that was interrupted goes on when the same images are enrolled again.
    training = replace(options.training, folder=options.training.folder or config.agent.state_dir / "training")
    options = replace(options, training=training, scratch=options.scratch or folder_of(config.agent.state_dir, product))
    return enrol(product, images, options, engine, progress, live)


def _one_thread(config: Config) -> Config:
    return config.model_copy(update={"engine": config.engine.model_copy(update={"threads": 1})})


def _keep_list(config: Config, product: str, done: Enrolment, sources: Sequence[ImageSource]) -> None:
    """Of the images that were used; those that were left out stay out when more are added."""
    by_name = {source.name: source for source in sources}
    used = [(by_name[each["name"]], each["sha256"]) for each in done.manifest["images"]]
    keep_list(config.agent.state_dir, product, done.digest, used)


def _write_page(
    config: Config, done: Enrolment, version: ProductVersion, order: EnrolmentOrder, _progress: Progress
) -> Path:
    from inspector.reports.enrolment import enrolment_page  # a third of a second to draw: where the work is done

    page = order.page
    if page is None:
        page = folder_of(config.agent.state_dir, version.product) / f"version-{version.version}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(enrolment_page(done, version, order.not_taken), encoding="utf-8")
    return page
