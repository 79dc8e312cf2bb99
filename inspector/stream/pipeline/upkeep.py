"""The tasks that run beside the road: live products, canary, stored events.

A gate is reported as `ready` only while everything that a verdict depends on works: the scoring path (proved by
the canary or by real frames), the journal, and the connection of the cameras. A held gate is not ready.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from inspector.domain import Event, LiveSet, ProductVersion, Severity
from inspector.errors import ArtifactError, EngineError, InspectorError, LedgerUnavailable, RegistryError
from inspector.ports import ArtifactOf, Ledger, Lineup, LineupLoader, Registry
from inspector.signing.vouching import SignaturePolicy
from inspector.stream.gate_fault import Fault
from inspector.stream.pipeline.graph_exchange import GraphExchange
from inspector.stream.pipeline.liveness import Liveness
from inspector.stream.pipeline.owning import Owning
from inspector.stream.pipeline.ticket import FaultRun, Shared

CANARY_S = 5.0
CANARY_OVERDUE_S = 15.0
SCORER_HUNG_S = 60.0
EVENTS_S = 0.5
MOST_EVENTS = 10_000

MENDED_LOOK_S = 10.0
"""Time between two looks whether the row of a refused version is another now, or its artifact whole."""

LOOP_LOOK_S = 1.0
"""Time between two looks of the loader's thread whether the event loop that it waits for is still there."""

LATE_IN_A_ROW = 3
"""A gate stops being ready after this many frames in a row were decided too late."""

LATE_MEMORY_S = 10.0
"""A line that stops because its gate is not ready shows no frame that could end the run, so the run ends by itself."""


