"""Names the user who operates, for the audit.

Anybody can set LOGNAME and USER, so neither is read: the name is that of the real user id.
"""

from __future__ import annotations

import os
import pwd
import re


def current_user() -> str:
    """The name of the user who runs this process, printable; `uid 1000` where the system has no name for the id.

    For root it says who came by sudo, if SUDO_UID is set. Only root can set it for a process of root.
    """
    user_id = os.getuid()
    by_sudo = os.environ.get("SUDO_UID", "")
    if user_id == 0 and re.fullmatch("[1-9][0-9]{0,9}", by_sudo):
        return f"{_name(0)} (sudo by {_name(int(by_sudo))})"
    return _name(user_id)


def is_same_person(one: str, other: str) -> bool:
    """Whether two names of the audit are one person, who may have come by sudo the one time and not the other."""
    return _person(one) == _person(other)


def _person(name: str) -> str:
    by_sudo = re.fullmatch(r".* \(sudo by (.+)\)", name)
    return by_sudo[1] if by_sudo else name


def _name(user_id: int) -> str:
    from inspector.domain import printable  # loaded when a command runs: `--help` loads nothing heavy

    try:
        return printable(pwd.getpwuid(user_id).pw_name)
    except (KeyError, OverflowError):
        return f"uid {user_id}"
