"""The database and the products enrolled in it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from connectors.mqtt.gate_owners import known_identity
from inspector.agent.clock import SystemClock
from inspector.cli.checks.finding import Finding, fault, ok, warning
from inspector.cli.checks.state import LEAST_FREE_BYTES
from inspector.cli.terminal.rendering import size
from inspector.config.addresses import is_loopback
from inspector.config.config import Config
from inspector.config.line_sections import CameraSection
from inspector.domain import UNRELEASED, LiveSet, ProductVersion
from inspector.errors import ArtifactError, InspectorError, LedgerUnavailable, SchemaOutdated
from inspector.operation.graphs import cache_of
from inspector.operation.opening import has_file, shown_url
from inspector.store.database import Database, configured
from inspector.store.filesystem import filesystem_type, is_network_filesystem
from inspector.store.ledger.ledger import SqlLedger
from inspector.store.ledger.owners import list_owners
from inspector.store.ledger.queries import ResultFilter, list_results
from inspector.store.registry.registry import SqlRegistry
from inspector.stream.age import longest_proof_ms
from inspector.stream.storms import hold_words
from inspector.stream.verdict_record import format_time
from inspector.vision.artifacts.eyesight import Eyesight, Sight, objections_of
from inspector.vision.artifacts.thresholds import moved_note, threshold_fault
from inspector.vision.networks.graphs import cached_graph
from inspector.vision.networks.torch_extra import INSTALL_TORCH, has_torch
from inspector.vision.serving.needed_graphs import graphs_of_versions

PART: Final = "store"
PRODUCTS: Final = "products"
GATES: Final = "gates"
MEASURED_ROWS: Final = 5000
NAMESAKES_WITHIN: Final = timedelta(minutes=10)
TURNS_OF_NAMESAKES: Final = 5
"""This many changes of configuration within `NAMESAKES_WITHIN` mean two agents: nobody restarts one so often."""

LEAST_MEASURED: Final = 200
"""Fewest results for an estimate of the time of the slowest part in a thousand."""


async def check(config: Config) -> AsyncIterator[Finding]:
    """Findings about database, products and measured times of each gate. One fault if the database is unavailable."""
    try:
        async with configured(config) as database:
            if not has_file(database):  # opening the database would create its file
                yield ok(PART, "database", f"{database.path} will be made at the first start")
                yield _no_product()
                return
            if database.path and is_network_filesystem(kind := filesystem_type(database.path)):
                yield fault(
                    PART, "database", f"{database.path} lies on {kind}, where SQLite loses data. Use a local disk."
                )
            async for finding in _open(config, database):
                yield finding
    except SchemaOutdated as error:
        yield fault(PART, "tables", str(error))
    except InspectorError as error:
        yield fault(PART, "database", str(error))


async def _open(config: Config, database: Database) -> AsyncIterator[Finding]:
    revision = await database.revision()
    yield ok(PART, "database", f"{shown_url(database)} answers")
    if not database.is_sqlite:
        yield _encryption(config, database, await database.tls_version())
    await database.check_schema()
    yield ok(PART, "tables", f"revision {revision}, as this software needs")
    yield await _writing(database)
    if await _has_namesake(config, database):
        yield fault(
            PART,
            "agent's name",
            f"rows of two configurations take turns under the name {config.agent.name}: two agents have it. "
            "Give each a name of its own (agent.name).",
        )
    async with SqlRegistry(database, SystemClock()) as registry:
        live = await registry.live()
        graphs = await _whole_graphs(registry, live)
        damaged = {version.digest: what for version in live.versions if (what := await _damage(registry, version))}
    for finding in _products(config, live, damaged):
        yield finding
    yield _graphs(config, live, graphs)
    for finding in await _owners(config, database):
        yield finding
    for finding in await _held(config, database):
        yield finding
    for gate in config.gate:
        slowest_ms = await _slowest_ms(database, gate.name)
        if slowest_ms is None:
            yield ok(GATES, f"{gate.name} measured", "not yet: too few parts have been judged here")
        elif slowest_ms > (left_ms := gate.judging_ms - longest_proof_ms(gate)):
            yield warning(
                GATES,
                f"{gate.name} measured",
                f"1 part in 1000 takes {slowest_ms:.0f} ms or more, but {left_ms:g} ms are "
                "for judging: such parts are late. Widen the window, or give the agent more cores.",
            )
        else:
            yield ok(GATES, f"{gate.name} measured", f"999 of 1000 parts took at most {slowest_ms:.0f} ms")


def _graphs(config: Config, live: LiveSet, kept: frozenset[str]) -> Finding:
    """Whether agents without torch could judge the live versions. `kept`: the graphs in the registry."""
    cache = cache_of(config)
    missing = {
        name: graph
        for name, graph in graphs_of_versions(live.needed).items()
        if name not in kept and cached_graph(graph, cache) is None
    }
    if not missing:
        return ok(PRODUCTS, "exported graphs", "all that the live versions need are kept: agents need no torch")
    named = ", ".join(f"{graph.backbone} at {graph.size_px} px" for graph in missing.values())
    if has_torch():
        return ok(PRODUCTS, "exported graphs", f"{named}: exported when an agent or an enrolment first needs it")
    if not live.needed:
        return warning(
            PRODUCTS,
            "exported graphs",
            f"there is none of {named}, so nothing can be enrolled here yet. Import a version that was exported with "
            f"its graphs, or run `{INSTALL_TORCH}`.",
        )
    return fault(
        PRODUCTS,
        "exported graphs",
        f"there is none of {named}, so agents without torch refuse the versions that need it. Start an agent with "
        f"torch on this registry once, import a version that was exported with its graphs, or run `{INSTALL_TORCH}`.",
    )


def _encryption(config: Config, database: Database, version: str | None) -> Finding:
    """Whether the connection is encrypted. `version`: its TLS version, None if it has none."""
    if version is not None and config.store.tls:
        return ok(PART, "encryption", f"{version}; the server's certificate is checked")
    host = database.url.host
    is_local = host is None or is_loopback(host)
    if version is not None:
        detail = f"{version}, but the server's certificate is not checked, so another server could take its place"
    else:
        detail = "none: rows and the exchange of the password cross the network in plain text"
    if is_local:
        return ok(PART, "encryption", f"{version or 'none'}; the server is on this machine")
    return warning(PART, "encryption", f"{detail}. Set store.tls = true, and store.ca_file to the server's authority.")


async def _writing(database: Database) -> Finding:
    try:
        await database.check_writable()
    except LedgerUnavailable as error:
        return fault(PART, "writing", str(error))
    if database.path is not None and (free := shutil.disk_usage(database.path.parent).free) < LEAST_FREE_BYTES:
        return fault(
            PART, "writing", f"{size(free)} free where {database.path} lies: rows soon find no room. Free some."
        )
    return ok(PART, "writing", "rows would be taken now")


async def _whole_graphs(registry: SqlRegistry, live: LiveSet) -> frozenset[str]:
    """The names of the graphs that live versions need and that the registry has undamaged."""
    whole = set()
    for name in graphs_of_versions(live.needed).keys() & await registry.graph_keys():
        with contextlib.suppress(ArtifactError):
            await registry.graph(name)
            whole.add(name)
    return frozenset(whole)


async def _damage(registry: SqlRegistry, version: ProductVersion) -> str | None:
    """Why agents that start now refuse this version, and what to do. None where what is stored of it is whole."""
    restore = "Restore the database from a backup, roll the product back, or enrol it again"
    if not version.manifest:
        return f"its manifest in the store is damaged. {restore}"
    if wrong := threshold_fault(version):
        return wrong
    try:
        await registry.artifact(version.product, version.version)
    except ArtifactError as error:
        return f"{str(error).rstrip('.')}. {restore}"
    return None


def _products(config: Config, live: LiveSet, damaged: Mapping[str, str]) -> list[Finding]:
    """`damaged`: by digest, what is wrong with the stored version."""
    names = {version.product: version for version in live.versions}
    found = [_live(version, damaged.get(version.digest)) for version in names.values()] or [_no_product()]
    return found + [
        _missing(camera, sorted(names)) for camera in config.camera if camera.product and camera.product not in names
    ]


def _live(version: ProductVersion, damage: str | None) -> Finding:
    if damage is not None:
        return fault(
            PRODUCTS,
            version.product,
            f"version {version.version} is live, but agents refuse it: {damage}.",
        )
    eyesight = Eyesight.of(version.manifest)
    what = f"version {version.version} is live, {version.head} head"
    if eyesight.sight is Sight.NOT_CHECKED and eyesight.objection is None:
        what = f"{what} ({eyesight.sentence})"
    faults = [*_of_threshold(version), *_of_evidence(version, eyesight)]
    if not faults:
        return ok(PRODUCTS, version.product, what)
    return warning(PRODUCTS, version.product, f"{what}, but {' Also: '.join(faults)}")


def _of_threshold(version: ProductVersion) -> list[str]:
    if not (moved := moved_note(version)):
        return []
    back = f"`inspector products threshold {version.product} --level 1 --reason ...` moves it back."
    return [f"{moved}. {back}"]


def _of_evidence(version: ProductVersion, eyesight: Eyesight) -> list[str]:
    """What stands against a live version by its own enrolment. Somebody insisted, or nobody asked yet."""
    against = [*objections_of(version.manifest)]
    if eyesight.sight is Sight.WEAK:
        against.append(eyesight.warning)
    if not against:
        return []
    return [
        f"{'; '.join(against)}. Its report and `inspector products show {version.product}` say more; enrol it anew."
    ]


def _missing(camera: CameraSection, names: list[str]) -> Finding:
    return fault(
        PRODUCTS,
        f"camera {camera.name}",
        f"it may show {camera.product} only, which is not live (live: {', '.join(names) or 'none'}). "
        f"Enrol it with `inspector enroll {camera.product} IMAGES...`, or change camera.product.",
    )


def _no_product() -> Finding:
    what = "none yet: every part will be unjudged. Enrol one with `inspector enroll PRODUCT IMAGES...`."
    return warning(PRODUCTS, "enrolled", what)


async def _has_namesake(config: Config, database: Database) -> bool:
    """Whether two agents of this name write now. Two agents with the same configuration can't be told apart here."""
    since = datetime.now(UTC) - NAMESAKES_WITHIN
    results = await list_results(database, ResultFilter(since=since), limit=MEASURED_ROWS)
    digests = [result.config_digest for result in results if result.agent == config.agent.name]
    return sum(one != other for one, other in pairwise(digests)) >= TURNS_OF_NAMESAKES


