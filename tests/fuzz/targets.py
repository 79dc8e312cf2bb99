"""What is fuzzed: the functions that take bytes from outside, called as the agent calls them.

The invariant: any bytes give a right result or one of the target's `refusals`, which the callers catch;
nothing else is raised, and every result keeps the promise that its target checks (`BrokenPromise`).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import math
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
from aiokafka.structs import ConsumerRecord

from connectors.kafka.records import Arrived, CameraFinder, delivery_of, named_in, plain_headers
from connectors.mqtt.gate_codec import parse_action
from inspector.agent.camera_limits import decode_for
from inspector.config.config import Config
from inspector.config.loading import load, parse
from inspector.domain import CommandName, CommandRequest, Delivery, Position
from inspector.errors import (
    ArtifactError,
    CommandRefused,
    ConfigError,
    EngineError,
    InspectorError,
    UndecodableFrame,
    UsageError,
)
from inspector.store.journal.journal import FileJournal
from inspector.stream.admission import Admission, Arrival, frame_digest
from inspector.stream.command_rights import CommandKey, CommandRights
from inspector.stream.commands import LONGEST_TEXT, MOST_MASTERS, check_time, cmd_id_of, read
from inspector.stream.decode import read_header
from inspector.stream.envelope import (
    LONGEST_PROPERTY_BYTES,
    MOST_PROPERTIES,
    PROPERTY_FAULT,
    open_envelope,
)
from inspector.stream.verdict_record import journal_record, verdict_from_record
from inspector.testing.samples import verdict_of_part
from inspector.vision.artifacts.format import unpack
from inspector.vision.routing.index import AnchorIndex
from inspector.vision.routing.profile import routing_profile
from inspector.vision.routing.routing_pass import RoutingPass
from inspector.vision.serving.product_inspector import ProductInspector
from tests.fuzz import containers, imports, pictures
from tests.fuzz.mutators import Mutator, mutate_jpeg, mutate_json, mutate_png, mutate_text
from tests.unit.drawings import FakeEngine

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
CONFIGS = Path(__file__).parents[2] / "configs"
LINE = parse(
    {
        "camera": [
            {"name": "cam1", "on_unjudged": "reject", "source": "kafka", "clock": "trusted", "max_skew_ms": 3_600_000},
            {"name": "cam2", "on_unjudged": "reject", "source": "kafka", "encoding": "json", "trigger_from": "json"},
            {"name": "cam3", "on_unjudged": "quarantine", "bit_depth": 12, "black_level": 64},
        ],
        "gate": [{"name": "gate1", "cameras": ["cam1"], "window_ms": 50, "trigger_modulus": 65536}],
        "kafka": {"bootstrap": "localhost:9092", "topics": ["frames"]},
    },
    None,
)


class BrokenPromise(Exception):
    """A result that is not what its function promises."""


@dataclass(frozen=True)
class Target:
    """`run` takes one input; `weight` is its share of all inputs."""

    name: str
    run: Callable[[bytes], None]
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[], Sequence[bytes]]
    mutate: Mutator
    weight: int


def promise(is_kept: object, what: str) -> None:
    if not is_kept:
        raise BrokenPromise(what)


def decode_frame(data: bytes) -> None:
    image, header = decode_for(data, LINE.camera[2]), read_header(data)
    promise(image.size == (header.height, header.width), "the image has the header's size")
    for times in range(image.most_halvings, -1, -1):
        pixels = image.halved(times)
        promise(
            pixels.shape == (-(-header.height >> times), -(-header.width >> times), 3), "pixels have its halves' size"
        )
        promise(pixels.dtype == np.uint8 and pixels.flags.c_contiguous, "pixels are whole bytes in order")


def _pairs(data: bytes) -> list[tuple[str, bytes]]:
    """`name=value` lines; a name is text already when it comes here, a value need not be."""
    found = []
    for line in data.split(b"\n"):
        name, _, value = line.partition(b"=")
        found.append((name.decode("utf-8", "replace"), value))
    return found


def open_json(data: bytes) -> None:
    envelope = open_envelope(data, [("camera", "cam2")], is_json=True, most_bytes=2**20, topic_trigger="7")
    _promise_plain(envelope.properties)
    promise(envelope.payload is data or PROPERTY_FAULT not in envelope.properties or len(envelope.payload) < len(data),
            "what can't be opened keeps its bytes")  # fmt: skip
    _admit("cam2", envelope.payload, envelope.properties)


def read_properties(data: bytes) -> None:
    """The frame's metadata as MQTT brings them; surrogates as JSON can spell them."""
    pairs = [(name, value.decode("utf-8", "surrogateescape")) for name, value in _pairs(data)]
    envelope = open_envelope(b"image", pairs, is_json=False)
    _promise_plain(envelope.properties)
    _admit("cam1", envelope.payload, envelope.properties)


