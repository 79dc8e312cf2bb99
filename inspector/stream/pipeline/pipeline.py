"""The road from frame to reject: the only place where stages, queues and adapters meet.

The way of one frame, stage by stage, with the files that hold it:

 1. intake     intake.py: takes a delivery from its source, opens its place in the order (../watermark.py),
               and hashes its bytes on a thread (workers.py). takeover.py has loaded the state that another agent left.
 2. admission  ../admission.py, ../identity.py: gives the frame its identity, epoch and deadline, or finds that
               it is known. The frame gets a `Ticket` (ticket.py) and waits in line (../batching.py).
               A frame of a frozen camera ends here (frozen.py), and a view that is not of its part (views.py).
 3. decode     judging.py: a worker turns the bytes into pixels (../decode.py).
 4. route      judging.py: the same worker asks the lineup's router for the product, and prepares the frame. The router
               refuses a frame that does not show its part well enough; frozen.py knows repeated pixels.
 5. score      judging.py: on a CPU the same worker scores the frame. For an engine that wants batches, the one
               scorer thread judges a batch that is full or due (../batching.py).
 6. decide     settling.py: ruling (../deciding.py), verdict (verdicts.py), and the gate's decision (../gates.py).
               holding.py holds a gate after too many rejects or too many frames that could not be judged.
               A frame whose time is over is settled by the watch over deadlines in judging.py.
 7. journal    settling.py, room.py: the verdict is appended to the journal, which may have to free room first.
 8. publish    settling.py: the decision goes to the gate, the record to the sink, the picture to the folder.
 9. record     recording.py, writing.py: rows go to the ledger in the order of delivery; while it is away, the
               journal holds them.
10. acknowledge  recording.py: the source is told that everything up to this position is durable.

A late frame at a gate goes from admission to its journaled row at once (settling.py), with its picture kept on disk.
afterwards.py judges it when the line has time (../spare_time.py), and adds what it showed to its row.

Parts whose trigger ids were skipped wait in ../gaps.py; misses.py settles those whose frames did not come.
Beside the road run upkeep.py (live products, canary, events), graph_exchange.py (exported graphs of the registry),
camera_watch.py (silent cameras, rates), owning.py (which gates are this agent's), succession.py (what is taken over
with a gate; ../handover.py), liveness.py (whether live frames are young enough to be decided), shadowing.py (the shadow
versions, on frames that have their verdict, while no live frame waits; ../shadow_line.py), heartbeats.py, readiness.py
(gates that are not ready, as events), command_sieve.py (commands that are refused at once; ../command_rights.py),
commanding.py (job, mode, epoch), challenging.py (golden challenges), reports.py (what PLCs did: journal, record,
acknowledge; ../acks.py), accounts.py (what became of each part; ../accounting.py), states.py (state topics, gauges),
snapshot.py (the whole agent at one moment) and alarms.py (events that could come for every part).

`recover` turns the verdicts and reports that an earlier run left in the journal into rows. `run` carries frames until
`stop` is called, then drains: no new frame is taken, and frames under way are finished, recorded and acknowledged. A
frame that is not finished when the drain's time is over stays with its broker. A stage that dies ends the whole
pipeline; the error names the stage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inspector.config.config import Config
from inspector.domain import Event, LateOutcome, Severity, Sighting
from inspector.ports import (
    AckLine,
    Clock,
    CommandChannel,
    DeadLetters,
    FrameSource,
    GateLine,
    GateOwners,
    Images,
    Journal,
    LateFrames,
    Ledger,
    Lineup,
    LineupLoader,
    Registry,
    Telemetry,
    VerdictSink,
)
from inspector.stream.admission import Admission
from inspector.stream.batching import Batcher, WaitingLine
from inspector.stream.command_rights import CommandKey, CommandRights
from inspector.stream.deciding import Policy
from inspector.stream.frame_room import FrameRoom
from inspector.stream.gate_merging import with_holds
from inspector.stream.gates import Gate
from inspector.stream.pipeline.accounts import Accounts
from inspector.stream.pipeline.afterwards import Afterwards, LateOutlets
from inspector.stream.pipeline.camera_watch import CameraWatch
from inspector.stream.pipeline.challenging import Challenging
from inspector.stream.pipeline.command_sieve import CommandSieve
from inspector.stream.pipeline.commanding import Commanding
from inspector.stream.pipeline.frozen import FrozenCameras
from inspector.stream.pipeline.heartbeats import Heartbeats
from inspector.stream.pipeline.holding import Holding
from inspector.stream.pipeline.intake import Intake
from inspector.stream.pipeline.judging import Judging
from inspector.stream.pipeline.liveness import Liveness
from inspector.stream.pipeline.misses import Misses
from inspector.stream.pipeline.owning import Owning
from inspector.stream.pipeline.recording import Recording
from inspector.stream.pipeline.reports import Reports
from inspector.stream.pipeline.room import JournalRoom
from inspector.stream.pipeline.settling import Outlets, Settling
from inspector.stream.pipeline.shadowing import Shadowing
from inspector.stream.pipeline.snapshot import Snapshot, Snapshots
from inspector.stream.pipeline.states import States
from inspector.stream.pipeline.takeover import TOLD_PARTS, Takeover
from inspector.stream.pipeline.ticket import Decode, Row, Shared
from inspector.stream.pipeline.upkeep import LineupWatch, Upkeep
from inspector.stream.pipeline.verdicts import Signature
from inspector.stream.pipeline.views import Views
from inspector.stream.pipeline.writing import Writing
from inspector.stream.spare_time import SpareTime
from inspector.stream.watermark import Watermark
from inspector.stream.wording import counted

DRAIN_STEP_S = 0.02


@dataclass(frozen=True, slots=True)
class Adapters:
    """The adapters of the road, all entered already. `sources` is by camera; one source may serve several cameras."""

    clock: Clock
    telemetry: Telemetry
    sources: dict[str, FrameSource]
    journal: Journal
    ledger: Ledger
    registry: Registry
    loader: LineupLoader
    sink: VerdictSink
    gate_line: GateLine | None
    images: Images
    dead_letters: DeadLetters
    late_frames: LateFrames
    decode: Decode
    take_events: Callable[[], list[Event]]
    frame_room: FrameRoom
    command_channel: CommandChannel | None = None
    gate_owners: GateOwners | None = None
    events_stored: Callable[[], None] = lambda: None
    ack_line: AckLine | None = None
    command_keys: Sequence[CommandKey] = ()


class Pipeline:
    """One agent's road from frame to reject."""

    def __init__(
        self, config: Config, adapters: Adapters, software: str, checkpoint: Callable[[str], None] = lambda _: None
    ) -> None:
        self._config = config
        self._adapters = adapters
        self._shared = _share(config, adapters, checkpoint)
        signature = Signature(config.agent.name, software, config.digest)
        self._room = JournalRoom(self._shared, adapters.journal)
        self._writing = Writing(self._shared, adapters.ledger, self._room)
        self._recording = Recording(self._shared, self._writing, adapters.journal)
        self._lineups = LineupWatch(self._shared, adapters.registry, adapters.loader)
        self._owning = Owning(self._shared, adapters.gate_owners, adapters.ledger, software)
        self._liveness = Liveness(self._shared)
        self._upkeep = Upkeep(
            self._shared,
            self._lineups,
            adapters.ledger,
            self._owning,
            self._liveness,
            adapters.take_events,
            adapters.events_stored,
        )
        self._heartbeats = Heartbeats(self._shared, adapters.gate_line, self._owning, self._upkeep.fault)
        self._shadowing = Shadowing(
            self._shared, adapters.decode, self._current_lineup, adapters.images, adapters.ledger
        )
        self._challenging = Challenging(
            self._shared,
            adapters.ledger,
            adapters.command_channel,
            self._live_products,
            lambda: self._lineups.versions,
            self._owning,
        )
        self._settling = Settling(self._shared, signature, self._room, self._recording, self._make_outlets())
        self._views = Views(self._shared)
        frozen = FrozenCameras(self._shared, self._views)
        self._judging = Judging(
            self._shared, self._settling, self._room, adapters.decode, self._current_lineup, frozen, self._shadowing
        )
        self._afterwards = self._make_afterwards()
        takeover = Takeover(self._shared, adapters.ledger)
        self._misses = Misses(self._shared, self._settling.settle_missed, self._owning)
        self._camera_watch = CameraWatch(self._shared)
        self._intake = Intake(
            self._shared,
            self._settling,
            self._recording,
            takeover,
            frozen,
            self._misses,
            self._camera_watch,
        )
        self._reports = Reports(
            self._shared, adapters.ledger, self._room, adapters.ack_line, self._camera_watch, self._owning
        )
        self._accounts = Accounts(self._shared, adapters.ledger, self._writing, self._reports, self._owning)
        self._states = States(
            self._shared, self._lineups, self._upkeep, adapters.sink, adapters.journal, self._writing, self._owning
        )
        self._snapshots = Snapshots(self._shared, self._lineups, self._upkeep, self._owning)
        self._command_sieve = self._make_command_sieve()
        if adapters.command_channel is not None:
            adapters.command_channel.sift(self._command_sieve.takes)
        self._commanding = Commanding(
            self._shared,
            adapters.ledger,
            adapters.command_channel,
            self._live_products,
            self._challenging,
            self._owning,
            self._command_sieve,
        )
        self._stop = asyncio.Event()
        self.has_started = asyncio.Event()

    def _make_outlets(self) -> Outlets:
        adapters = self._adapters
        return Outlets(
            adapters.gate_line,
            adapters.sink,
            adapters.images,
            adapters.dead_letters,
            adapters.late_frames,
            self._heartbeats,
            self._shadowing,
            self._challenging,
            Holding(self._shared, self._owning),
        )

    def _make_command_sieve(self) -> CommandSieve:
        agent, adapters = self._config.agent, self._adapters
        rights = CommandRights(agent.prefix, self._config.commands.allow, adapters.command_keys)
        return CommandSieve(self._shared, rights, adapters.command_channel)

    def _make_afterwards(self) -> Afterwards:
        adapters = self._adapters
        return Afterwards(
            self._shared,
            adapters.late_frames,
            self._judging,
            self._writing,
            adapters.ledger,
            LateOutlets(adapters.sink, adapters.images, adapters.dead_letters),
            self._current_lineup,
        )

    def stop(self) -> None:
        """Begin to drain; `run` returns when it is done."""
        self._stop.set()

    @property
    def is_moving(self) -> bool:
        """Whether the scorer thread still answers, for a watchdog.

        A failing canary keeps the gates not ready, but the road still moves, since endless restarts would not help.
        """
        return self._upkeep.is_scorer_answering

    @property
    def fault(self) -> str:
        """The first fault that makes verdicts untrustworthy now, or `none`."""
        return self._upkeep.fault().name.lower()

    async def tell_audit_head(self, head: Mapping[str, Any]) -> None:
        """Publish the head of the audit with the agent's state."""
        await self._states.tell_audit_head(head)

    async def store_events(self) -> None:
        """Store the events that wait, also those that came after `run` has returned."""
        await self._upkeep.store_events()

    def snapshot(self) -> Snapshot:
        """The agent as it is now, for figures. Call on the event loop."""
        return self._snapshots.take(is_taking_frames=self.has_started.is_set() and not self._stop.is_set())

    async def recover(self) -> int:
        """Write rows and records for verdicts that an earlier run journaled and did not record. Returns their number.

        Raises LedgerUnavailable, because only the ledger shows which frames have a row.
        """
        left = self._adapters.journal.unrecorded()
        gates = with_holds(await self._adapters.ledger.load_gates(), self._adapters.journal.holds())
        sightings = await self._load_sightings()
        self._shared.admission.assign(gates, sightings)
        self._tell_changed_moduli()
        for at in range(0, len(left), self._config.store.commit_rows):
            entries = self._adapters.journal.read(left[at : at + self._config.store.commit_rows])
            for verdict, _ in entries:
                self._shared.admission.note_missed(verdict)
                if verdict.late_outcome is not LateOutcome.WAITING:  # published when it has been judged
                    await self._adapters.sink.publish(verdict)
            await self._writing.ensure_durable([Row(verdict, decision) for verdict, decision in entries])
        await self._reports.recover()
        for name, gate in self._shared.gates.items():
            gate.remember(await self._adapters.ledger.told_parts(name, TOLD_PARTS))
        return len(left)

    def _tell_changed_moduli(self) -> None:
        for gate, before in self._shared.admission.moduli_changed:
            counter = self._shared.admission.counter(gate)
            detail = (
                f"trigger_modulus was {before} and is {counter.modulus}, so that the same number is another part; "
                f"epoch {counter.state.epoch} begins. Parts that were awaited before it are not told as missed"
            )
            self._shared.event("modulus_changed", Severity.WARNING, gate, detail)

    async def run(self) -> None:
        """Carry frames until `stop`. Raises the error that killed a stage, as an ExceptionGroup."""
        try:
            if not await self._is_loaded_before_stop():
                return
            self._warn_of_missing_products()
            self._warn_of_lone_views()
            async with asyncio.TaskGroup() as upkeep:
                side = [upkeep.create_task(work, name=name) for name, work in self._side_work().items()]
                await self._owning.ensure_settled()
                async with asyncio.TaskGroup() as road:
                    self._settling.attach(road)
                    stages = [road.create_task(work, name=name) for name, work in self._stages().items()]
                    self.has_started.set()
                    await self._stop.wait()
                    await self._heartbeats.stop()
                    await self._states.stop()
                    await self._drain()
                    for stage in stages:
                        stage.cancel()
                    self._settling.abandon()
                self._misses.tell_last()
                self._intake.tell_last()
                await self._owning.leave()
                await self._reports.finish()
                self._command_sieve.finish()
                await self._shadowing.store()
                await self._upkeep.store_events()
                for task in side:
                    task.cancel()
        finally:
            self._lineups.close()
            self._intake.close()
            self._judging.close()
            self._shadowing.close()

    async def _is_loaded_before_stop(self) -> bool:
        """Load the live versions. False where the agent is stopped meanwhile: a first export takes many seconds."""
        loading, stopping = asyncio.create_task(self._lineups.load()), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
            if loading.done():
                loading.result()
            return loading.done()
        finally:
            loading.cancel()
            stopping.cancel()

    def _current_lineup(self) -> Lineup | None:
        return self._lineups.current

    def _live_products(self) -> tuple[str, ...]:
        return self._lineups.current.products if self._lineups.current else ()

    def _warn_of_missing_products(self) -> None:
        """Warn of cameras that allow one product only: they reject every part until that product is enrolled."""
        live = self._live_products()
        for camera in self._config.camera:
            if camera.product is not None and camera.product not in live:
                detail = f"it may show {camera.product} only, of which no version is live; enrol it, or change product"
                self._shared.event("product_missing", Severity.WARNING, camera.name, detail)

    def _warn_of_lone_views(self) -> None:
        """Warn of gates at which only frames with trigger ids make a whole part, though the gate asks for none."""
        for gate in self._config.gate:
            if gate.match == "single_in_flight" and len(gate.cameras) > 1:
                detail = (
                    "the views of its cameras are joined by trigger ids only: a frame without one counts as a part "
                    'whose other views are missing; let the cameras send trigger ids, and set match = "trigger_id"'
                )
                self._shared.event("views_not_joined", Severity.WARNING, gate.name, detail)

    def _side_work(self) -> dict[str, Coroutine[Any, Any, None]]:
        return {
            "lineups": self._lineups.run(),
            "rhythms": self._camera_watch.run(),
            "views": self._views.run(),
            "counts": self._intake.run_alarms(),
            "canary": self._upkeep.run_canary(self._judging.scorer_thread),
            "owners": self._owning.run(self._heartbeats.send),
            "owners in the ledger": self._owning.run_ledger(),
            "heartbeats": self._heartbeats.run(),
            "gate actions": self._reports.run(),
            "accounts": self._accounts.run(),
            "events": self._upkeep.run_events(),
            "liveness": self._liveness.run(),
            "shadow results": self._shadowing.run(),
            "commands": self._commanding.run(),
            "refused commands": self._command_sieve.run(),
            "modes": self._commanding.run_expiry(),
            "challenges": self._challenging.run(),
            "states": self._states.run(),
            "reports": self._states.run_reports(),
        }

    def _stages(self) -> dict[str, Coroutine[Any, Any, None]]:
        stages: dict[str, Coroutine[Any, Any, None]] = {
            "score": self._judging.run_scorer(),
            "deadlines": self._judging.run_deadlines(),
            "record": self._recording.run(),
            "write": self._writing.run(),
            "journal": self._room.run(),
            "judge late": self._afterwards.run(),
            "late findings": self._afterwards.run_findings(),
            "misses": self._misses.run(),
        }
        for number in range(self._config.engine.workers):
            stages[f"decode {number}"] = self._judging.run_decoder()
        for source in self._distinct_sources():
            stages[f"intake {source.name}"] = self._intake.run(source)
        return stages

    async def _drain(self) -> None:
        """Stop taking frames, then wait until nothing is under way, at most `drain_s`."""
        await self._misses.finish()
        for source in self._distinct_sources():
            await source.stop_intake()
        try:
            async with asyncio.timeout(self._config.agent.drain_s):
                while not self._is_drained():  # noqa: ASYNC110 - at most once, at the end
                    await asyncio.sleep(DRAIN_STEP_S)
        except TimeoutError:
            frames, rows = len(self._shared.in_flight), self._writing.waiting
            detail = (
                f"the agent ends before all is done: {counted(frames, 'frame')} stay with their brokers and "
                f"{counted(rows, 'row')} in the journal, for its next start; a longer agent.drain_s lets it finish"
            )
            self._shared.event("drain_cut_short", Severity.WARNING, self._config.agent.name, detail)

    def _is_drained(self) -> bool:
        """Whether nothing is under way. Rows that wait for an unavailable ledger don't count: they are in the journal.

        A delivery counts as open before it is hashed, although it has no ticket yet.
        """
        waits_for_ledger = self._writing.waiting and not self._shared.ledger_is_away
        has_frames = self._shared.watermark.open_count or self._shared.in_flight
        is_under_way = has_frames or self._settling.is_under_way or self._recording.waiting
        return not (is_under_way or waits_for_ledger)

    def _distinct_sources(self) -> list[FrameSource]:
        return list({id(source): source for source in self._shared.sources.values()}.values())

    async def _load_sightings(self) -> dict[str, list[Sighting]]:
        """Known frames by camera, oldest first. The journal's entry for a frame overrides the ledger's."""
        most = max((camera.frame_id_memory for camera in self._config.camera), default=1)
        journaled = {sighting.result_id: sighting for sighting in self._adapters.journal.sightings(most)}
        by_camera: dict[str, list[Sighting]] = {}
        for camera in self._config.camera:
            recorded = await self._adapters.ledger.sightings(camera.name, camera.frame_id_memory)
            merged = [journaled.pop(sighting.result_id, sighting) for sighting in recorded]
            fresh = [s for s in journaled.values() if s.key.camera == camera.name]
            by_camera[camera.name] = merged + fresh
        return by_camera


def _share(config: Config, adapters: Adapters, checkpoint: Callable[[str], None]) -> Shared:
    return Shared(
        config=config,
        clock=adapters.clock,
        telemetry=adapters.telemetry,
        checkpoint=checkpoint,
        admission=Admission(config),
        gates={gate.name: Gate(gate) for gate in config.gate},
        policies={camera.name: Policy.of(camera) for camera in config.camera},
        watermark=Watermark[Row](),
        line=WaitingLine(config.engine.queue_frames),
        spare_time=SpareTime(adapters.clock.monotonic_ns()),
        batcher=Batcher(config.engine.batch_max or 1, int(config.engine.batch_wait_ms * 1e6)),
        sources=adapters.sources,
        frame_room=adapters.frame_room,
    )
