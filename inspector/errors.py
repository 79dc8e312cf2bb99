"""The whole tree of exceptions. The message is for the operator: one sentence that says what to do.

`retryable` is a class attribute: whether trying the same again later can help. `exit_code` is what
the command line returns. Foreign exceptions are translated into these at the edge that knows them.
"""

from __future__ import annotations

from typing import ClassVar


class InspectorError(Exception):
    """Something went wrong that a person can do something about."""

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1


class UsageError(InspectorError):
    """The command was called in a way that can't work; nothing was changed."""

    exit_code = 2


class ConfigError(InspectorError):
    """The configuration is wrong; `faults` lists everything that is wrong with it at once."""

    exit_code = 78

    def __init__(self, faults: list[str], path: str | None = None) -> None:
        self.faults = faults
        self.path = path
        where = f" in {path}" if path else ""
        super().__init__(f"The configuration{where} has {len(faults)} fault(s): " + "; ".join(faults))


class CommandRefused(InspectorError):
    """A command of the line was not obeyed; nothing was changed, and the reply says why."""


class FrameError(InspectorError):
    """A frame can't be used as an image; the frame is to blame, not the agent."""


class UndecodableFrame(FrameError):
    """The bytes are not a JPEG or PNG that can be read whole within the limits."""


class EnrolmentError(InspectorError):
    """The images given can't make a product; the registry was not changed."""


class EngineError(InspectorError):
    """The inference engine can't be used on this machine."""


class WeightsMissing(EngineError):
    """The backbone's weights are not installed."""


class ParityError(EngineError):
    """The engine does not reproduce the scores stored in the artifact; the version is refused."""


class ArtifactError(InspectorError):
    """A product version's bytes are damaged or of a kind this software can't read."""


class RegistryError(InspectorError):
    """The registry has no such product or version, or it may not be changed so."""

    exit_code = 2


class LedgerUnavailable(InspectorError):
    """The database does not answer; verdicts are kept in the journal until it does."""

    retryable = True


class DatabaseUnusable(LedgerUnavailable):
    """What stands where the database should be is none, or is damaged; waiting does not mend it."""

    retryable = False


class RowDamaged(InspectorError):
    """A row of the database holds what this software can't read; it has to be mended there."""


class SchemaOutdated(InspectorError):
    """The database's tables are of another version; run `inspector db upgrade`."""


class JournalFull(InspectorError):
    """The journal has reached its limit and the database is still away."""

    retryable = True


class JournalDamaged(InspectorError):
    """A journal segment can't be read beyond some point; what comes before was kept."""


class StateUnusable(InspectorError):
    """A folder of the agent's state can't be locked, read or written; the agent can't run without it."""


class BrokerUnavailable(InspectorError):
    """The broker does not answer; the connector goes on trying."""

    retryable = True


class BrokerRefused(InspectorError):
    """The broker refuses this client (password, certificate, permission); trying again won't help."""
