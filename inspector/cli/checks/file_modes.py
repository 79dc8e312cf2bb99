"""Which files of the agent other users of this machine can read or change, by mode and by every folder on the way.

The owner and the group are trusted: people of the group `inspector` enrol products. Access lists of the filesystem
beyond the mode are not looked at.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from inspector.cli.checks.finding import Finding, Level, fault, ok, warning
from inspector.config.config import Config
from inspector.config.loading import credential_file
from inspector.config.store_url import holds_password
from inspector.domain import printable
from inspector.files import walk
from inspector.operation.signing_keys import key_file
from inspector.store.database import sqlite_file

PART: Final = "security"
SUBJECT: Final = "files"
USUAL_FOLDER: Final = Path("/etc/inspector")
"""Where the examples of the units keep credentials."""

_MOST_NAMED: Final = 20
"""Most files and folders that are named. More are counted."""

_SECTIONS: Final = ("mqtt", "kafka", "store", "console")


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file or folder. `if_read`: the level at which others may read it, None if they may."""

    path: Path
    what: str
    if_read: Level | None


@dataclass(frozen=True, slots=True)
class Openness:
    """What users who are neither the owner nor of the group can do with a file."""

    is_read: bool
    is_changed: bool
    is_replaced: bool
    """Whether a folder on the way lets everybody rename what lies in it."""


def check(config: Config, file: Path | None) -> Iterator[Finding]:
    """A finding for each file that is open to others, or one that there is none. `file`: of the configuration."""
    found = [finding for kept in _kept(config, file) if (finding := _judged(kept)) is not None]
    found += _open_below(config.agent.state_dir)
    found += _of_another(file)
    yield from found
    if not found:
        yield ok(PART, SUBJECT, "no other user of this machine can change them or read a secret")


def _of_another(file: Path | None) -> Iterator[Finding]:
    """One finding about a configuration of another user, who says which files are written and where secrets go."""
    try:
        owners = set() if file is None else {file.lstat().st_uid, file.stat().st_uid}
    except OSError:
        return  # the loading says what is wrong
    for owner in sorted(owners - {0, os.geteuid()}):
        can = "can say which files this agent writes and where it sends its secrets"
        yield warning(PART, "configuration", f"{file} belongs to user {_name(owner)}, who {can}. Run `chown` on it.")


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _open_below(state: Path) -> Iterator[Finding]:
    """One finding about all files and folders below the state folder that others may write, as far as they are few."""
    try:
        modes = ((path, status.st_mode) for path, status in walk(state) if not stat.S_ISLNK(status.st_mode))
        opened = sorted(path for path, mode in modes if mode & stat.S_IWOTH)
    except OSError:
        return  # other checks say why the folder can't be used
    if not opened:
        return
    names = ", ".join(printable(str(path)) for path in opened[:_MOST_NAMED])
    more = f" and {len(opened) - _MOST_NAMED} more" if len(opened) > _MOST_NAMED else ""
    close = f"Run `chmod -R o-rwx {printable(str(state))}`."
    if any(_is_reached(path) for path in opened):
        yield fault(PART, "state files", f"every user of this machine can change {names}{more}. {close}")
    else:
        why = "only a folder above keeps the other users of this machine out"
        yield warning(PART, "state files", f"everybody may write {names}{more}; {why}. {close}")


def _is_reached(path: Path) -> bool:
    try:
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)
    except OSError:
        return False


def openness(path: Path) -> Openness:
    """Raises OSError if the file or a folder on the way can't be looked at."""
    real = path.resolve(strict=True)
    is_reachable, is_replaced = True, False
    for folder in reversed(real.parents):
        mode = folder.stat().st_mode
        is_replaced |= is_reachable and bool(mode & stat.S_IWOTH and mode & stat.S_IXOTH) and not mode & stat.S_ISVTX
        is_reachable &= bool(mode & stat.S_IXOTH)
    mode = real.stat().st_mode
    reading = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
    is_changed = bool(mode & stat.S_IWOTH) and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX)
    return Openness(is_reachable and bool(mode & reading), is_reachable and is_changed, is_replaced)


def _judged(kept: _Kept) -> Finding | None:
    try:
        found = openness(kept.path)
    except OSError:
        return None  # not there yet, or not for this user's eyes; other checks say so where it matters
    close = f"Run `chmod {'-R ' if kept.path.is_dir() else ''}o-rwx {kept.path}`."
    if found.is_replaced:
        why = f"a folder on the way to {kept.path} is open to every user of this machine, who can put another there"
        return fault(PART, kept.what, f"{why}. Close the folder (`chmod o-w`), or move {kept.what} elsewhere.")
    if found.is_changed:
        return fault(PART, kept.what, f"every user of this machine can change {kept.path}. {close}")
    if found.is_read and kept.if_read is not None:
        level = fault if kept.if_read is Level.FAULT else warning
        return level(PART, kept.what, f"every user of this machine can read {kept.path}. {close}")
    return None


def _kept(config: Config, file: Path | None) -> Iterator[_Kept]:
    state = config.agent.state_dir
    yield _Kept(state, "state folder", Level.WARNING)
    if (database := sqlite_file(config)) is not None:
        yield _Kept(database, "database", Level.WARNING)
    yield _Kept(key_file(config), "signing key", Level.FAULT)
    if file is not None:
        yield _Kept(file, "configuration", Level.FAULT if holds_password(config.store.url) else None)
    for section in _SECTIONS:
        keys = getattr(config, section)
        for key, level in (("key_file", Level.FAULT), ("cert_file", None), ("ca_file", None)):
            path = getattr(keys, key, None)
            if path is not None:
                yield _Kept(path, f"{section}.{key}", level)
    for secret in _secrets(config):
        places = (credential_file(secret), file and file.absolute().parent / secret, USUAL_FOLDER / secret)
        for place in dict.fromkeys(places):
            if place is not None:
                yield _Kept(place, f"credential {secret}", Level.FAULT)


def _secrets(config: Config) -> list[str]:
    """The names of all credentials that the configuration names, each once."""
    named = [config.mqtt.password_secret, config.kafka.password_secret, config.store.password_secret]
    named += [config.signing.key_secret, config.audit.key_secret]
    named += [*config.audit.old_key_secrets, *(key.key_secret for key in config.command_key)]
    return list(dict.fromkeys(name for name in named if name is not None))
