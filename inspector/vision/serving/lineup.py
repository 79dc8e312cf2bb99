"""The lineup: the live product versions, loaded, checked and warmed up. The stream routes and scores frames with it.
The shadow versions stand beside them, in `shadows`.

A lineup is immutable and replaced as a whole. The old lineup still scores the frames that it routed. Versions that
can't be read or do not reproduce their probes are refused by name; the other versions are loaded. A product whose new
version is refused is judged by the version before, so that a bad version takes no product off the line. Nothing here
imports torch where ONNX Runtime is the engine.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.config.sections import EngineSection
from inspector.domain import (
    Cause,
    Event,
    ExportedGraph,
    Failure,
    Frame,
    LiveSet,
    ProductVersion,
    Route,
    Routed,
    RouteFacts,
    Scored,
    Severity,
)
from inspector.errors import ArtifactError, EngineError, GraphMissing, InspectorError
from inspector.ports import ArtifactOf, Lineup
from inspector.signing.statements import bound_graphs
from inspector.vision.artifacts.format import unpack
from inspector.vision.artifacts.thresholds import threshold_fault
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.protocols import Engine, Patches
from inspector.vision.health.checks import FoundFault
from inspector.vision.images.preparation import prepare
from inspector.vision.networks.backbone import find_weights
from inspector.vision.networks.graphs import Graph, cached_graph, end_exports, keep_graph
from inspector.vision.routing.index import AnchorIndex
from inspector.vision.routing.routing_pass import RoutingPass, RoutingView
from inspector.vision.serving.batch_size import best_batch
from inspector.vision.serving.loaded_product import LoadedProduct, batch_key_of
from inspector.vision.serving.needed_graphs import bound, cached_graphs, graphs_of_versions, routing_graph
from inspector.vision.serving.product_inspector import ProductInspector
from inspector.vision.serving.shadows import LoadedShadow, VisionShadows
from inspector.vision.serving.tiling import tiled

CANARY_PRODUCTS = 4
"""Number of products that one canary check covers, in turn, so that the scorer thread is not blocked for long."""


@dataclass(frozen=True, slots=True)
class _Opening:
    """What versions are opened with. `known` maps digest to a version that an earlier lineup loaded and checked.

    `fault`: why no version can be opened here, where the routing pass can't be made.
    """

    engine: Engine
    routing_pass: RoutingPass
    artifact_of: ArtifactOf
    known: dict[str, LoadedProduct]
    fault: GraphMissing | None = None

    def reused(self, version: ProductVersion) -> LoadedProduct | None:
        """The version as it is open already; None where it must be opened, also because its graph is another now."""
        item = self.known.get(version.digest)
        return replace(item, version=version) if item is not None and _is_on_its_graph(item, version) else None

    def content_of(self, version: ProductVersion) -> bytes | None:
        """The bytes of the version, if it must be opened. Raises what `artifact_of` raises."""
        if self.fault is not None or self.reused(version) is not None:
            return None
        return self.artifact_of(version.digest)


class VisionLoader:
    """Makes lineups on one engine. Implements `ports.LineupLoader`."""

    def __init__(self, section: EngineSection, cache: Path) -> None:
        self._section = section
        self._cache = cache
        self._engine: Engine | None = None
        self._batch: int | None = None
        self._is_closed = False

    def load(self, live: LiveSet, artifact_of: ArtifactOf, previous: Lineup | None) -> tuple[Lineup, list[Event]]:
        """A lineup of these versions. Raises EngineError, WeightsMissing where engine or routing pass can't be made.

        Where the routing pass has no graph and there is no torch to export it, all versions are refused.
        """
        engine = self._made_engine()
        fault: GraphMissing | None = None
        try:
            routing_pass = RoutingPass.on(engine, routing_graph(live.versions or live.shadows, self._cache))
        except GraphMissing as error:  # nothing can be judged yet; the first product's graphs come with it
            routing_pass, fault = RoutingPass(_Missing(error)), error
        before = previous if isinstance(previous, VisionLineup) else None
        known = before.known if before is not None else {}
        opening = _Opening(engine, routing_pass, artifact_of, known, fault)
        loaded: dict[str, LoadedProduct] = {}
        events: list[Event] = []
        judged = before.judging if before is not None else {}
        for version in live.routable:
            self._ensure_wanted()
            content = opening.content_of(version)
            try:
                loaded[version.digest] = self._ready(version, content, opening)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one product, the others must be loaded
                instead = judged.get(version.product) if version.is_live else None
                events.append(_refused(version, error, instead))
                if instead is not None:
                    loaded[instead.version.digest] = instead
        opened = (product for digest, product in loaded.items() if digest not in known)
        events += [_without_health(item.version) for item in opened if item.inspector.artifact.health is None]
        measured = before.shadows.measured if before is not None else {}
        scored = self._ready_shadows(live, replace(opening, known=known | loaded), measured, events)
        shadows = VisionShadows(scored, engine.name)
        batch = self._batch_on(engine, loaded.values())
        lineup = VisionLineup(live.revision, loaded, routing_pass, shadows, is_batched=engine.is_batched, batch=batch)
        lineup.warm_up(warm=before.passes if before is not None and before.batch == batch else frozenset())
        return lineup, events

    def missing_graphs(self, live: LiveSet) -> frozenset[str]:
        """The names of the graphs that must come from elsewhere or be exported. Raises EngineError."""
        if not self._made_engine().needs_graphs:
            return frozenset()
        needed = graphs_of_versions(live.needed)
        return frozenset(name for name, graph in needed.items() if cached_graph(graph, self._cache) is None)

    def keep_graph(self, graph: ExportedGraph, name: str) -> None:
        """Raises ArtifactError where it is not the graph that its name says, EngineError where it can't be written."""
        keep_graph(graph, self._cache, name)

    def own_graphs(self, live: LiveSet, known: frozenset[str]) -> list[ExportedGraph]:
        return cached_graphs(graphs_of_versions(live.needed), self._cache, known)

    def close(self) -> None:
        self._is_closed = True
        end_exports()

    def _ensure_wanted(self) -> None:
        """Raises EngineError after `close`."""
        if self._is_closed:
            raise EngineError("The agent is stopped; no more versions are loaded.")

    @property
    def engine_name(self) -> str:
        """The engine that is used, as it stands in the rows: never `auto`. Raises EngineError."""
        return self._made_engine().name

    def _batch_on(self, engine: Engine, loaded: Iterable[LoadedProduct]) -> int:
        """Most frames of one pass. Measured once, with the largest pass of the first products that are not in tiles."""
        if not engine.is_batched:
            return 1
        if self._section.batch_max:
            return self._section.batch_max
        if self._batch is None:
            preparations = [(item.inspector.artifact.preparation, item.embedder) for item in loaded]
            untiled = [(each.canvas, embedder) for each, embedder in preparations if each.tile_count == 1]
            if untiled:
                canvas, embedder = max(untiled, key=lambda each: math.prod(each[0]))
                self._batch = best_batch(embedder, canvas)
        return self._batch or 1

    def _made_engine(self) -> Engine:
        # The engine is made here, not in the constructor: this takes seconds, and callers have a thread of their own.
        if self._engine is None:
            self._engine = create_engine(
                self._section.name, self._cache, self._section.threads, self._section.precision
            )
        return self._engine

    def _ready_shadows(
        self, live: LiveSet, opening: _Opening, measured: dict[str, LoadedShadow], events: list[Event]
    ) -> list[LoadedShadow]:
        """The shadow versions, loaded and checked as the live ones. One that is refused is an event and no more.

        `measured`: by digest, those whose costs are known.
        """
        shadows = []
        told = {event.subject for event in events}
        for version in live.shadows:
            self._ensure_wanted()
            content = opening.content_of(version)
            try:
                item = self._ready(version, content, opening)
                known = measured.get(version.digest)
                if known is not None and known.product.inspector is item.inspector:
                    shadows.append(replace(known, product=item))
                else:
                    shadows.append(LoadedShadow.measured(item))
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a shadow, live versions must be loaded
                if version.product not in told:
                    events.append(_refused(version, error))
        return shadows

    def _ready(self, version: ProductVersion, content: bytes | None, opening: _Opening) -> LoadedProduct:
        """The version, opened and checked by its probes unless it is known already. Raises InspectorError."""
        if wrong := threshold_fault(version):
            raise ArtifactError(wrong)
        if (reused := opening.reused(version)) is not None:
            return reused
        if opening.fault is not None:
            raise opening.fault
        item = self._open(version, content, opening.engine)
        item.inspector.check_probes(item.embedder, opening.routing_pass)
        return item

    def _open(self, version: ProductVersion, content: bytes | None, engine: Engine) -> LoadedProduct:
        if not version.manifest:
            raise ArtifactError("its manifest in the store is damaged; enrol it again or restore a backup")
        if content is None:
            raise ArtifactError("its stored bytes are damaged or gone; enrol it again or roll it back")
        artifact = unpack(content, version.digest)
        graph = self._bound(artifact.graph, version, engine)
        # The frames of its routing are for enrolments.
        artifact = replace(artifact, product=version.product, graph=graph, routing_frames=None)
        weights_file = find_weights(artifact.manifest.get("weights_file"), self._section.weights_dir)
        # The tiles of one frame are a batch, and no other worker has to wait for them.
        is_alone = not engine.is_batched and artifact.preparation.tile_count == 1
        embedder = engine.embedder(artifact.graph, weights_file, small=is_alone, precision=artifact.precision)
        inspector = ProductInspector(artifact, engine)
        return LoadedProduct(version, inspector, tiled(embedder, artifact.preparation), batch_key_of(engine, artifact))

    def _bound(self, graph: Graph, version: ProductVersion, engine: Engine) -> Graph:
        """The pass, with the digest that its exported graph must have or has, so that versions share equal graphs."""
        named = bound_graphs(version)
        if graph.key in named or not engine.needs_graphs:
            return bound(graph, named)
        found = cached_graph(graph, self._cache)
        return graph if found is None else replace(graph, sha256=found.sha256)


