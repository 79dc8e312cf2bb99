"""The configuration: frozen models, unknown keys fatal, all faults reported at once.

`load` is the only reader of the configuration file and of the environment. Secrets never stand in
the file: `*_secret` keys name a credential, found as a file in `$CREDENTIALS_DIRECTORY` (systemd's
`LoadCredential=`) or as an environment variable `INSPECTOR_SECRET_<NAME>`.
Every field carries its unit in its name and its meaning in its description; `inspector init` and
`docs/configuration.md` are written from them.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from inspector.domain import Action

NO_NUMBER: Final = "bool_for_number"
"""Kind of the fault where true or false stands for a number."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
GateAnswer = Literal[Action.PASS, Action.REJECT, Action.QUARANTINE]


def default_state_dir() -> Path:
    """systemd's `StateDirectory=` where given, else the XDG state folder of this user."""
    if under_systemd := os.environ.get("STATE_DIRECTORY"):
        return Path(under_systemd.split(":")[0])
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "inspector"


def _host_name() -> str:
    cleaned = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname()).lstrip("-._")
    return cleaned[:64] or "agent"


LONGEST_FILE_NAME = 255
"""Of every usual file system of Linux; asking for a longer name is an error, not a no."""


class Section(BaseModel):
    """Frozen, and a key it doesn't know is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_number(cls, value: Any, field: ValidationInfo) -> Any:
        """true is 1 to Python; a port or a length that is written so is a mistake."""
        if isinstance(value, bool) and cls.model_fields[str(field.field_name)].annotation not in (bool, bool | None):
            raise PydanticCustomError(NO_NUMBER, "true or false can't stand here")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _is_possible_path(cls, value: Any) -> Any:
        if isinstance(value, Path) and any(len(os.fsencode(part)) > LONGEST_FILE_NAME for part in value.parts):
            raise PydanticCustomError(
                "path_too_long", f"a file's or folder's name has at most {LONGEST_FILE_NAME} bytes"
            )
        return value


class AgentSection(Section):
    """Who this agent is and where it keeps its files."""

    name: Name = Field(default_factory=_host_name, description="Name of this agent, unique on the plant.")
    state_dir: Path = Field(
        default_factory=default_state_dir,
        description="Folder of everything the agent keeps: database, journal, pictures, dead letters, engine cache.",
    )
    prefix: str = Field(
        default="plant/site/area/line",
        pattern=r"^[^+#\x00]{1,200}$",
        description="Topic prefix, ISA-95 style: enterprise/site/area/line.",
    )
    drain_s: float = Field(default=4.0, gt=0, le=600, description="Longest time a SIGTERM drain may take.")
    registry_poll_s: float = Field(
        default=1.0, ge=0.1, le=60, description="How often the registry is asked for newly activated versions."
    )
    heartbeat_ms: int = Field(default=500, ge=100, le=5000, description="Period of the gate heartbeat.")
    command_age_s: float = Field(
        default=30, ge=1, le=3600, description="Oldest command that is obeyed, by its sent_at and this agent's clock."
    )
    max_mode_h: float = Field(
        default=12, ge=0.1, le=168, description="Longest time that a mode other than auto may be commanded for."
    )


class MqttSection(Section):
    """The MQTT broker of cameras, gates and records."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Broker host.")
    port: int = Field(default=1883, ge=1, le=65535, description="Broker port.")
    protocol: Literal["3.1.1", "5"] = Field(default="5", description="MQTT version spoken to the broker.")
    keepalive_s: int = Field(default=15, ge=2, le=3600, description="Keep-alive: how soon a dead broker is noticed.")
    session_expiry_s: int = Field(
        default=86400, ge=0, le=4294967295, description="How long the broker keeps frames while the agent is away."
    )
    in_flight: int = Field(
        default=64, ge=1, le=1000, description="Most unacknowledged frames per camera connection (receive maximum)."
    )
    username: str | None = Field(default=None, description="Broker user.")
    password_secret: Name | None = Field(default=None, description="Name of the credential holding the password.")
    tls: bool = Field(default=False, description="Speak TLS to the broker.")
    ca_file: Path | None = Field(default=None, description="Certificate authority for TLS; unset = the system's.")
    cert_file: Path | None = Field(default=None, description="Client certificate for TLS.")
    key_file: Path | None = Field(default=None, description="Key of the client certificate.")
    reconnect_min_s: float = Field(default=0.2, gt=0, le=60, description="First pause before a jittered reconnect.")
    reconnect_max_s: float = Field(default=5.0, gt=0, le=600, description="Longest pause between reconnects.")
    record_queue: int = Field(
        default=100_000, ge=100, description="Verdict records kept in memory while the broker is away."
    )


