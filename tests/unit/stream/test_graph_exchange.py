"""Exported graphs between an agent and its registry: fetched before a load, shared after it, waited for in between."""

from __future__ import annotations

from dataclasses import dataclass, field

from inspector.domain import Event, ExportedGraph, LiveSet
from inspector.errors import ArtifactError, LedgerUnavailable
from inspector.ports import ArtifactOf, Lineup
from inspector.stream.pipeline.upkeep import LineupWatch
from inspector.testing.lineup import FakeLoader
from inspector.testing.registry import InMemoryRegistry
from inspector.testing.registry_contract import MANIFEST, graph_of
from tests.unit.stream.test_pipeline import FREE, Plant


@dataclass
class Machine(FakeLoader):
    """Needs the graphs `needed`, has those in `here`, and exports the others when it loads, if it `has_torch`."""

    needed: tuple[str, ...] = ("pass", "routing")
    here: dict[str, ExportedGraph] = field(default_factory=dict)
    has_torch: bool = False
    loads: int = 0
    refuses: tuple[str, ...] = ()

    def missing_graphs(self, live: LiveSet) -> frozenset[str]:
        return frozenset(self.needed) - self.here.keys()

    def keep_graph(self, graph: ExportedGraph, name: str) -> None:
        if graph.key in self.refuses:
            raise ArtifactError(f"The graph {graph.key} is of another version of this software.")
        self.here[graph.key] = graph

    def own_graphs(self, live: LiveSet, known: frozenset[str]) -> list[ExportedGraph]:
        return [graph for key, graph in self.here.items() if key not in known]

    def load(self, live: LiveSet, artifact_of: ArtifactOf, previous: Lineup | None) -> tuple[Lineup, list[Event]]:
        self.loads += 1
        if self.has_torch:
            self.here |= {key: graph_of(key, b"exported here") for key in self.missing_graphs(live)}
        return super().load(live, artifact_of, previous)


class Factory:
    """One registry with one live version; `watch_of` a machine of it."""

    def __init__(self) -> None:
        self.registry = InMemoryRegistry()
        self.plant = Plant(FREE)

    async def enrol(self) -> None:
        await self.registry.add_version("bolt", b"bolt", MANIFEST, by="test", activate=True)

    def watch_of(self, machine: Machine) -> LineupWatch:
        return LineupWatch(self.plant.pipeline()._shared, self.registry, machine)


async def test_machine_with_torch_serves_one_without() -> None:
    factory, exporting, bare = Factory(), Machine(has_torch=True), Machine()
    await factory.enrol()
    await factory.watch_of(exporting).load()
    assert {"pass", "routing"} <= await factory.registry.graph_keys()
    await factory.watch_of(bare).load()
    assert bare.here == exporting.here


async def test_machine_that_waits_for_a_graph_loads_again_when_it_comes() -> None:
    factory, bare = Factory(), Machine()
    await factory.enrol()
    watch = factory.watch_of(bare)
    await watch.load()
    await watch.load()
    assert bare.loads == 1  # nothing is new
    await factory.watch_of(Machine(has_torch=True)).load()
    await watch.load()
    await watch.load()
    assert (bare.loads, bare.missing_graphs(await factory.registry.live())) == (2, frozenset())


async def test_graph_of_another_software_is_named_once_and_not_waited_for() -> None:
    factory, bare = Factory(), Machine(refuses=("pass",))
    await factory.enrol()
    await factory.watch_of(Machine(has_torch=True)).load()
    watch = factory.watch_of(bare)
    await watch.load()
    await watch.load()
    assert bare.loads == 1
    assert bare.here.keys() == {"routing"}
    refused = [event for event in factory.plant.telemetry.events if event.kind == "graph_refused"]
    assert [(event.subject, event.detail) for event in refused] == [
        ("pass", "The graph pass is of another version of this software.")
    ]


async def test_damaged_graph_is_replaced_by_a_machine_with_torch() -> None:
    factory, exporting = Factory(), Machine(has_torch=True)
    await factory.enrol()
    await factory.registry.add_graph(graph_of("pass"))
    factory.registry.graphs["pass"] = graph_of("pass", b"damaged")
    await factory.watch_of(exporting).load()
    assert await factory.registry.graph("pass") == exporting.here["pass"]


async def test_registry_that_takes_no_graph_does_not_keep_the_lineup_back() -> None:
    class Closed(InMemoryRegistry):
        async def add_graph(self, graph: ExportedGraph, *, is_apart: bool = False) -> None:
            raise LedgerUnavailable("The database takes no writes.")

    factory = Factory()
    factory.registry = Closed()
    await factory.enrol()
    watch = factory.watch_of(Machine(has_torch=True))
    await watch.load()
    assert watch.current is not None
    assert watch.versions == ("bolt:1",)
    assert "graph_not_shared" in factory.plant.telemetry.kinds()
