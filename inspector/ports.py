"""The interfaces between the road and the world, as Protocols. Implementations live in other rooms.

Every adapter is an async context manager: it is usable once it is entered, and flushed once it is left.
Adapters raise errors of `inspector.errors` only. A method that is not `async` does not block the event
loop, unless it says that it runs on a worker thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, Self

from inspector.domain import (
    ENROLLED_HERE,
    AckContradiction,
    Action,
    AgentPresence,
    Challenge,
    ChallengeResult,
    CommandName,
    CommandRecord,
    CommandRequest,
    Correction,
    DeadLetter,
    Decision,
    Delivery,
    Embedding,
    Event,
    ExportedGraph,
    Failure,
    Frame,
    GateAction,
    GateOwner,
    GateReport,
    GateState,
    GivenOrder,
    HoldNote,
    Image,
    LateFrame,
    LiveSet,
    Part,
    PartCount,
    PartSelection,
    Picture,
    Position,
    ProductVersion,
    Provenance,
    ResultId,
    Routed,
    Scored,
    ShadowResult,
    Sighting,
    Signature,
    TrustedKey,
    Verdict,
)

OWNER_FORGOTTEN_S = 3600.0
"""An agent that has not said for so long in the ledger that it owns a gate does not own it. Clocks may differ less."""

MakeReady = Callable[[Delivery], Awaitable[None]]
"""Returns when the road can take this delivery: its camera's state is loaded, and there is room for the frame."""

TakesCommand = Callable[[CommandRequest], bool]
"""Whether a command may wait to be obeyed. It must not wait and must not raise."""


class Clock(Protocol):
    """Time, passed in, so that tests own it."""

    def now(self) -> datetime:
        """Wall clock, aware, UTC."""

    def monotonic_ns(self) -> int:
        """Never goes backwards. Ages and deadlines are measured with it."""

    async def sleep(self, seconds: float) -> None: ...


class Adapter(Protocol):
    """Usable once it is entered; flushed and closed once it is left."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...


class FrameSource(Adapter, Protocol):
    """Frames of one or more cameras, in order per stream, kept by the broker until acknowledged."""

    @property
    def name(self) -> str: ...

    @property
    def is_connected(self) -> bool: ...

    def deliveries(self, make_ready: MakeReady | None = None, /) -> AsyncIterator[Delivery]:
        """Every delivery, across reconnects, until `stop_intake`. One consumer only.

        A source of several streams awaits `make_ready` before each delivery, for each stream on its own, so that a
        waiting stream never delays another stream. A source of one camera need not await it.
        """

    def serves(self, camera: str, /) -> bool:
        """Whether this camera's frames come to this agent now, and not to another agent of its group."""

    def age_bound_ns(self, camera: str, /) -> int | None:
        """The greatest possible age of a frame of this gated camera that comes now, in nanoseconds.

        None: no age can be proved, for example because frames still wait in the broker, or the camera has no gate.
        """

    async def acknowledge(self, position: Position) -> bool:
        """Tell the broker that everything in the position's stream up to this position is durable.

        False if the position's generation is over: nothing was sent, and the broker will deliver the frames again.
        """

    def confirmation(self, position: Position) -> asyncio.Future[bool] | None:
        """Whether the broker has taken the acknowledgement of this position. Call after `acknowledge` returned True.

        None: what `acknowledge` sends is taken for certain. The answer is False if the link is lost before the broker
        has shown it: the broker may deliver the frames again. It must not be cancelled.
        """

    def pause(self) -> None:
        """Take no more frames from the broker for now. Frames already taken are still delivered."""

    def resume(self) -> None: ...

    async def stop_intake(self) -> None:
        """No new delivery after this; `deliveries` ends, acknowledgements still go out."""


class FrameTap(Adapter, Protocol):
    """Copies of one camera's frames from the time at which the tap is entered. Agents still get every frame."""

    @property
    def name(self) -> str:
        """The place where the tap listens, in words for people."""

    def frames(self) -> AsyncIterator[bytes]:
        """Encoded images as they arrive, without end. One consumer only."""


