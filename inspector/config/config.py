"""The whole configuration: all sections, checked by the rules between them."""

from __future__ import annotations

import hashlib
from typing import Self

from pydantic import Field, model_validator

from inspector.config.broker_sections import KafkaSection, MqttSection
from inspector.config.line_sections import CameraSection, GateSection
from inspector.config.rules import broken_rules
from inspector.config.section import Section
from inspector.config.sections import (
    AgentSection,
    ConsoleSection,
    EngineSection,
    ImagesSection,
    JournalSection,
    MetricsSection,
    RetentionSection,
    SigningSection,
    StoreSection,
)
from inspector.config.topics import other_form, topic_of
from inspector.config.trust_sections import AuditSection, CommandKeySection, CommandsSection


class Config(Section):
    """The whole configuration, checked across sections."""

    agent: AgentSection = Field(default_factory=AgentSection)
    mqtt: MqttSection = Field(default_factory=MqttSection)
    kafka: KafkaSection = Field(default_factory=KafkaSection)
    store: StoreSection = Field(default_factory=StoreSection)
    signing: SigningSection = Field(default_factory=SigningSection)
    retention: RetentionSection = Field(default_factory=RetentionSection)
    journal: JournalSection = Field(default_factory=JournalSection)
    engine: EngineSection = Field(default_factory=EngineSection)
    images: ImagesSection = Field(default_factory=ImagesSection)
    console: ConsoleSection = Field(default_factory=ConsoleSection)
    metrics: MetricsSection = Field(default_factory=MetricsSection)
    audit: AuditSection = Field(default_factory=AuditSection)
    commands: CommandsSection = Field(default_factory=CommandsSection)
    command_key: tuple[CommandKeySection, ...] = Field(default=(), description="The keys of commands.")
    camera: tuple[CameraSection, ...] = Field(default=(), description="The cameras.")
    gate: tuple[GateSection, ...] = Field(default=(), description="The gates.")

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        if faults := broken_rules(self):
            raise ValueError("\n".join(faults))
        return self

    @property
    def kafka_topics(self) -> tuple[str, ...]:
        """Every Kafka topic of frames, unless a pattern finds the topics."""
        own = [camera.topic for camera in self.camera if camera.source == "kafka" and camera.topic is not None]
        return tuple(dict.fromkeys([*self.kafka.topics, *own]))

    def gate_of(self, camera: str) -> GateSection | None:
        """The gate whose parts this camera looks at, or None."""
        return next((gate for gate in self.gate if camera in gate.cameras), None)

    def camera_named(self, name: str) -> CameraSection:
        """The section of this camera. Raises KeyError for a camera that is not configured."""
        for camera in self.camera:
            if camera.name == name:
                return camera
        raise KeyError(name)

    def topic_of(self, camera: CameraSection) -> str:
        """The topic filter of this camera's frames, without the prefix for a shared subscription."""
        return topic_of(self.agent.prefix, camera)

    def other_form_of(self, camera: CameraSection) -> str | None:
        """The filter of frames with a trigger id in their topic if `topic_of` is without one, and the other way round.

        A camera sends its frames to either form (`.../frame`, `.../frame/4711`). None if the camera has a topic of its
        own that says which one it is.
        """
        return other_form(self.agent.prefix, camera)

    def subscription_of(self, camera: CameraSection) -> str:
        """The filter to which the agent subscribes for this camera's frames."""
        return shared(self.topic_of(camera), camera)

    @property
    def digest(self) -> str:
        """SHA-256 of the whole configuration. Every row holds it as `config_digest`."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def shared(topic: str, camera: CameraSection) -> str:
    """The filter of this camera's share of what comes on `topic`: all of it, unless the camera is shared."""
    return topic if camera.shared_group is None else f"$share/{camera.shared_group}/{topic}"


RULED: tuple[dict[str, type[Section]], dict[str, type[Section]]] = (
    {
        "agent": AgentSection,
        "engine": EngineSection,
        "mqtt": MqttSection,
        "kafka": KafkaSection,
        "store": StoreSection,
        "console": ConsoleSection,
        "metrics": MetricsSection,
        "commands": CommandsSection,
        "audit": AuditSection,
    },
    {"camera": CameraSection, "gate": GateSection, "command_key": CommandKeySection},
)
"""The sections whose keys have rules between them: sections that come once, and sections that come several times."""
