"""Opens and writes files in folders that other users may write into, such as the state folder of a plant's group.

Nothing is read or written through a link of another user: a link at the end of a path is never followed, and one on
the way there only if it belongs to root or to the user of this process. What is opened is looked at after opening, and
only a regular file is read. A file is written under a random name and then renamed, so that it appears whole. New
files and folders have the mode that their writer says, whatever the umask. Folders are walked, and files removed, by
descriptors of folders that were looked at, never below a link. Everything raises OSError, and the functions block:
call them on worker threads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, Final, TextIO

FILE_MODE: Final = 0o640
"""Of files that the group may read: reports, pictures, exports."""

SECRET_MODE: Final = 0o600
"""Of files that nobody else may read."""

FOLDER_MODE: Final = 0o750
SHARED_FOLDER_MODE: Final = 0o770
"""Of a folder that people of the group and the service write into, where the folder above allows the group that."""

MOST_IMAGE_BYTES: Final = 1024 * 1024 * 1024
"""Of a file with a frame: the highest limit that a camera may have."""

PARTIAL: Final = ".partial"
"""Ending of the name of a file that is still being written."""

_MOST_LINKS: Final = 40
"""Most links on the way to a folder, as in the kernel."""

_LEAST_READ: Final = 64 * 1024
"""Bytes asked for at least: a file of some file systems has more than the size that it names."""

_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_WITHOUT_WAITING: Final = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Opening a named pipe without a writer would block for ever, and a terminal could become this process's own."""

_KINDS: Final = {
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFDIR: "folder",
}


class NotOpened(OSError):
    """What stands in the place of a file is not used: a link, a pipe, a device, a folder, or a file that is too large.

    `kind` is its kind, and `size_bytes` its size where it is too large.
    """

    def __init__(self, number: int, reason: str, path: Path, *, kind: str = "file", size_bytes: int = 0) -> None:
        super().__init__(number, reason, str(path))
        self.kind = kind
        self.size_bytes = size_bytes


def kind_of(mode: int) -> str:
    """The kind of a file in one word, by `st_mode`."""
    return _KINDS.get(stat.S_IFMT(mode), "file")


def open_regular(path: Path, *, follows_links: bool = False, trusts_folder: bool = False) -> BinaryIO:
    """A regular file, open for reading. Raises NotOpened for anything else, without waiting for a pipe's writer.

    `follows_links`: for files that a person names or keeps in folders of their own, where a link is as good as a file.
    `trusts_folder`: the folder is one that the configuration names, whoever made the links on the way there.
    """
    if follows_links:
        file = os.open(path, os.O_RDONLY | _WITHOUT_WAITING)
    else:
        with _named_folder(path.parent) if trusts_folder else _folder_of(path) as folder:
            file = _opened(path, os.O_RDONLY | os.O_NOFOLLOW | _WITHOUT_WAITING, folder)
    try:
        _ensure_regular(path, os.fstat(file).st_mode)
        return os.fdopen(file, "rb")
    except BaseException:  # cancelled or interrupted as well: the descriptor must not leak
        os.close(file)
        raise


def read_regular(path: Path, most_bytes: int, *, follows_links: bool = False) -> bytes:
    """The content of a regular file. Raises NotOpened, before a byte is read, where it has more than `most_bytes`."""
    with open_regular(path, follows_links=follows_links) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        content = b""
        if size_bytes <= most_bytes:
            content = file.read(min(most_bytes, max(size_bytes, _LEAST_READ)) + 1)
            size_bytes = max(size_bytes, len(content))
        if size_bytes > most_bytes:
            reason = f"it has {size_bytes} bytes, the limit is {most_bytes}"
            raise NotOpened(errno.EFBIG, reason, path, size_bytes=size_bytes)
        return content