class KafkaSection(Section):
    """The Kafka cluster of cameras and records, and this agent's place in its consumer group."""

    bootstrap: str = Field(
        default="127.0.0.1:9092",
        pattern=r"^[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*$",
        description="Brokers to begin with, host:port, separated by commas.",
    )
    security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        default="plaintext", description="How the brokers are spoken to; sasl means SCRAM-SHA-512."
    )
    ca_file: Path | None = Field(default=None, description="Certificate authority for TLS; unset = the system's.")
    cert_file: Path | None = Field(default=None, description="Client certificate for TLS.")
    key_file: Path | None = Field(default=None, description="Key of the client certificate.")
    username: str | None = Field(default=None, description="User for SCRAM-SHA-512.")
    password_secret: Name | None = Field(default=None, description="Name of the credential holding the password.")
    group: Name = Field(default="inspector", description="Consumer group; the agents that share the same cameras.")
    topics: tuple[TopicName, ...] = Field(
        default=("frames",), description="Topics of frames; those that cameras name as their own are added."
    )
    topic_pattern: str | None = Field(
        default=None, max_length=200, description="Regular expression of the topics of frames, in place of topics."
    )
    verdict_topic: TopicName | None = Field(default=None, description="Topic of verdict records; unset = none.")
    dead_letter_topic: TopicName | None = Field(
        default=None, description="Topic of what could not be read; unset = the folder of dead letters."
    )
    max_frame_mib: float = Field(
        default=5, gt=0, le=512, description="Largest record fetched or sent whole; the cluster must allow it too."
    )
    session_timeout_ms: int = Field(
        default=10_000, ge=1000, le=1_800_000, description="How soon a dead agent's partitions go to another."
    )
    max_poll_interval_ms: int = Field(
        default=300_000, ge=10_000, le=86_400_000, description="Longest silence of the poll loop before it counts dead."
    )
    poll_ms: int = Field(default=200, ge=10, le=5000, description="Longest one poll waits for frames.")
    fetch_wait_ms: int = Field(default=100, ge=1, le=5000, description="Longest a broker holds an empty fetch.")
    request_timeout_ms: int = Field(default=10_000, ge=500, le=300_000, description="Longest wait for an answer.")
    handover_ms: int = Field(
        default=2000, ge=0, le=60_000, description="Longest wait for frames under way before partitions are given up."
    )
    buffer_frames: int = Field(
        default=32, ge=1, le=10_000, description="Frames of one partition that wait here before it is paused."
    )
    buffer_mib: float = Field(default=16, gt=0, le=4096, description="The same in size, whichever is reached first.")
    in_flight: int = Field(default=256, ge=1, le=100_000, description="Most unacknowledged frames of one partition.")
    reconnect_min_s: float = Field(default=0.2, gt=0, le=60, description="First pause before a jittered reconnect.")
    reconnect_max_s: float = Field(default=5.0, gt=0, le=600, description="Longest pause between reconnects.")
    record_queue: int = Field(
        default=100_000, ge=100, description="Verdict records kept in memory while the cluster is away."
    )

    @property
    def max_frame_bytes(self) -> int:
        return int(self.max_frame_mib * 1024 * 1024)


