"""Who operates, for the audit."""

from __future__ import annotations

import getpass

from inspector.domain import printable


def current_user() -> str:
    """The name of the user who runs this process, "unknown" where the system has none."""
    try:
        return printable(getpass.getuser())
    except (KeyError, OSError):
        return "unknown"