class LineupWatch:
    """Keeps the lineup current. A new lineup is loaded and warmed beside the old one, then swapped between batches."""

    def __init__(self, shared: Shared, registry: Registry, loader: LineupLoader) -> None:
        self._shared = shared
        self._registry = registry
        self._loader = loader
        self._lineup: Lineup | None = None
        self._versions: tuple[str, ...] | None = None
        self._live: tuple[ProductVersion, ...] = ()
        self._shadows: tuple[ProductVersion, ...] = ()
        self._way = ""
        self._damaged: dict[str, ProductVersion] = {}  # by digest, versions without whole bytes in the store
        self._refused: dict[tuple[str, int], ProductVersion] = {}  # live versions that do not judge, as they stood
        self._damage_seen_ns = 0
        self._told_unsigned: set[tuple[str, int]] = set()
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._graphs = GraphExchange(shared, registry, loader, self._on_thread)

    @property
    def current(self) -> Lineup | None:
        return self._lineup

    @property
    def versions(self) -> tuple[str, ...] | None:
        """The live versions as `product:version`; None before the first are loaded."""
        return self._versions

    @property
    def live(self) -> tuple[ProductVersion, ...]:
        """The versions that judge now. A version that was refused is not among them."""
        return self._live

    @property
    def shadows(self) -> tuple[ProductVersion, ...]:
        """The versions that are scored beside them."""
        return self._shadows

    async def load(self, *, is_asked: bool = False) -> None:
        """Load the live versions unless they are loaded already. Raises LedgerUnavailable, EngineError.

        `is_asked`: also then, because something that was missing has come.
        """
        live = await self._registry.live()
        if self._is_loaded(live.revision) and not is_asked and not await self._graphs.has_come():
            return
        live = await self._vouched(live)
        await self._graphs.fetch(live)
        damaged, self._damaged = self._damaged, {}
        try:
            lineup, events = await self._on_thread(self._loader.load, live, self._fetching(live), self._lineup)
        except BaseException:  # a cancelled load forgets nothing either: they are taken up when their bytes are whole
            self._damaged = damaged
            raise
        self._lineup = lineup
        self._shared.batcher.largest = lineup.batch
        self._tell_way(lineup)
        self._live = lineup.versions
        self._refused = {(each.product, each.version): each for each in live.versions if each not in self._live}
        self._damage_seen_ns = self._shared.clock.monotonic_ns()
        self._shadows = tuple(
            shadow for shadow in live.shadows if lineup.shadows.version_of(shadow.product) is not None
        )
        self._versions = tuple(sorted(f"{version.product}:{version.version}" for version in self._live))
        for event in events:
            self._shared.telemetry.event(event)
        named = f"{', '.join(lineup.products)} ({', '.join(self._versions)})" if lineup.products else "none"
        self._shared.event("lineup", Severity.INFO, live.revision, f"live products: {named}")
        await self._graphs.share(live)

    def close(self) -> None:
        """End the load that is under way; the process would wait for its thread. Never blocks."""
        self._loader.close()
        self._loading.shutdown(wait=False, cancel_futures=True)

    def _tell_way(self, lineup: Lineup) -> None:
        """Say once how frames go through the machine, and again if it changes."""
        section = self._shared.config.engine
        workers = f"{section.workers} worker{'s' if section.workers > 1 else ''}"
        if lineup.is_batched:
            measured = "" if section.batch_max else " (measured)"
            way = f"{workers} for decoding and routing, one scorer with passes over {_up_to(lineup.batch)}{measured}"
        else:
            way = f"{workers}, each with one frame at a time from decoding to score, in passes of one thread"
        way = f"{lineup.engine}: {way}"
        if way != self._way:
            self._way = way
            self._shared.event("engine", Severity.INFO, lineup.engine, way)

    async def run(self) -> None:
        """Look for a new revision every `registry_poll_s`. A failed revision is one event; the old lineup stays."""
        failed_revision: str | None = None
        while True:
            await self._shared.clock.sleep(self._shared.config.agent.registry_poll_s)
            try:
                revision = await self._registry.revision()
                has_come = await self._has_come()
                if self._is_loaded(revision) and not has_come:
                    continue
                if revision != failed_revision or has_come:
                    await self.load(is_asked=has_come)
            except LedgerUnavailable:
                continue  # the ledger's own edge is logged where rows are written
            except InspectorError as error:
                failed_revision = revision
                self._shared.event("lineup_refused", Severity.ALARM, revision, str(error))

    def _is_loaded(self, revision: str) -> bool:
        return self._lineup is not None and self._lineup.revision == revision

    async def _has_come(self) -> bool:
        """Whether the registry has now what a version was refused without: a graph, or the version's row mended."""
        return await self._graphs.has_come() or await self._is_mended()

    async def _is_mended(self) -> bool:
        now_ns = self._shared.clock.monotonic_ns()
        if not (self._damaged or self._refused) or now_ns - self._damage_seen_ns < MENDED_LOOK_S * 1e9:
            return False
        self._damage_seen_ns = now_ns
        if any([await self._bytes_of(version) is not None for version in self._damaged.values()]):
            return True
        now = {(each.product, each.version): each for each in (await self._registry.live()).versions}
        return any(now.get(key) != version for key, version in self._refused.items())

    async def _vouched(self, live: LiveSet) -> LiveSet:
        """The live set without versions whose signatures agents refuse.

        In the place of a refused live version stands the one that judges its product now, if there is one: a person
        chose it, and it was checked when it was loaded.
        """
        policy = SignaturePolicy.of(self._shared.config.signing, await self._registry.signing_keys())
        if not policy.is_active:
            return live
        before = {version.product: version for version in self._live}
        versions, shadows = [], []
        for version in live.versions:
            versions.append(self._accepted(policy, version, before.get(version.product)))
            await asyncio.sleep(0)  # a signature is checked for each of perhaps many products
        for version in live.shadows:
            shadows.append(self._accepted(policy, version, None))
            await asyncio.sleep(0)
        return replace(
            live,
            versions=tuple(version for version in versions if version is not None),
            shadows=tuple(version for version in shadows if version is not None),
        )

    def _accepted(
        self, policy: SignaturePolicy, version: ProductVersion, before: ProductVersion | None
    ) -> ProductVersion | None:
        """The version, or what judges in its place; it is told."""
        found = policy.vouched(version)
        name = f"{version.product} version {version.version}"
        if not policy.refuses(found):
            if not found.is_signed and (key := (version.product, version.version)) not in self._told_unsigned:
                self._told_unsigned.add(key)
                detail = (
                    f"{name} is unsigned, so that nobody vouches for it; `inspector keys sign {version.product} "
                    "--reason ...` signs it"
                )
                self._shared.event("version_unsigned", Severity.WARNING, version.product, detail)
            return version
        detail = f"{name} is not taken up: it is {found.words}"
        if before is not None:
            detail += f". Version {before.version} goes on judging, at the threshold that it had"
        elif version.is_live:
            detail += f". No version of {version.product} judges: its parts are unjudged"
        self._shared.event("version_unverified", Severity.ALARM, version.product, detail)
        return before

    async def _on_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._loading, work, *arguments)

    def _fetching(self, live: LiveSet) -> ArtifactOf:
        """Gets artifacts one at a time for the loader's thread. With 200 products, all at once are half a gigabyte."""
        loop, needed = asyncio.get_running_loop(), {version.digest: version for version in live.needed}

        def artifact_of(digest: str) -> bytes | None:
            fetched = asyncio.run_coroutine_threadsafe(self._fetch(needed[digest]), loop)
            while True:
                try:
                    return fetched.result(LOOP_LOOK_S)
                except TimeoutError:
                    if fetched.done() or loop.is_closed():  # without its loop nobody will answer
                        raise

        return artifact_of

    async def _fetch(self, version: ProductVersion) -> bytes | None:
        """The artifact's bytes; None if they are damaged or gone. The loader then refuses only this version."""
        content = await self._bytes_of(version)
        if content is None:
            self._damaged[version.digest] = version
        return content

    async def _bytes_of(self, version: ProductVersion) -> bytes | None:
        try:
            return await self._registry.artifact(version.product, version.version)
        except (ArtifactError, RegistryError):
            return None


