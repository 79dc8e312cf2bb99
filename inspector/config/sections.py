"""The configuration: frozen models, unknown keys fatal, all faults reported at once.

`inspector.config.loading` is the only reader of the configuration file and of the environment. The file
never contains secrets: a `*_secret` key names a credential, which is a file in `$CREDENTIALS_DIRECTORY`
(systemd's `LoadCredential=`) or an environment variable `INSPECTOR_SECRET_<NAME>`.
Every field has its unit in its name and its meaning in its description. `inspector init` and
`docs/configuration.md` are written from these descriptions.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from inspector.config.addresses import LARGEST_PORT, ListenAddress, host_fault, listen_address
from inspector.domain import Action

NO_NUMBER: Final = "bool_for_number"
"""Kind of the fault for true or false in place of a number."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
GateAnswer = Literal[Action.PASS, Action.REJECT, Action.QUARANTINE]


def default_state_dir() -> Path:
    """systemd's `StateDirectory=` if it is set, else the XDG state folder of this user."""
    if under_systemd := os.environ.get("STATE_DIRECTORY"):
        return Path(under_systemd.split(":")[0])
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "inspector"


def _host_name() -> str:
    cleaned = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname()).lstrip("-._")
    return cleaned[:64] or "agent"


LONGEST_FILE_NAME = 255
"""Most bytes of a file name on the usual file systems of Linux. A look-up of a longer name raises an error."""


class Section(BaseModel):
    """A frozen section. An unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_number(cls, value: Any, field: ValidationInfo) -> Any:
        """Refuses true and false for numbers. To Python true is 1, but a port that is written as true is a mistake."""
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
        if isinstance(value, Path) and value.parts[:1] and value.parts[0].startswith("~"):
            raise PydanticCustomError("path_of_home", "~ is no home folder here; write the whole path")
        return value


def _as_template(text: str) -> str:
    """A sentence of this project as a template for pydantic, with parentheses in place of braces."""
    return text.replace("{", "(").replace("}", ")")


class AgentSection(Section):
    """The name of this agent and the place of its files."""

    name: Name = Field(default_factory=_host_name, description="Name of this agent, unique on the plant.")
    state_dir: Path = Field(
        default_factory=default_state_dir,
        description="Folder for everything that the agent keeps: database, journal, pictures, dead letters, engine "
        "cache.",
    )
    prefix: str = Field(
        default="plant/site/area/line",
        pattern=r"^[^+#\x00]{1,200}$",
        description="Prefix of all topics, ISA-95 style: enterprise/site/area/line.",
    )
    frames_mib: int = Field(
        default=512,
        ge=16,
        le=1_000_000,
        description="Greatest size of all frames in memory, encoded, over all cameras. Beyond it frames stay with the "
        "broker or in their folder, and of a gate's camera on Kafka they are shed as overload. One camera alone fills "
        "half of it.",
    )
    drain_s: float = Field(
        default=4.0,
        gt=0,
        le=600,
        description="Longest time that the agent may take to finish its frames after SIGTERM.",
    )
    registry_poll_s: float = Field(
        default=1.0, ge=0.1, le=60, description="Time between two looks into the registry for newly activated versions."
    )
    heartbeat_ms: int = Field(default=500, ge=100, le=5000, description="Time between two heartbeats of a gate.")
    command_age_s: float = Field(
        default=30,
        ge=1,
        le=3600,
        description="Greatest age of a command that is obeyed, by its sent_at and this agent's clock.",
    )
    threshold_share: float = Field(
        default=0.25,
        ge=0,
        le=10,
        description="A person alone may move a product's threshold by at most this share of the last approved level; "
        "beyond it a second person has to agree.",
    )
    drift_every_min: float = Field(
        default=15,
        ge=0,
        le=1440,
        description="Time between two looks whether accepted parts still look as the good images did; 0 = never.",
    )
    drift_hours: float = Field(
        default=4, ge=0.1, le=168, description="Length of time before each look whose parts are compared."
    )


class MqttSection(Section):
    """The MQTT broker of cameras, gates and records."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Host of the broker.")
    port: int = Field(default=1883, ge=1, le=65535, description="Port of the broker.")
    protocol: Literal["3.1.1", "5"] = Field(default="5", description="MQTT version that the agent uses.")
    keepalive_s: int = Field(
        default=15, ge=2, le=3600, description="Keep-alive interval: how soon a dead broker is noticed."
    )
    session_expiry_s: int = Field(
        default=86400,
        ge=0,
        le=4294967295,
        description="Time for which the broker keeps frames and acknowledgements of PLCs while the agent is away.",
    )
    in_flight: int = Field(
        default=64, ge=1, le=1000, description="Most unacknowledged frames per camera connection (receive maximum)."
    )
    username: str | None = Field(default=None, description="User name at the broker.")
    password_secret: Name | None = Field(default=None, description="Name of the credential holding the password.")
    tls: bool = Field(default=False, description="Whether the connection to the broker uses TLS.")
    ca_file: Path | None = Field(
        default=None, description="Certificate authorities for TLS; unset = those of the system."
    )
    cert_file: Path | None = Field(default=None, description="Client certificate for TLS.")
    key_file: Path | None = Field(default=None, description="Key of the client certificate.")
    reconnect_min_s: float = Field(
        default=0.2,
        gt=0,
        le=60,
        description="First pause before the agent connects again; pauses are jittered and grow.",
    )
    reconnect_max_s: float = Field(
        default=5.0, gt=0, le=600, description="Longest pause before the agent connects again."
    )
    record_queue: int = Field(
        default=100_000, ge=100, description="Most verdict records that are kept in memory while the broker is away."
    )

    @field_validator("host", mode="after")
    @classmethod
    def _is_host(cls, value: str) -> str:
        if (wrong := host_fault(value)) is not None:
            raise PydanticCustomError("host_form", _as_template(f"the host {wrong}"))
        return value


