"""Enrols one product: good images in; out come a version in the registry, its report and a list of look-alikes.

The command line and the demo call it, and a console can. Running agents notice the new version by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from inspector.config.config import Config
from inspector.config.section import NAME_PATTERN
from inspector.domain import ProductVersion, Signature, printable
from inspector.enrolment.enrolled_images import folder_of, keep_list, load_list, without
from inspector.enrolment.inherited_options import differing, inherited
from inspector.enrolment.keeping import FinishedVersion, stored
from inspector.enrolment.low_priority import Progress, Result, Work, run_at_low_priority
from inspector.enrolment.reviewed_parts import only_new, reviewed_parts, without_bad
from inspector.errors import ArtifactError, EngineError, EnrolmentError, InspectorError, UsageError
from inspector.files import make_folder, write_text
from inspector.operation.graphs import cache_of, fetch_graphs, keep_graphs
from inspector.operation.opening import registry_of
from inspector.operation.product_versions import insisted_on
from inspector.operation.report_page import ensure_page
from inspector.operation.signing_keys import policy_of, signer_of
from inspector.operation.version_signatures import version_signature
from inspector.store.registry.registry import SqlRegistry
from inspector.training.dataset.folders import ImageSource, NotTaken
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol, neighbour_of
from inspector.training.evidence.known_bad import Brakes
from inspector.training.evidence.report import EnrolmentReport
from inspector.training.evidence.routing_check import Neighbour
from inspector.vision.artifacts.eyesight import Eyesight
from inspector.vision.artifacts.thresholds import moved_note
from inspector.vision.engines.factory import create_engine
from inspector.vision.networks.graphs import ensure_graphs
from inspector.vision.serving.needed_graphs import needed_graphs


@dataclass(frozen=True, slots=True)
class EnrolmentOrder:
    """Everything about an enrolment except how the product is learnt, which `EnrolmentOptions` says.

    `by`: the user, for the audit. `shadow`: the version is stored beside the live one and never decides. `adds`: the
    live version's images come before the new ones, and options that are not in `named` (of
    `inherited_options.NAMEABLE`) are the live version's. `page`: file of the report, None for the state folder.
    `not_taken`: offered entries that are not images; the report lists them. `excluded`: images to leave out, by path or
    file name. `with_reviews`: parts that people called good are learnt, and the version must reject those that they
    called bad. `at_low_priority`: the work does not slow down a line that runs on this machine. `insists`: the version
    goes live although its evidence objects.
    """

    by: str
    shadow: bool = False
    adds: bool = False
    page: Path | None = None
    not_taken: tuple[NotTaken, ...] = ()
    excluded: tuple[str, ...] = ()
    at_low_priority: bool = False
    insists: bool = False
    with_reviews: bool = False
    named: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A stored version with what a person should read about it.

    `alike`: (product, likeness from 0 to 1) of products that the router may confuse with this one. `page`: file of the
    report. `objections`: why the version is stored but not live; empty if it is live or a shadow. `not_taken`: as in
    the order. `insisted`: the objections in spite of which it is live, because the person insisted.
    """

    version: ProductVersion
    report: EnrolmentReport
    alike: tuple[tuple[str, float], ...]
    page: Path
    enrolment: Enrolment
    objections: tuple[str, ...] = ()
    not_taken: tuple[NotTaken, ...] = ()
    insisted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Plan:
    """What will be learnt, settled before the minutes of work.

    `live`: the live products, for the routing check. `warnings`: what the report says besides its own warnings.
    """

    sources: list[ImageSource]
    options: EnrolmentOptions
    live: list[Neighbour]
    warnings: list[str]
    brakes: Brakes = field(default_factory=Brakes)