class Router(Protocol):
    """Finds the product that a frame shows and prepares the frame for its head. Runs on the workers."""

    def route(self, frame: Frame) -> Routed | Failure:
        """The routed and prepared frame, or the failure. Never raises for a bad frame."""


class Scorer(Protocol):
    """Judges routed frames. Runs on the one scorer thread, or on every worker where the lineup is not batched."""

    def score(self, batch: Sequence[Routed]) -> list[Scored | Failure]:
        """One answer per frame, order kept; one bad frame fails alone."""


class ShadowScorer(Protocol):
    """The shadow versions of a lineup, one per product at most. They score frames once more, and never decide."""

    def version_of(self, product: str) -> ProductVersion | None:
        """The product's shadow version; None if it has none, or if it was refused."""

    def expected_ms(self, product: str, embedding: Embedding | None) -> float:
        """How long the scoring of one frame takes without its decoding, as measured when the version was loaded."""

    def can_use(self, product: str, embedding: Embedding | None) -> bool:
        """Whether the live version's pass serves the shadow version too, so that the frame need not be decoded."""

    def score(self, product: str, embedding: Embedding | None, image: Callable[[], Image]) -> Scored | Failure:
        """Judge one frame, on a thread of its own. `image` opens it; called only if the embedding can't be used."""


class Lineup(Protocol):
    """An immutable set of live product versions, loaded and warm. It is replaced as a whole, between two batches."""

    @property
    def revision(self) -> str: ...

    @property
    def products(self) -> tuple[str, ...]: ...

    @property
    def versions(self) -> tuple[ProductVersion, ...]:
        """The versions that judge: of a product whose live version was refused, the one that judged before."""

    @property
    def router(self) -> Router: ...

    @property
    def scorer(self) -> Scorer: ...

    @property
    def shadows(self) -> ShadowScorer: ...

    @property
    def decodes_halves(self) -> bool:
        """Whether frames may be halved by their decoder. False while a version judges that wants all their pixels."""

    @property
    def is_batched(self) -> bool:
        """Whether a pass should take many frames. If not, each worker scores the frame that it has routed."""

    @property
    def batch(self) -> int:
        """Most frames of one pass; 1 where passes take single frames."""

    @property
    def engine(self) -> str:
        """The engine that runs the passes, as it stands in the rows: never `auto`."""

    def check_canary(self) -> None:
        """Send stored probe images through all steps, on the scorer thread. Raises ParityError if a score differs."""


ArtifactOf = Callable[[str], bytes | None]
"""Gives the bytes of the artifact with this digest; None where they are damaged or gone. May block."""


class LineupLoader(Protocol):
    """Makes a lineup of `LiveSet.needed`. Loaded versions are reused.

    A live version that can't be loaded is refused by an event; the one that judged its product before goes on.
    """

    def load(self, live: LiveSet, artifact_of: ArtifactOf, previous: Lineup | None) -> tuple[Lineup, list[Event]]:
        """Blocking; runs on a thread of its own. Only the artifacts of versions that are not in `previous` are fetched.

        An error of `artifact_of` ends the load: no version is refused because the store was away.
        """

    def missing_graphs(self, live: LiveSet) -> frozenset[str]:
        """The names of the graphs that these versions need and that are not on this machine. Blocking.

        A graph that a version is bound to by its SHA-256 has it in its name (`domain.content_name`).
        """

    def keep_graph(self, graph: ExportedGraph, name: str) -> None:
        """Put a graph from the registry where `load` finds it. Blocking. Raises ArtifactError for an unusable one."""

    def own_graphs(self, live: LiveSet, known: frozenset[str]) -> list[ExportedGraph]:
        """The graphs on this machine that these versions need, except those whose names are `known`. Blocking."""

    def close(self) -> None:
        """End the load that is under way, as soon as it can be ended: it raises EngineError. Never blocks."""


