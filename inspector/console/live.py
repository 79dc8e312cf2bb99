"""One poller for all viewers: reads what is new in the store, and sends each open line page what has changed.

The pages hang on a `Hub`. Each event is rendered once, whoever looks. A viewer that can't keep up is dropped; its
browser connects again by itself and gets the whole state first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from inspector.config.config import Config
from inspector.console.board import FORGOTTEN, HOUR, Card, LineBoard, Strip
from inspector.console.shifts import Shift, shift_at
from inspector.errors import InspectorError
from inspector.store.console.agents import SeenAgent, SeenGate, list_agents, list_gates
from inspector.store.console.rows import (
    Place,
    RowFilter,
    SeenRow,
    count_minutes,
    list_rows,
    newest_seq,
    rows_after,
    rows_numbered,
)
from inspector.store.database import Database
from inspector.store.pictures.folders import read_kept
from inspector.store.pictures.kept import KeptPictures
from inspector.store.pictures.overlay import Undrawable, note_of

_LOG = logging.getLogger(__name__)

POLL_S: Final = 0.25
AGENTS_EVERY_S: Final = 1.0
SILENT_AFTER_S: Final = 3.5
"""An agent says every second that it lives."""

OWNED_WITHIN_S: Final = 15.0
MOST_ROWS: Final = 2000
GAP_REMEMBERED_S: Final = 10.0
"""On PostgreSQL a transaction may commit after one with higher numbers. A missing number is asked for again so long."""

WATCHED_EVERY_S: Final = 5.0
"""Time between two signs to the agent that somebody looks at its latest pictures."""

SMALL_PICTURES: Final = 400
_QUEUED_EVENTS: Final = 256


def encoded_event(name: str, text: str) -> bytes:
    """One server-sent event."""
    lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"event: {name}\n{lines}\n".encode()


class Viewer:
    """One open page: the events that it has not been sent yet."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[bytes] = asyncio.Queue(_QUEUED_EVENTS)
        self.is_dropped = False

    def put(self, event: bytes) -> None:
        """Queue an event; a viewer with a full queue is dropped."""
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            self.is_dropped = True

    async def take(self) -> bytes:
        """The next event, once there is one."""
        return await self._events.get()


class Hub:
    """The viewers that are connected."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._viewers: set[Viewer] = set()

    def __len__(self) -> int:
        return len(self._viewers)

    @property
    def is_full(self) -> bool:
        return len(self._viewers) >= self._most

    @contextlib.contextmanager
    def joined(self) -> Iterator[Viewer]:
        """A viewer that gets all events until the context is left."""
        viewer = Viewer()
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)

    def close(self) -> None:
        """Drop all viewers."""
        for viewer in [*self._viewers]:
            viewer.is_dropped = True
            viewer.put(b"")
        self._viewers.clear()

    def send(self, event: bytes) -> None:
        """Queue the event for all viewers."""
        for viewer in [*self._viewers]:
            viewer.put(event)
            if viewer.is_dropped:
                self._viewers.discard(viewer)


@dataclass(slots=True)
class _Sign:
    """The last sign of an agent, and when it was first seen here, by this machine's monotonic clock."""

    agent: SeenAgent
    since_s: float


@dataclass(frozen=True, slots=True)
class Rendering:
    """How cards and strip become HTML."""

    card: Callable[[Live, str], str]
    strip: Callable[[Live], str]
    grid: Callable[[Live], str]