def is_regular(path: Path) -> bool:
    """Whether `path` names a regular file, and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def open_kept(path: Path, flags: int, *, mode: int = FILE_MODE, creates: bool = True) -> int:
    """A descriptor of a regular file that is written in place, such as a log.

    `flags`: how it is opened, for example O_RDWR and O_APPEND. `creates`: it is made if it is missing. Raises NotOpened
    for a link and anything else that is no file.
    """
    with _folder_of(path) as folder:
        if creates:
            with contextlib.suppress(FileExistsError):
                return _with_mode(os.open(path.name, flags | _NEW, mode, dir_fd=folder), mode)
        file = _opened(path, flags | os.O_NOFOLLOW | _WITHOUT_WAITING, folder)
        try:
            _ensure_regular(path, os.fstat(file).st_mode)
            os.set_blocking(file, True)
        except BaseException:  # cancelled or interrupted as well: the descriptor must not leak
            os.close(file)
            raise
        return file


def link_to(path: Path, source: Path) -> None:
    """Make `path` another name of the file `source`. Raises FileExistsError, and OSError where the disk can't."""
    with _folder_of(source) as from_folder, _folder_of(path) as folder:
        _ensure_regular(source, os.stat(source.name, dir_fd=from_folder, follow_symlinks=False).st_mode)
        os.link(source.name, path.name, src_dir_fd=from_folder, dst_dir_fd=folder, follow_symlinks=False)


def ensure_no_strangers_link(path: Path) -> None:
    """Raises NotOpened where `path`, or a folder on the way there, is a link of another user.

    For files that a library opens by their names. Nothing need be there.
    """
    with contextlib.suppress(FileNotFoundError), _folder_of(path) as folder:
        _target(path.name, folder, path)


def allow_as_much(path: Path, model: Path) -> None:
    """Add the rights of the file `model` to those of `path`. Nothing is done unless both are files of this user.

    Neither is opened for reading, since closing it would give up the locks that this process has on it.
    """
    if not hasattr(os, "O_PATH"):
        return
    with contextlib.suppress(FileNotFoundError), _folder_of(path) as folder:
        wanted = model.stat()
        file = os.open(path.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            found = os.fstat(file)
            is_own = all(stat.S_ISREG(each.st_mode) and each.st_uid == os.geteuid() for each in (found, wanted))
            rights = stat.S_IMODE(found.st_mode) | wanted.st_mode & 0o666
            if is_own and rights != stat.S_IMODE(found.st_mode):
                Path(f"/proc/self/fd/{file}").chmod(rights)
        finally:
            os.close(file)


def write_whole(
    path: Path, content: bytes, *, mode: int = FILE_MODE, durable: bool = False, overwrites: bool = True
) -> None:
    """Write the whole file, or leave what was there. A link in its place is replaced, and what it names is untouched.

    `durable`: the file survives power loss. Raises FileExistsError where `overwrites` is False and something is there.
    """
    with replacing(path, mode=mode, durable=durable, overwrites=overwrites) as file:
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]


def write_text(path: Path, text: str, *, mode: int = FILE_MODE, overwrites: bool = True) -> None:
    """`write_whole` of a text as UTF-8. A byte of a file's name that is not UTF-8 is written as it is."""
    write_whole(path, text.encode("utf-8", "surrogateescape"), mode=mode, overwrites=overwrites)


@contextlib.contextmanager
def replacing(
    path: Path, *, mode: int = FILE_MODE, durable: bool = False, overwrites: bool = True
) -> Iterator[IO[bytes]]:
    """An unbuffered file that takes the place of `path` when the block ends, and is removed if the block raises.

    `durable` and `overwrites` as for `write_whole`.
    """
    partial = f".{secrets.token_hex(8)}{PARTIAL}"
    with _folder_of(path) as folder:
        if overwrites:
            _ensure_no_device(path, folder)
        elif _is_there(path.name, folder):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        descriptor = os.open(partial, os.O_WRONLY | _NEW, mode, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                give_mode(descriptor, mode)
                yield file
                if durable:
                    os.fsync(descriptor)
            _put_in_place(partial, path, folder, overwrites=overwrites)
        except BaseException:  # cancelled or interrupted as well: no half file stays
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial, dir_fd=folder)
            raise
        if durable:
            _sync(folder)