def _promise_plain(properties: object) -> None:
    promise(isinstance(properties, dict), "properties are a table")
    assert isinstance(properties, dict)
    promise(len(properties) <= MOST_PROPERTIES + 1, "no more properties than are kept")
    for name, value in properties.items():
        promise(name == name.lower(), "names are in lower case")
        promise(max(len(name.encode()), len(value.encode())) <= LONGEST_PROPERTY_BYTES, "names and values are bounded")


def _admit(camera: str, payload: bytes, properties: object) -> None:
    assert isinstance(properties, dict)
    _admit_delivery(Delivery(Position(camera, 1, 1), camera, payload, properties, NOW, 0))


def _admit_delivery(delivery: Delivery) -> None:
    """Admitted, and what came of it can be journaled and read back."""
    admission = Admission(LINE)
    admission.assign({}, {})
    found = admission.admit(delivery, frame_digest(delivery.payload))
    promise(isinstance(found, Arrival), "the first frame is new")
    assert isinstance(found, Arrival)
    admitted = found.admitted
    key = admitted.key
    verdict = verdict_of_part(1, frame_id=key.frame_id, trigger_id=key.trigger_id, part_id=key.part_id,
                              captured_at=admitted.captured_at, act_before=admitted.act_before,
                              product=admitted.claimed_product, cause_detail=admitted.fault)  # fmt: skip
    again = verdict_from_record(orjson.loads(orjson.dumps(journal_record(verdict))))
    promise(again.frame_id == key.frame_id and again.trigger_id == key.trigger_id, "ids survive the journal")


def read_record(data: bytes) -> None:
    """Headers, a key before the first blank line, the value behind it."""
    head, _, value = data.partition(b"\n\n")
    headers = [(name, value or None) for name, value in _pairs(head)]
    record = ConsumerRecord("frames", 0, 1, 0, 0, headers[0][1], value, None, len(head), len(value), tuple(headers))
    arrived = Arrived(record, NOW, 0)
    promise(isinstance(named_in(record), str), "the camera is named for a person")
    plain_headers(record.headers)
    camera = CameraFinder(LINE).find(record)
    if camera is not None:
        delivery = delivery_of(arrived, camera, Position("frames", 1, 1), is_backlog=False)
        _promise_plain(delivery.properties)
        _admit_delivery(delivery)


def parse_gate_action(data: bytes) -> None:
    action = parse_action("gate1", data, NOW)
    for number in (action.epoch, action.trigger_id, action.action, action.source, action.done):
        promise(type(number) is int and 0 <= number < 2**63, "every number fits the store")


FUZZED_KEY = CommandKey("mes", b"a key for the fuzzer", by=("mes",))
OPEN_RIGHTS = CommandRights("plant")
KEYED_RIGHTS = CommandRights("plant", keys=[FUZZED_KEY])