class StoreSection(Section):
    """The SQL store."""

    url: str | None = Field(
        default=None,
        description="SQLAlchemy URL; unset = SQLite in the state folder. PostgreSQL: postgresql+asyncpg://host/db.",
    )
    user: str | None = Field(default=None, description="Database user, where the URL names none.")
    password_secret: Name | None = Field(default=None, description="Name of the credential holding the password.")
    tls: bool | None = Field(
        default=None,
        description="Speak TLS to PostgreSQL and check its certificate and name; false = never; unset = TLS where the "
        "server offers it, unchecked.",
    )
    ca_file: Path | None = Field(default=None, description="Certificate authority for TLS; unset = the system's.")
    cert_file: Path | None = Field(default=None, description="Client certificate for TLS.")
    key_file: Path | None = Field(default=None, description="Key of the client certificate.")
    connections: int = Field(
        default=15,
        ge=2,
        le=100,
        description="Most connections of this agent to the database at once; usually 3 are used.",
    )
    commit_wait_ms: float = Field(default=5.0, ge=0, le=1000, description="Longest a row waits for its group commit.")
    commit_rows: int = Field(default=128, ge=1, le=10_000, description="Most rows in one group commit.")


Days = Annotated[float, Field(ge=1, le=36_500)]


class RetentionSection(Section):
    """How long rows and pictures are kept; what is unset is kept for ever. Holds (`inspector db hold`) come first."""

    passes_days: Days | None = Field(default=None, description="Days that results of passed frames are kept.")
    rejects_days: Days | None = Field(default=None, description="Days that results of rejected frames are kept.")
    unjudged_days: Days | None = Field(
        default=None, description="Days that results of unjudged frames and uninspected parts are kept."
    )
    decisions_days: Days | None = Field(
        default=None, description="Days that decisions, reports of PLCs, shadow results and conflicts are kept."
    )
    events_days: Days | None = Field(default=None, description="Days that events are kept.")
    pictures_days: Days | None = Field(
        default=None, description="Days that pictures and dead letters are kept, within the bounds of their folders."
    )
    every_h: float = Field(
        default=1,
        ge=0.01,
        le=168,
        description="Hours between two rounds of a running agent that prunes by these rules.",
    )


class JournalSection(Section):
    """The local append-only truth, which is also the spool while the database is away."""

    max_mib: int = Field(default=512, ge=1, le=1_000_000, description="Bound of the journal on disk.")
    segment_mib: int = Field(default=8, ge=1, le=1024, description="Size of one journal file.")
    sync_ms: float = Field(default=5.0, ge=0, le=1000, description="Longest an entry waits for its group fsync.")


class EngineSection(Section):
    """Where and how the backbone runs."""

    name: Literal["auto", "onnxruntime", "torch", "torch-cuda"] = Field(
        default="auto", description="Inference engine; auto = torch-cuda where a GPU is usable, else onnxruntime."
    )
    threads: int = Field(default=0, ge=0, le=256, description="Threads of the main pass; 0 = all cores of this box.")
    weights_dir: Path | None = Field(
        default=None,
        description="Folder with the weights files of named backbones, found by their file name; "
        "unset = where each lay when its product was enrolled.",
    )
    decode_workers: int = Field(default=2, ge=1, le=64, description="Threads that decode and route.")
    batch_max: int = Field(default=8, ge=1, le=256, description="Most frames in one main pass.")
    batch_wait_ms: float = Field(default=4.0, ge=0, le=1000, description="Longest a frame waits for its batch.")
    queue_frames: int = Field(default=64, ge=1, le=10_000, description="Bound of each queue between stages.")


class ImagesSection(Section):
    """Which pictures are kept."""

    keep_passes: float = Field(default=0.01, ge=0, le=1, description="Share of passed frames whose picture is kept.")
    max_mib: int = Field(default=2048, ge=1, description="Bound of the picture folder; the oldest are removed.")
    dead_letter_mib: int = Field(default=256, ge=1, description="Bound of the dead-letter folder; oldest are removed.")