async def enrol_product(
    config: Config,
    product: str,
    images: Sequence[ImageSource],
    options: EnrolmentOptions,
    order: EnrolmentOrder,
    progress: Progress | None = None,
) -> Enrolled:
    """Enrols `product` and makes the version live, or the shadow. If learning fails, nothing is stored.

    If more than a tenth of a product's good frames would be routed wrongly, of the new product or of another, the
    version is stored and the live one stays live, because parts would meet a head that is not theirs.

    If the database takes no writes at the end, the finished version is kept in a file, which the error names.

    Raises EnrolmentError, also for a report that can't be written, with the version stored; UsageError, WeightsMissing,
    EngineError, LedgerUnavailable.
    """
    ensure_name(product)
    ensure_page(order.page)
    tell = progress or (lambda _phase, _done, _total: None)
    async with registry_of(
        config, creates=True
    ) as registry:  # opened before the minutes of work, so that a fault shows at once
        await _ensure_signed_where_required(config, registry)
        plan = await _plan(config, registry, product, images, options, order)
        await fetch_graphs(registry, cache_of(config), await policy_of(config, registry))
        enrolment = await _learn(config, product, plan, order, tell)
        found = () if order.shadow else enrolment.evidence.objections
        objections, insisted = ((), found) if order.insists else (found, ())
        with contextlib.suppress(InspectorError):  # the next agent with this state folder gives them to the registry
            await keep_graphs(registry, [enrolment.manifest], cache_of(config))
        signature, enrolment = await _signature(config, registry, enrolment)
        finished = FinishedVersion(
            product,
            enrolment.artifact,
            enrolment.manifest,
            by=order.by,
            activate=not order.shadow and not objections,
            shadow=order.shadow,
            insisted_on=insisted_on(insisted) if insisted else "",
            signature=signature,
        )
        try:
            version = await stored(registry, finished, folder_of(config.agent.state_dir, product), tell)
        except InspectorError:
            with contextlib.suppress(OSError):  # the list lets more images be added once the file is imported
                await asyncio.to_thread(_keep_list, config, product, enrolment, plan.sources)
            raise
        signer = await _signer_named(registry, version)
    await asyncio.to_thread(_keep_list, config, product, enrolment, plan.sources)
    page = await _draw_page(config, enrolment, (version, signer), order, tell)
    alike = enrolment.evidence.routing.alike
    return Enrolled(version, enrolment.report, alike, page, enrolment, objections, order.not_taken, insisted)


def ensure_name(product: str) -> None:
    """Raises UsageError where the text can't be a product's name."""
    if not re.fullmatch(NAME_PATTERN, product):
        raise UsageError(f"{product!r} can't be a product's name: letters, digits, dots, dashes, at most 64 of them.")


async def _plan(
    config: Config,
    registry: SqlRegistry,
    product: str,
    images: Sequence[ImageSource],
    options: EnrolmentOptions,
    order: EnrolmentOrder,
) -> _Plan:
    live, refusals = await _neighbours(registry)
    current = {version.product: version for version in (await registry.live()).versions}.get(product)
    notes = _notes_of_current(current)
    before: list[ImageSource] = []
    if order.adds:
        if current is None:
            raise UsageError(f"There is no live version of {product} to add to; enrol it without --add.")
        before = await asyncio.to_thread(load_list, config.agent.state_dir, product, current.digest)
        options = inherited(options, current.manifest, order.named)
        notes += _notes_of_inherited(current, options)
    offered, brakes = [*before, *images], Brakes()
    if order.with_reviews:
        parts = await reviewed_parts(registry.database, config.agent.state_dir, product)
        offered += only_new(parts.good, offered)
        offered, left_out = await asyncio.to_thread(without_bad, offered, parts)
        notes += [*parts.notes, *left_out]
        brakes = Brakes(parts.bad, None if current is None else Eyesight.of(current.manifest))
    sources, unknown = without(offered, order.excluded)
    if unknown:
        raise UsageError(f"There is no image {unknown[0]} among those given; name it by its path or file name.")
    return _Plan(sources, options, live, [*notes, *refusals], brakes)


async def _ensure_signed_where_required(config: Config, registry: SqlRegistry) -> None:
    """Raises UsageError where agents take only signed versions and this user can't sign."""
    if config.signing.required and await signer_of(config, registry) is None:
        raise UsageError(
            "Agents take only signed versions (signing.required), and this machine has no signing key that counts; "
            "`inspector keys make NAME --reason ...` makes one."
        )


async def _signature(config: Config, registry: SqlRegistry, enrolment: Enrolment) -> tuple[Signature | None, Enrolment]:
    """This plant's signature, and the enrolment, whose report says so where it could not be signed."""
    try:
        return await version_signature(config, registry, enrolment.digest, enrolment.manifest), enrolment
    except InspectorError as error:  # the minutes of work are not thrown away for it
        why = str(error).rstrip(".")
    report = enrolment.report
    warning = f"it is unsigned, and `inspector keys sign PRODUCT --reason ...` signs it later: {why}"
    return None, replace(enrolment, report=replace(report, warnings=(*report.warnings, warning)))


async def _signer_named(registry: SqlRegistry, version: ProductVersion) -> str:
    """The name of the key that signed the version, else its fingerprint; empty for an unsigned one."""
    if version.signature is None:
        return ""
    names: dict[str, str] = {}
    with contextlib.suppress(InspectorError):  # the version is stored
        names = {key.fingerprint: key.name for key in await registry.signing_keys()}
    return names.get(version.signature.key, version.signature.key)


async def _learn(config: Config, product: str, plan: _Plan, order: EnrolmentOrder, progress: Progress) -> Enrolment:
    own = _one_thread(config) if order.at_low_priority else config
    work = partial(_enrol, own, product, plan)
    enrolment = await _run(work, order, progress)
    report = enrolment.report
    return replace(enrolment, report=replace(report, warnings=(*report.warnings, *plan.warnings)))


