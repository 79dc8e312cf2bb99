"""Reads the whole chain of the audit once a day, beside the road, and tells its head where the database can't reach.

The head goes out as the event `audit_head` (log, store) and on the agent's retained state, each day and at each stop.
The agent keeps it in its state folder too, and holds the chain against it. A chain that is broken, cut off or rewritten
is the alarm `audit_broken`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from inspector.config.config import Config
from inspector.domain import Event, Severity
from inspector.errors import ConfigError, LedgerUnavailable, SchemaOutdated, UsageError
from inspector.ports import Clock, Telemetry
from inspector.store import audit
from inspector.store.audit import AuditHead, Change
from inspector.store.audit_heads import head_document, read_head, write_head
from inspector.store.chain import is_sealed
from inspector.store.database import Database

PAGE_ROWS: Final = 50
LEAST_PAUSE_S: Final = 0.01
"""Between two pages the event loop belongs to the road for as long as a page took, and for this time at least."""

NAMED: Final = 20
FILE: Final = "audit-head.json"

Publish = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Puts the head on the agent's state topic."""


class AuditWatch:
    """One task beside the road of an agent."""

    def __init__(
        self, database: Database, clock: Clock, telemetry: Telemetry, config: Config, publish: Publish
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._agent = config.agent.name
        self._every_s = config.audit.every_h * 3600
        self._file = config.agent.state_dir / FILE
        self._publish = publish
        self._told: AuditHead | None = None
        """The same head as in the file, which people of the group can take away or replace."""

    async def run(self) -> None:
        """Look in rounds until cancelled. A round that the database does not allow is left out."""
        while True:
            with contextlib.suppress(
                LedgerUnavailable, SchemaOutdated
            ):  # the road and `inspector doctor` tell of these
                await self.look()
            await self._clock.sleep(self._every_s)

    async def look(self) -> None:
        """Check the chain once, seal what was written before there was a key, and tell the head."""
        faults = await self._faults()
        self._telemetry.gauge("audit_broken", int(bool(faults)))
        for fault in faults:
            self._tell("audit_broken", Severity.ALARM, f"{fault}; compare with a backup, and see docs/audit.md")
        if not faults:
            await self._begin_sealing()
            await self.tell_head()

    async def tell_head(self) -> None:
        """Tell the end of the chain as it is now, and keep it for the next look."""
        head = await audit.head(self._database, self._clock.now())
        sealed = "sealed with the key" if head.is_sealed else "not sealed with a key"
        self._tell("audit_head", Severity.INFO, f"{head.entries} entries, the last {head.seq}: {head.hash}, {sealed}")
        self._telemetry.gauge("audit_entries", head.entries)
        await self._publish(head_document(head))
        self._told = head
        try:
            await asyncio.to_thread(write_head, self._file, head)
        except UsageError as error:
            self._tell("audit_head_not_kept", Severity.WARNING, str(error))

    async def finish(self) -> None:
        """Tell the head once more at the end, unless it is known not to be the chain's own."""
        with contextlib.suppress(LedgerUnavailable, SchemaOutdated):
            if not await self._missing(await self._earlier()):
                await self.tell_head()

    async def _faults(self) -> list[str]:
        found = await audit.state(self._database, page_rows=PAGE_ROWS, pause=_Pause())
        faults = []
        if found.broken:
            numbers = ", ".join(map(str, found.broken[:NAMED])) + (" and others" if len(found.broken) > NAMED else "")
            faults.append(f"the chain of the audit is broken at {numbers}: an entry there or before it was changed")
        earlier = await self._earlier()
        faults += [f"the audit is not what it was: {what}" for what in await self._missing(earlier)]
        if found.is_unsealed and any(head.is_sealed for head in earlier):
            faults.append("the audit was sealed with a key, and no entry of it is any more")
        return faults

    async def _earlier(self) -> list[AuditHead]:
        """The heads that were told last: what this process remembers, and what the file says, each once."""
        found = [self._told, await self._kept()]
        return [head for number, head in enumerate(found) if head is not None and head not in found[:number]]

    async def _missing(self, earlier: list[AuditHead]) -> list[str]:
        """What is not as it was at these heads, each once."""
        said = [await audit.missing(self._database, head) for head in earlier]
        return list(dict.fromkeys(what for what in said if what is not None))

    async def _kept(self) -> AuditHead | None:
        """The head that this agent told last; None if there is none."""
        if not await asyncio.to_thread(_is_there, self._file):
            return None
        try:
            return await asyncio.to_thread(read_head, self._file)
        except UsageError as error:
            self._tell("audit_head_not_kept", Severity.WARNING, str(error))
            return None

    async def _begin_sealing(self) -> None:
        """Add the first sealed entry where a key is new: from then on a plain one is a break."""
        if not self._database.chain.is_sealing:
            return
        head = await audit.head(self._database, self._clock.now())
        if is_sealed(head.hash):
            return
        change = Change(self._agent, "audit/key", None, "sealed", f"{head.entries} entries before have plain hashes")
        with contextlib.suppress(ConfigError):
            await audit.record(self._database, self._clock.now(), change)

    def _tell(self, kind: str, severity: Severity, detail: str) -> None:
        self._telemetry.event(Event(self._clock.now(), kind, severity, "audit", detail))


class _Pause:
    """Awaited after each page."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def __call__(self) -> None:
        await asyncio.sleep(max(LEAST_PAUSE_S, time.perf_counter() - self._since))
        self._since = time.perf_counter()


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.exists()
