"""What the road needs from the world, as Protocols. Implementations live in other rooms.

Every adapter is an async context manager (`async with`): entered means usable, left means flushed.
Raises are of `inspector.errors` only. Methods that are not `async` never block the event loop unless
they say that they run on a worker thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, Self

from inspector.domain import (
    CommandName,
    CommandRecord,
    CommandRequest,
    DeadLetter,
    Decision,
    Delivery,
    Event,
    Failure,
    Frame,
    GateAction,
    GateState,
    LiveSet,
    Picture,
    Position,
    ProductVersion,
    ResultId,
    Routed,
    Scored,
    Sighting,
    Verdict,
)

MakeReady = Callable[[Delivery], Awaitable[None]]
"""Returns when the road wants this delivery: the state of its camera is loaded, and there is room for it."""


class Clock(Protocol):
    """Time, passed in, so that tests own it."""

    def now(self) -> datetime:
        """Wall clock, aware, UTC."""

    def monotonic_ns(self) -> int:
        """Never goes backwards; what ages and deadlines are measured with."""

    async def sleep(self, seconds: float) -> None: ...


class Adapter(Protocol):
    """Something with a life: entered means usable, left means flushed and closed."""

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

        A source of many streams awaits `make_ready` before each delivery, for each stream apart, so that
        one which has to wait holds up no other. A source of one camera need not.
        """

    def serves(self, camera: str, /) -> bool:
        """Whether this camera's frames come to this agent now, and not to another of its group."""

    async def acknowledge(self, position: Position) -> bool:
        """Everything in the position's stream up to and including it is durable.

        False where the position's generation is over: nothing was sent, the broker will deliver again.
        """

    def pause(self) -> None:
        """Take no more from the broker for now; what was taken is still delivered."""

    def resume(self) -> None: ...

    async def stop_intake(self) -> None:
        """No new delivery after this; `deliveries` ends, acknowledgements still go out."""


class FrameTap(Adapter, Protocol):
    """Copies of one camera's frames, from when it was entered; whoever else reads them is not disturbed."""

    @property
    def name(self) -> str:
        """Where it listens, for people."""

    def frames(self) -> AsyncIterator[bytes]:
        """Encoded images as they come, without end. One consumer only."""


class Router(Protocol):
    """Finds out which product a frame shows and prepares it for that product's head. Runs on decode workers."""

    def route(self, frame: Frame) -> Routed | Failure:
        """A routed, prepared frame, or why it can't be one (unknown product). Never raises for a bad frame."""


class Scorer(Protocol):
    """Judges a batch of routed frames. Runs on the one scorer thread."""

    def score(self, batch: Sequence[Routed]) -> list[Scored | Failure]:
        """One answer per frame, order kept; one bad frame fails alone."""


class Lineup(Protocol):
    """An immutable set of live product versions, loaded and warm. Swapped whole, between two batches."""

    @property
    def revision(self) -> str: ...

    @property
    def products(self) -> tuple[str, ...]: ...

    @property
    def router(self) -> Router: ...

    @property
    def scorer(self) -> Scorer: ...

    def check_canary(self) -> None:
        """Score stored probe images the whole way. Raises ParityError where scores moved. Scorer thread."""


class LineupLoader(Protocol):
    """Makes a lineup of `LiveSet.routable`; versions already loaded are reused, unreadable ones refused by name."""

    def load(self, live: LiveSet, artifacts: dict[str, bytes], previous: Lineup | None) -> tuple[Lineup, list[Event]]:
        """Blocking; runs on a thread of its own. `artifacts` maps digest to bytes for versions not in `previous`."""


