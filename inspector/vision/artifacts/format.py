"""One enrolled version as bytes: safetensors with a JSON manifest in its metadata, and nothing executable.

An artifact holds preparation, pass, head, anchors, calibration, and probe images with the scores that they must get.
Everything that is written is also loaded. Version 4 of the format is written; version 3 is read through `format_3`.
Bytes that are damaged, truncated or of another kind raise ArtifactError.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from inspector.errors import ArtifactError
from inspector.vision.artifacts.calibration import Calibration
from inspector.vision.artifacts.checks import check_fit, parse_finite
from inspector.vision.artifacts.envelope import FORMAT, MOST_HEADER_BYTES
from inspector.vision.artifacts.format_3 import FORMAT_VERSION_3, manifest_from_3, tensors_from_3
from inspector.vision.engines.protocols import FLOAT32, Precision
from inspector.vision.heads.base import HeadModel
from inspector.vision.heads.factory import read_model
from inspector.vision.heads.stored import finite, floats
from inspector.vision.health.checks import HealthChecks
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.graphs import Graph
from inspector.vision.routing.anchors import ProductAnchors
from inspector.vision.routing.profile import ROUTING_SIZE_PX, routing_profile

FORMAT_VERSION = 4
HEAD_PREFIX = "head."
HEALTH_PREFIX = "health."

LEVEL_TOLERANCE = 0.02
"""Largest allowed difference between a probe's level and its stored level: 1/50 of the way from median to threshold."""


@dataclass(frozen=True, slots=True)
class MapScale:
    """Values of the blended map that have a level: `median`, that of good images' peaks, is 0 and `threshold` is 1."""

    median: float
    threshold: float

    def levels(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray((values - self.median) / (self.threshold - self.median), np.float32)


@dataclass(frozen=True, slots=True)
class Probe:
    """A good image as the passes see it, and its expected scores. `map_peak`: the highest value of the shown map.

    `prepared`: the canvas, uint8 [Hc, Wc, 3]; `routing`: uint8 [128, 128, 3].
    """

    prepared: NDArray[np.uint8]
    score: float
    map_peak: float
    routing: NDArray[np.uint8]
    routing_distance: float


@dataclass(frozen=True, slots=True)
class Artifact:
    """Everything that is needed to inspect one product.

    `manifest` holds entries that are only for people to read. `routing_frames`: float16 [R, P, C], unit patches of good
    frames. When another product is enrolled, routing is checked on these frames. `health`: the checks that a frame must
    pass before it is scored. Older versions have None in both.
    """

    product: str
    graph: Graph
    preparation: Preparation
    head: HeadModel
    anchors: ProductAnchors
    calibration: Calibration
    map_scale: MapScale
    probes: tuple[Probe, ...]
    manifest: Mapping[str, Any]
    routing_frames: NDArray[np.float16] | None = None
    health: HealthChecks | None = None

    @property
    def precision(self) -> Precision:
        """The precision of the pass that the head was fitted and calibrated on. Raises ArtifactError."""
        made = self.manifest.get("engine")
        found = made.get("precision", FLOAT32) if isinstance(made, Mapping) else FLOAT32
        if found not in get_args(Precision):
            raise ArtifactError(
                f"The artifact was enrolled in a precision that this software does not have: {found!r:.40}"
            )
        return cast(Precision, found)


def digest_of(content: bytes) -> str:
    """SHA-256 of an artifact's bytes, hex. The registry and the verdicts' rows name the artifact by this digest."""
    return hashlib.sha256(content).hexdigest()


def pack(artifact: Artifact) -> tuple[bytes, dict[str, Any]]:
    """The artifact's bytes, and its manifest completed with the entries that describe the other fields."""
    tensors: dict[str, NDArray[Any]] = {
        "anchors": artifact.anchors.anchors,
        "descriptors": artifact.anchors.descriptors,
    }
    tensors |= {HEAD_PREFIX + name: array for name, array in artifact.head.tensors().items()}
    if artifact.routing_frames is not None:
        tensors["routing_frames"] = artifact.routing_frames
    if artifact.health is not None:
        tensors |= {HEALTH_PREFIX + name: array for name, array in artifact.health.tensors().items()}
    for number, probe in enumerate(artifact.probes):
        tensors[f"probe.{number}.prepared"] = probe.prepared
        tensors[f"probe.{number}.routing"] = probe.routing
    text = json.dumps({**artifact.manifest, **_described(artifact)}, sort_keys=True)
    # One key only: safetensors writes several keys in any order, and equal artifacts must have equal digests.
    metadata = {FORMAT: text}
    content = save_tensors({name: np.ascontiguousarray(array) for name, array in tensors.items()}, metadata)
    return content, json.loads(text)


def _described(artifact: Artifact) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "product": artifact.product,
        "threshold": artifact.calibration.threshold,
        "graph": artifact.graph.to_manifest(),
        "preparation": artifact.preparation.to_manifest(),
        "model": {**artifact.head.to_manifest(), "kind": artifact.head.kind},
        "routing": {
            "profile": routing_profile().key,
            "bound": artifact.anchors.bound,
            "anchors": len(artifact.anchors.anchors),
        },
        "calibration": artifact.calibration.to_manifest(),
        "map_scale": {"median": artifact.map_scale.median, "threshold": artifact.map_scale.threshold},
        "probes": [
            {"score": probe.score, "map_peak": probe.map_peak, "routing_distance": probe.routing_distance}
            for probe in artifact.probes
        ],
        "level_tolerance": LEVEL_TOLERANCE,
        **({} if artifact.health is None else {"frame_health": artifact.health.to_manifest()}),
    }


