"""One enrolled version as bytes: safetensors with a JSON manifest in its metadata, and nothing executable.

What is written is what is loaded: preparation, pass, banks, anchors, calibration, and probe images with
the scores they must get. Bytes that are damaged, truncated or of another kind raise ArtifactError.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from inspector.errors import ArtifactError
from inspector.vision.artifacts.calibration import Calibration
from inspector.vision.artifacts.checks import check_fit, check_members, finite, parse_finite
from inspector.vision.engines.protocols import Bank
from inspector.vision.heads.base import Readout
from inspector.vision.heads.prototype import Member
from inspector.vision.heads.student import LevelScale, Student
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.graphs import Graph
from inspector.vision.networks.student_graph import LEVELS, StudentWeights, check_shapes, tensor_names
from inspector.vision.routing.anchors import ProductAnchors
from inspector.vision.routing.profile import ROUTING_SIZE_PX, routing_profile

FORMAT = "inspector-artifact"
FORMAT_VERSION = 3

LEVEL_TOLERANCE = 0.02
"""How far a probe's level may lie from the stored one: a fiftieth of the way from median to threshold."""


@dataclass(frozen=True, slots=True)
class MapScale:
    """Levels of the shown map: `median` of good peaks is 0, `threshold` is 1. float values of the blended map."""

    median: float
    threshold: float

    def levels(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray((values - self.median) / (self.threshold - self.median), np.float32)


@dataclass(frozen=True, slots=True)
class Probe:
    """A good image as the passes see it, and what they must make of it. `map_peak`: highest value of the shown map.

    `prepared`: the canvas, uint8 [Hc, Wc, 3]; `routing`: uint8 [128, 128, 3].
    """

    prepared: NDArray[np.uint8]
    score: float
    map_peak: float
    routing: NDArray[np.uint8]
    routing_distance: float


@dataclass(frozen=True, slots=True)
class Artifact:
    """Everything that inspecting one product needs: either `members` or a `student`.

    `manifest` holds what is only for reading. `routing_frames`: float16 [R, P, C], unit patches of good frames which
    routing is checked on when another product is enrolled; None in versions that kept none.
    """

    product: str
    graph: Graph
    preparation: Preparation
    members: tuple[Member, ...]
    readout: Readout
    anchors: ProductAnchors
    calibration: Calibration
    map_scale: MapScale
    probes: tuple[Probe, ...]
    manifest: Mapping[str, Any]
    student: Student | None = None
    routing_frames: NDArray[np.float16] | None = None


def digest_of(content: bytes) -> str:
    """SHA-256 of an artifact's bytes, hex: its name in registry and rows."""
    return hashlib.sha256(content).hexdigest()


def pack(artifact: Artifact) -> tuple[bytes, dict[str, Any]]:
    """The artifact's bytes, and its manifest completed by what the structures say."""
    tensors: dict[str, NDArray[Any]] = {
        "anchors": artifact.anchors.anchors,
        "descriptors": artifact.anchors.descriptors,
    }
    for number, member in enumerate(artifact.members):
        tensors[f"member.{number}.mean"] = member.bank.mean
        tensors[f"member.{number}.prototypes"] = member.bank.prototypes
        tensors[f"member.{number}.sources"] = member.sources
        if member.bank.projection is not None:
            tensors[f"member.{number}.projection"] = member.bank.projection
    if artifact.routing_frames is not None:
        tensors["routing_frames"] = artifact.routing_frames
    if artifact.student is not None:
        tensors |= {f"student.{name}": value for name, value in artifact.student.weights.tensors.items()}
    for number, probe in enumerate(artifact.probes):
        tensors[f"probe.{number}.prepared"] = probe.prepared
        tensors[f"probe.{number}.routing"] = probe.routing
    text = json.dumps({**artifact.manifest, **_described(artifact)}, sort_keys=True)
    # One key only: several come out in any order, and equal artifacts must have equal digests.
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
        "readout": {
            "reading": artifact.readout.reading,
            "top_share": artifact.readout.top_share,
            "sigma_px": artifact.readout.sigma_px,
        },
        "members": [
            {
                "embedding": member.embedding,
                "in_decision": member.in_decision,
                "in_map": member.in_map,
                "score_usual": member.score_usual,
                "score_unit": member.score_unit,
                "map_unit": member.map_unit,
                "unit_length": member.bank.unit_length,
                "covers": member.bank.covers,
                "prototypes": len(member.bank.prototypes),
            }
            for member in artifact.members
        ],
        "student": None if artifact.student is None else _described_student(artifact.student),
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
    }


def _described_student(student: Student) -> dict[str, Any]:
    return {
        "is_coded": student.weights.is_coded,
        "embeddings": list(student.embeddings),
        "parameters": sum(value.size for value in student.weights.tensors.values()),
        **{level: asdict(getattr(student, level)) for level in LEVELS},
    }