def _is_on_its_graph(item: LoadedProduct, version: ProductVersion) -> bool:
    """Whether an open version runs on the graph that it is bound to now: a signature may have come since."""
    graph = item.inspector.artifact.graph
    return bound_graphs(version).get(graph.key) in (None, graph.sha256)


class _Missing:
    """Stands in the place of a pass whose graph is missing. No version is loaded then, so no frame gets here."""

    def __init__(self, error: GraphMissing) -> None:
        self._error = error

    def __call__(self, pixels: NDArray[np.uint8]) -> list[Patches]:
        del pixels
        raise self._error


def _refused(version: ProductVersion, error: Exception, before: LoadedProduct | None = None) -> Event:
    """`before`: the version that goes on judging the product in its place."""
    detail = f"{version.product} version {version.version} is refused: {error}"
    if not isinstance(error, InspectorError):
        detail = f"{version.product} version {version.version} is refused: it can't be loaded ({error!r:.200})"
    if before is not None:
        same = ", at the threshold that it had" if before.version.digest == version.digest else ""
        detail = f"{detail.rstrip('.')}. Version {before.version.version} goes on judging{same}"
    return Event(datetime.now(UTC), "version_refused", Severity.ALARM, version.product, detail)


def _without_health(version: ProductVersion) -> Event:
    detail = (
        f"{version.product} version {version.version} has no frame health checks, because it was enrolled before there "
        "were any: dark, bright, blurred, moved and covered frames are judged; enrol it again to have them named"
    )
    return Event(datetime.now(UTC), "no_frame_health", Severity.INFO, version.product, detail)