class KafkaSection(Section):
    """The Kafka cluster of cameras and records, and the consumer group of this agent."""

    bootstrap: str = Field(
        default="127.0.0.1:9092",
        pattern=r"^[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*$",
        description="Brokers to connect to first, as host:port, separated by commas.",
    )
    security: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        default="plaintext", description="Protocol to the brokers; sasl means SCRAM-SHA-512."
    )
    ca_file: Path | None = Field(
        default=None, description="Certificate authorities for TLS; unset = those of the system."
    )
    cert_file: Path | None = Field(default=None, description="Client certificate for TLS.")
    key_file: Path | None = Field(default=None, description="Key of the client certificate.")
    username: str | None = Field(default=None, description="User name for SCRAM-SHA-512.")
    password_secret: Name | None = Field(default=None, description="Name of the credential holding the password.")
    group: Name = Field(default="inspector", description="Consumer group of the agents that share these cameras.")
    topics: tuple[TopicName, ...] = Field(
        default=("frames",), description="Topics of frames; topics that cameras name as their own are added."
    )
    topic_pattern: str | None = Field(
        default=None, max_length=200, description="Regular expression for the topics of frames; it replaces topics."
    )
    verdict_topic: TopicName | None = Field(default=None, description="Topic of verdict records; unset = none.")
    dead_letter_topic: TopicName | None = Field(
        default=None,
        description="Topic for frames that could not be read; unset = they go to the folder of dead letters.",
    )
    max_frame_mib: float = Field(
        default=5, gt=0, le=512, description="Largest record that is fetched or sent; the cluster must allow it too."
    )
    session_timeout_ms: int = Field(
        default=10_000,
        ge=1000,
        le=1_800_000,
        description="Time after which the partitions of a dead agent go to another one.",
    )
    max_poll_interval_ms: int = Field(
        default=300_000,
        ge=10_000,
        le=86_400_000,
        description="Longest pause of the poll loop before the agent counts as dead.",
    )
    poll_ms: int = Field(default=200, ge=10, le=5000, description="Longest time that one poll waits for frames.")
    fetch_wait_ms: int = Field(
        default=100, ge=1, le=5000, description="Longest time that a broker holds back the answer to an empty fetch."
    )
    request_timeout_ms: int = Field(
        default=10_000, ge=500, le=300_000, description="Longest wait for an answer of a broker."
    )
    handover_ms: int = Field(
        default=2000,
        ge=0,
        le=60_000,
        description="Longest wait for frames under way before partitions go to another agent.",
    )
    buffer_frames: int = Field(
        default=32,
        ge=1,
        le=10_000,
        description="Most frames of one partition that wait in the agent; beyond that the partition is paused.",
    )
    buffer_mib: float = Field(
        default=16,
        gt=0,
        le=4096,
        description="The same bound in size; the bound that is reached first counts. All partitions together hold no "
        "more than agent.frames_mib.",
    )
    in_flight: int = Field(default=256, ge=1, le=100_000, description="Most unacknowledged frames of one partition.")
    reconnect_min_s: float = Field(
        default=0.2,
        gt=0,
        le=60,
        description="First pause before the agent connects again; pauses are jittered and grow.",
    )
    reconnect_max_s: float = Field(
        default=5.0, gt=0, le=600, description="Longest pause before the agent connects again."
    )
    record_queue: int = Field(
        default=100_000, ge=100, description="Most verdict records that are kept in memory while the cluster is away."
    )

    @field_validator("bootstrap", mode="after")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        for address in value.split(","):
            host, _, port = address.rpartition(":")
            if (wrong := host_fault(host)) is not None:
                raise PydanticCustomError("host_form", _as_template(f"the host of {address} {wrong}"))
            if not 1 <= int(port) <= LARGEST_PORT:
                raise PydanticCustomError("port_form", _as_template(f"{address} has no port from 1 to {LARGEST_PORT}"))
        return value

    @property
    def max_frame_bytes(self) -> int:
        return int(self.max_frame_mib * 1024 * 1024)


