"""The line: the broker, the cameras' topics and folders, the gates' windows."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final

from inspector.cli.checks.finding import Finding, fault, ok, warning
from inspector.config.config import Config
from inspector.config.line_sections import CameraSection, GateSection
from inspector.stream.age import longest_proof_ms

BROKER: Final = "mqtt"
KAFKA: Final = "kafka"
CAMERAS: Final = "cameras"
GATES: Final = "gates"
SHORT_WINDOW_MS: Final = 20.0


async def check_broker(config: Config) -> AsyncIterator[Finding]:
    """Findings about the broker: whether it accepts this agent's name, user and topics."""
    from connectors.mqtt.owner_probe import probe_owners
    from connectors.mqtt.probe import probe

    if not config.mqtt.tls and config.mqtt.ca_file:
        detail = (
            "mqtt.ca_file is set, but mqtt.tls is off: everything is sent in plain text. Set it, or remove the file."
        )
        yield warning(BROKER, "tls", detail)
    for finding in await probe(config):
        subject = finding.subject.removeprefix("mqtt ")
        bad = fault if finding.is_needed else warning
        yield (ok if finding.is_ok else bad)(BROKER, subject, finding.detail)
    for finding in await probe_owners(config):
        yield (ok if finding.is_ok else fault)(GATES, finding.subject.removeprefix("mqtt "), finding.detail)


async def check_kafka(config: Config) -> AsyncIterator[Finding]:
    """Findings about the Kafka cluster: its answers to this agent's user and topics. Empty if Kafka is not used."""
    from connectors.kafka.probe import probe

    uses_it = any(camera.source == "kafka" for camera in config.camera)
    if not uses_it and config.kafka.verdict_topic is None and config.kafka.dead_letter_topic is None:
        return
    for finding in await probe(config):
        yield (ok if finding.is_ok else fault)(KAFKA, finding.subject.removeprefix("kafka "), finding.detail)


def check_cameras(config: Config) -> Iterator[Finding]:
    """Findings about the place that each camera's frames come from."""
    if not config.camera:
        yield warning(CAMERAS, "cameras", "none is configured, so nothing will be judged. Add a [[camera]].")
    for camera in config.camera:
        if camera.source == "folder":
            yield from _folder(camera, [other for other in config.camera if other.source == "folder"])
        elif camera.source == "kafka":
            read = config.kafka.topic_pattern or ", ".join(config.kafka_topics)
            said = camera.topic or f"{read}, by header camera or key"
            yield ok(CAMERAS, camera.name, _taken(camera, f"frames on {said}"))
        else:
            yield ok(CAMERAS, camera.name, _taken(camera, f"frames on {config.topic_of(camera)}"))


def _taken(camera: CameraSection, frames: str) -> str:
    """What becomes of the camera's frames, and what each of them must carry."""
    said = f"{frames}; unjudged parts: {camera.on_unjudged.value}"
    if camera.clock != "trusted" or camera.source == "folder":
        return said
    return f"{said}; its clock is trusted, so each frame must carry captured-at"


def check_gates(config: Config) -> Iterator[Finding]:
    """Findings about the gates: the time that a window leaves, and the needs of a match."""
    for gate in config.gate:
        yield _window(gate)
        yield _match(gate)


def _folder(camera: CameraSection, cameras: Sequence[CameraSection]) -> Iterator[Finding]:
    folder = camera.folder
    if folder is None or not os.access(folder, os.F_OK):
        yield fault(CAMERAS, camera.name, f"there is no folder {folder}. Make it, or change camera.folder.")
        return
    if not _may(folder, os.R_OK | os.X_OK) or not folder.is_dir():
        yield fault(CAMERAS, camera.name, f"{folder} is no folder that this user can read. Change one or the other.")
        return
    for other in cameras:
        # Compared by inode, since two paths may lead to one folder; the configuration refuses equal paths.
        if other is not camera and other.folder is not None and other.folder.is_dir() and other.folder.samefile(folder):
            detail = f"camera {other.name} watches {folder} too, so each file is judged twice. Give each its own."
            yield fault(CAMERAS, camera.name, detail)
            return
    yield from _files(camera, folder)


def _files(camera: CameraSection, folder: Path) -> Iterator[Finding]:
    """Findings about the files in the folder now, and about files that the agent could not use."""
    from connectors.folder_files import list_folder

    listing = list_folder(folder)
    if not _may(folder, os.W_OK | os.X_OK):
        detail = f"this user can't move judged files from {folder} to its folder done; they come again at each start"
        yield fault(CAMERAS, camera.name, f"{detail}. Let it write there.")
        return
    unreadable = sorted(file.shown_name for file in listing.frames if not _may(file.path, os.R_OK))
    if unreadable:
        detail = f"{len(unreadable)} files in {folder} can't be read by this user, {unreadable[0]} among them"
        yield fault(CAMERAS, camera.name, f"{detail}. Change their rights, or their writer's umask.")
        return
    not_read = sorted(entry.name for entry in listing.ignored if entry.is_link or entry.is_folder)
    if not_read:
        detail = (
            f"links and folders in {folder} are not read, {not_read[0]} is one; put pictures into the folder itself."
        )
        yield warning(CAMERAS, f"{camera.name} folder", detail)
    yield ok(CAMERAS, camera.name, f"frames from {folder}; unjudged parts: {camera.on_unjudged.value}")


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=True)


def _window(gate: GateSection) -> Finding:
    way = f"{gate.transport_ms:g} for the way to the PLC"
    if not gate.transport_ms:
        way = "none for the way to the PLC (transport_ms)"
    said = f"{gate.window_ms:g} ms, of which {gate.judging_ms:g} are for judging and {way}"
    if gate.window_ms < SHORT_WINDOW_MS:
        return warning(
            GATES, f"{gate.name} window", f"{said}: hardly enough for one frame. Measure before trusting it."
        )
    return ok(GATES, f"{gate.name} window", said)


def _match(gate: GateSection) -> Finding:
    cameras = ", ".join(gate.cameras)
    if gate.match == "trigger_id":
        return ok(GATES, gate.name, f"cameras {cameras}; each frame must carry its trigger id")
    proof_ms = longest_proof_ms(gate)
    left_ms = gate.judging_ms - proof_ms
    needs = (
        f"cameras {cameras}; single_in_flight: nothing but time ties a decision to its part. It needs never more than "
        f"one part between camera and gate, so parts at least {gate.window_ms:g} ms apart, and the agent's markers at "
        f"the broker. Proving the age of a frame takes up to {proof_ms:g} ms of the window"
    )
    if left_ms <= 0:
        return fault(GATES, gate.name, f"{needs}, and nothing is left for judging. Widen window_ms, or use trigger_id.")
    use = 'Use match = "trigger_id" wherever a pass for the wrong part matters.'
    if len(gate.cameras) > 1:
        needs += ". Views are joined by trigger ids only: a frame without one is a part whose other views are missing"
    return warning(GATES, gate.name, f"{needs}; {left_ms:g} ms are left for judging. {use}")