class Journal(Adapter, Protocol):
    """Append-only file on this machine. An entry survives kill -9 after `append_*`, and power loss after `sync`."""

    def append_attempt(self, camera: str, sha256: str) -> int:
        """Note that a frame is about to be decoded; returns how often it was tried without ending in a verdict."""

    def tries(self, camera: str, sha256: str) -> int:
        """The number that `append_attempt` returns, without a new note."""

    def append_verdict(self, verdict: Verdict, decision: Decision | None, hold: HoldNote | None = None) -> None:
        """Append a verdict. Raises JournalFull at the bound. A later entry of a result_id replaces an earlier one.

        `hold`: the hold that this verdict begins. It lives as long as the verdict's entry.
        """

    def append_published(self, result_id: ResultId, published: bool | None) -> None: ...

    def append_acknowledged(self, result_ids: Sequence[ResultId]) -> None: ...

    def append_recorded(self, result_ids: Sequence[ResultId]) -> None:
        """Note that these verdicts have durable rows. Segments that hold nothing else are removed."""

    def append_gate_action(self, action: GateAction) -> None:
        """Append the report of a PLC. Raises JournalFull at the bound."""

    def append_gate_actions_recorded(self, report_ids: Sequence[str]) -> None:
        """Note that these reports have durable rows."""

    def unrecorded_gate_actions(self) -> list[str]:
        """Reports of earlier runs that have no row yet, in order of receipt."""

    def read_gate_actions(self, report_ids: Sequence[str]) -> list[GateAction]:
        """The reports among these that have no row yet, in the given order."""

    def nameless_gate_actions(self) -> list[GateAction]:
        """The newest reports that name no part (`in_flight`), oldest first, with and without a row."""

    async def sync(self) -> None:
        """Verdicts and reports appended before the call are on stable storage; concurrent calls share one fsync.

        Raises JournalFull while the disk has no room for them: then they are not durable yet. Call it again later.
        """

    def unrecorded(self) -> list[ResultId]:
        """Verdicts of earlier runs that have no row yet, in order."""

    def read(self, result_ids: Sequence[ResultId]) -> list[tuple[Verdict, Decision | None]]:
        """The verdicts among these that have no row yet, in the given order, with `published` as last noted."""

    def holds(self) -> list[HoldNote]:
        """The holds that verdicts of earlier runs began and that have no row yet, in order."""

    def sightings(self, most: int) -> list[Sighting]:
        """The newest `most` frames of each camera in the journal, oldest first."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def limit_bytes(self) -> int:
        """The bound of `size_bytes`."""


class Ledger(Adapter, Protocol):
    """The SQL store of results, gates, events. Every method raises LedgerUnavailable if the database is unavailable."""

    async def record(
        self, verdicts: Sequence[Verdict], decisions: Sequence[tuple[Decision, bool | None]], gates: Sequence[GateState]
    ) -> list[ResultId]:
        """Write all in one durable transaction; rows that exist stay as they are.

        `decisions`: pairs of a decision and whether it went out; None: unknown. Only certain ones count as sent. If it
        went out, or may have, the row that it names no longer says that it did not. Returns the ids whose stored row
        has another outcome; the first row stays, and the refused verdict goes into `conflicts`. If a part has a row as
        missed and the row of a frame, the row as missed gets the id of the frame's result in `corrected_by`.
        """

    async def amend(self, findings: Sequence[Verdict]) -> list[ResultId]:
        """Add what late frames showed to their rows, in one durable transaction. Returns the ids without a row.

        Only a row that waits is changed, so a second call changes nothing. A value that is there stays, and outcome and
        cause are never changed.
        """

    async def waiting(self, agent: str, limit: int, after: ResultId | None = None) -> list[Verdict]:
        """The oldest rows of late frames that this agent has still to judge, at most `limit`.

        `after`: only rows recorded after this one.
        """

    def take_corrections(self) -> list[Correction]:
        """The missed parts that `record` has corrected since the last call."""

    async def load_gates(self, names: Sequence[str] | None = None) -> dict[str, GateState]:
        """The stored states of these gates (and cameras without a gate), by name. `None` means all gates."""

    async def sightings(self, camera: str, limit: int) -> list[Sighting]:
        """The newest `limit` frames of a camera in the current and previous epoch, oldest first."""

    async def told_parts(self, gate: str, limit: int) -> list[tuple[int, int, int, Action]]:
        """Epoch, lap, trigger id and worst action of the last `limit` parts that were decided, in order of their keys.

        Parts without a trigger id are not among them.
        """

    async def record_events(self, events: Sequence[Event]) -> None: ...

    async def events_of(self, subject: str, kinds: Collection[str], since: datetime) -> list[Event]:
        """The events of these kinds about a subject since that time, newest first."""

    async def last_sign(self, gate: str, before: datetime) -> datetime | None:
        """When the last frame or report of the gate before that time was received; None if none was."""

    async def record_command(
        self, command: CommandRecord, gates: Sequence[GateState], challenge: Challenge | None = None
    ) -> bool:
        """Write the command, its audit rows and what it leads to, in one durable transaction.

        False if this agent has had a command of this id before; then nothing is written.
        """

    async def last_order(self, owner: str, what: str) -> GivenOrder | None:
        """The last obeyed order about this of a gate (or camera without a gate), for example its `mode`, or None."""

    async def record_challenge(
        self, challenge: Challenge, gate: GateState, was: ChallengeResult = ChallengeResult.OPEN
    ) -> bool:
        """Write what became of a challenge, its audit row and the gate's state, in one durable transaction.

        False if the challenge is not stored as `was`: an end is written once, but a challenge that failed while it was
        stored as passed takes that back. A failed one still writes the state.
        """

    async def load_challenge(self, challenge_id: str, gate: str) -> Challenge | None:
        """The stored challenge with this id, or None."""

    async def record_gate_actions(self, actions: Sequence[GateAction]) -> list[AckContradiction]:
        """Write reports of PLCs in one durable transaction, one row for each part. Returns the new contradictions.

        A report of a part that has a row is a repetition, and is counted if the agent of the row reports it again.
        It is not counted if the broker marks it as redelivered, or if it was written before. A different report is
        kept beside the first one. A report without a part of its own gets a row of its own, once.
        """

    async def has_epoch(self, gate: str, epoch: int) -> bool:
        """Whether anything is stored of this epoch of the gate: a part, a decision, a report, or its beginning."""

    async def parts(self, wanted: PartSelection, limit: int) -> list[Part]:
        """The newest `limit` of the selected parts, newest first: rows, decision and report of each, joined."""

    async def count_parts(self, wanted: PartSelection) -> list[PartCount]:
        """How many of the selected parts have which facts."""

    async def record_owned(
        self, presence: AgentPresence, gates: Mapping[str, int], dead: Mapping[str, Collection[str]]
    ) -> list[GateOwner]:
        """Note that this agent lives and owns these gates, with their epochs, and no others, in one transaction.

        A gate stays with another agent that has said so here within `OWNER_FORGOTTEN_S`, unless that agent's session is
        among the `dead`, by gate. Returns the owners of these gates that are other agents.
        """

    async def record_shadow_results(self, results: Sequence[ShadowResult]) -> None:
        """Write results of shadow versions. A version's result on a frame that is there already stays as it is."""


