"""Names the user who operates, for the audit."""

from __future__ import annotations

import getpass


def current_user() -> str:
    """The name of the user who runs this process, printable; "unknown" where the system has none."""
    from inspector.domain import printable  # loaded when a command runs: `--help` loads nothing heavy

    try:
        return printable(getpass.getuser())
    except (KeyError, OSError):
        return "unknown"
