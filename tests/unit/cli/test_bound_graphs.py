"""A version judges with the exported graphs that it came with: as signed, or as they stood in its file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import sqlalchemy as sa
from onnx import TensorProto, helper

from inspector.config.config import Config
from inspector.config.sections import EngineSection
from inspector.domain import ExportedGraph, LiveSet, ProductVersion
from inspector.errors import ArtifactError
from inspector.operation.graphs import cache_of, fetch_graphs
from inspector.operation.opening import database_of, registry_of
from inspector.operation.signing_keys import make_key, policy_of
from inspector.signing.keys import SecretKey
from inspector.signing.statements import VersionStatement, bound_graphs, signed
from inspector.store.tables import graphs as graphs_table
from inspector.training.enrol import Enrolment
from inspector.vision.artifacts.envelope import seal
from inspector.vision.engines.protocols import Embedder
from inspector.vision.networks.graphs import EXPORTER_VERSION, INPUT, Graph, ensure_graph, output_name
from inspector.vision.serving import lineup as lineup_module
from inspector.vision.serving.lineup import VisionLineup, VisionLoader
from inspector.vision.serving.needed_graphs import needed_graphs
from tests.unit.drawings import FakeEngine, version_of

WHY = ("--reason", "a trial")


def exported(graph: Graph, weight: float) -> ExportedGraph:
    """A graph of this pass; what it computes is of no account here, but differs by its weight."""
    pixels = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1])
    names = [output_name(number) for number in range(len(graph.embeddings))]
    outs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in names]
    nodes = [helper.make_node("Mul", [INPUT, "weight"], [name]) for name in names]
    stored = helper.make_tensor("weight", TensorProto.FLOAT, [1], [weight])
    model: onnx.ModelProto = helper.make_model(
        helper.make_graph(nodes, "pass", [pixels], outs, [stored]), opset_imports=[helper.make_opsetid("", 18)]
    )
    return ExportedGraph(graph.key, model.SerializeToString(), graph.to_manifest(), EXPORTER_VERSION, {"torch": "2.9"})


def graphs_for(made: Enrolment, weight: float) -> list[ExportedGraph]:
    return [exported(graph, weight) for graph in needed_graphs([made.manifest]).values()]


def file_of(
    path: Path, made: Enrolment, graphs: Sequence[ExportedGraph], key: SecretKey | None = None, product: str = "disc"
) -> str:
    """An exported version; signed where a key is given."""
    statement = VersionStatement.of(product, made.digest, float(made.manifest["threshold"]), graphs)
    path.write_bytes(seal(made.artifact, graphs, None if key is None else signed(statement, key)))
    return str(path)


@pytest.fixture
def plant_b(shell: Callable[..., Any], line: Config, tmp_path: Path) -> SecretKey:
    """The key of another plant, which this plant trusts."""
    key = SecretKey.made()
    (tmp_path / "b.key").write_text(key.public.line("plant-b"))
    assert shell("keys", "trust", "plant-b", str(tmp_path / "b.key"), *WHY).code == 0
    return key


def judged_with(line: Config, product: str = "disc") -> dict[str, bytes]:
    """The graphs that agents run the live version of the product on, as far as the registry has them, by key."""

    async def read() -> dict[str, bytes]:
        async with registry_of(line) as registry:
            (version,) = [each for each in (await registry.live()).versions if each.product == product]
            found = {}
            for key, sha256 in bound_graphs(version).items():
                graph = await registry.graph(f"{key}.{sha256}")
                assert graph is not None
                found[key] = graph.content
            return found

    return asyncio.run(read())


def contents(graphs: Sequence[ExportedGraph]) -> dict[str, bytes]:
    return {graph.key: graph.content for graph in graphs}


def test_graph_of_a_trusted_file_does_not_serve_a_signed_version(
    shell: Callable[..., Any], line: Config, enrolments: list[Enrolment], plant_b: SecretKey, tmp_path: Path
) -> None:
    evil, good = graphs_for(enrolments[1], 9.0), graphs_for(enrolments[0], 1.0)
    assert {graph.key for graph in evil} == {graph.key for graph in good}
    unsigned = file_of(tmp_path / "unsigned.artifact", enrolments[1], evil)
    assert shell("products", "import", unsigned, "--trust", "--reason", "only look").code == 0
    genuine = file_of(tmp_path / "signed.artifact", enrolments[0], good, plant_b)
    assert shell("products", "import", genuine, "--activate", "--insist", *WHY).code == 0
    assert judged_with(line) == contents(good)


def test_graph_of_an_unsigned_file_does_not_serve_another_version_where_there_are_no_keys(
    shell: Callable[..., Any], line: Config, enrolments: list[Enrolment], tmp_path: Path
) -> None:
    evil, good = graphs_for(enrolments[1], 9.0), graphs_for(enrolments[0], 1.0)
    assert shell("products", "import", file_of(tmp_path / "evil.artifact", enrolments[1], evil)).code == 0
    genuine = file_of(tmp_path / "good.artifact", enrolments[0], good)
    assert shell("products", "import", genuine, "--activate", "--insist", *WHY).code == 0
    assert judged_with(line) == contents(good)


def test_signed_file_of_a_version_that_was_trusted_with_other_graphs_brings_its_own(
    shell: Callable[..., Any], line: Config, disc: Enrolment, plant_b: SecretKey, tmp_path: Path
) -> None:
    evil, good = graphs_for(disc, 9.0), graphs_for(disc, 1.0)
    asyncio.run(make_key(line, "plant-a", by="ada", reason="a trial"))
    assert shell("products", "import", file_of(tmp_path / "evil.artifact", disc, evil), "--trust", *WHY).code == 0
    genuine = file_of(tmp_path / "signed.artifact", disc, good, plant_b)
    assert shell("products", "import", genuine, "--activate", "--insist", *WHY).code == 0
    assert judged_with(line) == contents(good)


def test_unsigned_file_of_a_version_that_is_here_with_other_graphs_is_refused(
    shell: Callable[..., Any], line: Config, disc: Enrolment, tmp_path: Path
) -> None:
    first = file_of(tmp_path / "first.artifact", disc, graphs_for(disc, 1.0))
    assert shell("products", "import", first, "--activate", "--insist", *WHY).code == 0
    ran = shell("products", "import", file_of(tmp_path / "other.artifact", disc, graphs_for(disc, 9.0)))
    assert ran.code != 0
    assert "other exported graphs" in " ".join(ran.err.split())
    assert judged_with(line) == contents(graphs_for(disc, 1.0))


def test_trusted_file_is_signed_with_its_own_graphs(
    shell: Callable[..., Any], line: Config, disc: Enrolment, tmp_path: Path
) -> None:
    asyncio.run(make_key(line, "plant-a", by="ada", reason="a trial"))
    own = graphs_for(disc, 1.0)
    trusted = file_of(tmp_path / "own.artifact", disc, own)
    assert shell("products", "import", trusted, "--trust", "--activate", "--insist", *WHY).code == 0
    assert judged_with(line) == contents(own)


def fetch(line: Config) -> None:
    """What an enrolment, or a command on a machine without torch, does first."""

    async def take() -> None:
        async with registry_of(line) as registry:
            await fetch_graphs(registry, cache_of(line), await policy_of(line, registry))

    asyncio.run(take())


def test_command_finds_the_graphs_of_a_trusted_file_under_their_own_names_only(
    shell: Callable[..., Any], line: Config, disc: Enrolment, tmp_path: Path
) -> None:
    asyncio.run(make_key(line, "plant-a", by="ada", reason="a trial"))
    own = graphs_for(disc, 1.0)
    assert shell("products", "import", file_of(tmp_path / "own.artifact", disc, own), "--trust", *WHY).code == 0
    fetch(line)
    assert {file.stem for file in cache_of(line).glob("*.onnx")} == {f"{graph.key}.{graph.sha256}" for graph in own}


def test_graph_exchanged_in_the_database_is_not_taken_by_an_enrolment(
    shell: Callable[..., Any], line: Config, disc: Enrolment, plant_b: SecretKey, tmp_path: Path
) -> None:
    good = graphs_for(disc, 1.0)
    genuine = file_of(tmp_path / "signed.artifact", disc, good, plant_b)
    assert shell("products", "import", genuine, *WHY).code == 0
    exchange(line, graphs_for(disc, 9.0))

    fetch(line)
    assert list(cache_of(line).glob("*.onnx")) == []


def test_graph_exchanged_in_the_database_is_not_signed_again(
    shell: Callable[..., Any], line: Config, disc: Enrolment, plant_b: SecretKey, tmp_path: Path
) -> None:
    asyncio.run(make_key(line, "plant-a", by="ada", reason="a trial"))
    genuine = file_of(tmp_path / "signed.artifact", disc, graphs_for(disc, 1.0), plant_b)
    assert shell("products", "import", genuine, *WHY).code == 0
    exchange(line, graphs_for(disc, 9.0))
    ran = shell("keys", "sign", "disc", "--version", "1", *WHY)
    assert ran.code != 0
    assert "bound to is not here" in " ".join(ran.err.split())


def exchange(line: Config, others: Sequence[ExportedGraph]) -> None:
    """What somebody with write access to the database does."""

    async def write() -> None:
        async with database_of(line) as database, database.writing() as connection:
            for graph in others:
                await connection.execute(
                    sa.update(graphs_table)
                    .where(graphs_table.c.key == graph.key)
                    .values(content=graph.content, sha256=graph.sha256, size_bytes=len(graph.content))
                )

    asyncio.run(write())


class ReadingEngine(FakeEngine):
    """Takes the exported graph of a pass from the cache, as the engines without torch do."""

    cache = Path()

    def embedder(self, graph: Graph, *arguments: Any, **options: Any) -> Embedder:
        ensure_graph(graph, self.cache)
        return super().embedder(graph, *arguments, **options)

    @property
    def needs_graphs(self) -> bool:
        return True


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> VisionLoader:
    engine = ReadingEngine()
    engine.cache = tmp_path
    monkeypatch.setattr(lineup_module, "create_engine", lambda *_: engine)
    return VisionLoader(EngineSection(batch_max=4), tmp_path)


def bound_version(made: Enrolment, graphs: Sequence[ExportedGraph], number: int = 1) -> ProductVersion:
    statement = VersionStatement.of("disc", made.digest, float(made.manifest["threshold"]), graphs)
    return replace(version_of(made, "disc"), version=number, signature=signed(statement, SecretKey.made()))


def loaded(loader: VisionLoader, version: ProductVersion, made: Enrolment, previous: Any = None) -> tuple[Any, Any]:
    return loader.load(LiveSet("r1", (version,)), {made.digest: made.artifact}.get, previous)


def test_loader_takes_no_other_graph_than_the_version_is_bound_to(loader: VisionLoader, disc: Enrolment) -> None:
    good, evil = graphs_for(disc, 1.0), graphs_for(disc, 9.0)
    version = bound_version(disc, good)
    live = LiveSet("r1", (version,))
    for graph in evil:
        loader.keep_graph(graph, graph.key)
    missing = loader.missing_graphs(live)
    assert missing == {f"{graph.key}.{graph.sha256}" for graph in good}
    for name, graph in zip(sorted(missing), sorted(evil, key=lambda each: each.key), strict=True):
        with pytest.raises(ArtifactError, match="not the one that a version is bound to"):
            loader.keep_graph(graph, name)
    lineup, events = loaded(loader, version, disc)
    assert lineup.products == ()
    assert [event.kind for event in events] == ["version_refused"]
    assert "bound to" in events[0].detail


def test_loader_finds_the_bound_graph_beside_another(loader: VisionLoader, disc: Enrolment) -> None:
    for graph in graphs_for(disc, 9.0):
        loader.keep_graph(graph, graph.key)
    for graph in graphs_for(disc, 1.0):
        loader.keep_graph(graph, f"{graph.key}.{graph.sha256}")
    lineup, events = loaded(loader, bound_version(disc, graphs_for(disc, 1.0)), disc)
    assert lineup.products == ("disc",)
    assert [event.kind for event in events if event.kind == "version_refused"] == []


def test_loader_keeps_what_judges_where_the_bound_graph_is_gone(loader: VisionLoader, disc: Enrolment) -> None:
    for graph in graphs_for(disc, 1.0):
        loader.keep_graph(graph, graph.key)
    before, _ = loaded(loader, bound_version(disc, graphs_for(disc, 1.0)), disc)
    assert isinstance(before, VisionLineup)
    after, events = loaded(loader, bound_version(disc, graphs_for(disc, 9.0), 2), disc, before)
    assert [version.version for version in after.versions] == [1]
    assert "Version 1 goes on judging" in events[0].detail