def _commands() -> list[tuple[CommandName, dict[str, object]]]:
    basics = {"v": 1, "cmd_id": "c1", "sent_at": "2026-03-01T12:00:00Z", "by": "mes", "reason": "order 7", "key": "mes"}
    own: dict[CommandName, dict[str, object]] = {
        CommandName.JOB: {"job_id": "J7", "lot": "L1", "product": "bottle", "effective_from_trig": 4711},
        CommandName.MODE: {"mode": "clean", "expires_at": "2026-03-01T13:00:00Z", "gate": "gate1"},
        CommandName.RESYNC: {"gate": "gate1"},
        CommandName.GOLDEN: {"good": 2, "bad": 1, "within_s": 60, "good_parts": ["G1", "G2"], "bad_parts": ["B1"]},
        CommandName.RELEASE: {"camera": "cam3"},
    }
    return [(name, basics | keys) for name, keys in own.items()]


def _command_seeds() -> list[bytes]:
    order = list(CommandName)
    return [bytes([order.index(name)]) + orjson.dumps(table) for name, table in _commands()]


def _signed_seeds() -> list[bytes]:
    order = list(CommandName)
    return [bytes([order.index(name)]) + payload for name, payload in sorted(SIGNED)]


def _signed(name: CommandName, table: dict[str, object]) -> bytes:
    text = orjson.dumps(table)[:-1]
    mac = hmac.new(FUZZED_KEY.secret, f"plant/cmd/{name}\n".encode() + text, hashlib.sha256).hexdigest()
    return text + b',"hmac":"' + mac.encode() + b'"}'


SIGNED = {(name, _signed(name, table)) for name, table in _commands()}


def mutate_command(rng: random.Random, base: bytes) -> bytes:
    """Another topic now and then, and a payload damaged as JSON or as bytes; sometimes left whole."""
    topic = bytes([rng.randrange(5)]) if rng.random() < 0.2 else base[:1]
    if rng.random() < 0.02:
        return topic + base[1:]
    return topic + (mutate_json if rng.random() < 0.8 else mutate_text)(rng, base[1:])


def _command(data: bytes, rights: CommandRights, name: CommandName) -> None:
    """As at its receipt: the id for a reply, the command, who sent it, and its time."""
    request = CommandRequest(name, data, NOW)
    cmd_id = cmd_id_of(data)
    promise(cmd_id is None or (len(cmd_id) <= LONGEST_TEXT and cmd_id.isprintable()), "an id can be shown")
    command = read(request)
    rights.ensure(command, request)
    check_time(command, NOW, 30, 12)
    promise(len(command.by) <= LONGEST_TEXT and len(command.masters) <= 2 * MOST_MASTERS, "what is kept is bounded")


def read_command(data: bytes) -> None:
    """Its first byte names the topic, on a line without keys."""
    _command(data[1:], OPEN_RIGHTS, _topic(data))


def read_signed_command(data: bytes) -> None:
    """The same on a line with a key; only whole bytes that were signed for their topic come through."""
    name = _topic(data)
    _command(data[1:], KEYED_RIGHTS, name)
    promise((name, data[1:].rstrip()) in SIGNED, "nothing is taken that was not signed")


def _topic(data: bytes) -> CommandName:
    return list(CommandName)[data[0] % len(CommandName)] if data else CommandName.JOB


