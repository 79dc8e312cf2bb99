"""Artifacts and journal segments, made small and damaged with their frames right again."""

from __future__ import annotations

import json
import random
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from inspector.domain import Identity
from inspector.store.journal.segments import MARK, framed, scan
from inspector.stream.verdict_record import decision_record, journal_record
from inspector.testing.samples import decision_for, verdict_of_part
from inspector.training.statistics.calibrating import calibrate
from inspector.vision.artifacts.format import FORMAT, Artifact, MapScale, Probe, pack
from inspector.vision.engines.protocols import Bank
from inspector.vision.heads.base import HeadModel, Readout
from inspector.vision.heads.prototype import Member, PrototypeModel
from inspector.vision.heads.student import LevelScale, StudentModel
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.graphs import Embedding, Graph
from inspector.vision.networks.student_graph import FIRST, SECOND, STUDENT_EMBEDDINGS, THIRD, StudentWeights
from inspector.vision.routing.anchors import ProductAnchors
from inspector.vision.routing.profile import routing_profile
from inspector.vision.routing.routing_pass import RoutingPass
from inspector.vision.serving.product_inspector import ProductInspector
from tests.fuzz.mutators import any_text, change_value, mutate_bytes
from tests.unit.drawings import FakeEngine

SIZE_PX = 32
READOUT = Readout("top_share", 0.01, 0.0, SIZE_PX)
CHANNELS = {4: 24, 8: 40, 16: 112}


def small_artifact() -> bytes:
    """A product of two banks over patches of a 32 px square, as `pack` writes it."""
    rng = np.random.default_rng(7)
    embeddings = (Embedding((8,), 8), Embedding((16,), 16))
    members = tuple(
        Member(
            embedding=number,
            grid=SIZE_PX // item.grid_stride,
            bank=Bank(_normal(rng, CHANNELS[item.grid_stride]), None, _normal(rng, 3, CHANNELS[item.grid_stride])),
            in_decision=1.0,
            in_map=1.0,
            score_usual=0.0,
            score_unit=1.0,
            map_unit=1.0,
            sources=np.zeros((3, 3), np.int32),
        )
        for number, item in enumerate(embeddings)
    )
    return _packed(embeddings, PrototypeModel(members, READOUT))


def small_student_artifact() -> bytes:
    """A product with a student of the usual shapes, all zeros: 1.4 MB, so never kept in the corpus."""
    shapes: dict[str, tuple[int, ...]] = {
        "first.weight": (FIRST, CHANNELS[4], 3, 3),
        "second.weight": (SECOND, FIRST, 3, 3),
        "to_low.weight": (CHANNELS[8], SECOND, 1, 1),
        "third.weight": (THIRD, SECOND, 3, 3),
        "to_high.weight": (CHANNELS[16], THIRD, 3, 3),
    }
    tensors = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    tensors |= {name.replace("weight", "bias"): np.zeros(shape[0], np.float32) for name, shape in shapes.items()}
    for name, stride in (("stem", 4), ("low", 8), ("high", 16)):
        tensors |= {f"{name}.{part}": np.ones(CHANNELS[stride], np.float32) for part in ("mean", "scale")}
    scale = LevelScale(0.0, 1.0)
    return _packed(STUDENT_EMBEDDINGS, StudentModel(StudentWeights(tensors), (0, 1, 2), scale, scale, READOUT))


def _packed(embeddings: tuple[Embedding, ...], head: HeadModel) -> bytes:
    """With one probe, a black square, and what it gets."""
    rng = np.random.default_rng(8)
    channels = len(routing_profile().mean)
    engine = FakeEngine()
    probe = Probe(np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8), 0.0, 0.0, np.zeros((128, 128, 3), np.uint8), 0.0)
    artifact = Artifact(
        product="disc",
        graph=Graph("tf_efficientnet_lite0", "0" * 64, SIZE_PX, embeddings),
        preparation=Preparation(SIZE_PX),
        head=head,
        anchors=ProductAnchors("disc", _normal(rng, 2, channels), _normal(rng, 1, channels), 0.5),
        calibration=calibrate(np.arange(1.0, 30.0), held_out="every fifth", is_cross_fit=False),
        map_scale=MapScale(0.0, 1.0),
        probes=(probe,),
        manifest={
            "head": "prototype",
            "profile": "standard",
            "images": [{"name": "1.png", "sha256": "0" * 64}],
            "engine": {"name": "fake", "versions": {"fake": "1"}},
        },
    )
    inspector = ProductInspector(artifact, engine)
    judged = inspector.judge(engine.embedder(artifact.graph)(probe.prepared[None]))[0]
    peak = float(judged.grid_map.max())
    distance = inspector.routing_distance(probe.routing, RoutingPass.on(engine))
    return pack(
        replace(artifact, probes=(replace(probe, score=judged.score, map_peak=peak, routing_distance=distance),))
    )[0]


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return rng.standard_normal(shape).astype(np.float32)