class VisionLineup:
    """Implements `ports.Lineup`. `loaded` maps artifact digest to product."""

    def __init__(
        self,
        revision: str,
        loaded: dict[str, LoadedProduct],
        routing_pass: RoutingPass,
        shadows: VisionShadows,
        *,
        is_batched: bool,
        batch: int,
    ) -> None:
        self.loaded = loaded
        self._is_batched = is_batched
        self._batch = batch
        self._shadows = shadows
        self._revision = revision
        self._routing_pass = routing_pass
        self._live = {item.version.product: item for item in loaded.values() if item.version.is_live}
        routable = {item.version.product: item for item in loaded.values()} | self._live
        self._router = VisionRouter(self._live, list(routable.values()), routing_pass)
        self._scorer = VisionScorer(loaded, shadows, is_batched=is_batched)
        self._canary_turn = itertools.cycle(sorted(self._live)) if self._live else iter(())

    @property
    def revision(self) -> str:
        return self._revision

    @property
    def products(self) -> tuple[str, ...]:
        return tuple(sorted(self._live))

    @property
    def judging(self) -> dict[str, LoadedProduct]:
        """The versions that judge, by product."""
        return dict(self._live)

    @property
    def versions(self) -> tuple[ProductVersion, ...]:
        return tuple(self._live[product].version for product in self.products)

    @property
    def router(self) -> VisionRouter:
        return self._router

    @property
    def decodes_halves(self) -> bool:
        return self._router.decodes_halves

    @property
    def scorer(self) -> VisionScorer:
        return self._scorer

    @property
    def shadows(self) -> VisionShadows:
        return self._shadows

    @property
    def is_batched(self) -> bool:
        return self._is_batched

    @property
    def batch(self) -> int:
        return self._batch

    @property
    def engine(self) -> str:
        return self._shadows.engine

    @property
    def known(self) -> dict[str, LoadedProduct]:
        """All versions that are open, by digest. A shadow that becomes live is not opened again."""
        return {item.version.digest: item for item in self._shadows.loaded} | self.loaded

    def check_canary(self) -> None:
        """Send the stored images of the next few products through passes, anchors and heads. Raises ParityError."""
        for name in itertools.islice(self._canary_turn, min(CANARY_PRODUCTS, len(self._live))):
            product = self._live[name]
            product.inspector.check_probes(product.embedder, self._routing_pass)

    @property
    def passes(self) -> frozenset[str]:
        """The batch keys of the versions that are open for frames."""
        return frozenset(item.batch_key for item in self.loaded.values())

    def warm_up(self, warm: frozenset[str] = frozenset()) -> None:
        """Run every pass once with the smallest and the largest batch, so that no frame waits for memory.

        `warm`: batch keys that have run so already. Frames that come meanwhile need the cores.
        """
        by_key = {item.batch_key: item for item in self.loaded.values() if item.batch_key not in warm}
        for item in by_key.values():
            preparation = item.inspector.artifact.preparation
            for count in sorted({1, self._batch}) if preparation.tile_count == 1 else (1,):
                item.embedder(np.zeros((count, *preparation.canvas, 3), np.uint8))