async def _draw_page(
    config: Config, enrolment: Enrolment, made: tuple[ProductVersion, str], order: EnrolmentOrder, progress: Progress
) -> Path:
    """The file of the report. `made`: the version, and who signed it."""
    version, _ = made
    draw = partial(_write_page, config, enrolment, made, order)
    try:
        try:
            return await _run(draw, order, progress)
        except EnrolmentError:  # the child was ended; the version is stored, so an error here would mislead
            return await asyncio.to_thread(draw, progress)
    except OSError as error:
        where = f" {printable(str(order.page))}" if order.page else ""
        state = "live" if version.is_live else "shadow" if version.is_shadow else "stored, not live"
        raise EnrolmentError(
            f"{version.product} version {version.version} is {state}, but its report{where} can't be written "
            f"({error.strerror or error}); `inspector products show {version.product} --version {version.version}` "
            "says what it rests on."
        ) from error


async def _run(work: Work[Result], order: EnrolmentOrder, progress: Progress) -> Result:
    run = run_at_low_priority if order.at_low_priority else asyncio.to_thread
    return await run(work, progress)


async def _neighbours(registry: SqlRegistry) -> tuple[list[Neighbour], list[str]]:
    """The live products as routing sees them, and a warning for each that can't be read; agents refuse those too.

    One artifact is in memory at a time.
    """
    neighbours, refusals = [], []
    for version in (await registry.live()).versions:
        try:
            neighbours.append(neighbour_of(await registry.artifact(version.product, version.version)))
        except ArtifactError as error:
            refusals.append(
                f"{version.product} took no part in the routing check, its live version can't be read: {error}"
            )
    return neighbours, refusals


def _notes_of_inherited(current: ProductVersion, options: EnrolmentOptions) -> list[str]:
    kept = ", ".join(differing(options))
    return [f"learnt as version {current.version} was, or as named now: {kept}"] if kept else []


def _notes_of_current(current: ProductVersion | None) -> list[str]:
    """Notes on what the new version does not take over from the live one."""
    if current is None or not (moved := moved_note(current)):
        return []
    return [f"of version {current.version}, {moved}; a new version has a threshold of its own, move it if you need to"]


def _enrol(
    config: Config,
    product: str,
    plan: _Plan,
    progress: Progress,
) -> Enrolment:
    options = plan.options
    cache = cache_of(config)
    engine = create_engine(config.engine.name, cache, config.engine.threads, config.engine.precision)
    # Training that was interrupted resumes when the same images are enrolled again.
    training = replace(options.training, folder=options.training.folder or config.agent.state_dir / "training")
    options = replace(options, training=training, scratch=options.scratch or folder_of(config.agent.state_dir, product))
    enrolment = enrol(product, plan.sources, options, engine, progress, plan.live, plan.brakes)
    return enrolment if engine.needs_graphs else _exported(enrolment, options, cache)


def _exported(enrolment: Enrolment, options: EnrolmentOptions, cache: Path) -> Enrolment:
    """The enrolment, its graphs exported for agents on other engines. Where they can't be, the report says so."""
    try:
        needed = needed_graphs([enrolment.manifest]).values()
        own = options.backbone.weights_file
        ensure_graphs([(graph, own if graph.backbone == options.backbone.name else None) for graph in needed], cache)
    except EngineError as error:
        warning = f"only agents with torch can judge this version, because its graph could not be exported: {error}"
        report = enrolment.report
        return replace(enrolment, report=replace(report, warnings=(*report.warnings, warning)))
    return enrolment


def _one_thread(config: Config) -> Config:
    return config.model_copy(update={"engine": config.engine.model_copy(update={"threads": 1})})


def _keep_list(config: Config, product: str, enrolment: Enrolment, sources: Sequence[ImageSource]) -> None:
    """Lists the images that were used. Images that were left out stay out when more are added."""
    by_name = {source.name: source for source in sources}
    used = [(by_name[image["name"]], image["sha256"]) for image in enrolment.manifest["images"]]
    keep_list(config.agent.state_dir, product, enrolment.digest, used)


def _write_page(
    config: Config, enrolment: Enrolment, made: tuple[ProductVersion, str], order: EnrolmentOrder, _progress: Progress
) -> Path:
    from inspector.reports.enrolment import enrolment_page  # loaded in the process that draws, not in the caller's

    version, signer = made
    page = order.page
    if page is None:
        page = folder_of(config.agent.state_dir, version.product) / f"version-{version.version}.html"
        make_folder(page.parent, is_shared=True)
    write_text(page, enrolment_page(enrolment, version, order.not_taken, signer))
    return page
