"""The sections of the brokers: MQTT and Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from inspector.config.addresses import LARGEST_PORT, host_fault
from inspector.config.section import Name, Section, as_template

TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


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
            raise PydanticCustomError("host_form", as_template(f"the host {wrong}"))
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
                raise PydanticCustomError("host_form", as_template(f"the host of {address} {wrong}"))
            if not 1 <= int(port) <= LARGEST_PORT:
                raise PydanticCustomError("port_form", as_template(f"{address} has no port from 1 to {LARGEST_PORT}"))
        return value

    @property
    def max_frame_bytes(self) -> int:
        return int(self.max_frame_mib * 1024 * 1024)
