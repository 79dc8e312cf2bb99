"""Exported graphs between this machine and the registry: the loader gets those that it lacks and gives those it has.

So one machine with torch serves all others. A version whose graph is nowhere is refused by the loader; it is loaded
once the graph comes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from inspector.domain import LiveSet, Severity, key_in
from inspector.errors import ArtifactError, EngineError, InspectorError
from inspector.ports import LineupLoader, Registry
from inspector.stream.pipeline.ticket import Shared

OnThread = Callable[..., Awaitable[Any]]
"""Calls a blocking function with its arguments on the loader's thread."""


class GraphExchange:
    """Called by the watch of the lineup, before and after each load."""

    def __init__(self, shared: Shared, registry: Registry, loader: LineupLoader, on_thread: OnThread) -> None:
        self._shared = shared
        self._registry = registry
        self._loader = loader
        self._on_thread = on_thread
        self._lacking: frozenset[str] = frozenset()  # here and in the registry
        self._unusable: frozenset[str] = frozenset()  # in the registry, but damaged or of another software

    async def has_come(self) -> bool:
        """Whether the registry has a graph now that a version waits for."""
        return bool(self._lacking) and bool(self._lacking & await self._registry.graph_keys())

    async def fetch(self, live: LiveSet) -> None:
        """Bring the graphs that these versions need to this machine, as far as the registry has them."""
        self._lacking, self._unusable = await self._on_thread(self._loader.missing_graphs, live), frozenset()
        if not self._lacking:
            return
        for name in sorted(self._lacking & await self._registry.graph_keys()):
            try:
                graph = await self._registry.graph(name)
                if graph is not None:
                    await self._on_thread(self._loader.keep_graph, graph, name)
                    self._lacking -= {name}
            except (ArtifactError, EngineError) as error:
                self._unusable |= {name}
                self._shared.event("graph_refused", Severity.WARNING, key_in(name)[0], str(error))
        self._lacking -= self._unusable

    async def share(self, live: LiveSet) -> None:
        """Give the registry the graphs that it lacks. What is damaged there is replaced by what was exported here."""
        try:
            known = await self._registry.graph_keys() - self._unusable
            for graph in await self._on_thread(self._loader.own_graphs, live, known):
                await self._registry.add_graph(graph)
        except InspectorError as error:  # this agent judges all the same; the next revision tries again
            self._shared.event("graph_not_shared", Severity.WARNING, live.revision, str(error))
        if self._lacking:
            self._lacking &= await self._on_thread(self._loader.missing_graphs, live)