class CameraSection(Section):
    """One camera: where its frames come from, what they look like, what its failures mean."""

    name: Name = Field(description="Name of the camera; part of its topics.")
    source: Literal["mqtt", "kafka", "folder"] = Field(default="mqtt", description="What brings its frames.")
    topic: str | None = Field(
        default=None,
        description="Topic of its frames; unset = {prefix}/{camera}/frame, which may end in /+ for a trigger. "
        "With Kafka: a topic of its own; unset = the camera is named by header or key.",
    )
    shared_group: Name | None = Field(
        default=None,
        description="MQTT, not at a gate: agents that name the same group share this camera's frames ($share).",
    )
    folder: Path | None = Field(default=None, description='Watched folder, for source = "folder".')
    view: str = Field(default="", max_length=64, description="Which view of the part it shows, at a gate of several.")
    on_unjudged: GateAnswer = Field(
        description="What the gate does with a part that could not be judged: pass, reject or quarantine. No default."
    )
    on_late: GateAnswer | None = Field(
        default=None, description="The same for a part judged late; unset = on_unjudged."
    )
    on_wrong_product: GateAnswer | None = Field(
        default=None, description="For a product other than expected; unset = reject."
    )
    on_frame_health: GateAnswer | None = Field(
        default=None, description="The same for dark, blurred, frozen frames; unset = on_unjudged."
    )
    product: Name | None = Field(default=None, description="Only this product may come; unset = any enrolled one.")
    window_ms: float | None = Field(
        default=None, gt=0, le=600_000, description="Time from capture to verdict without a gate; unset = any."
    )
    trigger_from: Literal["property", "header", "json", "topic"] = Field(
        default="property", description="Where the trigger id stands."
    )
    encoding: Literal["image", "json"] = Field(
        default="image", description="The payload: an image, or JSON with base64."
    )
    clock: Literal["trusted", "untrusted"] = Field(
        default="untrusted", description="Whether the camera's captured-at is believed."
    )
    max_skew_ms: float = Field(default=1000, gt=0, le=3_600_000, description="Largest believed gap between clocks.")
    bit_depth: int = Field(default=16, ge=9, le=16, description="Significant bits of a 16-bit image (10, 12, 14, 16).")
    black_level: int = Field(default=0, ge=0, le=65535, description="Pixel value of black in a 16-bit image.")
    max_mib: float = Field(default=16, gt=0, le=1024, description="Largest encoded frame.")
    max_mpx: float = Field(default=32, gt=0, le=1000, description="Largest decoded frame in megapixels.")
    frame_id_memory: int = Field(default=4096, ge=16, le=1_000_000, description="Frames remembered as known.")


class GateSection(Section):
    """One gate: the cameras that look at its parts, and the time it leaves."""

    name: Name = Field(description="Name of the gate; part of its topics.")
    cameras: tuple[Name, ...] = Field(min_length=1, description="Cameras that look at the parts of this gate.")
    window_ms: float = Field(gt=0, le=600_000, description="Time from capture to the reject gate.")
    reserve_ms: float = Field(
        default=5, ge=0, le=10_000, description="Part of the window kept for publishing the decision."
    )
    match: Literal["trigger_id", "single_in_flight"] = Field(
        default="trigger_id", description="How a decision finds its part: by trigger id, or one part at a time."
    )
    join: Literal["trigger_id"] = Field(default="trigger_id", description="What joins the views of one part.")
    combine: Literal["worst"] = Field(default="worst", description="How views make one decision.")
    trigger_source: Literal["plc", "encoder", "camera"] = Field(
        default="plc", description="Who counts: with camera, the count is only of what was lost after the camera."
    )
    trigger_modulus: int | None = Field(
        default=None, ge=2, le=2**63, description="Where the counter wraps, for example 65536; unset = never."
    )
    max_gap: int = Field(default=100, ge=1, le=100_000, description="Most parts missed in one gap; more is a reset.")
    storm_consecutive: int | None = Field(
        default=None, ge=2, le=100_000, description="So many rejects in a row raise an alarm; unset = never."
    )