class StoreSection(Section):
    """The SQL store."""

    url: str | None = Field(
        default=None,
        description="SQLAlchemy URL; unset = SQLite in the state folder. For PostgreSQL: postgresql+asyncpg://host/db.",
    )
    user: str | None = Field(default=None, description="User name at the database, if the URL names none.")
    password_secret: Name | None = Field(default=None, description="Name of the credential holding the password.")
    tls: bool | None = Field(
        default=None,
        description="Whether the connection to PostgreSQL uses TLS and checks the server's certificate and name; "
        "unset = TLS if the server offers it, without a check.",
    )
    ca_file: Path | None = Field(
        default=None, description="Certificate authorities for TLS; unset = those of the system."
    )
    cert_file: Path | None = Field(default=None, description="Client certificate for TLS.")
    key_file: Path | None = Field(default=None, description="Key of the client certificate.")
    connections: int = Field(
        default=15,
        ge=2,
        le=100,
        description="Most connections of this agent to the database at once; usually 3 are used.",
    )
    commit_wait_ms: float = Field(
        default=20.0, ge=0, le=1000, description="Longest time that a row waits for its group commit."
    )
    commit_rows: int = Field(default=128, ge=1, le=10_000, description="Most rows in one group commit.")


Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class SigningSection(Section):
    """Who vouches for versions: this plant's signing key, and whose signatures count. `inspector keys` makes a key."""

    key_secret: Name | None = Field(
        default=None,
        description="Name of the credential holding the secret signing key; unset = the file signing-key.pem in the "
        "state folder, if there is one.",
    )
    keys: tuple[Fingerprint, ...] = Field(
        default=(),
        description="Fingerprints of the keys whose signatures count on this machine; empty = all in the database.",
    )
    required: bool = Field(
        default=False,
        description="Whether agents refuse unsigned versions; else they judge by them, with a warning.",
    )


Days = Annotated[float, Field(ge=1, le=36_500)]