def unpack(content: bytes, digest: str | None = None) -> Artifact:
    """The artifact in these bytes. `digest`: what they must have. Raises ArtifactError."""
    if digest is not None and digest_of(content) != digest:
        raise ArtifactError(f"The artifact's bytes do not have the digest {digest[:12]}; they were damaged.")
    manifest = read_manifest(content)
    try:
        tensors = load_tensors(content)
        artifact = _assemble(manifest, tensors)
    except SafetensorError as error:
        raise ArtifactError(f"The artifact's bytes are damaged: {error}.") from error
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ArtifactError(f"The artifact lacks something or holds it in another form: {error!r}.") from error
    check_fit(artifact.graph, artifact.preparation, artifact.readout, artifact.anchors)
    check_members(artifact.members, artifact.graph, is_alone=artifact.student is None)
    if not artifact.map_scale.threshold > artifact.map_scale.median:
        raise ArtifactError("The artifact's map has no threshold above its median.")
    return artifact


def read_manifest(content: bytes) -> dict[str, Any]:
    """Only the manifest, without the tensors. Raises ArtifactError."""
    try:
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        manifest = parse_finite(metadata[FORMAT])
        found = manifest["format_version"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ArtifactError("The bytes are no artifact of this software.") from error
    if found != FORMAT_VERSION:
        raise ArtifactError(
            f"The artifact has format version {found}; this software reads {FORMAT_VERSION}. Enrol the product again."
        )
    return dict(manifest)


def _assemble(manifest: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Artifact:
    graph = Graph.from_manifest(manifest["graph"])
    preparation = Preparation.from_manifest(manifest["preparation"])
    readout = manifest["readout"]
    product = str(manifest["product"])
    if not isinstance(manifest.get("weights_file"), str | None):
        raise ArtifactError("The artifact names its weights in an unknown way.")
    if manifest["routing"]["profile"] != routing_profile().key:
        raise ArtifactError("The product was enrolled for another routing profile; enrol it again.")
    anchors = ProductAnchors(
        product, _floats(tensors["anchors"]), _floats(tensors["descriptors"]), finite(manifest["routing"]["bound"])
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
        members=tuple(_member(number, item, graph, tensors) for number, item in enumerate(manifest["members"])),
        readout=Readout(
            readout["reading"], finite(readout["top_share"]), finite(readout["sigma_px"]), preparation.size_px
        ),
        anchors=anchors,
        calibration=Calibration.from_manifest(manifest["calibration"]),
        map_scale=scale,
        probes=probes,
        manifest=manifest,
        student=_student(manifest.get("student"), graph, tensors),
        routing_frames=tensors.get("routing_frames"),
    )


def _student(stored: Mapping[str, Any] | None, graph: Graph, tensors: Mapping[str, NDArray[Any]]) -> Student | None:
    if stored is None:
        return None
    found = {name: _floats(tensors[f"student.{name}"]) for name in tensor_names()}
    weights = StudentWeights(found, bool(stored["is_coded"]))
    check_shapes(weights)
    stem, low, high = (int(index) for index in stored["embeddings"])
    if not all(0 <= index < len(graph.embeddings) for index in (stem, low, high)):
        raise ArtifactError("The artifact's student stands on embeddings that its pass does not give.")
    scales = [LevelScale(**{name: finite(stored[level][name]) for name in _SCALE_FIELDS}) for level in LEVELS]
    if not all(scale.tenth > scale.zero for scale in scales):
        raise ArtifactError("The artifact's student has a level without a scale.")
    return Student(weights, (stem, low, high), *scales)


_SCALE_FIELDS = ("zero", "tenth", "in_decision", "in_map")


def _member(number: int, stored: Mapping[str, Any], graph: Graph, tensors: Mapping[str, NDArray[Any]]) -> Member:
    name = f"member.{number}"
    projection = tensors.get(f"{name}.projection")
    bank = Bank(
        _floats(tensors[f"{name}.mean"]),
        None if projection is None else _floats(projection),
        _floats(tensors[f"{name}.prototypes"]),
        bool(stored["unit_length"]),
        int(stored["covers"]),
    )
    width = bank.mean.size if bank.projection is None else bank.projection.shape[1]
    if bank.prototypes.ndim != 2 or bank.prototypes.shape[1] != width or not len(bank.prototypes):
        raise ArtifactError("The artifact's prototypes do not fit the space that they are compared in.")
    which = int(stored["embedding"])
    return Member(
        embedding=which,
        grid=graph.grid(which),
        bank=bank,
        in_decision=finite(stored["in_decision"]),
        in_map=finite(stored["in_map"]),
        score_usual=finite(stored["score_usual"]),
        score_unit=finite(stored["score_unit"]),
        map_unit=finite(stored["map_unit"]),
        sources=tensors[f"{name}.sources"],
    )


def _probe(
    number: int, stored: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], canvas: tuple[int, int]
) -> Probe:
    prepared, routing = tensors[f"probe.{number}.prepared"], tensors[f"probe.{number}.routing"]
    shapes = ((*canvas, 3), (ROUTING_SIZE_PX, ROUTING_SIZE_PX, 3))
    if (prepared.shape, routing.shape) != shapes or {prepared.dtype, routing.dtype} != {np.dtype(np.uint8)}:
        raise ArtifactError("The artifact's probe images are not as its frames are prepared.")
    score, map_peak, distance = (finite(stored[name]) for name in ("score", "map_peak", "routing_distance"))
    return Probe(prepared, score, map_peak, routing, distance)


def _floats(array: NDArray[Any]) -> NDArray[np.float32]:
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise ArtifactError("The artifact holds numbers that are not finite 32-bit floats.")
    return array