class VisionRouter:
    """Implements `ports.Router`. Immutable, because several workers call it at once."""

    def __init__(
        self,
        live: dict[str, LoadedProduct],
        routable: list[LoadedProduct],
        routing_pass: RoutingPass,
    ) -> None:
        self._live = live
        self._routing_pass = routing_pass
        self._index = AnchorIndex(
            [item.inspector.artifact.anchors for item in routable],
            halvings=[item.inspector.artifact.preparation.halving for item in routable],
        )

    @property
    def decodes_halves(self) -> bool:
        """Whether no product wants means of all pixels."""
        return "mean" not in self._index.halvings

    def route(self, frame: Frame) -> Routed | Failure:
        """The frame prepared for the head of its product, or a failure (unknown_product, not_released).

        The failure names the nearest product. A frame that fails a health check of its product is not prepared.
        """
        started = time.perf_counter()
        if not self._index.products:
            return Failure(Cause.UNKNOWN_PRODUCT, "no product is enrolled")
        view = RoutingView(frame.image, self._index.halvings)
        route = self._index.route(view.patches(self._routing_pass))
        if route.product is None:
            return self._unknown(route, view, frame.expected)
        item = self._live.get(route.product)
        if item is None:
            detail = f"{route.product} has only a shadow version"
            return Failure(Cause.NOT_RELEASED, detail, product=route.product)
        fault = _find_fault(item, view)
        preparation = item.inspector.artifact.preparation
        prepared = None if fault else prepare(view.pyramids[preparation.halving], preparation)
        facts = RouteFacts(
            product=route.product,
            product_version=item.version.version,
            artifact_digest=item.version.digest,
            threshold=item.threshold,
            confidence=route.confidence,
            route_ms=(time.perf_counter() - started) * 1e3,
        )
        if fault is not None:
            return Failure.of_frame(fault.fault, fault.measure, facts)
        height, width = frame.image.size
        return Routed(frame.admitted, facts, prepared, _own_key(item, frame), size_px=(width, height))

    def _unknown(self, route: Route, view: RoutingView, expected: str | None) -> Failure:
        """The failure of a frame that shows no enrolled product, or whose fault hides the product from routing.

        The checks of the product that it should show are asked, or else those of the nearest one.
        """
        item = self._live.get(expected or "") or self._live.get(route.nearest or "")
        if item is not None and (fault := _find_fault(item, view, is_known=False)) is not None:
            return Failure.of_frame(fault.fault, f"{fault.measure} (by {item.version.product})")
        far = f"{route.distance:.2f} times the distance that still counts as {route.nearest}"
        return Failure(Cause.UNKNOWN_PRODUCT, f"nearest is {route.nearest}, but at {far}")


def _find_fault(item: LoadedProduct, view: RoutingView, *, is_known: bool = True) -> FoundFault | None:
    artifact = item.inspector.artifact
    if artifact.health is None:
        return None
    return artifact.health.find(view.copies[artifact.preparation.halving], is_known=is_known)


def _own_key(item: LoadedProduct, frame: Frame) -> str:
    """The batch key of a frame. A frame in tiles has a key of its own.

    A batch of several frames in tiles would be no faster, and each frame would wait for all of them.
    """
    if item.inspector.artifact.preparation.tile_count == 1:
        return item.batch_key
    return f"{item.batch_key}:{frame.admitted.key.sha256}"