def unpack(content: bytes, digest: str | None = None) -> Artifact:
    """The artifact in these bytes. `digest`: the SHA-256 that the bytes must have. Raises ArtifactError."""
    if digest is not None and digest_of(content) != digest:
        raise ArtifactError(f"The artifact's bytes do not have the digest {digest[:12]}; they were damaged.")
    stored = _stored_manifest(content)
    try:
        tensors = load_tensors(content)
        if stored["format_version"] == FORMAT_VERSION_3:
            tensors = tensors_from_3(tensors)
        artifact = _assemble(_current(stored), tensors)
    except SafetensorError as error:
        raise ArtifactError(f"The artifact's bytes are damaged: {error}.") from error
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ArtifactError(f"The artifact lacks something or holds it in another form: {error!r}.") from error
    check_fit(artifact.graph, artifact.preparation, artifact.anchors)
    if not artifact.map_scale.threshold > artifact.map_scale.median:
        raise ArtifactError("The artifact's map has no threshold above its median.")
    return artifact


def read_manifest(content: bytes) -> dict[str, Any]:
    """The manifest in the form of version 4, read without the tensors. Raises ArtifactError.

    Its `format_version` is the one in the bytes, 3 or 4: these bytes stay as they are, and people see the entry.
    """
    stored = _stored_manifest(content)
    return {**_current(stored), "format_version": stored["format_version"]}


def _current(stored: dict[str, Any]) -> dict[str, Any]:
    return manifest_from_3(stored, FORMAT_VERSION) if stored["format_version"] == FORMAT_VERSION_3 else stored


def _stored_manifest(content: bytes) -> dict[str, Any]:
    """The manifest as it stands in the bytes. Raises ArtifactError, also for a format version that is not supported."""
    try:
        length = min(int.from_bytes(content[:8], "little"), MOST_HEADER_BYTES)
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        manifest = parse_finite(metadata[FORMAT])
        found = manifest["format_version"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ArtifactError("The bytes are no artifact of this software.") from error
    if found not in (FORMAT_VERSION_3, FORMAT_VERSION):
        raise ArtifactError(
            f"The artifact has format version {found}; this software reads {FORMAT_VERSION_3} and {FORMAT_VERSION}. "
            "Enrol the product again."
        )
    return dict(manifest)


def _assemble(manifest: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Artifact:
    graph = Graph.from_manifest(manifest["graph"])
    preparation = Preparation.from_manifest(manifest["preparation"])
    product = str(manifest["product"])
    if not isinstance(manifest.get("weights_file"), str | None):
        raise ArtifactError("The artifact names its weights in an unknown way.")
    if manifest["routing"]["profile"] != routing_profile().key:
        raise ArtifactError("The product was enrolled for another routing profile; enrol it again.")
    anchors = ProductAnchors(
        product, floats(tensors["anchors"]), floats(tensors["descriptors"]), finite(manifest["routing"]["bound"])
    )
    probes = tuple(_probe(number, item, tensors, preparation.canvas) for number, item in enumerate(manifest["probes"]))
    if not probes:
        raise ArtifactError(
            "The artifact has no probe images, so that no engine can be checked against it; enrol again."
        )
    scale = MapScale(finite(manifest["map_scale"]["median"]), finite(manifest["map_scale"]["threshold"]))
    return Artifact(
        product=product,
        graph=graph,
        preparation=preparation,
        head=read_model(manifest["model"], _under(HEAD_PREFIX, tensors), graph, preparation),
        anchors=anchors,
        calibration=Calibration.from_manifest(manifest["calibration"]),
        map_scale=scale,
        probes=probes,
        manifest=manifest,
        routing_frames=tensors.get("routing_frames"),
        health=_health(manifest.get("frame_health"), _under(HEALTH_PREFIX, tensors)),
    )


def _health(stored: Any, tensors: Mapping[str, NDArray[Any]]) -> HealthChecks | None:
    return None if stored is None else HealthChecks.read(stored, tensors)


def _under(prefix: str, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The tensors with this prefix, by their names without it."""
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _probe(
    number: int, stored: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], canvas: tuple[int, int]
) -> Probe:
    prepared, routing = tensors[f"probe.{number}.prepared"], tensors[f"probe.{number}.routing"]
    shapes = ((*canvas, 3), (ROUTING_SIZE_PX, ROUTING_SIZE_PX, 3))
    if (prepared.shape, routing.shape) != shapes or {prepared.dtype, routing.dtype} != {np.dtype(np.uint8)}:
        raise ArtifactError("The artifact's probe images are not as its frames are prepared.")
    score, map_peak, distance = (finite(stored[name]) for name in ("score", "map_peak", "routing_distance"))
    return Probe(prepared, score, map_peak, routing, distance)
