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
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from inspector.config.addresses import LARGEST_PORT, ListenAddress, host_fault, listen_address
from inspector.config.section import (
    Name,
    Section,
    TimeOfDay,
    as_template,
    is_zone,
)


def default_state_dir() -> Path:
    """systemd's `StateDirectory=` if it is set, else the XDG state folder of this user."""
    if under_systemd := os.environ.get("STATE_DIRECTORY"):
        return Path(under_systemd.split(":")[0])
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "inspector"


def _host_name() -> str:
    cleaned = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname()).lstrip("-._")
    return cleaned[:64] or "agent"


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
    heartbeat_ms: int = Field(
        default=500, ge=100, le=5000, description="Time between two heartbeats; below 1500 with a gate."
    )
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
            raise PydanticCustomError("host_form", as_template(f"the host {wrong}"))
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
            raise PydanticCustomError("listen", as_template(f"{error}; write, for example, 127.0.0.1:9464")) from None