class Registry(Adapter, Protocol):
    """Enrolled products. Versions are immutable except for their threshold; activation moves one pointer."""

    async def live(self) -> LiveSet: ...

    async def revision(self) -> str:
        """The revision that `live()` would return, at a lower cost."""

    async def artifact(self, product: str, version: int) -> bytes: ...

    async def add_version(
        self,
        product: str,
        artifact: bytes,
        manifest: dict[str, Any],
        *,
        by: str,
        activate: bool,
        shadow: bool = False,
        provenance: Provenance = ENROLLED_HERE,
    ) -> ProductVersion:
        """Store a version and its audit row, and move the pointer if requested, in one short transaction."""

    async def signing_keys(self) -> tuple[TrustedKey, ...]:
        """The public keys whose signatures count, by name."""

    async def sign(
        self,
        product: str,
        version: int,
        signature: Signature,
        *,
        by: str,
        reason: str,
        of_threshold: Signature | None = None,
    ) -> ProductVersion:
        """Put a signature to a version that is there, in place of earlier ones. Raises RegistryError.

        `of_threshold`: over its threshold, where that was moved.
        """

    async def products(self) -> list[ProductVersion]:
        """All versions of all products, by product and version."""

    async def graph_keys(self) -> frozenset[str]:
        """The names of the exported graphs that are kept here: their keys, and those with their SHA-256."""

    async def graph(self, name: str) -> ExportedGraph | None:
        """The graph of that name; None if it is not here. Raises ArtifactError for damaged bytes."""

    async def add_graph(self, graph: ExportedGraph, *, is_apart: bool = False) -> None:
        """Keep a graph once for all versions that use it. A whole graph that is here already stays as it is.

        One of another content stands beside it, under its name with the SHA-256. `is_apart`: only there, so that it
        serves no version that isn't bound to it.
        """

    async def activate(self, product: str, version: int, *, by: str, reason: str) -> ProductVersion: ...

    async def rollback(self, product: str, *, by: str, reason: str) -> ProductVersion:
        """Go back to the version that was live before. Raises RegistryError if there is no such version."""

    async def move_threshold(
        self,
        product: str,
        version: int,
        threshold: float,
        *,
        by: str,
        reason: str,
        signature: Signature | None = None,
    ) -> ProductVersion:
        """Set the score above which this version rejects a part. Raises RegistryError for an unknown version.

        `signature`: over the threshold, in place of that over the threshold before.
        """

    async def set_shadow(self, product: str, version: int | None, *, by: str, reason: str) -> ProductVersion | None:
        """Score this version beside the live one, in place of another shadow; None scores none any more.

        Raises RegistryError for an unknown version, and for the live one.
        """

    async def remove(self, product: str, *, by: str, reason: str) -> None:
        """Take the product out of the live set. Its versions and its rows are kept."""


