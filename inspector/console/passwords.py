"""Passwords: hashed with argon2id, made up where nobody has one yet, and guessed at a bounded rate only."""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from inspector.errors import UsageError

LEAST_CHARACTERS: Final = 10
MOST_CHARACTERS: Final = 200
FAILURES: Final = 5
FAILURES_OVER_S: Final = 300.0
REMEMBERED: Final = 10_000
"""Names and addresses that are remembered, so that a guesser fills no memory."""

_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # without what is read as another character
_HASHER: Final = PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1)
_NOBODY: Final = _HASHER.hash(secrets.token_hex(16))
"""Compared with where there is no such person, so that a name can't be told from its answer's time."""


def hashed(password: str) -> str:
    """The hash to store. Takes a tenth of a second: call it on a worker thread."""
    return _HASHER.hash(password)


def is_right(password: str, stored: str | None) -> bool:
    """Whether this is the password of that hash; with None, False after the same time. Blocks as `hashed`."""
    try:
        return _HASHER.verify(stored or _NOBODY, password[:MOST_CHARACTERS]) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def made_up() -> str:
    """A new password of 80 bits that a person can copy from a terminal."""
    groups = ["".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4)]
    return "-".join(groups)


def ensure_strong(password: str, name: str) -> None:
    """Raises UsageError for a password that is too short, too long, or the name."""
    if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
        raise UsageError(f"A password has {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters.")
    if password.lower() == name.lower():
        raise UsageError("A password must not be the name.")


class FailedSignIns:
    """Counts wrong passwords by name and by address. Times are monotonic seconds, passed in."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, name: str, address: str, now_s: float) -> float:
        """How long it takes until another try is allowed; 0 if it is now."""
        return max(self._wait_s(key, most, now_s) for key, most in _keys(name, address))

    def note(self, name: str, address: str, now_s: float) -> None:
        """Count a wrong password."""
        for key, most in _keys(name, address):
            times = self._failures.setdefault(key, deque(maxlen=most))
            times.append(now_s)
            self._failures.move_to_end(key)
        while len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    def forget(self, name: str, address: str) -> None:
        """Forget the failures of this name at this address after a right password."""
        self._failures.pop(_keys(name, address)[0][0], None)

    def _wait_s(self, key: str, most: int, now_s: float) -> float:
        times = self._failures.get(key)
        if times is None or len(times) < most:
            return 0.0
        return max(0.0, times[0] + FAILURES_OVER_S - now_s)


def _keys(name: str, address: str) -> list[tuple[str, int]]:
    """What is counted, with the failures that are allowed: a name at an address, and the address for all names."""
    return [(f"{address}\x00{name[:64].lower()}", FAILURES), (address, 4 * FAILURES)]
