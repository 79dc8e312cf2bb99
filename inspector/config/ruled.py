"""What the rules between keys read: a configuration, or the known part of one whose keys are partly wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from inspector.config.broker_sections import KafkaSection, MqttSection
from inspector.config.line_sections import CameraSection, GateSection
from inspector.config.sections import AgentSection, ConsoleSection, EngineSection, MetricsSection, StoreSection
from inspector.config.trust_sections import AuditSection, CommandKeySection, CommandsSection


class Ruled(Protocol):
    """The sections that rules read: a `Config`, or a `Partial` of it."""

    @property
    def agent(self) -> AgentSection: ...
    @property
    def engine(self) -> EngineSection: ...
    @property
    def mqtt(self) -> MqttSection: ...
    @property
    def camera(self) -> tuple[CameraSection, ...]: ...
    @property
    def gate(self) -> tuple[GateSection, ...]: ...
    @property
    def kafka(self) -> KafkaSection: ...
    @property
    def store(self) -> StoreSection: ...
    @property
    def console(self) -> ConsoleSection: ...
    @property
    def metrics(self) -> MetricsSection: ...
    @property
    def commands(self) -> CommandsSection: ...
    @property
    def audit(self) -> AuditSection: ...
    @property
    def command_key(self) -> tuple[CommandKeySection, ...]: ...


class Unknown(Exception):
    """A rule read a key whose own value is wrong."""


class Partial:
    """A section of which some keys are not known. Rules read it in place of the whole section."""

    def __init__(self, known: object, unknown: Iterable[str]) -> None:
        self._known = known
        self._unknown = frozenset(unknown)

    def __getattr__(self, name: str) -> Any:
        if name in self._unknown:
            raise Unknown(name)
        return getattr(self._known, name)