class Upkeep:
    """Runs the canary, stores events, and names the fault that makes verdicts untrustworthy."""

    def __init__(
        self,
        shared: Shared,
        lineups: LineupWatch,
        ledger: Ledger,
        owning: Owning,
        liveness: Liveness,
        take_events: Callable[[], list[Event]],
        note_stored: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._owning = owning
        self._liveness = liveness
        self._lineups = lineups
        self._ledger = ledger
        self._take_events = take_events
        self._note_stored = note_stored
        self._unstored: list[Event] = []
        self._storing = asyncio.Lock()
        self._canary_ok_ns: int | None = None
        self._canary_fault = False
        self._answered_ns = shared.clock.monotonic_ns()

    @property
    def is_scorer_answering(self) -> bool:
        """False when neither a batch nor a canary has returned for `SCORER_HUNG_S`."""
        seen_ns = max(self._answered_ns, self._shared.last_scored_ns)
        return self._shared.clock.monotonic_ns() - seen_ns < SCORER_HUNG_S * 1e9

    def fault(self, gate: str | None = None) -> Fault:
        """The first fault that makes verdicts untrustworthy now."""
        if gate is not None and not self._owning.owns(gate):
            return Fault.OWNER_UNKNOWN if self._owning.rival(gate) is None else Fault.OWNED_BY_OTHER
        lineup = self._lineups.current
        if lineup is None or not lineup.products:
            return Fault.NO_PRODUCT
        if self._canary_fault or self._is_canary_overdue():
            return Fault.CANARY
        if not self._shared.journal_has_room:
            return Fault.JOURNAL_FULL
        if gate is None:
            return Fault.NONE
        section = next(g for g in self._shared.config.gate if g.name == gate)
        if not all(self._shared.sources[camera].is_connected for camera in section.cameras):
            return Fault.CAMERA_LINK
        if not self._liveness.is_live(section):
            return Fault.BACKLOG
        if self._lasts(self._shared.late_runs.get(gate)):
            return Fault.LATE
        if self._lasts(self._shared.untold_runs.get(gate)):
            return Fault.UNTOLD
        return Fault.HELD if self._shared.admission.counter(gate).state.held else Fault.NONE

    def _lasts(self, run: FaultRun | None) -> bool:
        if run is None or run.count < LATE_IN_A_ROW:
            return False
        return self._shared.clock.monotonic_ns() - run.last_ns < LATE_MEMORY_S * 1e9

    async def run_canary(self, scorer: Executor) -> None:
        """Send stored probe images through the whole scoring path, on the scorer's thread, every `CANARY_S`."""
        while True:
            lineup = self._lineups.current
            if lineup is not None and lineup.products:
                await self._check(lineup, scorer)
            self._answered_ns = self._shared.clock.monotonic_ns()
            await self._shared.clock.sleep(CANARY_S)

    async def run_events(self) -> None:
        """Write events into the ledger; events are kept for the next round while the ledger is unavailable."""
        while True:
            await self._shared.clock.sleep(EVENTS_S)
            await self.store_events()

    async def store_events(self) -> None:
        """Store the events that wait. Those that can't be stored now wait for the next call, `MOST_EVENTS` at most."""
        async with self._storing:  # at a stop, a call that is under way comes to its end first
            self._unstored = [*self._unstored, *self._take_events()][-MOST_EVENTS:]
            if self._unstored:
                with contextlib.suppress(LedgerUnavailable):
                    await self._ledger.record_events(self._unstored)
                    self._unstored = []
                    self._note_stored()

    async def _check(self, lineup: Lineup, scorer: Executor) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(scorer, lineup.check_canary)
        except EngineError as error:
            if not self._canary_fault:
                self._shared.event("canary_failed", Severity.ALARM, lineup.revision, str(error))
            self._canary_fault = True
            return
        if self._canary_fault:
            self._shared.event(
                "canary_recovered", Severity.INFO, lineup.revision, "the test pictures get their stored scores again"
            )
        self._canary_fault = False
        self._canary_ok_ns = self._shared.clock.monotonic_ns()

    def _is_canary_overdue(self) -> bool:
        seen_ns = max(self._canary_ok_ns or 0, self._shared.last_scored_ns)
        return self._shared.clock.monotonic_ns() - seen_ns > CANARY_OVERDUE_S * 1e9


def _up_to(frames: int) -> str:
    return "one frame" if frames == 1 else f"at most {frames} frames"