class RetentionSection(Section):
    """How long rows and pictures are kept. What has no rule, or is held (`inspector db hold`), is kept for ever."""

    passes_days: Days | None = Field(default=None, description="Days that results of passed frames are kept.")
    rejects_days: Days | None = Field(default=None, description="Days that results of rejected frames are kept.")
    unjudged_days: Days | None = Field(
        default=None, description="Days that results of unjudged frames and uninspected parts are kept."
    )
    decisions_days: Days | None = Field(
        default=None,
        description="Days that decisions, acknowledgements of PLCs, shadow results and conflicts are kept.",
    )
    events_days: Days | None = Field(default=None, description="Days that events and commands are kept.")
    pictures_days: Days | None = Field(
        default=None,
        description="Days that pictures and dead letters are kept, as far as the bounds of their folders allow.",
    )
    every_h: float = Field(
        default=1,
        ge=0.01,
        le=168,
        description="Time between two rounds in which a running agent prunes by these rules.",
    )


class JournalSection(Section):
    """The journal: append-only files on this machine, in which rows also wait while the database is away."""

    max_mib: int = Field(default=512, ge=1, le=1_000_000, description="Greatest size of the journal on disk.")
    segment_mib: int = Field(default=8, ge=1, le=1024, description="Size of one journal file.")
    sync_ms: float = Field(
        default=5.0, ge=0, le=1000, description="Without effect, kept for older files: the journal never waits to sync."
    )


class EngineSection(Section):
    """Where and how the backbone runs."""

    name: Literal["auto", "onnxruntime", "openvino", "torch", "torch-cuda"] = Field(
        default="auto", description="Inference engine; auto = torch-cuda if torch can use a GPU, else onnxruntime."
    )
    precision: Literal["float32", "bfloat16", "int8"] = Field(
        default="float32",
        description="Precision of the passes that products are enrolled on; a version runs in its own. Other than "
        "float32: only with the engine openvino. int8 is not offered yet.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Cores that inspect: on a CPU each takes one frame from decoding to score; 0 = all cores of this "
        "machine.",
    )
    weights_dir: Path | None = Field(
        default=None,
        description="Folder with the weights files of other backbones, found by their file names; "
        "unset = where a file lay when its product was enrolled.",
    )
    decode_workers: int = Field(
        default=0, ge=0, le=64, description="Threads that decode and route; 0 = as many as `threads`."
    )
    batch_max: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Most frames in one main pass of an engine that takes batches (torch); 0 = measured at the start: "
        "the batch that costs least a frame, and takes 25 ms at most.",
    )
    batch_wait_ms: float = Field(
        default=4.0, ge=0, le=1000, description="Longest time that a frame waits for its batch."
    )
    queue_frames: int = Field(default=64, ge=1, le=10_000, description="Most frames in each queue between two stages.")

    @property
    def cores(self) -> int:
        """Cores that inspect."""
        return self.threads or len(os.sched_getaffinity(0))

    @property
    def workers(self) -> int:
        """Threads that carry frames."""
        return self.decode_workers or self.cores


class ImagesSection(Section):
    """Which pictures are kept, and how many."""

    keep_passes: float = Field(default=0.01, ge=0, le=1, description="Share of passed frames whose pictures are kept.")
    max_mib: int = Field(
        default=2048,
        ge=1,
        description="Greatest size of the picture folder; beyond it the oldest pictures are removed.",
    )
    dead_letter_mib: int = Field(
        default=256, ge=1, description="Greatest size of the folder of dead letters; beyond it the oldest are removed."
    )
    late_mib: int = Field(
        default=1024,
        ge=1,
        description="Greatest size of the frames of gates that came too late and wait to be judged; beyond it the "
        "oldest are given up.",
    )


TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