def mutate_artifact(rng: random.Random, data: bytes) -> bytes:
    """The manifest, the tensors' table or their numbers changed, the header's length right again; or plain damage."""
    kind = rng.random()
    try:
        length = int.from_bytes(data[:8], "little")
        table = json.loads(data[8 : 8 + length])
        manifest = json.loads(table["__metadata__"][FORMAT])
        body = data[8 + length :]
    except (ValueError, KeyError, TypeError, RecursionError):
        return mutate_bytes(rng, data)
    if kind < 0.15:
        return mutate_bytes(rng, data)
    if kind < 0.2:
        return rng.choice((b"\xff" * 8, struct.pack("<Q", 2**40), struct.pack("<Q", length + 1))) + data[8:]
    if kind < 0.35:
        odd = rng.choice((b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\xff\xff\xff\xff"))
        at = rng.randrange(max(1, len(body) // 4)) * 4
        body = body[:at] + odd + body[at + 4 :]
    elif kind < 0.55:
        name = rng.choice([key for key in table if key != "__metadata__"])
        table[name] = _other_tensor(rng, table[name])
    else:
        for _ in range(rng.choice((1, 1, 3))):
            manifest = change_value(rng, manifest)
    text = json.dumps(manifest)
    if rng.random() < 0.02:
        text = "[" * 100_000 + text
    header = json.dumps({**table, "__metadata__": {FORMAT: text}}).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(header)) + header + body


def _other_tensor(rng: random.Random, entry: dict[str, Any]) -> dict[str, Any]:
    start, end = entry["data_offsets"]
    match rng.randrange(5):
        case 0:
            return {**entry, "dtype": rng.choice(("F64", "F16", "BF16", "I32", "U8", "BOOL", "F8_E4M3", "I64", "X"))}
        case 1:
            return {**entry, "shape": rng.choice(([], [0], [2**62, 4], [1, *entry["shape"]], entry["shape"][::-1]))}
        case 2:
            return {**entry, "data_offsets": rng.choice(([end, start], [0, end], [start, 2**60], [start + 1, end]))}
        case 3:
            return {**entry, "shape": [(end - start) // 4]}
        case _:
            return change_value(rng, entry)  # type: ignore[no-any-return]


def journal_segment() -> bytes:
    """One record of every kind."""
    verdicts = [verdict_of_part(1), verdict_of_part(2, identity=Identity.WEAK, gate="gate1", camera="cam2")]
    records: list[dict[str, Any]] = [{"k": "attempt", "camera": "cam1", "sha256": verdicts[0].frame_sha256}]
    for order, verdict in enumerate(verdicts):
        decision = None if order else decision_record(decision_for(verdict))
        records.append({"k": "verdict", "order": order, "verdict": journal_record(verdict), "decision": decision})
    records += [
        {"k": "published", "id": verdicts[0].result_id, "published": True},
        {"k": "recorded", "ids": [verdicts[1].result_id]},
        {"k": "acknowledged", "ids": [verdicts[0].result_id]},
        {"k": "tries", "camera": "cam1", "sha256": "a" * 64, "count": 1},
        {"k": "attempt", "camera": "cam1", "sha256": "a" * 64},
    ]
    return b"".join(framed(orjson.dumps(record)) for record in records)


def mutate_segment(rng: random.Random, data: bytes) -> bytes:
    """Records changed, moved, doubled, with their checksums right again; or plain damage, marks strewn in."""
    kind = rng.random()
    records = [record.payload for record in scan(data).records]
    if kind < 0.3 or not records:
        return mutate_bytes(rng, data)
    if kind < 0.4:
        at = rng.randrange(len(data) + 1)
        return data[:at] + (MARK + rng.randbytes(rng.choice((0, 4, 8)))) * rng.choice((1, 3, 100)) + data[at:]
    for _ in range(rng.choice((1, 1, 3))):
        at = rng.randrange(len(records))
        match rng.randrange(4):
            case 0:
                del records[at]
                records = records or [b"{}"]
            case 1:
                records.insert(rng.randrange(len(records) + 1), records[at])
            case _:
                records[at] = _other_record(rng, records[at])
    return b"".join(map(framed, records))


def _other_record(rng: random.Random, payload: bytes) -> bytes:
    try:
        tree = json.loads(payload)
    except (ValueError, RecursionError):
        return any_text(rng).encode("utf-8", "surrogatepass")
    return json.dumps(change_value(rng, tree)).encode()
