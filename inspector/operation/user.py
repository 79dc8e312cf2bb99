"""Names the user who operates, for the audit.

Anybody can set LOGNAME and USER, so neither is read: the name is that of the real user id. In a user namespace that
anybody can make, where everybody can be root, only the id outside of it is said. Where the kernel knows who logged in,
that stands beside it; SUDO_UID is said as a claim of the environment.
"""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path
from typing import Final

_MAP: Final = Path("/proc/self/uid_map")
_LOGIN: Final = Path("/proc/self/loginuid")
_PROCESSES: Final = Path("/proc")
_ALL_IDS: Final = 4294967295
"""The number of user ids; as an id of a login it says that nobody has logged in."""

_IN_NAMESPACE: Final = " in a user namespace"
_CLAIMED: Final = ", as the environment says"
_MOST_PARENTS: Final = 100


def current_user() -> str:
    """The name of the user who runs this process, printable; `uid 1000` where the system has no name for the id.

    Behind it stands who logged in, where the kernel knows another user, and for root under sudo who came by it.
    """
    user_id, extents = os.getuid(), _extents()
    if extents not in (None, [(0, 0, _ALL_IDS)]):
        outside = next((out + user_id - own for own, out, count in extents or () if own <= user_id < own + count), None)
        return f"uid {user_id if outside is None else outside}{_IN_NAMESPACE}"
    login = _login_id()
    if login is not None and login != user_id:
        return f"{_name(user_id)} (login {_name(login)})"
    by_sudo = os.environ.get("SUDO_UID", "")
    if user_id == 0 and login is None and re.fullmatch("[1-9][0-9]{0,9}", by_sudo) and _is_under_sudo():
        return f"{_name(0)} (sudo by {_name(int(by_sudo))}{_CLAIMED})"
    return _name(user_id)


def is_same_person(one: str, other: str) -> bool:
    """Whether two names of the audit may be one person, who may have come by sudo the one time and not the other.

    Who stands behind a name in a user namespace is unknown, so that it may be anybody.
    """
    return not is_proven(one) or not is_proven(other) or bool(_persons(one) & _persons(other))


def is_proven(name: str) -> bool:
    """Whether the name is of a user of the machine, or of the console, and of no user namespace."""
    return not name.endswith(_IN_NAMESPACE)


def _persons(name: str) -> set[str]:
    behind = re.fullmatch(rf"(.*) \((?:sudo by|login) (.+?)(?:{_CLAIMED})?\)", name)
    if behind is None:
        return {name}
    # Whoever can become root is no other person than before. A user with another's login may be either.
    return {behind[2]} if behind[1] == "root" else {behind[1], behind[2]}


def _extents() -> list[tuple[int, int, int]] | None:
    """The map of user ids of this process: first id within, first id outside, count. None where there is no map."""
    try:
        lines = _MAP.read_text("ascii").splitlines()
    except OSError:
        return None
    return [(int(own), int(out), int(count)) for own, out, count in (line.split() for line in lines)]


def _login_id() -> int | None:
    try:
        number = int(_LOGIN.read_text("ascii"))
    except (OSError, ValueError):
        return None
    return None if number == _ALL_IDS else number


def _is_under_sudo() -> bool:
    """Whether a process above this one is sudo that has become root."""
    pid = os.getppid()
    for _ in range(_MOST_PARENTS):
        try:
            status = dict(
                line.split(":\t", 1) for line in (_PROCESSES / str(pid) / "status").read_text("utf-8").splitlines()
            )
            name, user_id, parent = status["Name"], status["Uid"].split()[1], int(status["PPid"])
        except (OSError, ValueError, KeyError):
            return False
        if name == "sudo" and user_id == "0":
            return True
        pid = parent
    return False


def _name(user_id: int) -> str:
    from inspector.domain import printable  # loaded when a command runs: `--help` loads nothing heavy

    try:
        return printable(pwd.getpwuid(user_id).pw_name)
    except (KeyError, OverflowError):
        return f"uid {user_id}"