def is_zone(name: str) -> bool:
    """Whether this machine knows a time zone of this name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]


class ConsoleSection(Section):
    """The web console, `inspector console`. It is a process of its own and reads the store."""

    listen: str = Field(
        default="127.0.0.1:8420",
        max_length=300,
        description="Address and port on which browsers reach it, as host:port.",
    )
    cert_file: Path | None = Field(default=None, description="Certificate for TLS; unset = plain HTTP.")
    key_file: Path | None = Field(default=None, description="Key of the certificate.")
    allow_plain: bool = Field(
        default=False,
        description="Whether it may listen beyond this machine without TLS, for example behind a reverse proxy on "
        "another machine that speaks TLS to the browsers.",
    )
    is_proxied: bool = Field(
        default=False,
        description="Whether browsers reach it through a reverse proxy that speaks TLS, so that cookies are sent over "
        "TLS alone.",
    )
    hosts: tuple[HostName, ...] = Field(
        default=(),
        description="Names by which browsers may call it, without port; empty = only this machine's own names, or any "
        "name if it listens beyond this machine.",
    )
    zone: str | None = Field(
        default=None,
        description="Time zone of the times on its pages, as the IANA names it, such as Europe/Berlin; unset = UTC.",
    )
    shifts: tuple[TimeOfDay, ...] = Field(
        default=("06:00", "14:00", "22:00"),
        min_length=1,
        max_length=12,
        description="Times of day at which a shift begins, HH:MM in the zone.",
    )
    session_h: float = Field(default=12, ge=0.1, le=720, description="Time after which a person has to sign in again.")
    viewers: int = Field(
        default=100, ge=1, le=1000, description="Most pages that are kept up to date at once; further ones are refused."
    )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `listen`."""
        host, _, port = self.listen.rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        host = self.address[0]
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def has_tls(self) -> bool:
        return self.cert_file is not None

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= LARGEST_PORT:
            raise PydanticCustomError("listen_form", "must be host:port, for example 127.0.0.1:8420")
        if (wrong := host_fault(host.removeprefix("[").removesuffix("]"))) is not None:
            raise PydanticCustomError("host_form", _as_template(f"the host {wrong}"))
        return value

    @field_validator("zone")
    @classmethod
    def _is_zone(cls, value: str | None) -> str | None:
        if value is not None and not is_zone(value):
            raise PydanticCustomError("zone", "is no time zone that this machine knows; name one such as Europe/Berlin")
        return value


class MetricsSection(Section):
    """Figures for a monitoring system, in the format of Prometheus (docs/metrics.md)."""

    listen: str | None = Field(
        default=None,
        description="Address on which the agent answers GET /metrics, as host:port; unset = it listens nowhere.",
    )
    open_to_network: bool = Field(
        default=False,
        description="Whether `listen` may be an address that other machines reach. Anyone there reads the names of "
        "products, cameras and gates, and how the line runs: there is neither a password nor encryption.",
    )

    @property
    def address(self) -> ListenAddress | None:
        """Where to listen; None for nowhere."""
        return None if self.listen is None else listen_address(self.listen)

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        try:
            return value if value is None else str(listen_address(value))
        except ValueError as error:
            raise PydanticCustomError("listen", _as_template(f"{error}; write, for example, 127.0.0.1:9464")) from None