@contextlib.contextmanager
def replacing_text(path: Path, *, mode: int = FILE_MODE) -> Iterator[TextIO]:
    """A text file in UTF-8 for many lines, which takes the place of `path` when the block ends."""
    with replacing(path, mode=mode) as file:
        lines = os.fdopen(os.dup(file.fileno()), "w", encoding="utf-8", newline="")
        with lines:
            yield lines


def make_folder(path: Path, *, is_shared: bool = False) -> None:
    """Make the folder and those above it that are missing, with `FOLDER_MODE` whatever the umask.

    `is_shared`: people of the group and the service both write into it. It gets `SHARED_FOLDER_MODE` where the folder
    above lets the group write and hands its group on (the setgid bit), as a plant's state folder does. A folder that is
    there stays as it is.
    """
    try:
        with _folder(path):
            return
    except FileNotFoundError:
        if path.parent == path:
            raise
    make_folder(path.parent, is_shared=is_shared)
    with _folder(path.parent) as above:
        status = os.stat(".", dir_fd=above)
        hands_on = status.st_mode & (stat.S_ISGID | stat.S_IWGRP) == stat.S_ISGID | stat.S_IWGRP
        mode = SHARED_FOLDER_MODE if is_shared and hands_on else FOLDER_MODE
        try:
            os.mkdir(path.name, mode, dir_fd=above)
        except FileExistsError:
            return  # another process made it meanwhile
        made = os.open(path.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            give_mode(made, mode)
        finally:
            os.close(made)


def entries(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """What lies in the folder itself, each with its own status, by name. A link's status is that of the link.

    Raises NotOpened for a link of another user on the way to the folder, FileNotFoundError where there is none.
    """
    with _folder(folder) as found:
        return sorted(((folder / name, status) for name, status in _listed(found)), key=lambda entry: entry[0].name)


def walk(folder: Path, *, spare: Path | None = None) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything below the folder, each with its own status. No link below it is entered. What is missing is empty.

    `spare`: a folder right below it that is left out. Raises NotOpened for a link of another user on the way to the
    folder. A folder below it that this user may not read is left out.
    """
    try:
        with _folder(folder) as found:
            left_out = None if spare is None or spare.parent != folder else spare.name
            yield from _below(found, folder, left_out)
    except FileNotFoundError:
        return


def remove(path: Path) -> None:
    """Remove the file or link of that name, never what a link names. What is gone already is no error.

    Raises NotOpened for a link of another user on the way there.
    """
    with contextlib.suppress(FileNotFoundError), _folder_of(path) as folder:
        os.unlink(path.name, dir_fd=folder)


def remove_empty_folder(path: Path) -> bool:
    """Whether the folder was empty and is removed. False for a link, and for what can't be removed."""
    try:
        with _folder_of(path) as folder:
            os.rmdir(path.name, dir_fd=folder)
    except OSError:
        return False
    return True


def remove_tree(path: Path) -> None:
    """Remove the folder and everything below it. A link, there or below, is never followed. Nothing there is no error.

    Raises NotOpened for a link of another user on the way there, and OSError where `path` itself is a link.
    """
    with contextlib.suppress(FileNotFoundError), _folder_of(path) as folder:
        shutil.rmtree(path.name, dir_fd=folder)


def give_mode(file: int, mode: int) -> None:
    """Give a new file or folder back what the umask took away. Bits above the rights stay as a folder inherits them."""
    found = stat.S_IMODE(os.fstat(file).st_mode)
    if found & 0o777 != mode:
        # A file system without modes refuses, and so does systemd where the folder has its setgid bit.
        with contextlib.suppress(PermissionError):
            os.fchmod(file, found & ~0o777 | mode)


def _listed(folder: int) -> list[tuple[str, os.stat_result]]:
    """Names in a folder with their own status. What goes away meanwhile is left out."""
    listed: list[tuple[str, os.stat_result]] = []
    readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        for name in os.listdir(readable):  # noqa: PTH208 - a path can't list a descriptor
            with contextlib.suppress(FileNotFoundError):
                listed.append((name, os.stat(name, dir_fd=readable, follow_symlinks=False)))
    finally:
        os.close(readable)
    return listed


def _below(folder: int, path: Path, left_out: str | None = None) -> Iterator[tuple[Path, os.stat_result]]:
    for name, status in _listed(folder):
        if name == left_out:
            continue
        yield path / name, status
        if not stat.S_ISDIR(status.st_mode):
            continue
        # Whoever has put a link into the folder's place meanwhile is not followed either.
        with contextlib.suppress(PermissionError, FileNotFoundError, NotADirectoryError):
            inner = os.open(name, _FOLDER, dir_fd=folder)
            try:
                yield from _below(inner, path / name)
            finally:
                os.close(inner)


def _opened(path: Path, flags: int, folder: int) -> int:
    try:
        return os.open(path.name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotOpened(errno.ELOOP, "it is a link, which is not followed", path, kind="link") from None
        if error.errno == errno.ENXIO:  # a socket, or a pipe that nobody reads
            raise NotOpened(errno.ENXIO, "it is no regular file", path, kind="pipe") from None
        raise OSError(error.errno, error.strerror, str(path)) from None


def _ensure_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = kind_of(mode)
        number = errno.EISDIR if kind == "folder" else errno.EINVAL
        raise NotOpened(number, f"it is no regular file but a {kind}", path, kind=kind)


def _ensure_no_device(path: Path, folder: int) -> None:
    """Writing to a device means its driver, not its name: a file in its place would break the machine."""
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise NotOpened(errno.EINVAL, "it is no regular file but a device", path, kind="device")


def _with_mode(file: int, mode: int) -> int:
    try:
        give_mode(file, mode)
    except BaseException:  # cancelled or interrupted as well: the descriptor must not leak
        os.close(file)
        raise
    return file


def _is_there(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _put_in_place(partial: str, path: Path, folder: int, *, overwrites: bool) -> None:
    if overwrites:
        os.replace(partial, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        return
    try:
        os.link(partial, path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without links, as on a memory stick: the name was free a moment ago
        os.rename(partial, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        os.unlink(partial, dir_fd=folder)


def _sync(folder: int) -> None:
    file = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextlib.contextmanager
def _named_folder(path: Path) -> Iterator[int]:
    folder = os.open(path, _FOLDER & ~os.O_NOFOLLOW)
    try:
        yield folder
    finally:
        os.close(folder)


def _folder_of(path: Path) -> contextlib.AbstractContextManager[int]:
    return _folder(path.parent)


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[int]:
    """A descriptor of a folder, for names in it. Raises NotOpened for a link of another user on the way."""
    left = deque(path.parts if path.is_absolute() else (str(Path.cwd()), *path.parts))
    here, links = os.open("/", _FOLDER), 0
    try:
        while left:
            name = left.popleft()
            try:
                there = os.open(name, _FOLDER, dir_fd=here)
            except OSError as error:
                target = _target(name, here, path) if error.errno in (errno.ENOTDIR, errno.ELOOP) else None
                links += 1
                if target is None or links > _MOST_LINKS:
                    raise OSError(error.errno, error.strerror, str(path)) from None
                left.extendleft(reversed(Path(target).parts))
                continue
            os.close(here)
            here = there
        yield here
    finally:
        os.close(here)


def _target(name: str, folder: int, path: Path) -> str | None:
    """What the link of that name says, None if it is none. The link that is looked at is the one that is read."""
    flags = getattr(os, "O_PATH", 0) | os.O_NOFOLLOW | os.O_CLOEXEC
    link = os.open(name, flags, dir_fd=folder)
    try:
        status = os.fstat(link)
        if not stat.S_ISLNK(status.st_mode):
            return None
        if status.st_uid not in (0, os.geteuid()):
            reason = f"{name} is a link of another user, which is not followed"
            raise NotOpened(errno.ELOOP, reason, path, kind="link")
        return os.readlink("", dir_fd=link)
    finally:
        os.close(link)