class VisionScorer:
    """Implements `ports.Scorer`. Where passes take batches, a lock makes a second caller wait."""

    def __init__(self, loaded: dict[str, LoadedProduct], shadows: VisionShadows, *, is_batched: bool) -> None:
        self._loaded = loaded
        self._shadows = shadows
        self._engine = shadows.engine
        self._lock: contextlib.AbstractContextManager[Any] = (
            threading.Lock() if is_batched else contextlib.nullcontext()
        )

    def score(self, batch: Sequence[Routed]) -> list[Scored | Failure]:
        """Score frames with one main pass per batch key and one head call per version.

        The answers are in the order of `batch`. A bad frame fails alone.
        """
        answers: list[Scored | Failure] = [Failure(Cause.SCORER_ERROR, "it was not scored")] * len(batch)
        groups: dict[str, list[int]] = {}
        for index, routed in enumerate(batch):
            fault = self._fault(routed)
            if fault is None:
                groups.setdefault(routed.batch_key, []).append(index)
            else:
                answers[index] = Failure(Cause.SCORER_ERROR, fault)
        with self._lock:
            for indices in groups.values():
                found = self._score_alike([batch[index] for index in indices])
                for index, answer in zip(indices, found, strict=True):
                    answers[index] = answer
        return answers

    def _fault(self, routed: Routed) -> str | None:
        """The reason why this frame must not enter a batch, or None."""
        item = self._loaded.get(routed.facts.artifact_digest)
        if item is None:
            return f"{routed.facts.product} version {routed.facts.product_version} is not in this lineup"
        shape = (*item.inspector.artifact.preparation.canvas, 3)
        prepared = routed.prepared
        if not isinstance(prepared, np.ndarray) or prepared.shape != shape or prepared.dtype != np.uint8:
            return f"the prepared frame is not uint8 {list(shape)}"
        return None

    def _score_alike(self, frames: list[Routed]) -> list[Scored | Failure]:
        """Score frames of one batch key together. Where the whole batch fails, each frame is tried by itself."""
        try:
            return self._score_together(frames)
        except EngineError as error:
            if len(frames) == 1:
                return [Failure(Cause.SCORER_ERROR, str(error))]
            return [answer for frame in frames for answer in self._score_alike([frame])]

    def _score_together(self, frames: list[Routed]) -> list[Scored | Failure]:
        started = time.perf_counter()
        pixels: NDArray[np.uint8] = np.stack([frame.prepared for frame in frames])  # [B, Hc, Wc, 3]
        embedded = self._loaded[frames[0].facts.artifact_digest].embedder(pixels)
        embed_ms = (time.perf_counter() - started) * 1e3 / len(frames)
        by_version: dict[str, list[int]] = {}
        for row, frame in enumerate(frames):
            by_version.setdefault(frame.facts.artifact_digest, []).append(row)
        answers: list[Scored | Failure | None] = [None] * len(frames)
        for digest, rows in by_version.items():
            own = [patches[rows] for patches in embedded] if len(rows) < len(frames) else embedded
            for row, answer in zip(
                rows, self._judge(self._loaded[digest], own, [frames[r] for r in rows], embed_ms), strict=True
            ):
                answers[row] = answer
        return [answer for answer in answers if answer is not None]

    def _judge(
        self, item: LoadedProduct, embedded: list[NDArray[np.float32]], frames: list[Routed], embed_ms: float
    ) -> list[Scored | Failure]:
        started = time.perf_counter()
        sizes = [(frame.size_px[1], frame.size_px[0]) for frame in frames]
        judgements = item.inspector.judge(embedded)
        score_ms = (time.perf_counter() - started) * 1e3 / len(frames)
        answers: list[Scored | Failure] = []
        for row, (judgement, size, frame) in enumerate(zip(judgements, sizes, frames, strict=True)):
            if not np.isfinite(judgement.score):
                answers.append(Failure(Cause.SCORER_ERROR, "its score is not a number"))
                continue
            drawing = time.perf_counter()
            scored = item.inspector.scored(judgement, size, threshold=frame.facts.threshold)
            own_ms = score_ms + (time.perf_counter() - drawing) * 1e3
            kept = self._shadows.kept(item, embedded, row)
            answers.append(replace(scored, embed_ms=embed_ms, score_ms=own_ms, engine=self._engine, embedding=kept))
        return answers