class CameraSection(Section):
    """One camera: where its frames come from, what they look like, and what happens to parts without a judgement."""

    name: Name = Field(description="Name of the camera; part of its topics.")
    source: Literal["mqtt", "kafka", "folder"] = Field(default="mqtt", description="Where its frames come from.")
    topic: str | None = Field(
        default=None,
        description="Topic of its frames. On MQTT, unset = {prefix}/{camera}/frame; it may end in /+ for a trigger id. "
        "On Kafka, a topic of its own; unset = a header or the key names the camera.",
    )
    shared_group: Name | None = Field(
        default=None,
        description="Only on MQTT and without a gate: the agents that name the same group share this camera's frames "
        "($share).",
    )
    folder: Path | None = Field(
        default=None, description='Watched folder, for source = "folder"; subfolders are not read.'
    )
    settle_ms: float = Field(
        default=300,
        ge=0,
        le=600_000,
        description="Watched folder: a whole picture is taken when it has not changed for this long.",
    )
    incomplete_ms: float = Field(
        default=5000,
        ge=0,
        le=3_600_000,
        description="Watched folder: a picture without its end is judged as undecodable when it has not changed for "
        "this long.",
    )
    view: str = Field(
        default="", max_length=64, description="Name of the view that it shows, at a gate with several cameras."
    )
    on_unjudged: GateAnswer = Field(
        description="What the gate does with a part that could not be judged: pass, reject or quarantine. No default."
    )
    on_late: GateAnswer | None = Field(
        default=None, description="The same for a part that was judged too late; unset = on_unjudged."
    )
    on_wrong_product: GateAnswer | None = Field(
        default=None, description="The same for a part of another product than expected; unset = reject."
    )
    on_frame_health: GateAnswer | None = Field(
        default=None,
        description="The same for frames that do not show their part: dark, bright, blurred, moved, covered or frozen; "
        "unset = on_unjudged.",
    )
    product: Name | None = Field(
        default=None, description="The only product that may come; unset = any enrolled product."
    )
    window_ms: float | None = Field(
        default=None,
        gt=0,
        le=600_000,
        description="For a camera without a gate: longest time from capture to verdict; unset = no limit.",
    )
    trigger_from: Literal["property", "header", "json", "topic"] = Field(
        default="property", description="Where a frame carries its trigger id."
    )
    encoding: Literal["image", "json"] = Field(
        default="image", description="Form of the payload: an image, or JSON that contains one in base64."
    )
    clock: Literal["trusted", "untrusted"] = Field(
        default="untrusted", description="Whether the camera's captured-at is used."
    )
    max_skew_ms: float = Field(
        default=1000,
        gt=0,
        le=3_600_000,
        description="Greatest age of a captured-at that is used; an older one makes the frame late.",
    )
    rate_hz: float | None = Field(
        default=None,
        gt=0,
        le=10_000,
        description="Frames in a second that are usual; half or double of it raises a warning; unset = the rate that "
        "the camera shows, and a third or three times of it.",
    )
    silent_s: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        description="Time without a frame that raises an alarm; unset = only 5 s in which parts pass its gate.",
    )
    bit_depth: int = Field(default=16, ge=9, le=16, description="Significant bits of a 16-bit image (10, 12, 14, 16).")
    black_level: int = Field(default=0, ge=0, le=65535, description="Pixel value of black in a 16-bit image.")
    max_mib: float = Field(default=16, gt=0, le=1024, description="Largest encoded frame.")
    max_mpx: float = Field(default=32, gt=0, le=1000, description="Largest decoded frame in megapixels.")
    frame_id_memory: int = Field(
        default=4096,
        ge=16,
        le=1_000_000,
        description="Number of frames that the agent remembers to recognise redeliveries.",
    )