class Journal(Adapter, Protocol):
    """Append-only local truth. `append_*` survive kill -9 when they return; `sync` survives power loss."""

    def append_attempt(self, camera: str, sha256: str) -> int:
        """Note that a frame is about to be decoded; returns how often it was tried without ending in a verdict."""

    def tries(self, camera: str, sha256: str) -> int:
        """The same number, nothing noted."""

    def append_verdict(self, verdict: Verdict, decision: Decision | None) -> None:
        """Raises JournalFull when the bound is reached. A later entry of the same result_id replaces the earlier."""

    def append_published(self, result_id: ResultId, published: bool) -> None: ...

    def append_acknowledged(self, result_ids: Sequence[ResultId]) -> None: ...

    def append_recorded(self, result_ids: Sequence[ResultId]) -> None:
        """These verdicts have durable rows; segments with nothing else are removed."""

    async def sync(self) -> None:
        """Everything appended before the call is on stable storage; concurrent calls share one fsync."""

    def unrecorded(self) -> list[ResultId]:
        """Verdicts of earlier runs that have no row yet, in order."""

    def read(self, result_ids: Sequence[ResultId]) -> list[tuple[Verdict, Decision | None]]:
        """What was appended of those that have no row yet, in the order asked for, `published` as last known."""

    def sightings(self, most: int) -> list[Sighting]:
        """Frames the journal knows, oldest first, of each camera the newest `most`."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def limit_bytes(self) -> int:
        """The bound of `size_bytes`."""


class Ledger(Adapter, Protocol):
    """The SQL store of results, gates, events. Every method raises LedgerUnavailable when the database is away."""

    async def record(
        self, verdicts: Sequence[Verdict], decisions: Sequence[tuple[Decision, bool]], gates: Sequence[GateState]
    ) -> list[ResultId]:
        """Write all in one durable transaction; rows that exist stay as they are.

        `decisions` carry whether they were published. Returns the ids whose stored row says another outcome
        (kept in `conflicts`; the first row wins).
        """

    async def load_gates(self, names: Sequence[str] | None = None) -> dict[str, GateState]:
        """What is known of these gates and cameras; None means all."""

    async def sightings(self, camera: str, limit: int) -> list[Sighting]:
        """The newest `limit` frames of a camera in the current and previous epoch, oldest first."""

    async def record_events(self, events: Sequence[Event]) -> None: ...

    async def record_command(self, command: CommandRecord, gates: Sequence[GateState]) -> bool:
        """The command, its audit rows and the states it leads to, in one durable transaction.

        False where this agent has had a command of that id before; then nothing is written.
        """

    async def record_gate_actions(self, actions: Sequence[GateAction]) -> None: ...


class Registry(Adapter, Protocol):
    """Enrolled products. Versions are immutable but for their threshold; activation moves one pointer."""

    async def live(self) -> LiveSet: ...

    async def revision(self) -> str:
        """Cheap: what `live().revision` would be."""

    async def artifact(self, product: str, version: int) -> bytes: ...

    async def add_version(
        self, product: str, artifact: bytes, manifest: dict[str, Any], *, by: str, activate: bool, shadow: bool = False
    ) -> ProductVersion:
        """One short transaction: the version, its audit row and, if asked, the moved pointer."""

    async def products(self) -> list[ProductVersion]:
        """All versions of all products, by product and version."""

    async def activate(self, product: str, version: int, *, by: str, reason: str) -> ProductVersion: ...

    async def rollback(self, product: str, *, by: str, reason: str) -> ProductVersion:
        """Back to the version that was live before. Raises RegistryError if there is none."""

    async def move_threshold(
        self, product: str, version: int, threshold: float, *, by: str, reason: str
    ) -> ProductVersion:
        """From now on a part of this version is rejected above that score. Raises RegistryError."""

    async def remove(self, product: str, *, by: str, reason: str) -> None:
        """Takes the product out of the live set; its versions and rows stay for the record."""


class GateLine(Adapter, Protocol):
    """The wire to the gates: a client of its own, no offline queue, nothing retained."""

    async def publish(self, decision: Decision) -> bool:
        """True when the broker took it (PUBACK) before its time was over; False when not; never sent late."""

    async def heartbeat(self, gate: str, payload: dict[str, int]) -> None:
        """QoS 0, best effort; does nothing while the line is down."""

    def actions(self) -> AsyncIterator[GateAction]:
        """What PLCs report back."""


class CommandChannel(Adapter, Protocol):
    """Commands in, replies out: how a line is told its job and mode. Nothing is kept for an agent that is away."""

    def requests(self) -> AsyncIterator[CommandRequest]:
        """Requests as they come, until the channel is closed. One consumer only."""

    async def reply(self, name: CommandName, payload: dict[str, Any]) -> None:
        """Best effort: whoever asked and hears nothing asks again under a new id."""


class VerdictSink(Adapter, Protocol):
    """The record for everyone else: store and forward, may be late, no gate listens here."""

    async def publish(self, verdict: Verdict) -> None:
        """Accepted for delivery; kept while the broker is away up to a bound, the oldest dropped with an event."""

    async def state(self, topic: str, payload: dict[str, Any]) -> None:
        """Retained, republished on each connect."""


class Images(Adapter, Protocol):
    """Pictures by retention rule. Never blocks the road: when busy, a pass picture is skipped."""

    def keep(self, picture: Picture) -> None: ...


class DeadLetters(Adapter, Protocol):
    """Keeps the original bytes of what could not be read."""

    async def put(self, letter: DeadLetter) -> None:
        """Durable when it returns."""


class Telemetry(Protocol):
    """Counters and events of the running agent."""

    def event(self, event: Event) -> None:
        """Logged now, stored when the ledger has time."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None: ...

    def observe_ms(self, name: str, value: float) -> None:
        """How long one piece of work took. Reserved for metrics: nothing calls it yet."""

    def gauge(self, name: str, value: float | None, **labels: str) -> None:
        """How much there is now of what this name and these labels stand for; None where there is no such thing."""

    def gauges(self) -> dict[str, float]:
        """The latest value of each gauge under `name,label=value`, by name."""

    def report(self) -> None:
        """One log line of all gauges."""

    def verdict(self, verdict: Verdict) -> None:
        """The one canonical log line of a frame."""