def load_configuration(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inspector.toml"
        path.write_bytes(data)
        _promise_usable(load(path))


def _promise_usable(config: Config) -> None:
    promise(len(config.digest) == 64, "the configuration has a digest")
    promise("null" not in json.dumps(config.mqtt.keepalive_s), "numbers are numbers")
    for camera in config.camera:
        promise(config.topic_of(camera), "every camera has a topic")
        config.gate_of(camera.name)
        promise(math.isfinite(camera.max_mpx + camera.max_mib), "limits are finite")
    for path in (config.agent.state_dir, *(camera.folder for camera in config.camera if camera.folder)):
        path.exists()


def load_artifact(data: bytes) -> None:
    """Read, opened on an engine and held against its probes, as the lineup does."""
    artifact = unpack(data)
    promise(math.isfinite(artifact.calibration.threshold), "the threshold is finite")
    engine = FakeEngine()
    inspector = ProductInspector(artifact, engine)
    index = AnchorIndex([artifact.anchors])
    index.route(np.ones((256, len(routing_profile().mean)), np.float32))
    embedder = engine.embedder(artifact.graph)
    inspector.check_probes(embedder, RoutingPass.on(engine))
    side = artifact.preparation.size_px
    judgement = inspector.judge(embedder(np.zeros((1, side, side, 3), np.uint8)))[0]
    if math.isfinite(judgement.score):  # else the scorer makes a failure of it
        scored = inspector.scored(judgement, (48, 64), always_map=True)
        promise(math.isfinite(scored.level), "a finite score is a finite level")


def import_file(data: bytes) -> None:
    """A file that somebody offers, up to what a person sees of it."""
    offered, is_signed = imports.take(data)
    promise(not is_signed or offered.digest in imports.signed_digests(), "nothing counts as signed but what was signed")
    promise(math.isfinite(offered.threshold), "the threshold is finite")


def open_journal(data: bytes) -> None:
    asyncio.run(_open_journal(data))


async def _open_journal(data: bytes) -> None:
    """A segment found at start: read, its verdicts taken, and the journal still takes new ones."""
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "0000000001.journal").write_bytes(data)
        new = verdict_of_part(99)
        async with FileJournal(folder, max_bytes=1 << 20, segment_bytes=1 << 16) as journal:
            journal.sightings(most=1000)
            before = len(journal.read(journal.unrecorded()))
            journal.append_attempt("cam1", "b" * 64)
            journal.append_verdict(new, None)
            await journal.sync()
        async with FileJournal(folder, max_bytes=1 << 20, segment_bytes=1 << 16) as journal:
            kept = journal.read(journal.unrecorded())
        promise(kept[-1][0].result_id == new.result_id and len(kept) >= before, "a new verdict is kept")
    finally:
        shutil.rmtree(folder)


def _config_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(CONFIGS.glob("*.toml"))]


_HEADERS = [
    b"camera=cam1\nframe-id=f1\ntrigger-id=17\npart-id=p1\ncaptured-at=2026-03-01T12:00:00.020Z\nproduct=disc",
    b"frame-id=\xc3\xa9\nsimulated=true\ncaptured-at=2026-03-01T13:00:00+01:00\nX-Other=1\ncontent-type=image/png",
]
_JSON = [
    b'{"image": "AAEC", "trigger_id": 7, "frame_id": "f1", "captured_at": "2026-03-01T12:00:00Z", "simulated": true}',
    b'{"image": "/9j/4AAQSkZJRg==", "part_id": 1.5, "product": null}',
]

_ACTION = b'{"v":1,"ep":3,"trig":4711,"act":2,"src":1,"done":1}'

TARGETS = {
    target.name: target
    for target in (
        Target("jpeg", decode_frame, (UndecodableFrame,), pictures.jpeg_seeds, mutate_jpeg, 30),
        Target("png", decode_frame, (UndecodableFrame,), pictures.png_seeds, mutate_png, 30),
        Target("json", open_json, (), lambda: _JSON, mutate_json, 10),
        Target("properties", read_properties, (), lambda: _HEADERS, mutate_text, 8),
        Target("kafka", read_record, (), lambda: [head + b"\n\nimage" for head in _HEADERS]
               + [b"camera=cam2\n\n" + each for each in _JSON], mutate_text, 8),
        Target("gate", parse_gate_action, (ValueError,), lambda: [_ACTION],
               mutate_json, 4),
        Target("command", read_command, (CommandRefused,), _command_seeds, mutate_command, 4),
        Target("signed", read_signed_command, (CommandRefused,), _signed_seeds, mutate_command, 4),
        Target("config", load_configuration, (ConfigError,), _config_seeds, mutate_text, 5),
        Target("artifact", load_artifact, (ArtifactError, EngineError),
               lambda: [containers.small_artifact(),
                        containers.small_student_artifact()], containers.mutate_artifact, 3),
        Target("import", import_file, (ArtifactError, UsageError), imports.seeds, imports.mutate, 3),
        Target("journal", open_journal, (InspectorError,), lambda: [containers.journal_segment()],
               containers.mutate_segment, 2),
    )
}  # fmt: skip