class GateLine(Adapter, Protocol):
    """The connection to the gates: a client of its own, without an offline queue; nothing is retained."""

    async def publish(self, decision: Decision, may_go: Callable[[], bool] = ...) -> bool | None:
        """Send the decision once, and never after `act_before`.

        `may_go` is asked at the last moment, after any wait for room: its gate may have been held meanwhile.
        True: the broker took it (PUBACK) before `act_before`. False: it did not go out. None: it may have gone out, but
        the broker's answer was lost or late.
        """

    async def heartbeat(self, gate: str, payload: dict[str, int]) -> bool:
        """Send with QoS 0. False if it was not sent, because the connection is down or takes nothing."""


class AckLine(Adapter, Protocol):
    """The reports of PLCs, kept by the broker until they are acknowledged. While too many wait, no more are read."""

    def reports(self) -> AsyncIterator[GateReport]:
        """Reports in the order in which they came, across reconnects, until the line is left. One consumer only."""

    async def acknowledge(self, position: Position) -> bool:
        """Tell the broker that every report up to this position is durable. False if its connection is over."""


class GateOwners(Adapter, Protocol):
    """Which agent owns a gate, as the agents at one broker agree. At most one of them owns it at any moment."""

    @property
    def identity(self) -> str:
        """The same over restarts of this agent."""

    @property
    def session(self) -> str:
        """Another one for each run of this agent."""

    def want(self, gates: Mapping[str, GateState]) -> None:
        """Claim these gates, and tell what they stand at while this agent owns them. Give up all others."""

    def owns(self, gate: str) -> bool:
        """Whether this agent may decide about the gate's parts at this moment, by its own monotonic clock."""

    def is_claimed(self, gate: str) -> bool:
        """`owns`, whatever was denied."""

    def deny(self, gate: str, is_denied: bool) -> None:
        """Note whether the gate is another agent's, which is not at this broker."""

    def rival(self, gate: str) -> GateOwner | None:
        """The other agent that owns the gate, if it was heard at this broker lately."""

    def contender(self, gate: str) -> GateOwner | None:
        """Another agent that waits for a gate which this agent owns, if it was heard at this broker lately."""

    def predecessor(self, gate: str) -> GateOwner | None:
        """The run that owned the gate before this one, until `succeed`; it may be an earlier run of this agent.

        The gate is not owned before that, since its state has to be taken over first.
        """

    def succeed(self, gate: str) -> None:
        """Note that the predecessor's state of the gate has been taken over."""

    def is_settled(self, gate: str) -> bool:
        """Whether it is known who owns a gate that this agent claims, or can't be known now."""

    def is_unanswered(self, gate: str) -> bool:
        """Whether the broker does not let this agent claim the gate."""

    def heard(self, gate: str) -> frozenset[str]:
        """The sessions of all agents that were heard about this gate at this broker."""