class GateSection(Section):
    """One gate: the cameras that look at its parts, and how much time they have."""

    name: Name = Field(description="Name of the gate; part of its topics.")
    cameras: tuple[Name, ...] = Field(min_length=1, description="Cameras that look at the parts of this gate.")
    window_ms: float = Field(gt=0, le=600_000, description="Time from capture until the part reaches the gate.")
    reserve_ms: float = Field(
        default=5, ge=0, le=10_000, description="Part of the window that is kept for journal and publishing."
    )
    transport_ms: float = Field(
        default=0,
        ge=0,
        le=600_000,
        description="Time that a decision needs from the agent through the broker into the slot of the PLC, a cycle of "
        "the PLC included. With no more time left than this, a decision is recorded and not sent; 0 = window_ms is "
        "shorter by it already.",
    )
    match: Literal["trigger_id", "single_in_flight"] = Field(
        default="trigger_id",
        description="How a decision finds its part: by its trigger id, or because only one part at a time is under "
        "way.",
    )
    join: Literal["trigger_id"] = Field(default="trigger_id", description="What joins the views of one part.")
    combine: Literal["worst"] = Field(default="worst", description="How the views of one part make one decision.")
    trigger_source: Literal["plc", "encoder", "camera"] = Field(
        default="plc",
        description="Who counts the parts; a count of the camera shows only what was lost after the camera.",
    )
    trigger_modulus: int | None = Field(
        default=None,
        ge=2,
        le=2**63,
        description="Number at which the counter wraps to 0, for example 65536; unset = never.",
    )
    max_gap: int = Field(
        default=100,
        ge=1,
        le=100_000,
        description="Most parts that can be missed in one gap; a longer jump is a reset of the counter.",
    )
    ack_within_s: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        description="Longest time until a part is acknowledged by the PLC; after that it counts as never acknowledged.",
    )
    reject_sensor: bool = Field(
        default=False,
        description="Whether a sensor sees each rejected part (done in its acknowledgement); a reject that it hasn't "
        "seen then counts as done otherwise.",
    )
    account_share: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Share of the last account_parts parts that were done otherwise, left to the default though told, "
        "passed unseen or unjudged, or never acknowledged, beyond which there is an alarm; unset = never.",
    )
    account_parts: int = Field(default=100, ge=2, le=100_000, description="Number of parts that account_share counts.")
    account_holds: bool = Field(
        default=False, description="Whether the gate is also held when account_share is exceeded."
    )
    miss_grace_ms: float | None = Field(
        default=None,
        gt=0,
        le=600_000,
        description="Time in which the frame of a skipped trigger id may still come before its part counts as missed; "
        "at most window_ms; unset = window_ms, but at most 1000.",
    )
    miss_grace_triggers: int = Field(
        default=16,
        ge=1,
        le=10_000,
        description="Number of later parts that all cameras of the gate show before a part whose frame did not come "
        "counts as missed, even if miss_grace_ms is not over.",
    )
    storm_consecutive: int | None = Field(
        default=None,
        ge=2,
        le=100_000,
        description="Number of rejects in a row that raises an alarm and holds the gate; unset = never.",
    )
    storm_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of rejects among the last storm_share_parts parts that raises an alarm and holds the gate; "
        "0 = never.",
    )
    storm_share_parts: int = Field(
        default=100, ge=10, le=1000, description="Number of parts over which storm_share is measured."
    )
    storm_no_trigger_id: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Number of frames in a row without a trigger id, of one camera, that raises an alarm and holds the "
        "gate; 0 = never.",
    )
    storm_unknown_product: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Number of frames in a row of an unknown product, of one camera, that raises an alarm and holds "
        "the gate; 0 = never.",
    )
    storm_frame_health: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Number of frames in a row with the cause frame_health, of one camera, that raises an alarm and "
        "holds the gate; 0 = never.",
    )
    golden_acks: bool = Field(
        default=True,
        description="Whether a golden challenge needs the PLC's acknowledgement of each reject; false only for a gate "
        "whose PLC sends none.",
    )
    golden_at: tuple[TimeOfDay, ...] = Field(
        default=(), description="Times of day at which a golden challenge is due, HH:MM in golden_zone; empty = never."
    )
    golden_zone: str | None = Field(
        default=None, description="Time zone of golden_at, as the IANA names it, such as Europe/Berlin."
    )
    golden_after_activation: bool = Field(
        default=False, description="Whether a golden challenge is due after another version became live."
    )
    golden_after_changeover: bool = Field(
        default=False, description="Whether a golden challenge is due after a job with another product has begun."
    )
    golden_within_min: float = Field(
        default=15,
        ge=0,
        le=1440,
        description="Minutes after which a gate is held if a challenge that is due was not passed; 0 = at once.",
    )

    @property
    def judging_ms(self) -> float:
        """Time from capture until the verdict must be there: the window without its reserve and the way to the PLC."""
        return self.window_ms - self.reserve_ms - self.transport_ms

    @field_validator("golden_zone")
    @classmethod
    def _is_zone(cls, value: str | None) -> str | None:
        if value is not None and not is_zone(value):
            raise PydanticCustomError("zone", "is no time zone that this machine knows; name one such as Europe/Berlin")
        return value