class Live:
    """The board of the line, kept up to date by `run`. Before the first look `is_ready` is False."""

    def __init__(self, config: Config, database: Database, pictures: KeptPictures, zone: ZoneInfo) -> None:
        self._config = config
        self._database = database
        self._pictures = pictures
        self._zone = zone
        self.hub = Hub(config.console.viewers)
        self.board = LineBoard([camera.name for camera in config.camera])
        self.is_ready = False
        self.fault = ""
        self.gates: list[SeenGate] = []
        self._signs: dict[str, _Sign] = {}
        self._seq = 0
        self._holes: dict[int, float] = {}
        self._small: OrderedDict[str, bytes] = OrderedDict()
        self._stopped = asyncio.Event()
        self._latest_ns: dict[str, int] = {}
        self._marked_s = -WATCHED_EVERY_S
        self._cannot_mark = False
        self._shift: Shift = shift_at(self.now(), config.console.shifts, zone)

    @staticmethod
    def now() -> datetime:
        return datetime.now(UTC)

    @property
    def shift(self) -> Shift:
        """The shift that is on."""
        return self._shift

    def card(self, camera: str) -> Card:
        return self.board.card(camera, self.now(), self._shift.begin)

    def strip(self) -> Strip:
        unowned = self._unowned()
        given_up = [name for name in unowned if self._is_given_up(name)]
        return self.board.strip(
            self._shift.begin,
            self.gates,
            [name for name in unowned if name not in given_up],
            self.silent_agents(),
            stopped=self.stopped_agents(),
            given_up=given_up,
        )

    def pictured(self, card: Card) -> SeenRow | None:
        """The newest part of the card that there is a picture of."""
        for row in reversed(card.newest):
            if row.result_id in self._small:
                return row
        return None

    def small(self, result_id: str) -> bytes | None:
        """The small picture of a recent part."""
        return self._small.get(result_id)

    def silent_agents(self) -> list[SeenAgent]:
        """Agents that were there in the last day and have not been heard for `SILENT_AFTER_S`."""
        now, now_s = self.now(), time.monotonic()
        return [
            sign.agent
            for sign in self._signs.values()
            if sign.agent.ended_at is None
            and now_s - sign.since_s > SILENT_AFTER_S
            and now - sign.agent.seen_at < FORGOTTEN
        ]

    def stopped_agents(self) -> list[SeenAgent]:
        """Agents that were ended in order in the last day."""
        since = self.now() - FORGOTTEN
        agents = (sign.agent for sign in self._signs.values())
        return [agent for agent in agents if agent.ended_at is not None and agent.ended_at > since]

    def is_alive(self, agent: str) -> bool:
        """Whether the agent was heard within `SILENT_AFTER_S`."""
        sign = self._signs.get(agent)
        if sign is None or sign.agent.ended_at is not None:
            return False
        return time.monotonic() - sign.since_s <= SILENT_AFTER_S

    async def run(self, rendering: Rendering) -> None:
        """Polls until `stop` is called. While the database is away, pages say so."""
        looked_s = 0.0
        while not self._stopped.is_set():
            try:
                if not self.is_ready:
                    await self._begin()
                await self._mark_watched()
                changed = await self._take_rows() | await asyncio.to_thread(self._read_latest)
                if is_due := time.monotonic() - looked_s >= AGENTS_EVERY_S:
                    looked_s = time.monotonic()
                    await self._look_at_agents()
                self._set_fault("")
                self._send(rendering, changed, with_strip=is_due or bool(changed))
            except InspectorError as error:
                self._set_fault(str(error))
                self.hub.send(encoded_event("strip", rendering.strip(self)))
                await asyncio.sleep(1.0)
            self.hub.send(encoded_event("beat", str(int(time.time() * 1000))))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), POLL_S)

    def stop(self) -> None:
        """End the polling after its present look, and all streams."""
        self._stopped.set()
        self.hub.close()

    def state(self, rendering: Rendering) -> list[bytes]:
        """Everything that a page shows, for a viewer that has just connected."""
        return [
            b"retry: 1000\n\n",
            encoded_event("grid", rendering.grid(self)),
            encoded_event("strip", rendering.strip(self)),
            encoded_event("beat", str(int(time.time() * 1000))),
        ]

    def _send(self, rendering: Rendering, changed: set[str], *, with_strip: bool) -> None:
        known = self.board.cameras
        if not len(self.hub):
            return
        for camera in sorted(changed):
            self.hub.send(encoded_event(f"card-{known.index(camera)}", rendering.card(self, camera)))
        if with_strip:
            self.hub.send(encoded_event("strip", rendering.strip(self)))

    async def _mark_watched(self) -> None:
        """Say that somebody looks, so that the agent draws its latest pictures oftener than every half minute."""
        if not len(self.hub) or time.monotonic() - self._marked_s < WATCHED_EVERY_S:
            return
        self._marked_s = time.monotonic()
        try:
            await asyncio.to_thread(self._pictures.note_watched)
        except OSError as error:
            if not self._cannot_mark:
                _LOG.warning(
                    "the line's pictures are renewed only every 30 s, because they can't be asked for: %s", error
                )
            self._cannot_mark = True
        else:
            self._cannot_mark = False

    async def _begin(self) -> None:
        """Read the shift so far, and each camera's newest rows."""
        seq = await newest_seq(self._database)
        now = self.now()
        self._shift = shift_at(now, self._config.console.shifts, self._zone)
        board = LineBoard([camera.name for camera in self._config.camera])
        board.take_counts(await count_minutes(self._database, min(self._shift.begin, now - HOUR), seq))
        for camera in board.cameras:
            newest = await list_rows(self._database, RowFilter(camera=camera, before=Place(seq + 1, now)), 20)
            board.take_newest(newest[::-1])
        self.board, self._seq, self.is_ready = board, seq, True

    async def _take_rows(self) -> set[str]:
        now_s = time.monotonic()
        before = len(self.board.cameras)
        rows = await rows_after(self._database, self._seq, MOST_ROWS)
        if rows and not self._database.is_sqlite:
            self._note_holes(rows, now_s)
        late = await self._take_holes(now_s)
        if rows:
            self._seq = rows[-1].seq
        changed = self.board.take([*late, *rows])
        shift = shift_at(self.now(), self._config.console.shifts, self._zone)
        if shift != self._shift:
            self._shift = shift
            self.board.forget_before(min(shift.begin, self.now() - HOUR))
            changed = set(self.board.cameras)
        if len(self.board.cameras) != before:
            self.hub.send(b"event: reload\ndata: \n\n")
        return changed

    def _note_holes(self, rows: list[SeenRow], now_s: float) -> None:
        there = {row.seq for row in rows}
        missing = [number for number in range(self._seq + 1, rows[-1].seq) if number not in there]
        self._holes |= dict.fromkeys(missing[:MOST_ROWS], now_s)

    async def _take_holes(self, now_s: float) -> list[SeenRow]:
        self._holes = {seq: since for seq, since in self._holes.items() if now_s - since < GAP_REMEMBERED_S}
        if not self._holes:
            return []
        rows = await rows_numbered(self._database, list(self._holes))
        for row in rows:
            self._holes.pop(row.seq, None)
        return rows

    def _read_latest(self) -> set[str]:
        """Take in small pictures that are new. Returns their cameras."""
        changed = set()
        for camera in self.board.cameras:
            path = self._pictures.latest(camera)
            try:
                stamp_ns = path.stat().st_mtime_ns
                if stamp_ns == self._latest_ns.get(camera):
                    continue
                content = read_kept(path)
                result_id = note_of(content)
            except (OSError, Undrawable):
                continue
            self._latest_ns[camera] = stamp_ns
            self._small[result_id] = content
            changed.add(camera)
        while len(self._small) > SMALL_PICTURES:
            self._small.popitem(last=False)
        return changed

    async def _look_at_agents(self) -> None:
        now, now_s = self.now(), time.monotonic()
        for agent in await list_agents(self._database):
            sign = self._signs.get(agent.name)
            if sign is None:  # not seen by this process before: only its own clock says how old its sign is
                age_s = max(0.0, (now - agent.seen_at) / timedelta(seconds=1))
                self._signs[agent.name] = _Sign(agent, now_s - age_s)
            elif (sign.agent.seen_at, sign.agent.ended_at) != (agent.seen_at, agent.ended_at):
                self._signs[agent.name] = _Sign(agent, now_s)
        self.gates = await list_gates(self._database)

    def _unowned(self) -> list[str]:
        """Gates of the configuration that no living agent says it decides for."""
        owners = {gate.name: gate.owner for gate in self.gates}
        wanted = [gate.name for gate in self._config.gate]
        return [name for name in wanted if not self.is_alive(owners.get(name) or "")]

    def _is_given_up(self, gate: str) -> bool:
        """Whether nobody owns the gate because its agent was stopped: an agent that dies gives no gate up."""
        if any(each.owner for each in self.gates if each.name == gate):
            return False
        agents = [sign.agent for sign in self._signs.values()]
        return any(agent.ended_at is not None for agent in agents)

    def _set_fault(self, fault: str) -> None:
        if fault != self.fault:
            _LOG.log(logging.WARNING if fault else logging.INFO, "store: %s", fault or "answers again")
        self.fault = fault


async def stream(live: Live, rendering: Rendering, limit_s: float) -> AsyncIterator[bytes]:
    """What one viewer is sent. It ends after `limit_s`, so that the browser has to show its session again."""
    ends_s = time.monotonic() + limit_s
    with live.hub.joined() as viewer:
        for event in live.state(rendering):
            yield event
        while not viewer.is_dropped and time.monotonic() < ends_s:
            yield await viewer.take()
