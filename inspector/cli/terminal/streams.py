"""Standard streams that are closed or can't be written: a command then ends with an exit code, not a traceback."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from types import TracebackType
from typing import Any, Final, TextIO, cast

from inspector.text import undriven, visible

_STREAMS: Final = (
    ("stdin", "r", os.O_RDONLY),
    # Opened for reading, so that a write fails: nobody would get the text.
    ("stdout", "w", os.O_RDONLY),
    ("stderr", "w", os.O_WRONLY),
)


class Watched:
    """A standard stream that remembers the error of a failed write, because a later write may not fail again.

    A terminal gets no character that it could obey, other than line ends, tabs and escapes for colours and bars.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(undriven(text) if self._is_terminal else text)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self.failure = error
            raise


class Lossy(Watched):
    """Standard error that drops lines which can't be written, so that a message never ends the work."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def prepare() -> None:
    """Replace closed streams, and let all three streams write any character.

    Otherwise the next opened file, perhaps a database, would get the number of a closed stream, and printed text
    would go into that file.
    """
    for name, mode, access in _STREAMS:
        if getattr(sys, name) is None:
            number = os.open(os.devnull, access)  # the lowest free number, which is the closed stream's own
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - open as long as the process
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a stream that another library made
            cast(Any, stream).reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = cast(TextIO, Watched(sys.stdout)), cast(TextIO, Lossy(sys.stderr))
    sys.excepthook = _show_traceback


def _show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A traceback too may quote a file's name, or what a broker or a database said."""
    import traceback

    sys.stderr.write(visible("".join(traceback.format_exception(kind, error, trace)), keeps_layout=True))


def lost_output() -> OSError | None:
    """Why printed text could not be written to standard output; None if all of it was written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return cast(OSError | None, getattr(sys.stdout, "failure", None))


def finished(code: int) -> int:
    """The exit code of the command: `code`, or 1 if the command succeeded and its output could not be written.

    Call it last.
    """
    error = lost_output()
    if error is not None:
        with contextlib.suppress(OSError):  # so that the interpreter doesn't write the rest again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:  # `| head` has read what it wanted
            reason = "it is closed" if error.errno == errno.EBADF else error.strerror
            sys.stderr.write(f"Standard output can't be written ({reason}); what the command changed stays.\n")
        code = code or 1
    sys.stderr.flush()
    return code