class CommandChannel(Adapter, Protocol):
    """The connection on which commands come. No command is kept for an absent agent."""

    def sift(self, takes: TakesCommand, /) -> None:
        """Ask `takes` of each command that has come and that comes, also while nobody reads them yet."""

    def requests(self, takes: TakesCommand, /) -> AsyncIterator[CommandRequest]:
        """The commands that `takes` allows, until the connection is closed. One consumer only.

        `takes` is called with each command when it comes. What it refuses takes no place among those that wait.
        """

    async def reply(self, name: CommandName, payload: dict[str, Any]) -> None:
        """Send once. A reply may be lost; the sender of the command then sends it again under a new id."""


class VerdictSink(Adapter, Protocol):
    """Publishes records for everyone except gates, by store and forward: records may be late."""

    async def publish(self, verdict: Verdict) -> None:
        """Accept the record for delivery. Records wait while the broker is away; at the bound the oldest is dropped."""

    async def state(self, topic: str, payload: dict[str, Any]) -> None:
        """Publish a retained state, and again on each connect."""


class Images(Adapter, Protocol):
    """Keeps pictures by the retention rule. Never blocks the road: while it is busy, pictures of passes are skipped."""

    def keep(self, picture: Picture) -> None: ...


class LateFrames(Adapter, Protocol):
    """Late frames that wait to be judged, within a bound, and what they showed until the ledger has it.

    Frames and findings survive kill -9 once a method has returned. No method raises or blocks the event loop. A frame
    that can't be kept becomes a finding that says so.
    """

    @property
    def waiting(self) -> int:
        """Number of frames that wait."""

    @property
    def size_bytes(self) -> int:
        """Size of the frames that wait."""

    def has(self, result_id: ResultId) -> bool:
        """Whether this frame waits, or its finding does."""

    async def keep(self, frame: LateFrame) -> None:
        """Keep a frame. Beyond the bound the oldest frames become findings."""

    async def take(self) -> LateFrame | None:
        """The oldest frame that waits, with one more try noted; it waits until `put_finding`. None: no frame waits."""

    async def put_finding(self, finding: Verdict) -> None:
        """Keep what a frame showed, in place of the frame."""

    def finding_ids(self) -> list[ResultId]:
        """The findings that are kept, oldest first."""

    async def findings(self, result_ids: Sequence[ResultId]) -> list[Verdict]:
        """These findings, in the given order."""

    async def forget(self, result_ids: Sequence[ResultId]) -> None:
        """Remove findings. A frame of one of these ids that has come again meanwhile stays."""


class DeadLetters(Adapter, Protocol):
    """Keeps the original bytes of frames that could not be read."""

    async def put(self, letter: DeadLetter) -> None:
        """Store the letter, which is durable when this returns."""


class Telemetry(Protocol):
    """Counters and events of the running agent."""

    def event(self, event: Event) -> None:
        """Log the event now; it is stored later, also where the process is killed before."""

    def event_waits(self, event: Event) -> None:
        """Keep an event that is told later, in place of the one of its kind and subject that was kept before.

        If the process is killed before, the next run tells it. The next `event` of that kind and subject ends that.
        """

    def count(self, name: str, amount: int = 1, **labels: str) -> None: ...

    def observe_ms(self, name: str, value: float) -> None:
        """How long one piece of work of this name took. The stages of a frame are taken from its verdict."""

    def gauge(self, name: str, value: float | None, **labels: str) -> None:
        """Set the current value of this name and these labels; None removes it."""

    def gauges(self) -> dict[str, float]:
        """The latest value of each gauge by `name,label=value`, sorted."""

    def report(self) -> None:
        """One log line of all gauges."""

    def verdict(self, verdict: Verdict) -> None:
        """The one canonical log line of a frame."""
