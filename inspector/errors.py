"""All exceptions of the project. A message is for the operator: one sentence that says what to do.

`retryable`: whether the same attempt can succeed later. `exit_code`: what the command line returns. Exceptions
of libraries are translated into these by the adapter that calls the library.
"""

from __future__ import annotations

from typing import ClassVar


class InspectorError(Exception):
    """An error that a person can do something about."""

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1


class UsageError(InspectorError):
    """The command was called in a way that can't work. Nothing was changed."""

    exit_code = 2


class ConfigError(InspectorError):
    """The configuration is wrong; `faults` lists all its faults at once."""

    exit_code = 78

    def __init__(self, faults: list[str], path: str | None = None) -> None:
        self.faults = faults
        self.path = path
        where = f" in {path}" if path else ""
        super().__init__(f"The configuration{where} has {len(faults)} fault(s): " + "; ".join(faults))


class CommandRefused(InspectorError):
    """A command of the line was not obeyed; nothing was changed, and the reply says why.

    `reason`: the same in one word, for figures.
    """

    def __init__(self, sentence: str, reason: str = "state") -> None:
        self.reason = reason
        super().__init__(sentence)


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


class TorchMissing(EngineError):
    """Torch and timm are needed and not installed; the message says what for, and what to install."""


class GraphMissing(TorchMissing):
    """A pass can't be run: its exported graph is not here, and there is no torch to export it."""


class ParityError(EngineError):
    """The engine does not reproduce the scores stored in the artifact; the version is refused."""


class ArtifactError(InspectorError):
    """The bytes of a product version are damaged, or of a format that this software can't read."""


class RegistryError(InspectorError):
    """The registry has no such product or version, or does not allow the change."""

    exit_code = 2


class LedgerUnavailable(InspectorError):
    """The database does not answer; verdicts are kept in the journal until it does."""

    retryable = True


class DatabaseReadOnly(LedgerUnavailable):
    """The file of the database can't be written by this user."""


class DatabaseMoved(LedgerUnavailable):
    """The file of the database, or its log, has lost its name while connections have it open."""


class DatabaseUnusable(LedgerUnavailable):
    """The file or folder in the place of the database is no database, or is damaged. Waiting does not help."""

    retryable = False


class RowDamaged(InspectorError):
    """A row of the database holds a value that this software can't read. It must be corrected in the database."""


class SchemaOutdated(InspectorError):
    """The database's tables are of another version; run `inspector db upgrade`."""


class JournalFull(InspectorError):
    """The journal has reached its limit and the database is still unavailable."""

    retryable = True


class JournalDamaged(InspectorError):
    """A part of a journal segment can't be read. The records before and after it were kept."""


class StateUnusable(InspectorError):
    """A folder of the agent's state can't be locked, read or written; the agent can't run without it."""


class AddressUnusable(InspectorError):
    """The agent can't listen on the configured address: it is in use, or no address of this machine.

    `errno`: why, as the operating system says it; None where it can't.
    """

    def __init__(self, sentence: str, errno: int | None = None) -> None:
        self.errno = errno
        super().__init__(sentence)


class BrokerUnavailable(InspectorError):
    """The broker does not answer; the connector goes on trying."""

    retryable = True


class BrokerRefused(InspectorError):
    """The broker refuses this client (password, certificate, permission); trying again won't help."""