async def _owners(config: Config, database: Database) -> list[Finding]:
    """Gates of this configuration that another agent owns by the database, and that agents of no group share."""
    identity = await asyncio.to_thread(known_identity, config.agent.state_dir)
    async with database.reading() as connection:
        owners = await list_owners(connection, datetime.now(UTC))
    shared = {
        gate.name
        for gate in config.gate
        if all(config.camera_named(camera).source == "kafka" for camera in gate.cameras)
    }
    names = {gate.name for gate in config.gate} - shared
    return [
        fault(
            GATES,
            f"owner of {owner.gate}",
            f"by the database the agent {owner} decides about its parts, so this agent tells the gate nothing. "
            "End one of the two, or give one of them another gate.",
        )
        for owner, owners_identity in owners
        if owner.gate in names and owners_identity != identity
    ]


async def _held(config: Config, database: Database) -> list[Finding]:
    """Gates that are held, and those at which a golden challenge is due."""
    states = await SqlLedger(database, SystemClock()).load_gates([gate.name for gate in config.gate])
    found = []
    for name, state in sorted(states.items()):
        if state.held:
            ends = "Find out why, then send the command release with your name and a reason"
            if state.held_for in UNRELEASED:
                ends += ", or hold a golden challenge (command golden)"
            detail = f"{hold_words(state)}. It is not ready, and no part gets a pass. {ends}."
            found.append(fault(GATES, f"{name} held", detail))
        elif state.golden.due_at is not None:
            since = format_time(state.golden.due_at)
            detail = f"a golden challenge is due since {since} for {state.golden.due_for}. Send the command golden."
            found.append(warning(GATES, f"{name} challenge", detail))
    return found


async def _slowest_ms(database: Database, gate: str) -> float | None:
    """99.9th percentile of the time from receipt to decision over the newest results; None if there are too few."""
    results = await list_results(database, ResultFilter(gate=gate, simulated=False), limit=MEASURED_ROWS)
    times = sorted(result.total_ms for result in results if result.total_ms is not None)
    with contextlib.suppress(IndexError):
        return times[int(len(times) * 0.999)] if len(times) >= LEAST_MEASURED else None
    return None
